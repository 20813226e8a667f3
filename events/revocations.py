"""Reading what was revoked and may still be presented: families, signing keys, clients' own tokens. Never writes.

An entry is there for as long as an access token that it is about may be good somewhere: no longer than the longest
life that an access token can have, and some skew.
"""

from typing import Any, Final, NamedTuple

from sqlalchemy import CompoundSelect, Select, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import catalogue, cursor, ids, reads, schema
from events.client import AccessRevoked
from events.conditions import unindexed
from events.cursor import Unread
from events.family import PREFIX, FamilyExpired, FamilyRevoked
from events.key import KeyRevoked
from events.positions import positions_at

LONGEST: Final = 3600
"""Seconds that an access token lives at most, whatever was configured when it was signed."""
SKEW: Final = 60
"""Seconds that a verifier's clock may be behind."""
MOST: Final = 1_000
"""Entries of one answer."""
ENDINGS: Final = (FamilyRevoked.CODE, FamilyExpired.CODE)
OTHERS: Final = (KeyRevoked.CODE, AccessRevoked.CODE)

_E, _F, _SECOND = schema.events.c, schema.families.c, 1_000_000


class Entry(NamedTuple):
    """What must be refused, and until when it may be presented."""

    kind: str
    """`session` (a family: the claim `sid`), `key` (`kid`), `client` (tokens that a client holds for itself)."""
    name: str
    at: int
    """Microseconds; of a client, its tokens that were issued up to this are meant."""
    reason: str
    until: int
    """Seconds: by then the last access token that this is about has expired."""


class Slice(NamedTuple):
    """Entries in the log's order, and where to go on."""

    entries: list[Entry]
    position: int
    """All that was revoked up to here is known to who applied this and what came before."""
    cursor: str
    more: bool
    """Whether there is more already."""
    origin: str
    issued_before: int
    """Seconds: tokens issued before this are refused, whatever family they are of; 0 where none are."""


class Place(NamedTuple):
    """How far the log goes, and under which name."""

    size: int
    origin: str
    recovered_at: int


class RevocationReader:
    """Revocations as committed at the moment of asking. All methods raise Unavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def place(self) -> Place:
        """What cursors are held against."""
        async with reads.snapshot(self._engine) as connection:
            return await place(connection)

    async def newest(self) -> int:
        """Position of the last revocation of any kind, -1 where there is none. A few point reads."""
        async with reads.snapshot(self._engine) as connection:
            return max(-1 if one is None else one for one in (await connection.execute(_NEWEST)).one())

    async def after(
        self, given: str | None, now: int, *, client: str | None = None, limit: int = MOST
    ) -> Slice | Unread:
        """The next entries behind a cursor, or the first of all that matter at `now` (microseconds).

        With a `client`, families of that one only, and signing keys, which concern everybody.
        """
        async with reads.snapshot(self._engine) as connection:
            size, origin, recovered_at = await place(connection)
            position = -1 if given is None else cursor.read(given, origin, size)
            if isinstance(position, Unread):
                return position
            start = (await positions_at(connection, [now - (LONGEST + SKEW) * _SECOND], size))[0]
            query = _entries(max(position, start - 1), now // _SECOND - SKEW, client, limit + 1)
            rows = (await connection.execute(query)).all()
        more = len(rows) > limit
        last = rows[limit - 1].position if more else size - 1
        found = [_entry(row) for row in rows[:limit]]
        return Slice(found, last, cursor.text(origin, last), more, origin, recovered_at // _SECOND)


async def place(connection: AsyncConnection) -> Place:
    """Of the log on this connection."""
    row = (await connection.execute(_PLACE)).one()
    return Place(*row)


_PLACE = select(schema.head.c.size, schema.log.c.origin, schema.log.c.recovered_at).select_from(
    schema.head.join(schema.log, literal(True))
)
_NEWEST = select(
    *(
        select(_E.position).where(_E.type == code).order_by(_E.position.desc()).limit(1).scalar_subquery()
        for code in (*ENDINGS, *OTHERS)
    )
)


def _entries(after: int, alive: int, client: str | None, limit: int) -> CompoundSelect[Any]:
    """One arm for each type, so that each goes along the index in the log's order and stops after `limit` rows."""
    arms = [_arm(code, after, alive, client, limit) for code in (*ENDINGS, *OTHERS)]
    return union_all(*(select(arm.subquery()) for arm in arms)).order_by("position").limit(limit)


def _arm(code: int, after: int, alive: int, client: str | None, limit: int) -> Select[Any]:
    columns = (_E.position, _E.at, _E.stream, _E.type, _E.body)
    if code in ENDINGS:
        joined = schema.events.join(schema.families, _F.id == _E.stream)
        query = select(*columns, _F.access_until).select_from(joined).where(_F.access_until > alive)
    else:
        query = select(*columns, literal(0).label("access_until"))
    if client is not None and code != KeyRevoked.CODE:
        # along the types, which are few rows: a client's own index holds every refresh
        query = query.where(unindexed(_E.client) == client)
    return query.where(_E.type == code, _E.position > after).order_by(_E.position).limit(limit)


def _entry(row: Any) -> Entry:
    fact = catalogue.decode(row.type, row.body)
    match fact:
        case FamilyRevoked() | FamilyExpired():
            return Entry("session", ids.to_text(PREFIX, row.stream), row.at, fact.reason, row.access_until)
        case KeyRevoked():
            return Entry("key", fact.key, row.at, fact.reason, row.at // _SECOND + LONGEST)
        case AccessRevoked():
            return Entry("client", fact.client, fact.issued * _SECOND, "access_revoked", fact.issued + LONGEST)
        case _:
            raise AssertionError(fact)
