"""Security event tokens that their receiver fetches (RFC 8936): what is offered until it is acknowledged."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Final, NamedTuple

from core import message, secevent
from core.outbox import Source, following, works
from core.posting import Poster
from core.revocations import Watch
from core.sharing import Shared
from core.waits import LONGEST, Waits
from core.webhooks import Webhooks
from events import deliveries
from events.deliveries import DEAD, DELIVERED, WAITING, Cursor, Delivery, DeliveryReader
from events.webhook import POLL, Webhook, WebhookReplayed
from events.writer import Writer

MOST: Final = 100
"""Tokens of one answer."""


class Ask(NamedTuple):
    """What a receiver says and wants. `errors` are codes by the ids of the tokens that it does not take."""

    most: int = MOST
    immediately: bool = False
    acknowledged: frozenset[str] = frozenset()
    errors: Mapping[str, str] = {}


class Offered(NamedTuple):
    """Tokens by their ids, and whether there are more."""

    tokens: dict[str, str]
    more: bool

    def __repr__(self) -> str:
        return f"Offered({len(self.tokens)} tokens)"


class Look(NamedTuple):
    """What a stream has to offer at one moment, for all who asked for it."""

    position: int
    """Up to where the log was looked at."""
    polled: bool = True
    """Whether there can be anything later."""
    names: tuple[str, ...] = ()
    """Ids of the oldest tokens that wait."""
    waiting: int = 0
    """How many wait in all."""
    token: Callable[[str], str | None] = lambda _: None
    """By its id; signed once, however many are told of it."""

    def __repr__(self) -> str:
        return f"Look({self.waiting} waiting)"


class Polling:
    """Offers, and remembers what was acknowledged. Everything raises Unavailable and KeyUnavailable.

    `growth` is told of what concerns a receiver of tokens, see `WebhookReader.newest`, and of nothing else.
    """

    def __init__(
        self,
        webhooks: Webhooks,
        poster: Poster,
        reader: DeliveryReader,
        source: Source,
        writer: Writer,
        growth: Watch,
    ) -> None:
        self._webhooks = webhooks
        self._poster = poster
        self._reader = reader
        self._source = source
        self._writer = writer
        self._growth = growth
        self._streams = Shared(webhooks.stream_of)
        self._looks = Shared(self._look)
        self._waits = Waits()

    async def stream_of(self, owner: str) -> Webhook | None:
        """The stream of a client, found once for all of its polls that ask at a time."""
        return await self._streams.get(owner)

    async def poll(self, stream: bytes, ask: Ask) -> Offered:
        """Take what was acknowledged out, then offer the oldest of the rest; wait for one if there is none."""
        await self._settle(stream, ask)
        found = await self._looks.get(stream)
        if not ask.immediately and ask.most:
            found = await self._waited(stream, found)
        tokens = {name: found.token(name) for name in found.names[: ask.most]}
        told = {name: token for name, token in tokens.items() if token is not None}
        return Offered(told, more=found.waiting > ask.most)

    async def _waited(self, stream: bytes, found: Look) -> Look:
        """The first look that found something, or the last one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST) as limit:
                with self._waits.one_more(stream, limit):
                    while found.polled and not found.names and await self._growth.beyond(found.position, LONGEST):
                        found = await self._looks.get(stream)
        return found

    async def _settle(self, stream: bytes, ask: Ask) -> None:
        """If we crash inside, what was acknowledged is offered again."""
        if not ask.acknowledged and not ask.errors:
            return
        known = await self._named(await self._reader.waiting(stream))
        now, rows = self._writer.now(), []
        for name, row in known.items():
            if name in ask.acknowledged:
                rows.append(row._replace(status=DELIVERED, tries=row.tries + 1, at=now))
            elif name in ask.errors:
                code = ask.errors[name] if ask.errors[name] in secevent.ERRORS else "invalid_request"
                await self._webhooks.dead_letter(stream, row.position, row.tries + 1, code)
                rows.append(row._replace(status=DEAD, tries=row.tries + 1, at=now, reason=code))
        if rows:
            await self._writer.maintain(deliveries.settle(stream, rows))

    async def _look(self, stream: bytes) -> Look:
        """What waits, oldest first, filled up from the log. The webhook as it is now: it may have been switched off."""
        state = await self._webhooks.get(stream)
        if state is None or state.method != POLL:
            return Look(-1, polled=False)
        if not works(self._source, state):
            return Look(await self._source.history.newest())
        cursor = await self._reader.cursor(stream) or Cursor(stream, await self._webhooks.reader.begun(stream))
        position, waiting = cursor.position, await self._reader.waiting(stream)
        if len(waiting) <= MOST:
            position, waiting = await self._filled(state, cursor, waiting)
        known = await self._named(waiting[:MOST])
        return Look(position, True, tuple(known), len(waiting), await self._signing(state, known))

    async def _filled(self, state: Webhook, cursor: Cursor, waiting: list[Delivery]) -> tuple[int, list[Delivery]]:
        """Up to where the log was looked at, and what waits then.

        That there was nothing in a few events is not worth a transaction: they are looked at again.
        """
        found, until = await following(self._source, state, cursor.position, MOST)
        if not found and until < cursor.position + MOST:
            return until, waiting
        for one in found:
            if isinstance(one.fact, WebhookReplayed):
                position = None if one.fact.position < 0 else one.fact.position
                await self._writer.maintain(deliveries.revive(state.id, position))
        told = [one for one in found if self._poster.claims(state, one, "") is not None]
        rows = [Delivery(state.id, one.position, one.stream, WAITING) for one in told]
        await self._writer.maintain(deliveries.save(cursor._replace(position=until), rows))
        return until, await self._reader.waiting(state.id)

    async def _signing(self, state: Webhook, rows: dict[str, Delivery]) -> Callable[[str], str | None]:
        if not rows:
            return lambda _: None
        events = {one.position: one for one in await self._source.history.at(row.position for row in rows.values())}
        return cache(lambda name: self._poster.token(state, events[rows[name].position], name))

    async def _named(self, rows: list[Delivery]) -> dict[str, Delivery]:
        """Rows by the ids of their tokens, in the log's order."""
        origins = await self._webhooks.reader.origins() if rows else None
        return {message.id_of(origins.at(row.position), row.position): row for row in rows} if origins else {}
