"""Reading families: by id together with their subject, by subject, and in slices for the sweeper."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from events import projections, reads, schema, standing
from events.client import Client, stream_of
from events.decision import State, States
from events.family import LIVING, Family
from events.log import STREAM, Log
from events.standing import ENDS, Standing
from events.subject import Subject


class Reach(NamedTuple):
    """Whom it would hit if a master key were revoked."""

    families: int
    subjects: int
    staff: int
    """Of the families, sessions of the dashboard."""


class Held(NamedTuple):
    """A family and whose it is."""

    family: Family
    subject: Subject | None
    log: Log | None = None
    """The log's own state: some of it ends families."""


_HELD = projections.FAMILY_AND_OWNER.add_columns(*schema.log.c).outerjoin(schema.log, schema.log.c.id == STREAM)
_LOG = -len(schema.log.c)


_F = schema.families.c
DASHBOARD = "dashboard"
_AWAITED_MS = 60_000
"""How long the preview of a brake may count on PostgreSQL."""


def _under(number: int) -> ColumnElement[bool]:
    return and_(_F.status == LIVING, _F.key == number)


def left_behind(connection: Connection, numbers: Iterable[int], now: int) -> int | None:
    """One of these master keys that families stand under which can still be used (microseconds), if there is one."""
    query = select(_F.key).where(_F.status == LIVING, _F.key.in_(numbers), now < ENDS).limit(1)
    found: int | None = connection.execute(query).scalar_one_or_none()
    return found


class FamilyReader:
    """Families as committed at the moment of asking. All methods raise Unavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._held = reads.GroupRead(self._fetch_held)

    async def get(self, stream: bytes) -> Held | None:
        """One family and its subject; callers that ask together share one SELECT."""
        return await self._held.get(stream)

    async def seen(self, stream: bytes, client: bytes) -> States:
        """What a rule about a token has to see, all of one moment: the family, its subject, a client, the log."""
        async with reads.snapshot(self._engine) as connection:
            return await connection.run_sync(_seen, (stream,), (client,))

    async def all_seen(self, streams: Sequence[bytes]) -> States:
        """The same for some families together, each with the client that it is of."""
        async with reads.snapshot(self._engine) as connection:
            return await connection.run_sync(_seen, streams)

    async def of_subject(self, subject: bytes, limit: int = 200) -> list[Family]:
        """The subject's families, newest first, ended ones too."""
        table = schema.families
        query = select(table).where(table.c.subject == subject).order_by(table.c.started_at.desc()).limit(limit)
        async with reads.snapshot(self._engine) as connection:
            return [Family(*row) for row in await connection.execute(query)]

    async def has(self, subject: bytes, client: str) -> bool:
        """Whether the subject ever had a family of this client."""
        table = schema.families
        query = select(table.c.id).where(table.c.subject == subject, table.c.client == client).limit(1)
        async with reads.snapshot(self._engine) as connection:
            return (await connection.execute(query)).first() is not None

    async def standing(self) -> dict[int, Standing]:
        """What stands under each master key: all of it is counted."""
        return await standing.counted(self._engine)

    async def reach_of(self, number: int) -> Reach:
        """Who has a living family under this master key: a full count, for somebody who waits for it."""
        staff = func.coalesce(func.sum(case((_F.client == DASHBOARD, 1), else_=0)), 0)
        query = select(func.count(), func.count(_F.subject.distinct()), staff).where(_under(number))
        async with reads.snapshot(self._engine, _AWAITED_MS) as connection:
            return Reach(*(await connection.execute(query)).one())

    async def under(self, number: int, cursor: bytes, size: int) -> list[bytes]:
        """The next living families under this master key, by id."""
        query = select(_F.id).where(_under(number), _F.id > cursor).order_by(_F.id).limit(size)
        async with reads.snapshot(self._engine) as connection:
            return list((await connection.execute(query)).scalars())

    async def slice_after(self, cursor: bytes, size: int) -> list[Family]:
        """The next families by id, for jobs that go through all of them at a bounded cost."""
        table = schema.families
        query = select(table).where(table.c.id > cursor).order_by(table.c.id).limit(size)
        async with reads.snapshot(self._engine) as connection:
            return [Family(*row) for row in await connection.execute(query)]

    async def _fetch_held(self, wanted: frozenset[bytes]) -> Mapping[bytes, Held]:
        query = _HELD.where(schema.families.c.id.in_(wanted))
        async with reads.snapshot(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        return {row[0]: _held(row) for row in rows}


def _held(row: Sequence[Any]) -> Held:
    log = row[_LOG:]
    return Held(*projections.family_and_owner(row[:_LOG]), None if log[0] is None else Log(*log))


def _seen(connection: Connection, streams: Sequence[bytes], clients: Sequence[bytes] = ()) -> States:
    families = projections.load(connection, Family, streams)
    owners = {one.subject for one in families}
    apps = {*clients} or {stream_of(one.client) for one in families}
    found: list[State] = [
        *families,
        *projections.load(connection, Subject, owners),
        *projections.load(connection, Client, apps),
        *projections.load(connection, Log, (STREAM,)),
    ]
    states = States()
    states.by_stream.update(dict.fromkeys((*streams, *apps, STREAM, *owners)))
    states.by_stream.update((one.id, one) for one in found)
    return states
