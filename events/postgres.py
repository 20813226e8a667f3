"""PostgreSQL: any number of processes and machines on one ledger, in turn by the lock on the head row.

Behind a pooler, which may hand out another connection for the next transaction, each says itself what matters:
isolation, time-outs. No session state then, no LISTEN anywhere, and no prepared statement with a name.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only, greenlet_spawn

from events import commit
from events.commit import Clock
from events.ledger import Unavailable
from events.store import Scrubbed
from events.writer import Fault, Trace, Writer, untraced

LOCK_MS: Final = 2_000
"""How long a batch waits for the head row: for other processes' batches, or for one that hangs."""
STATEMENT_MS: Final = 5_000
IDLE_MS: Final = 10_000
"""A process that hangs inside a transaction loses it after so long, and the head row is free again."""
OLDEST: Final = 13
"""The oldest major version of the server that knows everything that we use."""
CONNECT: Final = 3.0
"""Seconds for a new connection."""
ANSWER: Final = 8.0
"""Seconds that the server may be silent: longer than any statement may take. Then the connection counts as lost."""
SETTLE: Final = 6.0
"""Seconds in which a COMMIT without an answer must be settled."""
AGAIN: Final = 0.05
_PASSING: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock not available: surely not committed."""
_ROWS: Final = ("22", "23", "54")
"""Data, integrity, limits: classes of errors that one of the rows is to blame for."""
_LIMITS: Final = {
    "lock_timeout": str(LOCK_MS),
    "statement_timeout": str(STATEMENT_MS),
    "idle_in_transaction_session_timeout": str(IDLE_MS),
}
_LIMIT: Final = "SELECT " + ", ".join(f"set_config('{name}', '{limit}', true)" for name, limit in _LIMITS.items())

T = TypeVar("T")


_UNNAMED: Final[dict[str, Any]] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,
}
"""For asyncpg and SQLAlchemy: each statement is prepared without a name right before it runs, and not kept."""


def connecting(*, pooled: bool, answer: float | None = ANSWER) -> dict[str, Any]:
    """How asyncpg connects. `pooled`: something sits in between that may change the server's side at any COMMIT."""
    return {"timeout": CONNECT, "command_timeout": answer, **(_UNNAMED if pooled else {})}


class PostgresHold:
    """The writing connection, on the event loop: the same code as on SQLite, which awaits where that one waits."""

    def __init__(self, url: str, *, pooled: bool) -> None:
        self._engine = create_async_engine(
            url,
            poolclass=NullPool,
            isolation_level="READ COMMITTED",
            hide_parameters=True,
            connect_args=connecting(pooled=pooled) | ({} if pooled else {"server_settings": _LIMITS}),
        )
        self._pooled = pooled
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call `work` in a greenlet, in which SQLAlchemy's synchronous connection awaits asyncpg."""
        async with self._turn:
            return await greenlet_spawn(work, *arguments)

    @contextmanager
    def transaction(self, trace: Trace = untraced) -> Iterator[Connection]:
        """READ COMMITTED and bounded; the caller locks the head row first, which is the lock."""
        try:
            connection = self._limited()
            trace("locked")
            yield connection
        except BaseException:
            self.forget()
            raise

    def undisturbed(self, connection: Connection) -> bool:  # noqa: ARG002
        """The head tells: whoever changes rows that batches read writes it, and the server says which transaction."""
        return True

    @contextmanager
    def settling(self) -> Iterator[Connection]:
        """Behind the lock on the head row, which the lost transaction holds as long as it may still commit."""
        connection = self._again(time.monotonic() + SETTLE)
        yield connection
        connection.rollback()

    def _again(self, deadline: float) -> Connection:
        while True:
            try:
                connection = self._limited()
                commit.lock_head(connection)
            except Exception as error:
                self.forget()
                if time.monotonic() > deadline or self.fault(error) is Fault.REFUSED:
                    raise
                await_only(asyncio.sleep(AGAIN))
            else:
                return connection

    def _limited(self) -> Connection:
        """The connection, everything on it bounded in time: by what it was opened with, or by one statement more."""
        connection = self._connected()
        if self._pooled:
            connection.exec_driver_sql(_LIMIT)
        return connection

    def _connected(self) -> Connection:
        if self._connection is None:
            try:
                self._connection = self._engine.sync_engine.connect()
            except OSError as error:
                raise Unavailable from error
        return self._connection

    def forget(self) -> None:
        """Cut the connection: whatever state it was in, the server undoes what was not committed."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(SQLAlchemyError, OSError):
                connection.invalidate()
            with suppress(SQLAlchemyError, OSError):
                connection.close()

    def fault(self, error: Exception) -> Fault:
        """By SQLSTATE; what has none is a lost connection, or no matter of the database."""
        if isinstance(error, DBAPIError):
            state = state_of(error)
            if state in _PASSING:
                return Fault.PASSING
            return Fault.REFUSED if state.startswith(_ROWS) else Fault.UNUSABLE
        if isinstance(error, StatementError):
            return Fault.REFUSED
        lost = (SQLAlchemyError, ConnectionError, TimeoutError, Unavailable)
        return Fault.UNUSABLE if isinstance(error, lost) else Fault.REFUSED

    async def close(self) -> None:
        """Give up the connection."""
        async with self._turn:
            await greenlet_spawn(self.forget)
            await self._engine.dispose()


def state_of(error: DBAPIError) -> str:
    """The SQLSTATE of an error, empty where the server said none."""
    return str(getattr(error.orig, "sqlstate", None) or "")


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
            pool_timeout=CONNECT,
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
        if state_of(error) in _PASSING:
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
