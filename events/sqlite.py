"""The embedded engine: one writer thread on one file, readers that never write, locks between processes.

Durable: a batch is answered after COMMIT with `synchronous=FULL`. Exclusive: every writing transaction and every
checkpoint of the write-ahead log, in whatever process, holds `ledger.lock`; SQLite before 3.51.3 can corrupt a file
when two connections write or checkpoint at the same moment (sqlite.org/wal.html#walresetbug).
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from events.commit import Clock
from events.ledger import Unavailable
from events.store import Scrubbed
from events.writer import Fault, Trace, Writer, untraced

WRITER_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=5000",
    "foreign_keys=ON",
    "recursive_triggers=ON",
    "trusted_schema=OFF",
    "mmap_size=0",
    "cache_size=-65536",
    "temp_store=MEMORY",
    "wal_autocheckpoint=1000",
    "journal_size_limit=67108864",
    "secure_delete=ON",
)
READER_PRAGMAS = (
    "query_only=ON",
    "busy_timeout=5000",
    "trusted_schema=OFF",
    "mmap_size=0",
    "cache_size=-16384",
    "wal_autocheckpoint=0",
)
_SCRUB_MS = 200
"""How long a cut of the write-ahead log waits for readers: the ledger's lock is held meanwhile."""
_QUICKLY = 64 * 1024 * 1024
"""Bytes of a database that is written anew within a second, while nobody else can write."""
LOCK_WAIT = 5.0
"""Seconds that a writer waits for another process' transaction."""
T = TypeVar("T")


class Locked(Exception):
    """Another process holds the lock."""


@contextmanager
def file_lock(path: Path, wait: float = LOCK_WAIT) -> Iterator[None]:
    """Hold an exclusive lock between processes. Raises Locked when it is not free within `wait` seconds."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise Locked(path.name)
            time.sleep(0.002)
        yield
    finally:
        os.close(descriptor)  # releases the lock; so does the end of the process, however it ends


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_path(database: Path) -> Path:
    """The lock that every writing transaction on this file holds."""
    return database.parent / "ledger.lock"


def write_engine(database: Path) -> Engine:
    """One connection that may write. Use it only while holding `lock_path(database)`."""
    engine = create_engine(
        URL.create("sqlite", database=str(database)),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"isolation_level": None, "check_same_thread": False},
    )
    _with_pragmas(engine, WRITER_PRAGMAS)
    return engine


def read_engine(database: Path, connections: int = 4) -> AsyncEngine:
    """Readers for the event loop: they cannot write and never checkpoint."""
    engine = create_async_engine(
        _to_read("sqlite+aiosqlite", database),
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"isolation_level": None},
    )
    _with_pragmas(engine.sync_engine, READER_PRAGMAS)
    return engine


def sync_read_engine(database: Path) -> Engine:
    """A reader for commands that have no event loop (verify, export)."""
    engine = create_engine(
        _to_read("sqlite", database),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"isolation_level": None},
    )
    _with_pragmas(engine, READER_PRAGMAS)
    return engine


def _to_read(driver: str, database: Path) -> URL:
    """Opened for reading only: makes no file where none is, and leaves the write-ahead log alone when it closes."""
    return URL.create(driver, database=f"file:{quote(str(database))}", query={"mode": "ro", "uri": "true"})


def _with_pragmas(engine: Engine, pragmas: Sequence[str]) -> None:
    @event.listens_for(engine, "connect")
    def apply(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


@contextmanager
def transaction(database: Path) -> Iterator[Connection]:
    """One writing transaction for a command outside the service: lock, BEGIN IMMEDIATE, COMMIT or ROLLBACK."""
    with file_lock(lock_path(database)):
        engine = write_engine(database)
        # closing may checkpoint, so it happens inside the lock too
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
        engine.dispose()


class SqliteHold:
    """The writing connection, in a thread of its own: one hop there, one hop back, for up to 512 commands."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock = lock_path(database)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._engine = write_engine(database)
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        self._version: int | None = None

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call `work` in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    @contextmanager
    def transaction(self, trace: Trace = untraced) -> Iterator[Connection]:
        """Lock, BEGIN IMMEDIATE; whatever goes wrong inside, the connection is gone before the lock is free again."""
        with self._exclusively():
            trace("locked")
            try:
                connection = self._connected()
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
            except BaseException:
                self.forget()
                raise

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(file_lock(self._lock))
            except OSError as error:
                raise Unavailable from error
            yield

    def undisturbed(self, connection: Connection) -> bool:
        """SQLite counts the commits of others that a connection has seen."""
        last, self._version = self._version, connection.exec_driver_sql("PRAGMA data_version").scalar_one()
        return last == self._version

    @contextmanager
    def settling(self) -> Iterator[Connection]:
        """Inside of `transaction`: BEGIN IMMEDIATE fails while the lost transaction is still open somewhere."""
        connection = self._connected()
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.rollback()

    def forget(self) -> None:
        """Start again with a new connection, which counts anew."""
        self._version = None
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(SQLAlchemyError):
                connection.rollback()
            with suppress(SQLAlchemyError):
                connection.close()

    def fault(self, error: Exception) -> Fault:
        """Only a lock that another connection holds passes by itself."""
        if isinstance(error, OperationalError) and "locked" in str(error.orig):
            return Fault.PASSING
        if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
            return Fault.REFUSED
        refused = (IntegrityError, DataError, InterfaceError, ProgrammingError)
        unusable = isinstance(error, (SQLAlchemyError, Locked, Unavailable)) and not isinstance(error, refused)
        return Fault.UNUSABLE if unusable else Fault.REFUSED

    async def close(self) -> None:
        """Close the connection, which puts the write-ahead log back into the database, and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=True)

    def _connected(self) -> Connection:
        """The connection, as long as the path still names the file that was opened first. Raises Unavailable.

        SQLite would go on writing into a file that was moved away. It would create one that is missing, and delete
        the write-ahead log, with what was acknowledged in it, beside an empty one.
        """
        found = _identity(self._database)
        if self._file is None:
            self._file = found
        if found is None or found != self._file:
            raise Unavailable
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _close(self) -> None:
        # the last connection to close checkpoints the write-ahead log, hence the lock
        with suppress(Locked, Unavailable), self._exclusively():
            self.forget()
            self._engine.dispose()


def _identity(database: Path) -> tuple[int, int] | None:
    """Which file the path names, None for none or an empty one."""
    try:
        found = database.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size else None


class SqliteStore:
    """A ledger in a file, see `events/store.py`."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.place = str(database)

    def writer(self, clock: Clock = Clock(), trace: Trace = untraced) -> Writer:
        """The one that writes in a service, or beside it for a command."""
        return Writer(SqliteHold(self.database), clock, trace)

    def readers(self, connections: int = 4) -> AsyncEngine:
        """Connections for the event loop: they cannot write and never checkpoint."""
        return read_engine(self.database, connections)

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds on one connection that cannot write."""
        with sync_read_engine(self.database).connect() as connection:
            return work(connection)

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction under the ledger's lock, and commit it."""
        with transaction(self.database) as connection:
            return work(connection)

    def scrub(self, *, whole: bool = False) -> Scrubbed:
        """Write the database anew, unless that takes long, and cut the write-ahead log to nothing; readers hold it off.

        SQLite overwrites deleted rows with zeros (`secure_delete`), but not the copies that it leaves in the free space
        of a page whenever it moves rows to another: only VACUUM does that.
        """
        try:
            with file_lock(lock_path(self.database)), write_engine(self.database).connect() as connection:
                connection.exec_driver_sql(f"PRAGMA busy_timeout={_SCRUB_MS}")
                wholly = whole or self.database.stat().st_size <= _QUICKLY
                if wholly:
                    connection.exec_driver_sql(f"PRAGMA temp_store={'FILE' if whole else 'MEMORY'}")
                    connection.exec_driver_sql("VACUUM")
                busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        except Locked:
            return Scrubbed.BUSY
        return Scrubbed.BUSY if busy else Scrubbed.WHOLLY if wholly else Scrubbed.PARTLY

    def sizes(self) -> dict[str, int]:
        """Bytes of the files, by name."""
        files = (self.database, self.database.with_name(f"{self.database.name}-wal"))
        return {file.name: file.stat().st_size for file in files if file.exists()}
