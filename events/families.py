"""Reading families: by id together with their subject, by subject, and in slices for the sweeper."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from events import projections, reads, schema
from events.client import Client
from events.decision import State, States
from events.family import LIVING, Family
from events.log import STREAM, Log
from events.subject import Subject


class Held(NamedTuple):
    """A family and whose it is."""

    family: Family
    subject: Subject | None


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
            return await connection.run_sync(_seen, stream, client)

    async def of_subject(self, subject: bytes, limit: int = 200) -> list[Family]:
        """The subject's families, newest first, ended ones too."""
        table = schema.families
        query = select(table).where(table.c.subject == subject).order_by(table.c.started_at.desc()).limit(limit)
        async with reads.snapshot(self._engine) as connection:
            return [Family(*row) for row in await connection.execute(query)]

    async def count_living(self) -> int:
        """How many families live, counted one by one."""
        table = schema.families
        query = select(func.count()).select_from(table).where(table.c.status == LIVING)
        async with reads.snapshot(self._engine) as connection:
            return int((await connection.execute(query)).scalar_one())

    async def slice_after(self, cursor: bytes, size: int) -> list[Family]:
        """The next families by id, for jobs that go through all of them at a bounded cost."""
        table = schema.families
        query = select(table).where(table.c.id > cursor).order_by(table.c.id).limit(size)
        async with reads.snapshot(self._engine) as connection:
            return [Family(*row) for row in await connection.execute(query)]

    async def _fetch_held(self, wanted: frozenset[bytes]) -> Mapping[bytes, Held]:
        query = projections.FAMILY_AND_OWNER.where(schema.families.c.id.in_(wanted))
        async with reads.snapshot(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        return {row[0]: Held(*projections.family_and_owner(row)) for row in rows}


def _seen(connection: Connection, stream: bytes, client: bytes) -> States:
    families = projections.load(connection, Family, (stream,))
    owners = {one.subject for one in families}
    found: list[State] = [
        *families,
        *projections.load(connection, Subject, owners),
        *projections.load(connection, Client, (client,)),
        *projections.load(connection, Log, (STREAM,)),
    ]
    states = States()
    states.by_stream.update(dict.fromkeys((stream, client, STREAM, *owners)))
    states.by_stream.update((one.id, one) for one in found)
    return states
