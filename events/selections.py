"""What families that were picked are made of, counted by the database: their users, clients, ends. Never writes."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, case, cast, func, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine

from events import reads, schema
from events.family import LIVING
from events.schema import Bytes

_ID = 16
"""Bytes of a stream id."""
_F = schema.families.c


class Group(NamedTuple):
    """The picked families of one user with one client."""

    subject: bytes
    client: str
    families: int
    ended: int
    access_until: int
    """The latest expiry of an access token of them, seconds."""


async def groups(engine: AsyncEngine, streams: Sequence[bytes]) -> list[Group]:
    """These families, each named once, by user and client, in no order. Raises Unavailable."""
    if not streams:
        return []
    async with reads.snapshot(engine) as connection:
        rows = await connection.execute(_grouped(), {"ids": b"".join(streams), "count": len(streams)})
        return list(map(Group._make, rows))


@cache
def _grouped() -> Select[Any]:
    """The ids come as one byte string that the database cuts: ten thousand parameters take longer than the search."""
    number = select(literal(0).label("n")).cte("number", recursive=True)
    number = number.union_all(select(number.c.n + 1).where(number.c.n + 1 < bindparam("count")))
    whole = cast(bindparam("ids"), Bytes)
    picked = select(func.substr(whole, number.c.n * _ID + 1, _ID).label("id")).cte("picked")
    return (
        select(
            _F.subject,
            _F.client,
            func.count().label("families"),
            func.sum(case((_F.status != LIVING, 1), else_=0)).label("ended"),
            func.max(_F.access_until).label("access_until"),
        )
        .join_from(picked, schema.families, _F.id == picked.c.id)
        .group_by(_F.subject, _F.client)
    )
