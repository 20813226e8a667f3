"""What families that were picked are made of, counted by the database: their users, clients, ends. Never writes."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Integer,
    Subquery,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    select,
    text,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from events import reads, schema
from events.family import LIVING
from events.schema import Bytes

RANKED = 8
"""Users, and clients, that are told one by one: those with most of the families."""
_ID = 16
"""Bytes of a stream id."""
_F = schema.families.c


class Picked(NamedTuple):
    """The families of a selection, each named once; `users` and `clients` with how many each has, most first."""

    families: int
    users: list[tuple[bytes, int]]
    other_users: int
    clients: list[tuple[str, int]]
    other_clients: int
    staff: int
    """Families of people with a role at the dashboard."""
    ended: int
    access_until: int
    """The latest expiry of an access token of them, seconds."""


async def made_of(engine: AsyncEngine, streams: Sequence[bytes]) -> Picked:
    """These families, each named once; unknown ones are not counted. Raises Unavailable."""
    given = {"ids": b"".join(streams), "count": len(streams), "ranked": RANKED}
    async with reads.snapshot(engine) as connection:
        rows = (await connection.execute(_counted(), given)).all()
    users = [(row.subject, row.families) for row in rows if row.subject is not None]
    clients = [(row.client, row.families) for row in rows if row.client is not None]
    (total,) = (row for row in rows if row.subject is None and row.client is None)
    return Picked(
        families=total.families,
        users=users,
        other_users=total.users - len(users),
        clients=clients,
        other_clients=total.clients - len(clients),
        staff=total.staff,
        ended=total.ended,
        access_until=total.access_until,
    )


@cache
def _counted() -> CompoundSelect[Any]:
    """In one statement, so that the families are looked up once.

    The ids come as one byte string that the database cuts: ten thousand parameters take longer than the search.
    """
    count = bindparam("count", type_=Integer)
    number = select(literal(0).label("n")).where(count > 0).cte("number", recursive=True)
    number = number.union_all(select(number.c.n + 1).where(number.c.n + 1 < count))
    whole = cast(bindparam("ids"), Bytes)
    picked = select(func.substr(whole, number.c.n * _ID + 1, _ID).label("id")).cte("picked")
    found = (
        select(_F.subject, _F.client, _F.status, _F.access_until)
        .join_from(picked, schema.families, _F.id == picked.c.id)
        .cte("found")
    )
    staff = select(schema.subjects.c.id).where(text("roles <> ''"))
    total = select(
        cast(null(), Bytes).label("subject"),
        cast(null(), Text).label("client"),
        func.count().label("families"),
        func.count(found.c.subject.distinct()).label("users"),
        func.count(found.c.client.distinct()).label("clients"),
        _times(found.c.subject.in_(staff)).label("staff"),
        _times(found.c.status != LIVING).label("ended"),
        func.coalesce(func.max(found.c.access_until), 0).label("access_until"),
    )
    users, clients = (_most(one) for one in (found.c.subject, found.c.client))
    nobody, nothing = [cast(null(), kind) for kind in (Bytes, Text)], [cast(null(), BigInteger) for _ in range(5)]
    return union_all(
        total,
        select(users.c.one, nobody[1], users.c.families, *nothing),
        select(nobody[0], clients.c.one, clients.c.families, *nothing),
    )


def _most(column: ColumnElement[Any]) -> Subquery:
    families = func.count().label("families")
    query = select(column.label("one"), families).group_by(column).order_by(families.desc(), column)
    return query.limit(bindparam("ranked", type_=Integer)).subquery()


def _times(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
