"""Use cases of webhooks: set up, change, rotate the secret, switch, replay, ping. Knows no HTTP; sends nothing."""

import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

from core import message, secevent, webhook
from core.application import Flaw
from core.master import NONCE_BYTES, MasterKeys
from core.target import Barred
from core.webhook import MAX_KEEP, Outcome, Plan, Wrapped
from events import ids
from events.decision import Decide, Origin, Streams
from events.filters import Mistake, Query, parse
from events.ledger import Ledger
from events.webhook import POLL, PREFIX, PUSH, SET, STANDARD, Webhook, stream_for
from events.webhooks import WebhookReader

DAY: Final = 86_400
MOST: Final = 32
"""Webhooks of one client, and of the operators together."""
MOST_STREAMS: Final = 2**31
"""Streams of shared signals of one client, one after the other: it will never have had so many."""
MAX_AUTHORIZATION: Final = 2_048
NOT_OURS: Final = "-type:webhook.*"
"""What webhooks do themselves is sent to none: it would answer itself for ever."""


class BadWebhook(ValueError):
    """A webhook cannot be so; the text is a sentence for people."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.flaw = Flaw(field, text)


class Made(NamedTuple):
    """What became of a command, and the secret that it made: told this once, kept wrapped only."""

    outcome: Outcome
    webhook: bytes
    secret: str = ""

    def __repr__(self) -> str:
        return f"Made(outcome={self.outcome!r})"


class Webhooks:
    """Setting up and changing. Everything raises Unavailable.

    `master` is asked for the keys when a secret is made or used; `check` raises Barred for a URL that is not reached.
    """

    def __init__(
        self,
        ledger: Ledger,
        reader: WebhookReader,
        master: Callable[[], MasterKeys],
        check: Callable[[str], Awaitable[None]],
        now: Callable[[], int],
    ) -> None:
        self.reader = reader
        self._ledger = ledger
        self._master = master
        self._check = check
        self._now = now

    async def all(self) -> list[Webhook]:
        """Those that were not removed, the oldest first."""
        return await self.reader.all()

    async def get(self, stream: bytes) -> Webhook | None:
        """One that was not removed."""
        found = await self.reader.numbered((stream,))
        return found[0] if found and not found[0].removed else None

    async def register(
        self, owner: str, actor: str, plan: Plan, origin: Origin = Origin(), authorization: str = ""
    ) -> Made:
        """Set one up; what is signed by a secret gets one. Raises BadWebhook."""
        await self._checked(plan)
        stream = ids.new_id(self._now(), secrets.token_bytes(ids.RANDOM_BYTES))
        if sum(one.client == owner for one in await self.all()) >= MOST:
            raise BadWebhook("url", f"There are {MOST} webhooks already: remove one first.")
        secret = secrets.token_bytes(message.SECRET_BYTES) if plan.format == STANDARD else b""
        wrapped = self._wrap(stream, secret or _authorization(authorization))
        outcome = await self._submit(stream, webhook.register(stream, owner, actor, plan, wrapped), origin)
        return Made(outcome, stream, message.secret_text(secret) if secret else "")

    async def open_stream(
        self, owner: str, actor: str, plan: Plan, origin: Origin = Origin(), authorization: str = ""
    ) -> Made:
        """The stream of shared signals of a client; `EXISTS` where it has one. Raises BadWebhook."""
        await self._checked(plan)
        number, _ = await self._last(owner)
        stream, before = stream_for(owner, number), stream_for(owner, number - 1) if number else b""
        wrapped = self._wrap(stream, _authorization(authorization))
        decide = webhook.register(stream, owner, actor, plan, wrapped, before)
        return Made(await self._submit(stream, decide, origin), stream)

    async def stream_of(self, owner: str) -> Webhook | None:
        """The stream of shared signals of a client."""
        _, newest = await self._last(owner)
        return None if newest is None or newest.removed else newest

    async def update(
        self,
        state: Webhook,
        actor: str,
        changes: dict[str, str],
        origin: Origin = Origin(),
        authorization: str | None = None,
    ) -> Outcome:
        """Change what is named of it. Raises BadWebhook."""
        await self._checked(webhook.plan_of(state)._replace(**changes))
        outcome = await self._submit(state.id, webhook.update(state.id, actor, changes), origin)
        if authorization is not None and state.format == SET:
            wrapped = self._wrap(state.id, _authorization(authorization))
            await self._submit(state.id, webhook.rotate_secret(state.id, actor, wrapped, 0), origin)
        return outcome

    async def rotate_secret(self, state: Webhook, actor: str, keep: int = DAY, origin: Origin = Origin()) -> Made:
        """A new secret; the one before signs too for `keep` more seconds. Raises BadWebhook."""
        if not 0 <= keep <= MAX_KEEP:
            raise BadWebhook("keep", f"The secret before can be kept for 0 to {MAX_KEEP} seconds.")
        if state.format != STANDARD:
            raise BadWebhook(
                "format", "Security event tokens are signed by the keys of this service: it has no secret."
            )
        secret = secrets.token_bytes(message.SECRET_BYTES)
        decide = webhook.rotate_secret(state.id, actor, self._wrap(state.id, secret), keep)
        outcome = await self._submit(state.id, decide, origin)
        return Made(outcome, state.id, message.secret_text(secret) if outcome is Outcome.DONE else "")

    async def disable(self, stream: bytes, actor: str, reason: str, origin: Origin = Origin()) -> Outcome:
        """Send nothing any more; what happens meanwhile waits in the log."""
        return await self._submit(stream, webhook.disable(stream, actor, reason), origin)

    async def enable(self, stream: bytes, actor: str, origin: Origin = Origin()) -> Outcome:
        """Go on from where it stopped."""
        return await self._submit(stream, webhook.enable(stream, actor), origin)

    async def remove(self, stream: bytes, actor: str, origin: Origin = Origin()) -> Outcome:
        """End it for good."""
        return await self._submit(stream, webhook.remove(stream, actor), origin)

    async def replay(self, stream: bytes, actor: str, position: int, origin: Origin = Origin()) -> Outcome:
        """Try a dead letter again, or all of them (-1)."""
        return await self._submit(stream, webhook.replay(stream, actor, position), origin)

    async def ping(self, stream: bytes, actor: str, text: str = "", origin: Origin = Origin()) -> Outcome:
        """Send a test, as everything else is sent: by the process that delivers, in the log's order."""
        return await self._submit(stream, webhook.ping(stream, actor, text), origin)

    async def dead_letter(self, stream: bytes, position: int, tries: int, reason: str) -> Outcome:
        """Say that an event is given up."""
        return await self._submit(stream, webhook.dead_letter(stream, position, tries, reason))

    async def rewrap(self) -> int:
        """Bring every secret under the master key that signs, so that an older one can go; answers how many.

        A secret that was replaced stays under its own: without that key it signs no more, and the newest does.
        """
        changed = 0
        for state in await self.all():
            master = self._master()
            if not state.wrapped or state.wrapped_by == master.current:
                continue
            secret = master.unwrap(state.wrapped_by, _name(state.id), state.wrapped)
            if secret is not None:
                decide = webhook.rewrap(state.id, state.wrapped, self._wrap(state.id, secret))
                changed += await self._submit(state.id, decide) is Outcome.DONE
        return changed

    def secrets_of(self, state: Webhook, now: int) -> list[bytes]:
        """Those that are good at `now` (microseconds), the newest first; empty where they do not unwrap."""
        kept = [(state.wrapped_by, state.wrapped)]
        if now < state.before_until:
            kept.append((state.before_by, state.before))
        name = _name(state.id)
        found = (self._master().unwrap(by, name, wrapped) for by, wrapped in kept if wrapped)
        return [one for one in found if one is not None]

    async def _last(self, owner: str) -> tuple[int, Webhook | None]:
        """How many streams of shared signals this client ever had, and the newest, which may have been removed.

        They are numbered without gaps, so one look finds the last of a few, and three that of a thousand.
        """
        low, high, newest = 0, MOST_STREAMS, None
        while low < high:
            asked = {stream_for(owner, number): number for number in _probes(low, high)}
            found = {asked[one.id]: one for one in await self.reader.numbered(asked)}
            newest = found[max(found)] if found else newest
            low, high = max(found, default=low - 1) + 1, min(set(asked.values()) - set(found), default=high)
        return low, newest

    async def _checked(self, plan: Plan) -> None:
        flaw = plan_flaw(plan)
        if flaw is not None:
            raise BadWebhook(*flaw)
        if plan.method == PUSH:
            try:
                await self._check(plan.url)
            except Barred as barred:
                raise BadWebhook("url", str(barred)) from None

    def _wrap(self, stream: bytes, secret: bytes) -> Wrapped:
        if not secret:
            return Wrapped()
        master = self._master()
        by = master.current
        return Wrapped(master.wrap(by, _name(stream), secret, secrets.token_bytes(NONCE_BYTES)), by)

    async def _submit(self, stream: bytes, decide: Decide, origin: Origin = Origin()) -> Outcome:
        outcome: Outcome = await self._ledger.submit(Streams(webhooks=frozenset((stream,))), decide, origin)
        return outcome


def plan_flaw(plan: Plan) -> Flaw | None:
    """What is wrong with a plan beside its address, the first thing only."""
    if plan.format not in {STANDARD, SET}:
        return Flaw("format", f"A format is {STANDARD} or {SET}.")
    if plan.method not in {PUSH, POLL} or (plan.method == POLL and plan.format != SET):
        return Flaw("method", "Events are pushed; only security event tokens can be polled.")
    if plan.method == POLL and plan.url:
        return Flaw("url", "Who polls needs no URL.")
    unknown = set(plan.signals.split()) - secevent.URIS.keys()
    if unknown or (plan.format == STANDARD and plan.signals):
        return Flaw("signals", f"Of {SET}, kinds are: {', '.join(secevent.URIS)}.")
    if plan.format == SET and plan.query:
        return Flaw("query", f"Of {SET}, the kinds of events say what is sent; there is no filter.")
    return _query_flaw(plan.query)


def _probes(low: int, high: int) -> Iterable[int]:
    """Numbers to look at for the first that was not used: all of the lowest, and ever further apart; then evenly."""
    if low == 0:
        return (*range(16), *(2**power - 1 for power in range(5, 31)))
    return range(low, high, max(1, (high - low) // 32))


def query_of(state: Webhook) -> Query | None:
    """What it wants, less what webhooks do themselves; None where that is no query any more."""
    query = parse(f"{state.query} {NOT_OURS}".strip())
    return None if isinstance(query, Mistake) else query


def _query_flaw(text: str) -> Flaw | None:
    query = parse(text)
    if isinstance(query, Mistake):
        return Flaw("query", f"At character {query.position + 1}: {query.told()}")
    if any(term.key in {"at", "position"} for term in query.terms):
        return Flaw("query", "A webhook follows the log from now on: leave out `at` and `position`.")
    if isinstance(parse(f"{text} {NOT_OURS}".strip()), Mistake):
        return Flaw("query", "This filter is too long.")
    return None


def _authorization(text: str) -> bytes:
    if len(text) > MAX_AUTHORIZATION or not (text.isascii() and text.isprintable()):
        raise BadWebhook("authorization", f"The header is at most {MAX_AUTHORIZATION} visible ASCII characters long.")
    return text.encode()


def _name(stream: bytes) -> str:
    return ids.to_text(PREFIX, stream)
