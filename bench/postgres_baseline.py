"""The baseline on PostgreSQL: what one would write first, and what the ledger is held against."""

import time

import msgspec
from sqlalchemy import Sequence, bindparam, insert, text
from sqlalchemy.ext.asyncio import create_async_engine

from bench.routes import FIND, UPDATE, WIDTH, rows_of
from core import family
from core.dpop import Proof
from core.families import Families
from core.issued import Denied, Issued
from core.scope import ALL, Asked
from core.token import Token
from core.tools import Tools
from core.visit import Visit
from events import client as clients
from events import schema
from events.decision import Decision, Moment, States
from events.family import Family
from events.log import STREAM as LOG
from events.subject import Subject


class PostgresBaseline(Families):
    """One transaction for each request, through SQLAlchemy and asyncpg with their usual pool and prepared statements.

    The rule is the same, and so are the rows, without the tree over the log. The row of the family is locked, not the
    head: positions come from a sequence and may have gaps, so that requests commit side by side and share a flush.
    Client and log are kept in memory.
    """

    def __init__(self, tools: Tools, url: str, states: States) -> None:
        super().__init__(tools)
        self._engine = create_async_engine(url, pool_timeout=60)
        self._known = {one: states.by_stream[one] for one in (LOG, clients.stream_of("web"))}

    async def prepare(self) -> None:
        """Positions from a sequence, which the log's own triggers would not have."""
        async with self._engine.begin() as connection:
            await connection.execute(text("ALTER TABLE events DISABLE TRIGGER USER"))
            await connection.execute(text("CREATE SEQUENCE positions"))
            await connection.execute(text("SELECT setval('positions', max(position)) FROM events"))

    async def refresh(
        self,
        presented: Token,
        client: str,
        carriage: str,
        visit: Visit,
        asked: Asked = ALL,
        proof: Proof | None = None,
    ) -> Issued | Denied:
        command = self.issuer.to_refresh(presented, client, carriage, visit, asked, proof)
        async with self._engine.begin() as connection:
            row = (await connection.execute(_FIND_AND_LOCK, {"id": presented.family})).one()
            before, owner = Family(*row[:WIDTH]), Subject(*row[WIDTH:])
            states = States()
            states.by_stream.update({**self._known, before.id: before, owner.id: owner})
            now = time.time_ns() // 1000
            decided = family.refresh(command)(states, Moment(now, now, now, now))
            assert isinstance(decided, Decision)
            state = before
            for change in decided.changes:
                state, row_of_event, row_beside = rows_of(state, change, visit, now)
                position = (await connection.execute(_INSERT, row_of_event)).scalar_one()
                await connection.execute(_INSERT_PRIVATE, {**row_beside, "position": position})
            await connection.execute(UPDATE, {"this": state.id, **msgspec.structs.asdict(state)})
        return self.issuer.issued(decided.verdict, presented.nonce, self._tools.keys.signing)


_FIND_AND_LOCK = FIND.with_for_update(of=schema.families)
_INSERT = insert(schema.events).values(position=Sequence("positions").next_value()).returning(schema.events.c.position)
_INSERT_PRIVATE = insert(schema.event_private).values(position=bindparam("position"))
