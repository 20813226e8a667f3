"""A ledger in a PostgreSQL database of its own, see `store.py`."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from events import commit, postgres
from events.commit import Clock
from events.postgres import LOCK_MS, PASSING, connecting, state_of
from events.postgres_hold import PostgresHold
from events.store import Scrubbed
from events.writer import Trace, Writer, untraced

OLDEST: Final = 13
"""The oldest major version of the server that knows everything that we use."""
T = TypeVar("T")


class PostgresStore:
    """A ledger in a database of its own, see `events/store.py`.

    Whether there is a pooler in between is found out by the first `read` or `transact`; until then there may be one.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._pooled = True
        self._engines: dict[str, AsyncEngine] = {}
        told = make_url(url)
        self.place = f"{told.host or 'localhost'}{f':{told.port}' if told.port else ''}/{told.database}"

    def writer(self, clock: Clock = Clock(), trace: Trace = untraced) -> Writer:
        """The one that writes in a process. Time is the database's; of `clock` only what passes is looked at."""
        return Writer(PostgresHold(self._url, pooled=self._pooled), clock, trace)

    def readers(self, connections: int = 4) -> AsyncEngine:
        """Connections whose transactions see one moment and cannot write."""
        engine = create_async_engine(
            self._url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=postgres.CONNECT,
            isolation_level="REPEATABLE READ",
            hide_parameters=True,
            connect_args=connecting(pooled=self._pooled),
        )
        return engine.execution_options(postgresql_readonly=True)

    def read(self, work: Callable[[Connection], T]) -> T:
        """On one connection whose transactions see one moment; a single statement may take as long as it takes."""
        seeing = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        return self._done(work, execution_options=seeing)

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Behind the lock on the head row."""

        def locked(connection: Connection) -> T:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_MS}")
            commit.lock_head(connection)
            return _committed(connection, work)

        return self._done(locked, isolation_level="READ COMMITTED")

    def change_schema(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction beside which no other schema change runs."""

        def alone(connection: Connection) -> T:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA})")
            return _committed(connection, work)

        return self._done(alone, isolation_level="READ COMMITTED")

    def scrub(self, *, whole: bool = False) -> Scrubbed:
        """VACUUM what rows were deleted from; `whole` writes these tables anew, which only their owner may.

        A role that owns nothing is told so in a notice: the server's own VACUUM comes by some time later.
        """
        return self._done(_rewritten if whole else _vacuumed, isolation_level="AUTOCOMMIT")

    def sizes(self) -> dict[str, int]:
        """Only the server could tell, and is not asked here."""
        return {}

    def _done(self, work: Callable[[Connection], T], **options: Any) -> T:
        """Run on an event loop of its own, for who has none; for who has one, in a thread beside it."""

        async def run() -> T:
            async with self._unpooled(options).connect() as connection:
                self._pooled = await _is_pooled(connection)
                return await connection.run_sync(work)

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(run())
        with ThreadPoolExecutor(1) as beside:
            return beside.submit(asyncio.run, run()).result()

    def _unpooled(self, options: dict[str, Any]) -> AsyncEngine:
        """Makes a connection each time, so it may be of any event loop; what a first one asks the server is kept."""
        key = repr(options)
        if key not in self._engines:
            self._engines[key] = create_async_engine(
                self._url,
                poolclass=NullPool,
                hide_parameters=True,
                connect_args=connecting(pooled=True, answer=None),
                **options,
            )
        return self._engines[key]


async def _is_pooled(connection: AsyncConnection) -> bool:
    """Whether the process that answers is another one than the handshake named. A pooler names one of its own."""
    named = (await connection.get_raw_connection()).driver_connection
    answers = (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
    await connection.rollback()
    return named is None or bool(named.get_server_pid() != answers)


def unfit(connection: Connection) -> str:
    """Why a ledger must not be kept on this server as it is set, as one sentence; empty where nothing is wrong."""
    asked = "server_version_num", "server_encoding", "synchronous_commit"
    columns = ", ".join(f"current_setting('{name}')" for name in asked)
    version, encoding, durable = connection.exec_driver_sql(f"SELECT {columns}").one()
    if int(version) < OLDEST * 10_000:
        return f"That PostgreSQL is version {int(version) // 10_000}: a ledger needs {OLDEST} or newer."
    if encoding != "UTF8":
        return f"The database's encoding is {encoding}: create it with UTF8."
    if durable == "off":
        return "synchronous_commit is off, so a revocation could be lost after it was answered: set it to on."
    return ""


def _vacuumed(connection: Connection) -> Scrubbed:
    try:
        _vacuum(connection, "TRUNCATE FALSE")  # to cut a table it would lock all others out
    except DBAPIError as error:
        if state_of(error) in PASSING:
            return Scrubbed.BUSY
        raise
    return Scrubbed.PARTLY


def _rewritten(connection: Connection) -> Scrubbed:
    owns = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'event_private'::regclass"
    if not connection.exec_driver_sql(owns).scalar_one():
        return Scrubbed.PARTLY
    _vacuum(connection, "FULL")
    return Scrubbed.WHOLLY


def _vacuum(connection: Connection, how: str) -> None:
    connection.exec_driver_sql(f"SET lock_timeout = {LOCK_MS}")
    connection.exec_driver_sql("SET statement_timeout = 0")
    connection.exec_driver_sql(f"VACUUM ({how}) {', '.join(_EMPTIED)}")


_EMPTIED: Final = ("event_private", "subjects", "families", "actions")
"""Tables that an erasure deletes from."""
_SCHEMA: Final = 0x5E55_10ED
"""Number of the advisory lock that schema changes hold."""


def _committed(connection: Connection, work: Callable[[Connection], T]) -> T:
    done = work(connection)
    connection.commit()
    return done
