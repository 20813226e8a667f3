"""Taking master keys out of use: what still stands under each, from when it may go, and the emergency brake."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from core import master_revocation
from core.action import Confirmed
from core.master_revocation import Outcome, Revoke
from core.repeat import MEMORY
from core.ring import needs_private
from events import heads, processes, reads
from events.decision import Origin, Streams
from events.families import FamilyReader, Reach
from events.key import RETIRED, Key
from events.ledger import Ledger
from events.log import STREAM
from events.processes import Process, Signing
from events.standing import Standing


class Place(NamedTuple):
    """What the ledger says of its master keys."""

    numbers: tuple[int, ...]
    """All that it was ever used with."""
    signing: Signing
    processes: tuple[Process, ...]
    revoked: frozenset[int]
    secrets: Mapping[int, int]
    """How many secrets of webhooks each wraps; those of one-time codes are in `Standing`."""


class Line(NamedTuple):
    """One master key."""

    number: int
    signs: bool
    revoked: bool
    known_by: int
    """Living processes that know it."""
    families: int | None
    """That live under it, None where nobody has counted yet."""
    signing_keys: int
    """Still needed, and wrapped under it."""
    secrets: int
    """Of webhooks and one-time codes, wrapped under it: they move when they are renewed or used."""
    free_at: int | None
    """From when it may be taken away, microseconds; None where it may not: it signs, will sign next, wraps, or nobody
    has counted yet."""


def lines(place: Place, standing: Mapping[int, Standing] | None, keys: Iterable[Key], now: int) -> tuple[Line, ...]:
    """Each master key that the ledger knows, the one that signs first, then the newest numbers.

    `standing` is what was counted last, None where nothing was: just after a start.
    """
    needed = (one for one in keys if needs_private(one) and (one.status != RETIRED or one.retire_at > now))
    wrapped = Counter(one.wrapped_by for one in needed)
    order = sorted(place.numbers, key=lambda number: (number != place.signing.number, -number))
    under = [None if standing is None else standing.get(number, Standing()) for number in order]
    return tuple(_line(number, place, one, wrapped[number]) for number, one in zip(order, under, strict=True))


def _line(number: int, place: Place, standing: Standing | None, wrapped: int) -> Line:
    signs, revoked = number == place.signing.number, number in place.revoked
    waits = any(number == one.numbers[0] for one in place.processes)
    secrets = place.secrets.get(number, 0) + (standing.secrets if standing else 0)
    free_at = (
        None
        if signs or waits or wrapped or secrets or standing is None
        else max(standing.until, 0 if revoked else place.signing.since + MEMORY)
    )
    known_by = sum(number in one.numbers for one in place.processes)
    return Line(number, signs, revoked, known_by, standing.families if standing else None, wrapped, secrets, free_at)


class Retirement:
    """Looks, and pulls the brake. Every method raises Unavailable."""

    def __init__(self, ledger: Ledger, engine: AsyncEngine, families: FamilyReader) -> None:
        self._ledger = ledger
        self._engine = engine
        self._families = families

    async def place(self, now: int) -> Place:
        """What the ledger says now (microseconds)."""
        async with reads.snapshot(self._engine) as connection:
            return await connection.run_sync(_place, now)

    async def reach_of(self, number: int) -> Reach:
        """Whom a revocation would hit now."""
        return await self._families.reach_of(number)

    async def revoke(self, confirmed: Confirmed, number: int, planned: int, now: int, origin: Origin) -> Outcome:
        """From the answer on, no refresh token under the key is taken; carrying out the action ends its families.

        Idempotent. `SIGNS` where the key signs somewhere: those families would be made for nothing.
        """
        place = await self.place(now)
        if number == place.signing.number or any(number == one.signs for one in place.processes):
            return Outcome.SIGNS
        streams = Streams(actions=frozenset((confirmed.action,)), logs=frozenset((STREAM,)))
        decide = master_revocation.revoke(Revoke(confirmed, number, planned))
        return Outcome(await self._ledger.submit(streams, decide, origin))


def _place(connection: Connection, now: int) -> Place:
    return Place(
        tuple(sorted(heads.key_checks(connection))),
        processes.signing_of(connection),
        processes.living(connection, now),
        frozenset(processes.revoked(connection)),
        processes.secrets(connection, now),
    )
