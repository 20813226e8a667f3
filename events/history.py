"""Reading the log: events with their private rows, newest or oldest first, of all streams or of one."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, and_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import catalogue, merkle, private, reads, schema
from events.fact import Fact
from events.family import Family, TokenRotated
from events.private import Account, Context

_E, _P = schema.events.c, schema.event_private


class Event(NamedTuple):
    """One event as it is shown: what was stored, and what is still known of people beside it."""

    position: int
    stream: bytes
    version: int
    at: int
    fact: Fact
    body: bytes
    context: Context
    account: Account


class Sealed(NamedTuple):
    """The leaf of one event in the tree."""

    leaf: bytes
    """As it is stored."""
    fits: bool
    """Whether what is stored of the event gives this leaf."""


class Head(NamedTuple):
    """How far the log goes."""

    size: int
    last_at: int
    frontier: bytes


class HistoryReader:
    """The log as committed at the moment of asking. All methods raise Unavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def head(self) -> Head:
        """Size, time of the last event, and the tree's frontier."""
        columns = (schema.head.c.size, schema.head.c.last_at, schema.head.c.frontier)
        async with reads.snapshot(self._engine) as connection:
            return Head(*(await connection.execute(select(*columns))).one())

    async def newest(self) -> int:
        """Position of the last event."""
        async with reads.snapshot(self._engine) as connection:
            return int((await connection.execute(select(schema.head.c.size))).scalar_one()) - 1

    async def before(self, position: int | None, limit: int) -> list[Event]:
        """The newest events, or those before a position, newest first."""
        query = selected().order_by(_E.position.desc()).limit(limit)
        return await self._read(query if position is None else query.where(_E.position < position))

    async def after(self, position: int, limit: int) -> list[Event]:
        """Events behind a position, oldest first: what a tail reads."""
        return await self._read(selected().where(_E.position > position).order_by(_E.position).limit(limit))

    async def at(self, positions: Iterable[int]) -> list[Event]:
        """The events at these positions, in order; where there is none, none."""
        return await self._read(selected().where(_E.position.in_(tuple(positions))).order_by(_E.position))

    async def sealed(self, position: int) -> Sealed | None:
        """The leaf of an event, and whether it is that of the event as it is stored now."""
        columns = (_E.at, _E.stream, _E.version, _E.type, _E.body, _E.leaf)
        async with reads.snapshot(self._engine) as connection:
            row = (await connection.execute(select(*columns).where(_E.position == position))).one_or_none()
        return None if row is None else Sealed(row.leaf, merkle.leaf_hash(*row[:5]) == row.leaf)

    async def of_stream(self, stream: bytes, after_version: int, limit: int) -> list[Event]:
        """One thing's story, oldest first."""
        query = selected().where(_E.stream == stream, _E.version > after_version).order_by(_E.version).limit(limit)
        return await self._read(query)

    async def tail_of_stream(self, stream: bytes, limit: int) -> list[Event]:
        """The end of one thing's story, oldest first."""
        query = selected().where(_E.stream == stream).order_by(_E.version.desc()).limit(limit)
        return (await self._read(query))[::-1]

    async def rotation(self, stream: bytes, generation: int) -> Event | None:
        """The rotation that brought a family to a generation (from 2): rotations are dense, so it is found by count."""
        rotations = selected().where(_E.stream == stream, _E.type == TokenRotated.CODE).order_by(_E.version)
        found = await self._read(rotations.offset(generation - 2).limit(1))
        return found[0] if found else None

    async def last_contexts(self, families: Sequence[Family]) -> dict[bytes, Context]:
        """Where each family was last heard of, by stream; nothing where that has expired."""
        last = tuple_(_E.stream, _E.version).in_([(one.id, one.version) for one in families])
        joined = schema.events.join(_P, and_(_P.c.position == _E.position, _P.c.kind == private.CONTEXT))
        async with reads.snapshot(self._engine) as connection:
            rows = await connection.execute(select(_E.stream, _P.c.data).select_from(joined).where(last))
            return {row[0]: private.decode_context(row[1]) for row in rows}

    async def positions_of_request(self, request: bytes) -> list[int]:
        """Where the events of one request of ours stand, in order."""
        return await self._positions(_E.request == request)

    async def positions_of_jti(self, jti: bytes) -> list[int]:
        """Where the issuance of one access token stands; at most one."""
        return await self._positions(_E.jti == jti)

    async def _positions(self, where: ColumnElement[bool]) -> list[int]:
        query = select(_E.position).where(where).order_by(_E.position).limit(100)
        async with reads.snapshot(self._engine) as connection:
            return [row.position for row in await connection.execute(query)]

    async def _read(self, query: Select[Any]) -> list[Event]:
        async with reads.snapshot(self._engine) as connection:
            return await fetch(connection, query)


async def fetch(connection: AsyncConnection, query: Select[Any]) -> list[Event]:
    """The events of a query that was made from `selected()`, with their private rows."""
    rows = (await connection.execute(query)).all()
    accounts = select(_P.c.position, _P.c.data).where(
        _P.c.kind == private.ACCOUNT, _P.c.position.in_([row.position for row in rows])
    )
    typed = {row[0]: row[1] for row in await connection.execute(accounts)}
    return list(_told(rows, typed))


def selected() -> Select[Any]:
    """All events; add which of them, in which order, and how many."""
    joined = schema.events.outerjoin(_P, and_(_P.c.position == _E.position, _P.c.kind == private.CONTEXT))
    columns = (_E.position, _E.stream, _E.version, _E.type, _E.at, _E.body)
    return select(*columns, _P.c.data.label("context")).select_from(joined)


def _told(rows: Iterable[Row[Any]], accounts: dict[int, bytes]) -> Iterable[Event]:
    for row in rows:
        yield Event(
            position=row.position,
            stream=row.stream,
            version=row.version,
            at=row.at,
            fact=catalogue.decode(row.type, row.body),
            body=row.body,
            context=private.decode_context(row.context),
            account=private.decode_account(accounts.get(row.position)),
        )
