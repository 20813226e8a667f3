"""What happened in the last 24 hours, in numbers and in the few events that somebody should look at. Never writes."""

from bisect import bisect_right
from collections import Counter
from typing import Final, NamedTuple

from sqlalchemy import Text, cast, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import budget, catalogue, history, schema
from events.budget import TooSlow
from events.fact import Fact
from events.family import FamilyRevoked, TokenIssued, TokenRefused, TokenRetried, TokenReuseDetected, TokenRotated
from events.history import Event
from events.positions import positions_at
from events.subject import SubjectLoginBlocked, SubjectLoginFailed

HOUR: Final = 3_600 * 1_000_000
HOURS: Final = 24
COUNTED: Final = (TokenIssued, TokenRetried, TokenReuseDetected, TokenRefused, FamilyRevoked, SubjectLoginFailed)
"""Seldom enough to be counted one by one; rotations are far more, and only a minute of them is."""
CAP: Final = 20_000
"""Events of one type that are counted; beyond it a bar says `more`."""
ALERTS: Final = 12
LOOKED_AT: Final = 500
"""Retries and refusals that are looked into: where they came from, and why."""

_E = schema.events.c


class Overview(NamedTuple):
    """The last 24 hours as of a size of the log."""

    size: int
    last_at: int
    hours: list[int]
    """Where each of the 24 hours begins, in microseconds, the last one ending now."""
    all: list[int]
    """Events in each hour."""
    by_type: dict[str, list[int]]
    """Of the counted types, events in each hour, by name."""
    capped: bool
    rotations: int
    """Refreshes in the last five minutes."""
    alerts: list[Event]
    """Reuses and blocks of sign-in, newest first."""
    retries: list[tuple[str, int, int]]
    """Clients whose tokens came twice in time: name, how often, and how often from another network."""
    ahead: int
    """Tokens newer than the ledger knows: commits were lost."""


class OverviewReader:
    """Reads it within a budget of time. Raises Unavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self, now: int) -> Overview | TooSlow:
        """The overview at a time, in microseconds."""
        return await budget.within(self._engine, lambda connection: _read(connection, now))


async def _read(connection: AsyncConnection, now: int) -> Overview:
    head = (await connection.execute(select(schema.head.c.size, schema.head.c.last_at))).one()
    hours = [now - (HOURS - number) * HOUR for number in range(HOURS)]
    *edges, recent = await positions_at(connection, [*hours, now - 300 * 1_000_000], head.size)
    found = await _positions(connection, edges[0])
    rotations = select(func.count()).where(_E.type == TokenRotated.CODE, _E.position >= recent)
    return Overview(
        size=head.size,
        last_at=head.last_at,
        hours=hours,
        all=[high - low for low, high in zip(edges, [*edges[1:], head.size], strict=True)],
        by_type={fact.TYPE: _in_hours(found[fact.CODE], edges) for fact in COUNTED},
        capped=any(len(positions) > CAP for positions in found.values()),
        rotations=(await connection.execute(rotations)).scalar_one(),
        alerts=await _newest(connection, (TokenReuseDetected.CODE, SubjectLoginBlocked.CODE), edges[0], ALERTS),
        retries=_by_client(await _facts(connection, TokenRetried.CODE, edges[0])),
        ahead=_ahead(await _facts(connection, TokenRefused.CODE, edges[0])),
    )


async def _positions(connection: AsyncConnection, low: int) -> dict[int, list[int]]:
    """Where the newest events of each counted type stand, in order: from the index alone, in one statement."""
    each = (
        select(_E.type, _E.position)
        .where(_E.type == fact.CODE, _E.position >= low)
        .order_by(_E.position.desc())
        .limit(CAP + 1)
        .subquery()
        for fact in COUNTED
    )
    together = union_all(
        *(select(func.max(one.c.type), func.aggregate_strings(cast(one.c.position, Text), " ")) for one in each)
    )
    rows = (await connection.execute(together)).all()
    found: dict[int, list[int]] = {fact.CODE: [] for fact in COUNTED}
    found.update({row[0]: sorted(map(int, row[1].split())) for row in rows if row[0] is not None})
    return found


async def _newest(connection: AsyncConnection, codes: tuple[int, ...], low: int, limit: int) -> list[Event]:
    found: list[Event] = []
    for code in codes:  # one by one, because each is a stretch of the index on type
        query = history.selected().where(_E.type == code, _E.position >= low).order_by(_E.position.desc()).limit(limit)
        found += await history.fetch(connection, query)
    return sorted(found, key=lambda event: -event.position)[:limit]


async def _facts(connection: AsyncConnection, code: int, low: int) -> list[Fact]:
    """The newest of one type, without who and where."""
    newest = select(_E.body).where(_E.type == code, _E.position >= low).order_by(_E.position.desc()).limit(LOOKED_AT)
    return [catalogue.decode(code, row.body) for row in await connection.execute(newest)]


def _in_hours(positions: list[int], edges: list[int]) -> list[int]:
    counts = [0] * len(edges)
    for position in positions:
        counts[bisect_right(edges, position) - 1] += 1
    return counts


def _by_client(retries: list[Fact]) -> list[tuple[str, int, int]]:
    facts = [fact for fact in retries if isinstance(fact, TokenRetried)]
    times = Counter(fact.client for fact in facts)
    moved = Counter(fact.client for fact in facts if fact.network_tag)
    return [(client, count, moved[client]) for client, count in times.most_common(5)]


def _ahead(refused: list[Fact]) -> int:
    return sum(isinstance(fact, TokenRefused) and fact.reason == "ahead" for fact in refused)
