"""Use cases of the ring of signing keys: first start, rotation, revocation, following others. Signs nothing."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from core import key, key_revocation, pair
from core.access import MAX_TTL
from core.action import Confirmed
from core.key import NewKey, Verdict
from core.master import NONCE_BYTES, MasterKeys
from core.ring import KeyRing, SigningKey, needs_private
from events.decision import Decide, Origin, Streams
from events.key import NEXT, RETIRED, REVOKED, Key
from events.ledger import Ledger

LEAD: Final = 3600
"""Seconds that a key is published before the scheduled rotation lets it sign."""
SKEW: Final = 60
"""Seconds that other clocks may be behind."""
_SECOND: Final = 1_000_000
_TRIES: Final = 5
"""How often a command is made again because another process changed the ring meanwhile."""


class KeyUnavailable(Exception):
    """There is no key to sign with. One sentence that says why."""


class KeyPolicy(NamedTuple):
    """Times in microseconds, as in `core.key.Rotate`."""

    algorithm: str
    period: int
    lead: int
    keep: int

    @classmethod
    def rotating(cls, algorithm: str, seconds: int) -> "KeyPolicy":
        """A new key every so many seconds; each is kept for the longest life that an access token can have."""
        return cls(algorithm, seconds * _SECOND, LEAD * _SECOND, (MAX_TTL + SKEW) * _SECOND)


class Keys:
    """The ring of this process, and the ways to change everybody's.

    `read` answers the states of all keys that the ledger ever had; `clock` microseconds since the epoch.
    """

    def __init__(
        self,
        ledger: Ledger,
        read: Callable[[], Awaitable[list[Key]]],
        master: MasterKeys,
        policy: KeyPolicy,
        clock: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._read = read
        self._master = master
        self._policy = policy
        self._clock = clock
        self._states: tuple[Key, ...] = ()
        self._reading = asyncio.Lock()
        self.ring = KeyRing()

    @property
    def states(self) -> tuple[Key, ...]:
        """All keys as last read, the oldest first."""
        return self._states

    @property
    def signing(self) -> SigningKey:
        """The key that signs. Raises `KeyUnavailable`."""
        if self.ring.signing is None:
            msg = "no signing key can be used: the master key that wraps it is missing or is not this ledger's"
            raise KeyUnavailable(msg)
        return self.ring.signing

    def published(self) -> dict[str, Any]:
        """The JWK set of now."""
        return self.ring.jwks(self._clock() / 1_000_000)

    async def refresh(self) -> bool:
        """Follows what other processes did; answers whether something had changed. Run every few seconds."""
        # One at a time: a slow reader must not put back a ring from before a revocation.
        async with self._reading:
            states = tuple(sorted(await self._read(), key=lambda one: (one.created_at, one.id)))
            if states == self._states:
                return False
            self.ring = KeyRing.of(states, self._master)
            self._states = states
            return True

    async def load(self) -> None:
        """Reads the ring. Raises `KeyUnavailable` where it cannot sign or a key in use does not unwrap."""
        await self.refresh()
        if self.ring.unreadable:
            msg = f"signing key {self.ring.unreadable[0]} cannot be unwrapped: its master key is missing or another"
            raise KeyUnavailable(msg)
        _ = self.signing

    async def ensure(self) -> None:
        """What every start does: makes the first keys, and publishes a next one where there is none."""
        await self.refresh()
        if not self._states:
            await self._start()
        await self.load()
        if self._following() is None:
            await self._publish()

    async def rotate(self, actor: str, origin: Origin = Origin(), *, force: bool = False) -> Verdict:
        """Rotates whether due or not; `force` even if the next key was published a moment ago."""
        lead = 0 if force else self._policy.lead
        return await self._rotate(actor, origin, period=0, lead=lead)

    async def rotate_if_due(self) -> Verdict:
        """The job: publishes a next key where there is none, and lets it sign when both keys are old enough."""
        now, following = self._clock(), self._following()
        if following is None:
            return await self._publish()
        due = key.due(self._states, self._policy.algorithm, self._policy.period, now)
        if not due or now < following.created_at + self._policy.lead:
            return Verdict.EARLY  # the rule decides, but a key that is not needed need not be made
        return await self._rotate("system", Origin(), period=self._policy.period, lead=self._policy.lead)

    async def revoke(self, kid: str, reason: str, actor: str, *, note: str = "", origin: Origin = Origin()) -> Verdict:
        """A key is compromised: from the answer on, this process refuses its tokens; others with their `refresh`."""
        await self.refresh()
        found = next((one.id for one in self._states if one.key == kid), None)
        if found is None:
            return Verdict.UNKNOWN
        return await self._submit(
            lambda known, new: key.revoke(key.Revoke(known, new, actor, found, reason, note)), origin
        )

    async def revoke_as(self, confirmed: Confirmed, kid: str, origin: Origin) -> Verdict:
        """As `revoke`, as an action with a receipt; `REPEATED` where that action was confirmed before."""
        await self.refresh()
        found = next((one.id for one in self._states if one.key == kid), None)
        if found is None:
            return Verdict.UNKNOWN

        def command(known: frozenset[bytes], new: NewKey) -> Decide:
            revoked = key.Revoke(known, new, confirmed.actor, found, confirmed.reason)
            return key_revocation.revoke(confirmed, revoked)

        return await self._submit(command, origin)

    def wrapped_by(self) -> dict[int, int]:
        """How many keys that are still needed each master key wraps, as last read."""
        return dict(Counter(one.wrapped_by for one in self._needed()))

    async def rewrap(self) -> int:
        """The job: wraps what an older master key wraps under the one that signs; answers how many keys that were.

        Any process can unwrap them at once, because a master key signs when all processes know it.
        """
        await self.refresh()
        number = self._master.current
        rewrapped = 0
        for one in self._needed():
            private = self._master.unwrap(one.wrapped_by, one.key, one.wrapped)
            if one.wrapped_by == number or private is None:
                continue
            wrapped = self._master.wrap(number, one.key, private, secrets.token_bytes(NONCE_BYTES))
            command = key.rewrap(key.Rewrap(one.id, one.wrapped, wrapped, number, "system"))
            verdict = Verdict(await self._ledger.submit(Streams(keys=frozenset((one.id,))), command))
            rewrapped += verdict is Verdict.REWRAPPED
        if rewrapped:
            await self.refresh()
        return rewrapped

    def _needed(self) -> list[Key]:
        now = self._clock()
        lasting = [one for one in self._states if one.status != REVOKED and needs_private(one)]
        return [one for one in lasting if one.status != RETIRED or one.retire_at > now]

    async def _rotate(self, actor: str, origin: Origin, *, period: int, lead: int) -> Verdict:
        keep = self._policy.keep
        return await self._submit(
            lambda known, new: key.rotate(key.Rotate(known, new, actor, period, lead, keep)), origin
        )

    async def _publish(self) -> Verdict:
        return await self._submit(lambda known, new: key.publish(key.Publish(known, new, "system")))

    async def _start(self) -> None:
        active, following = await self._made(0), await self._made(1)
        streams = Streams(keys=frozenset((active.stream, following.stream)))
        await self._ledger.submit(streams, key.start(key.Start(active, following, "system")))
        # If we crash here, the keys are there and the next start only reads them.
        await self.refresh()

    async def _submit(
        self, command: Callable[[frozenset[bytes], NewKey], Decide], origin: Origin = Origin()
    ) -> Verdict:
        """Submits with a new key beside the known ones; again with fresh ones while the ledger answers `STALE`."""
        verdict = Verdict.STALE
        for _ in range(_TRIES):
            known = frozenset(one.id for one in self._states)
            new = await self._made(len(known))
            verdict = Verdict(
                await self._ledger.submit(Streams(keys=known | {new.stream}), command(known, new), origin)
            )
            await self.refresh()
            if verdict is not Verdict.STALE:
                break
        return verdict

    def _following(self) -> Key | None:
        waiting = (one for one in self._states if one.status == NEXT and one.algorithm == self._policy.algorithm)
        return next(waiting, None)

    async def _made(self, number: int) -> NewKey:
        # Off the event loop: an RSA key takes up to seconds.
        made = await asyncio.to_thread(pair.generate, self._policy.algorithm)
        under = self._master.current
        wrapped = self._master.wrap(under, made.kid, made.private, secrets.token_bytes(NONCE_BYTES))
        return NewKey(key.stream_of(number), made.kid, made.algorithm, made.public, wrapped, under)
