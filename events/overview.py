"""What happened in the last 24 hours, in numbers and in the few events that somebody should look at. Never writes."""

import ipaddress
from bisect import bisect_left
from functools import cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Select,
    SmallInteger,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import budget, history, private, schema
from events.budget import TooSlow
from events.conditions import json_text, unindexed
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
AHEAD: Final = "ahead"
ABROAD: Final = "country_changed"
"""Reasons that are shown."""
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
    found, rotations = await _positions(connection, edges[0], recent)
    said = await _said(connection, edges[0])
    return Overview(
        size=head.size,
        last_at=head.last_at,
        hours=hours,
        all=[high - low for low, high in zip(edges, [*edges[1:], head.size], strict=True)],
        by_type={fact.TYPE: _in_hours(found[fact.CODE], [*edges, head.size]) for fact in COUNTED},
        capped=any(len(positions) > CAP for positions in found.values()),
        rotations=rotations,
        alerts=await _alerts(connection, edges[0], said),
        retries=await _retries(connection, edges[0]) if found[TokenRetried.CODE] else [],
        ahead=sum(one.reason == AHEAD for one in said),
        guessers=await _guessers(connection, edges[0]) if found[SubjectLoginFailed.CODE] else [],
    )


async def _positions(connection: AsyncConnection, low: int, recent: int) -> tuple[dict[int, list[int]], int]:
    """Where the newest events of each counted type stand, in order, and how many rotations there were lately.

    From the index alone, in one statement. Rotations may be a thousand a second: their number must do.
    """
    rows = (await connection.execute(_standing(), {"low": low, "recent": recent})).all()
    told = {code: text for code, text in rows if code is not None}
    rotations = int(told.pop(TokenRotated.CODE))
    found: dict[int, list[int]] = {fact.CODE: [] for fact in COUNTED}
    found.update({code: sorted(map(int, text.split())) for code, text in told.items()})
    return found, rotations


@cache
def _standing() -> CompoundSelect[int, str]:
    low, recent = bindparam("low", type_=BigInteger), bindparam("recent", type_=BigInteger)
    each = (_newest(_E.type == fact.CODE, low, CAP + 1, _E.type, _E.position).subquery() for fact in COUNTED)
    code, lately = literal_column(str(TokenRotated.CODE), SmallInteger), _E.position >= recent
    return union_all(
        *(select(func.max(one.c.type), func.aggregate_strings(cast(one.c.position, Text), " ")) for one in each),
        select(code, cast(func.count(), Text)).where(_E.type == TokenRotated.CODE, lately),
    )


def _newest(which: ColumnElement[bool], low: Any, limit: int, *columns: ColumnElement[Any]) -> Select[Any]:
    """A stretch of one index, from its end."""
    return select(*columns).where(which, _E.position >= low).order_by(_E.position.desc()).limit(limit)


class _Said(NamedTuple):
    """Why a policy or the ledger said no: of which family, and where in the log."""

    stream: bytes
    position: int
    reason: str


async def _said(connection: AsyncConnection, low: int) -> list[_Said]:
    return [_Said(*row) for row in await connection.execute(_odd_reasons(), {"low": low})]


@cache
def _odd_reasons() -> CompoundSelect[Any]:
    """Of the newest refusals and ends by policy those for a reason that is shown: the database looks into them."""
    low, columns = bindparam("low", type_=BigInteger), (_E.stream, _E.position, _E.body)
    of_policy = and_(unindexed(_E.type) == FamilyRevoked.CODE, _E.actor == "policy", _E.actor != _ORDINARY)
    kinds = (_newest(one, low, LOOKED_AT, *columns).subquery() for one in (_E.type == TokenRefused.CODE, of_policy))
    return union_all(
        *(
            select(one.c.stream, one.c.position, reason).where(reason.in_((AHEAD, ABROAD)))
            for one in kinds
            for reason in [json_text(one.c.body, literal_column("'reason'"))]
        )
    )


async def _retries(connection: AsyncConnection, low: int) -> list[tuple[str, int, int]]:
    rows = await connection.execute(_retried(), {"low": low})
    return [(client, count, moved) for client, count, moved in rows]


@cache
def _retried() -> Select[Any]:
    low = bindparam("low", type_=BigInteger)
    newest = _newest(_E.type == TokenRetried.CODE, low, LOOKED_AT, _E.client, _E.body).subquery()
    tag = func.coalesce(json_text(newest.c.body, literal_column("'network_tag'")), "")
    moved = func.sum(case((tag != "", 1), else_=0))
    by_client = select(newest.c.client, func.count().label("times"), moved).group_by(newest.c.client)
    return by_client.order_by(func.count().desc(), newest.c.client).limit(5)


async def _alerts(connection: AsyncConnection, low: int, said: list[_Said]) -> list[Event]:
    """Whole events, of those that somebody should look at the newest."""
    newest: dict[bytes, int] = {}
    for one in said:
        # of each family the newest time: a thief asks again and again
        if one.reason == ABROAD:
            newest[one.stream] = max(one.position, newest.get(one.stream, 0))
    wanted = {*(await connection.execute(_alarming(), {"low": low})).scalars(), *sorted(newest.values())[-ALERTS:]}
    if not wanted:
        return []
    events = await history.fetch(connection, history.selected().where(_E.position.in_(sorted(wanted))))
    alerts = [one for one in events if not isinstance(one.fact, SubjectFactorFailed) or _is_odd(one.fact)]
    return sorted(alerts, key=lambda event: -event.position)[:ALERTS]


@cache
def _alarming() -> CompoundSelect[int]:
    low = bindparam("low", type_=BigInteger)
    codes = (TokenReuseDetected.CODE, SubjectLoginBlocked.CODE, SubjectFactorFailed.CODE)
    return union_all(*(select(_newest(_E.type == code, low, ALERTS, _E.position).subquery()) for code in codes))


def _is_odd(fact: SubjectFactorFailed) -> bool:
    """Whether a second factor that did not fit is more than mistyping: guessed, used before, or copied."""
    return fact.reason != "wrong" or bool(fact.until)


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


def _in_hours(positions: list[int], edges: list[int]) -> list[int]:
    places = [bisect_left(positions, edge) for edge in edges]
    return [high - low for low, high in pairwise(places)]
