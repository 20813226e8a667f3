"""What stands under each master key, counted one by one: in slices, for whoever does so now and then.

Each slice is of its own moment: a snapshot over many millions would be a long one.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from events import factor, reads, schema
from events.family import LIVING

_F, _S = schema.families.c, schema.subjects.c
ENDS = case((_F.idle_until < _F.ends_at, _F.idle_until), else_=_F.ends_at)
_AT_ONCE = 100_000
_READ_AT_ONCE = 1_000
"""Second factors that are read before others get their turn."""


class Standing(NamedTuple):
    """What stands under one master key."""

    families: int = 0
    """That live."""
    until: int = 0
    """When the last of them ends, unless it is refreshed (microseconds)."""
    secrets: int = 0
    """Of one-time codes, wrapped under it."""


async def counted(engine: AsyncEngine) -> dict[int, Standing]:
    """All of it, by the number of the master key. Raises Unavailable."""
    found: dict[int, Standing] = {}
    living = select(_F.key, func.count(), func.max(ENDS)).where(_F.status == LIVING).group_by(_F.key)
    async for rows in _slices(engine, _F.id, living):
        for number, families, until in rows:
            before = found.get(number, Standing())
            found[number] = before._replace(families=before.families + families, until=max(before.until, until))
    for number, secrets in (await _secrets(engine)).items():
        found[number] = found.get(number, Standing())._replace(secrets=secrets)
    return found


async def _secrets(engine: AsyncEngine) -> Counter[int]:
    found: Counter[int] = Counter()
    async for rows in _slices(engine, _S.id, select(_S.factors).where(_S.factors != "")):
        for start in range(0, len(rows), _READ_AT_ONCE):
            for (text,) in rows[start : start + _READ_AT_ONCE]:
                found.update(one.key for one in factor.read(text).held if one.wrapped)
            await asyncio.sleep(0)
    return found


async def _slices(engine: AsyncEngine, key: Column[bytes], query: Select[Any]) -> AsyncIterator[list[Any]]:
    """What the query finds among some rows of its table after the other, in the order of their ids."""
    cursor: bytes | None = b""
    while cursor is not None:
        bound = select(key).where(key > cursor).order_by(key).offset(_AT_ONCE - 1).limit(1)
        async with reads.snapshot(engine) as connection:
            last: bytes | None = (await connection.execute(bound)).scalar_one_or_none()
            within: list[ColumnElement[bool]] = [key > cursor, *([] if last is None else [key <= last])]
            rows = list(await connection.execute(query.where(*within)))
        yield rows
        cursor = last
