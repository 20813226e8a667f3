"""From one thing to others: which families came from a network or with a device, around a time. Reads only, capped."""

import ipaddress
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Select, Subquery, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import budget, history, private, reads, schema
from events.budget import TooSlow
from events.catalogue import FAMILY, SUBJECT
from events.conditions import of_kind, unindexed
from events.factor import SubjectFactorFailed
from events.family import LIVING, Family, TokenIssued, TokenRefused, TokenReuseDetected, TokenRotated
from events.history import Event
from events.positions import positions_at
from events.subject import SubjectLoginBlocked, SubjectLoginFailed

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

CAP = 1_000
"""Families are counted up to here, and said so."""
LISTED = 2_000
"""Events of a network that are looked at, the newest."""
_MANY = 20_000
"""Events of a network that are still gathered. More of them are a good part of any log, so its end has enough."""
_NEAR = 2_000
"""Events before and behind a time that are looked at for a user agent, which no index leads to."""
_E, _P, _F, _S = schema.events.c, schema.event_private.c, schema.families.c, schema.subjects.c
_OF_FAMILY = frozenset(fact.CODE for fact in (*FAMILY.openings, *FAMILY.changes))
_OF_SUBJECT = frozenset(fact.CODE for fact in (*SUBJECT.openings, *SUBJECT.changes))
_GOOD = (TokenIssued.CODE, TokenRotated.CODE)
_FAILED = (SubjectLoginFailed.CODE, SubjectLoginBlocked.CODE, SubjectFactorFailed.CODE)
_BAD = (TokenRefused.CODE, TokenReuseDetected.CODE, *_FAILED)
_REUSED = TokenReuseDetected.CODE
_STAFF = "staff:"
"""Begins the actor of what a person did at the dashboard: its address is theirs, and the family was never there."""


class Spread(NamedTuple):
    """How many other families and of how many subjects, both counted no further than `CAP`."""

    families: int
    subjects: int
    capped: bool


class Visitor(NamedTuple):
    """A family that came from a network: what it did there."""

    family: Family
    name: str
    first_at: int
    last_at: int
    good: int
    bad: int
    reuse: int


class Traffic(NamedTuple):
    """What came from a network. `capped` where only the newest `LISTED` events were looked at."""

    visitors: list[Visitor]
    more: int
    """Families beyond those listed."""
    subjects: int
    good: int
    bad: int
    failed_sign_ins: int
    first_at: int
    last_at: int
    capped: bool


class Place(NamedTuple):
    """An address that a subject used, with the user agent."""

    context: private.Context
    times: int
    first_at: int
    last_at: int


class PivotReader:
    """Answers within a budget of time, or TooSlow. All methods raise Unavailable."""

    def __init__(self, engine: AsyncEngine, seconds: float = budget.SECONDS) -> None:
        self._engine = engine
        self._seconds = seconds

    async def spread(
        self, networks: Sequence[Network], agent: str, low: int, high: int, own: bytes
    ) -> list[Spread] | TooSlow:
        """For each network and then the user agent (where there is one): who came so from `low` until `high`.

        Others than the family `own`; its user counts where another family is theirs.
        """

        async def read(connection: AsyncConnection) -> list[Spread]:
            times = (low, (low + high) // 2, high)
            first, middle, last = await positions_at(connection, times, await _size(connection))
            found = [await _spread(connection, one, first, last, own) for one in networks]
            near = max(first, middle - _NEAR), min(last, middle + _NEAR)
            return [*found, await _with_agent(connection, agent, *near, own)] if agent else found

        return await budget.within(self._engine, read, self._seconds)

    async def traffic(self, network: Network, low: int, high: int, limit: int) -> Traffic | TooSlow:
        """Everything from a network from `low` until `high`, the families that came last first."""

        async def read(connection: AsyncConnection) -> Traffic:
            first, last = await positions_at(connection, (low, high), await _size(connection))
            return await _traffic(connection, network, first, last, limit)

        return await budget.within(self._engine, read, self._seconds)

    async def living_from(self, network: Network, low: int, high: int, limit: int) -> list[bytes] | TooSlow:
        """Living families that came from a network from `low` until `high`, the latest begun first."""

        async def read(connection: AsyncConnection) -> list[bytes]:
            first, last = await positions_at(connection, (low, high), await _size(connection))
            seen = await _seen(connection, network, first, last)
            streams = select(seen.c.stream).where(_itself(seen.c.actor))
            query = select(_F.id).where(_F.id.in_(streams), _F.status == LIVING).order_by(_F.id.desc()).limit(limit)
            return list((await connection.execute(query)).scalars())

        return await budget.within(self._engine, read, self._seconds)

    async def of_subject(self, subject: bytes, before: int | None, limit: int) -> list[Event]:
        """Everything about a subject, over all families, newest first."""
        query = history.selected().where(_E.subject == subject).order_by(_E.position.desc()).limit(limit)
        async with reads.snapshot(self._engine) as connection:
            return await history.fetch(connection, query if before is None else query.where(_E.position < before))

    async def places_of(self, subject: bytes, limit: int) -> list[Place] | TooSlow:
        """Addresses and user agents in the subject's newest 2,000 events, the last used first."""

        async def read(connection: AsyncConnection) -> list[Place]:
            newest = select(_E.position, _E.at, _E.actor).where(_E.subject == subject)
            few = newest.order_by(_E.position.desc()).limit(2_000).subquery()
            query = (
                select(_P.data, func.count(), func.min(few.c.at), func.max(few.c.at))
                .join_from(few, schema.event_private, _P.position == few.c.position)
                .where(_P.kind == private.CONTEXT, few.c.actor == schema.ORDINARY_ACTOR)
                .group_by(_P.data)
                .order_by(func.max(few.c.at).desc())
                .limit(limit)
            )
            rows = (await connection.execute(query)).all()
            return [Place(private.decode_context(row[0]), *row[1:]) for row in rows]

        return await budget.within(self._engine, read, self._seconds)

    async def version_at(self, stream: bytes, position: int) -> int:
        """The last version of a stream in a log of this size, 0 where it had not begun."""
        query = select(func.max(_E.version)).where(_E.stream == stream, _E.position < position)
        async with reads.snapshot(self._engine) as connection:
            return (await connection.execute(query)).scalar_one() or 0


async def _size(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(schema.head.c.size))).scalar_one())


def _within(network: Network, ip: ColumnElement[Any]) -> tuple[ColumnElement[bool], ...]:
    first, last = network.network_address.packed, network.broadcast_address.packed
    if first == last:
        return (ip == first,)
    # both kinds of address stand in one column
    return (ip >= first, ip <= last, of_kind(ip, len(first)))


async def _seen(connection: AsyncConnection, network: Network, first: int, last: int) -> Subquery:
    """The newest events from there, what staff did there among them."""
    few = (await _newest(connection, network, first, last)).subquery()
    query = select(_E.position, _E.stream, _E.subject, _E.type, _E.at, _E.actor)
    return query.join_from(few, schema.events, _E.position == few.c.position).subquery()


def _itself(actor: ColumnElement[str]) -> ColumnElement[bool]:
    """The address is of whoever holds the family: of the thief, too, where a rule ended it."""
    return actor.not_like(f"{_STAFF}%")


async def _newest(connection: AsyncConnection, network: Network, first: int, last: int) -> Select[tuple[int]]:
    """Their positions. The index of addresses knows the newest of one; of a network it gathers and sorts all there are.

    Where those are many the newest are found sooner by going through the log from its end.
    """
    if network.num_addresses > 1:
        any_time = select(_P.position).where(*_within(network, _P.ip)).limit(_MANY).subquery()
        if (await connection.execute(select(func.count()).select_from(any_time))).scalar_one() == _MANY:
            return _from(_within(network, unindexed(_P.ip)), _P.position, first, last)
        return _from(_within(network, _P.ip), unindexed(_P.position), first, last)
    return _from(_within(network, _P.ip), _P.position, first, last)


def _from(
    within: tuple[ColumnElement[bool], ...], position: ColumnElement[int], first: int, last: int
) -> Select[tuple[int]]:
    near = select(_P.position).where(*within, position >= first, position < last)
    return near.order_by(_P.position.desc()).limit(LISTED)


async def _spread(connection: AsyncConnection, network: Network, first: int, last: int, own: bytes) -> Spread:
    seen = await _seen(connection, network, first, last)
    of_family = seen.c.type.in_(_OF_FAMILY), _itself(seen.c.actor), seen.c.stream != own
    pairs = select(seen.c.stream, seen.c.subject).where(*of_family).distinct().limit(CAP + 1)
    return _counted((await connection.execute(pairs)).all())


async def _with_agent(connection: AsyncConnection, agent: str, first: int, last: int, own: bytes) -> Spread:
    query = (
        select(_E.stream, _E.subject, _P.data)
        .join_from(schema.event_private, schema.events, _E.position == _P.position)
        .where(_P.kind == private.CONTEXT, _P.position >= first, _P.position < last)
        .where(_E.type.in_(_OF_FAMILY), _itself(_E.actor), _E.stream != own)
    )
    rows = (await connection.execute(query)).all()
    return _counted({(row[0], row[1]) for row in rows if private.decode_context(row[2]).agent == agent})


def _counted(pairs: Any) -> Spread:
    few = list(pairs)[:CAP]
    return Spread(len(few), len({owner for _, owner in few}), len(pairs) > CAP)


async def _traffic(connection: AsyncConnection, network: Network, first: int, last: int, limit: int) -> Traffic:
    seen = await _seen(connection, network, first, last)
    of_each = select(seen.c.stream, seen.c.subject, seen.c.type, seen.c.at, seen.c.actor)
    found = (await connection.execute(of_each)).all()
    rows = [row[:4] for row in found if not row.actor.startswith(_STAFF) and row.type in _OF_FAMILY | _OF_SUBJECT]
    told: dict[bytes, list[int]] = {}
    for stream, _, kind, at in rows:
        if kind in _OF_FAMILY:
            sums = told.setdefault(stream, [at, at, 0, 0, 0])
            sums[:2] = min(sums[0], at), max(sums[1], at)
            for place, codes in enumerate((_GOOD, _BAD, (_REUSED,)), start=2):
                sums[place] += kind in codes
    latest = sorted(told, key=lambda stream: told[stream][1], reverse=True)[:limit]
    named = select(schema.families, _S.name).select_from(
        schema.families.outerjoin(schema.subjects, _S.id == _F.subject)
    )
    families = {row[0]: row for row in await connection.execute(named.where(_F.id.in_(latest)))}
    kinds = [kind for _, _, kind, _ in rows]
    times = [at for _, _, _, at in rows]
    return Traffic(
        visitors=[Visitor(Family(*families[one][:-1]), families[one][-1] or "", *told[one]) for one in latest],
        more=len(told) - len(latest),
        subjects=len({owner for _, owner, _, _ in rows}),
        good=sum(kind in _GOOD for kind in kinds),
        bad=sum(kind in _BAD for kind in kinds),
        failed_sign_ins=sum(kind in _FAILED for kind in kinds),
        first_at=min(times, default=0),
        last_at=max(times, default=0),
        capped=len(found) >= LISTED,
    )
