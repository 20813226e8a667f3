"""Searching families by filters, the latest begun first: through the table, odd ones by their index. Never writes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import budget, ids, reads, schema, selections
from events.budget import TooSlow
from events.conditions import People, any_of, compared, excluded
from events.family import CONTEXT, LIVING, Family
from events.fields import FAMILIES
from events.filters import Mistake, Query, Term, parse
from events.ledger import Unavailable
from events.planning import looked_up
from events.selections import Picked
from events.spans import moment
from events.tallies import COUNT_CAP, Count
from events.values import Is, Meaning, Span, Times

_F = schema.families.c
_OWNERS = schema.subjects
T = TypeVar("T")
_AT_ONCE = 500
_EARLIER = 3_600_000_000
"""Microseconds, far more than a sign-in takes from the making of its id to its commit."""


class Row(NamedTuple):
    """A family, and the login name of whose it is."""

    family: Family
    name: str


class FamilyPage(NamedTuple):
    """A stretch of what matches, the latest begun first."""

    rows: list[Row]
    older: bytes | None
    """`before` of the next page, None where this is the end."""
    total: Count | None = None


class FamilySearch:
    """Families as they are now, ended ones too. Every answer may be TooSlow instead; all methods raise Unavailable.

    `now` is the time that durations count from, in microseconds. Ids begin with the time, so their order is the order
    in which families began.
    """

    def __init__(self, engine: AsyncEngine, seconds: float = budget.SECONDS) -> None:
        self._engine = engine
        self._seconds = seconds

    async def page(
        self, query: Query, now: int, *, before: bytes | None = None, limit: int = 50, counted: bool = False
    ) -> FamilyPage | TooSlow:
        """The latest matches, or those that began before a family."""

        async def read(connection: AsyncConnection, found: list[ColumnElement[bool]]) -> FamilyPage:
            rows = await _rows(connection, found, before, limit + 1)
            total = None
            if counted:
                # what finds little has gone through everything already
                all_here = len(rows) <= limit and before is None
                total = Count(len(rows), capped=False) if all_here else await _count(connection, found)
            return FamilyPage(rows[:limit], rows[limit - 1].family.id if len(rows) > limit else None, total)

        return await self._read(query, now, read)

    async def count(self, query: Query, now: int) -> Count | TooSlow:
        """How many match."""
        return await self._read(query, now, _count)

    async def living(self, query: Query, now: int, limit: int) -> list[bytes] | TooSlow:
        """Ids of all living ones that match, the latest begun first: what a bulk action freezes.

        Ask for one more than may be.
        """

        async def read(connection: AsyncConnection, found: list[ColumnElement[bool]]) -> list[bytes]:
            wanted = select(_F.id).where(*found, _F.status == LIVING).order_by(_F.id.desc()).limit(limit)
            return list((await connection.execute(wanted)).scalars())

        return await self._read(query, now, read)

    async def named(self, streams: Sequence[bytes]) -> list[tuple[Row, str]]:
        """These families in their order, each with the login name and the roles of whose it is."""
        found: dict[bytes, tuple[Row, str]] = {}
        joined = schema.families.outerjoin(_OWNERS, _OWNERS.c.id == _F.subject)
        query = select(schema.families, _OWNERS.c.name, _OWNERS.c.roles).select_from(joined)
        async with reads.snapshot(self._engine) as connection:
            for start in range(0, len(streams), _AT_ONCE):
                wanted = query.where(_F.id.in_(streams[start : start + _AT_ONCE]))
                for row in await connection.execute(wanted):
                    found[row[0]] = Row(Family(*row[:-2]), row[-2] or ""), row[-1] or ""
        return [found[one] for one in streams if one in found]

    async def made_of(self, streams: Sequence[bytes]) -> Picked:
        """What these families are, counted by user and client."""
        return await selections.made_of(self._engine, streams)

    async def started_since(self, text: str, at: int, limit: int) -> tuple[bytes, ...]:
        """Living families that match a query as it was typed and began at a time or later, in microseconds.

        Raises Unavailable rather than answer late.
        """
        query = parse(text, FAMILIES)
        if isinstance(query, Mistake):
            return ()

        async def read(connection: AsyncConnection) -> tuple[bytes, ...]:
            people = await looked_up(connection, query)
            now = (await connection.execute(select(schema.head.c.last_at))).scalar_one()
            found = [_condition(query, term, people, now) for term in query.terms]
            # an id is a moment older than what it names, and its time is its order
            first = ids.new_id(at - _EARLIER, bytes(ids.RANDOM_BYTES))
            new = (_F.id >= first, _F.started_at >= at, _F.status == LIVING)
            wanted = select(_F.id).where(*new, *found).order_by(_F.id).limit(limit)
            return tuple((await connection.execute(wanted)).scalars())

        answer = await budget.within(self._engine, read, self._seconds)
        if isinstance(answer, TooSlow):
            raise Unavailable
        return answer

    async def _read(
        self, query: Query, now: int, read: Callable[[AsyncConnection, list[ColumnElement[bool]]], Awaitable[T]]
    ) -> T | TooSlow:
        async def both(connection: AsyncConnection) -> T:
            people = await looked_up(connection, query)
            return await read(connection, [_condition(query, term, people, now) for term in query.terms])

        return await budget.within(self._engine, both, self._seconds)


async def _rows(
    connection: AsyncConnection, found: list[ColumnElement[bool]], before: bytes | None, limit: int
) -> list[Row]:
    cursor = [] if before is None else [_F.id < before]
    few = select(schema.families).where(*found, *cursor).order_by(_F.id.desc()).limit(limit).subquery()
    named: Select[*tuple[Any, ...]] = select(few, _OWNERS.c.name).outerjoin_from(
        few, _OWNERS, _OWNERS.c.id == few.c.subject
    )
    rows = await connection.execute(named.order_by(few.c.id.desc()))
    return [Row(Family(*row[:-1]), row[-1] or "") for row in rows]


async def _count(connection: AsyncConnection, found: list[ColumnElement[bool]]) -> Count:
    few = select(_F.id).where(*found).limit(COUNT_CAP + 1).subquery()
    number = (await connection.execute(select(func.count()).select_from(few))).scalar_one()
    return Count(min(number, COUNT_CAP), number > COUNT_CAP)


def _condition(query: Query, term: Term, people: People, now: int) -> ColumnElement[bool]:
    field = query.fields.by_name[term.key]
    condition = any_of([_matches(field.key, field.column, value.meaning, people, now) for value in term.values])
    return excluded(condition) if term.exclude else condition


def _matches(key: str, column: str, meaning: Meaning, people: People, now: int) -> ColumnElement[bool]:
    match key, meaning:
        case "is" | "has", Is(str(word)):
            return _STATES[word]
        case _, Times(low, high):
            # 0 says that it has not happened
            return (_F[column] > 0) & compared(Span(moment(low, now), moment(high, now)), _F[column], people)
        case _:
            return compared(meaning, _F[column], people)


# Both are spelled out, not bound: as in `schema.SUSPICIOUS`, whose index serves them.
_REUSED = _F.reused_at > literal_column("0")
_STATES: dict[str, ColumnElement[bool]] = {
    "living": _F.status == LIVING,
    "revoked": _F.status == "revoked",
    "expired": _F.status == "expired",
    "ended": _F.status != LIVING,
    "suspicious": _REUSED | (_F.ended_by == literal_column("'policy'")),
    "reuse": _REUSED,
    "refusals": _F.refusals != "",
    "device": _F.device != "",
    **{f"{what}_change": _F.changed.contains(what) for what in CONTEXT},
}
