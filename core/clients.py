"""Use cases of clients: register, change, prove; and following what other processes did. Knows no HTTP."""

import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from core import client
from core.application import Flaw, flaw
from core.client import MAX_KEEP, Outcome, Rotate
from core.policy import DASHBOARD, WEB
from events.client import CONFIDENTIAL, Client, ClientRegistered, stream_of
from events.decision import Decide, Origin, Streams
from events.ledger import Ledger

BUILT_IN = (
    ClientRegistered(actor="system", client=WEB),
    ClientRegistered(actor="system", client=DASHBOARD, idle_ttl=15 * 60, absolute_ttl=12 * 3600, leeway=60),
)
SECRET_PREFIX: Final = "slc_"  # noqa: S105 - how one begins
"""For secret scanners: a client's secret is this and 43 base64url characters, 256 random bits."""
DAY: Final = 86_400


class BadPolicy(ValueError):
    """A client's policy cannot be so; the text is a sentence for people."""

    def __init__(self, wrong: Flaw) -> None:
        super().__init__(wrong.text)
        self.flaw = wrong


class Made(NamedTuple):
    """What became of a command, and the secret that it made: told this once, kept by nobody here."""

    outcome: Outcome
    secret: str = ""

    def __repr__(self) -> str:
        return f"Made(outcome={self.outcome!r})"


class Clients:
    """The clients as last read; `refresh` follows changes of other processes."""

    def __init__(self, ledger: Ledger, read: Callable[[], Awaitable[list[Client]]]) -> None:
        self._ledger = ledger
        self._read = read
        self._known: dict[str, Client] = {}
        self._begun = self._taken = 0
        self.followed: Callable[[list[Client]], None] = lambda _clients: None
        """Told of all clients each time they were read."""
        self.origins: frozenset[str] = frozenset()
        """Of all enabled clients' pages."""

    def get(self, name: str) -> Client | None:
        """The client of this name, disabled ones too."""
        return self._known.get(name)

    def all(self) -> list[Client]:
        """All of them, by name."""
        return sorted(self._known.values(), key=lambda one: one.client)

    async def refresh(self) -> None:
        """Read all clients, which are few. Run every few seconds.

        A reading that began before another one that is in already may be of before a change that its author was told
        of: it is not taken.
        """
        self._begun += 1
        turn = self._begun
        found = await self._read()
        if turn < self._taken:
            return
        self._taken = turn
        self._known = {one.client: one for one in found}
        enabled = (one for one in self._known.values() if one.enabled)
        self.origins = frozenset(origin for one in enabled for origin in one.origins.split())
        self.followed(found)

    async def ensure(self) -> None:
        """A new ledger has two clients, `web` and `dashboard`."""
        await self.refresh()
        for fact in BUILT_IN:
            if fact.client not in self._known:
                await self._submit(fact.client, client.register(fact))

    async def register(self, fact: ClientRegistered, origin: Origin = Origin()) -> Made:
        """Create a client; a confidential one gets its first secret. Raises BadPolicy."""
        wrong = flaw(fact)
        if wrong is not None:
            raise BadPolicy(wrong)
        secret = _new_secret() if fact.type == CONFIDENTIAL and not fact.keys_only else ""
        decide = client.register(fact, _hashed(secret) if secret else "")
        outcome: Outcome = await self._submit(fact.client, decide, origin)
        return Made(outcome, secret if outcome is Outcome.DONE else "")

    async def update(self, name: str, actor: str, changes: Mapping[str, Any], origin: Origin = Origin()) -> Outcome:
        """Change some of a client's policy. Raises BadPolicy."""
        outcome: Outcome | Flaw = await self._submit(name, client.update(name, actor, changes), origin)
        if isinstance(outcome, Flaw):
            raise BadPolicy(outcome)
        return outcome

    async def rotate_secret(self, name: str, actor: str, keep: int = DAY, origin: Origin = Origin()) -> Made:
        """A new secret; the one before is good for `keep` more seconds. Raises BadPolicy."""
        if not 0 <= keep <= MAX_KEEP:
            raise BadPolicy(Flaw("keep", f"The secret before can be kept for 0 to {MAX_KEEP} seconds."))
        secret = _new_secret()
        decide = client.rotate_secret(Rotate(name, _hashed(secret), keep, actor))
        outcome: Outcome = await self._submit(name, decide, origin)
        return Made(outcome, secret if outcome is Outcome.DONE else "")

    async def set_enabled(self, name: str, actor: str, origin: Origin = Origin(), *, enabled: bool) -> Outcome:
        """Disable a client, whose families then refuse to refresh; or enable it."""
        outcome: Outcome = await self._submit(name, client.set_enabled(name, actor, enabled=enabled), origin)
        return outcome

    async def revoke_access(self, name: str, actor: str, origin: Origin = Origin()) -> Outcome:
        """Refuse all access tokens that a client holds for itself; other processes follow within seconds."""
        outcome: Outcome = await self._submit(name, client.revoke_access(name, actor), origin)
        return outcome

    async def _submit(self, name: str, decide: Decide, origin: Origin = Origin()) -> Any:
        outcome = await self._ledger.submit(Streams(clients=frozenset((stream_of(name),))), decide, origin)
        await self.refresh()
        return outcome


def proves(state: Client | None, given: str, now: int | None = None) -> bool:
    """Whether this is a secret of the client, in a time that says nothing of it. `now` in microseconds."""
    now = time.time_ns() // 1000 if now is None else now
    offered = _hashed(given)
    newest = state.secret if state else ""
    before = state.secret_before if state and now < state.before_until else ""
    fits = [hmac.compare_digest(offered.encode(), (one or _NOBODY).encode()) for one in (newest, before)]
    return any(fits)


def _new_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def _hashed(secret: str) -> str:
    """base64url SHA-256, 43 characters."""
    return urlsafe_b64encode(sha256(secret.encode("utf-8", "surrogatepass")).digest())[:43].decode()


_NOBODY: Final = "-" * 43
"""No hash is this (its last character has two zero bits): what is compared where there is no secret."""
