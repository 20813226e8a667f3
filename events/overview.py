"""What happened in the last 24 hours, in numbers and in the few events that somebody should look at. Never writes."""

import ipaddress
from bisect import bisect_right
from collections import Counter
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Text, and_, cast, func, literal_column, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import budget, catalogue, history, private, schema
from events.budget import TooSlow
from events.conditions import unindexed
from events.fact import Fact
from events.factor import SubjectFactorFailed
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
MANY: Final = 5
"""Users, for whom wrong passwords came from one address, that are too many for one household or a mistyping office."""
GUESSERS: Final = 3
LOOKED_AT: Final = 500
"""Retries and refusals that are looked into: where they came from, and why."""

_E = schema.events.c
_P = schema.event_private.c
_ORDINARY: Final[ColumnElement[str]] = literal_column(f"'{schema.ORDINARY_ACTOR}'")
"""Said, so that the index on actor may be used, which leaves it out."""


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
    """Reuses, blocks of sign-in, and families whose policy refused or ended them in another country, newest first."""
    retries: list[tuple[str, int, int]]
    """Clients whose tokens came twice in time: name, how often, and how often from another network."""
    ahead: int
    """Tokens newer than the ledger knows: commits were lost."""
    guessers: list["Guesser"]
    """Addresses from which passwords of many were tried, those of most users first."""


class Guesser(NamedTuple):
    """An address from which wrong passwords came for several users."""

    ip: str
    wrong: int
    users: int
    """For how many of whom there is an account."""
    signed_in: int
    """Sessions that began from there in the same time: passwords that fitted."""
    last_at: int


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
        alerts=await _alerts(connection, edges[0]),
        retries=_by_client(await _facts(connection, TokenRetried.CODE, edges[0])),
        ahead=_ahead(await _facts(connection, TokenRefused.CODE, edges[0])),
        guessers=await _guessers(connection, edges[0]) if found[SubjectLoginFailed.CODE] else [],
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


async def _alerts(connection: AsyncConnection, low: int) -> list[Event]:
    found = await _newest(connection, (TokenReuseDetected.CODE, SubjectLoginBlocked.CODE), low, ALERTS)
    found += await _abroad(connection, low)
    found += [one for one in await _newest(connection, (SubjectFactorFailed.CODE,), low, ALERTS) if _is_odd(one.fact)]
    return sorted(found, key=lambda event: -event.position)[:ALERTS]


def _is_odd(fact: Fact) -> bool:
    """Whether a second factor that did not fit is more than mistyping: guessed, used before, or copied."""
    return isinstance(fact, SubjectFactorFailed) and (fact.reason != "wrong" or bool(fact.until))


async def _abroad(connection: AsyncConnection, low: int) -> list[Event]:
    """Of each family whose policy said no to another country, the newest time: a thief asks again and again."""
    of_policy = and_(unindexed(_E.type) == FamilyRevoked.CODE, _E.actor == "policy", _E.actor != _ORDINARY)
    newest: dict[bytes, int] = {}
    for which in (_E.type == TokenRefused.CODE, of_policy):
        few = select(_E.position, _E.type, _E.stream, _E.body).where(which, _E.position >= low)
        for row in await connection.execute(few.order_by(_E.position.desc()).limit(LOOKED_AT)):
            fact = catalogue.decode(row.type, row.body)
            if getattr(fact, "reason", "") == "country_changed":
                newest[row.stream] = max(row.position, newest.get(row.stream, 0))
    if not newest:
        return []
    latest = sorted(newest.values())[-ALERTS:]
    return await history.fetch(connection, history.selected().where(_E.position.in_(latest)))


async def _newest(connection: AsyncConnection, codes: tuple[int, ...], low: int, limit: int) -> list[Event]:
    found: list[Event] = []
    for code in codes:  # one by one, because each is a stretch of the index on type
        query = history.selected().where(_E.type == code, _E.position >= low).order_by(_E.position.desc()).limit(limit)
        found += await history.fetch(connection, query)
    return sorted(found, key=lambda event: -event.position)[:limit]


async def _guessers(connection: AsyncConnection, low: int) -> list[Guesser]:
    """Of the newest wrong passwords, where those for many users came from, and how often it worked."""
    newest = (
        select(_E.position, _E.subject, _E.at)
        .where(_E.type == SubjectLoginFailed.CODE, _E.position >= low)
        .order_by(_E.position.desc())
        .limit(LOOKED_AT)
        .subquery()
    )
    users = func.count(newest.c.subject.distinct())
    query = (
        select(_P.ip, func.count(), users, func.max(newest.c.at))
        .join_from(newest, schema.event_private, _P.position == newest.c.position)
        .where(_P.kind == private.CONTEXT, _P.ip.is_not(None))
        .group_by(_P.ip)
        .having(users >= MANY)
        .order_by(users.desc(), _P.ip)
        .limit(GUESSERS)
    )
    rows = (await connection.execute(query)).all()
    return [
        Guesser(str(ipaddress.ip_address(ip)), wrong, people, await _began_from(connection, ip, low), at)
        for ip, wrong, people, at in rows
    ]


async def _began_from(connection: AsyncConnection, ip: bytes, low: int) -> int:
    near = select(_P.position).where(_P.ip == ip, _P.position >= low).order_by(_P.position.desc()).limit(LOOKED_AT)
    few = near.subquery()
    query = (
        select(func.count())
        .join_from(few, schema.events, _E.position == few.c.position)
        .where(_E.type == TokenIssued.CODE)
    )
    return int((await connection.execute(query)).scalar_one())


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
