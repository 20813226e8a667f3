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

from sqlalchemy import URL, Connection, Engine, create_engine, event, select
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

from events import commit, schema
from events.commit import Clock, Failed, Head, Result
from events.decision import Moment, Submission
from events.ledger import Unavailable

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
LOCK_WAIT = 5.0
"""Seconds that a writer waits for another process' transaction."""
TRIES = 3
CLOSE = 360 * 1_000_000
"""Microseconds, no leeway is longer: a fault that begins before all leeways of the last one are over continues it."""
SLOW = 2.0
"""Seconds. Who waited longer for a COMMIT may have been told nothing: leeways count from its end, as after a fault."""
STEP = 0.25
"""Seconds that the wall clock may run ahead of the monotonic one before it counts as set."""

Trace = Callable[[str], None]
T = TypeVar("T")


def untraced(_point: str) -> None:
    """The crash points are named for tests; in service nothing happens at them."""


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


class SqliteWriter:
    """Commits batches in a thread of its own: one hop there, one hop back, for up to 256 commands."""

    def __init__(self, database: Path, clock: Clock = Clock(), trace: Trace = untraced) -> None:
        self._database = database
        self._lock = lock_path(database)
        self._clock = clock
        self._trace = trace
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._engine = write_engine(database)
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        self._last: tuple[int, float] | None = None
        self._ready: int | None = None
        self._unable = 0  # what went on before it began, a process does not know

    async def write(self, batch: Sequence[Submission]) -> list[Any]:
        """Commit one batch. An empty one only finds out whether writing works."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._write, batch)

    async def maintain(self, work: Callable[[Connection], T]) -> T:
        """Run one transaction of upkeep (deleting what has expired) where nothing else writes.

        Raises Unavailable, and what `work` raises; nothing of the transaction stays then.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._maintain, work)

    def now(self) -> int:
        """Ledger time, microseconds since the epoch, for who only looks: what the next batch would be given."""
        wall, last = int(self._clock.wall() * 1_000_000), self._last
        if last is None:
            return wall
        given, then = last
        return max(wall, given + int((self._clock.monotonic() - then) * 1_000_000))

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=True)

    def _write(self, batch: Sequence[Submission]) -> list[Any]:
        for _ in range(TRIES):
            try:
                return self._transact(batch)
            except Exception as error:  # sorted here: try again, unavailable, or one command's own fault
                self._stumble()
                if _passing(error):
                    continue
                if _unusable(error):
                    raise Unavailable from error
                return self._alone(batch, error)
        raise Unavailable

    def _alone(self, batch: Sequence[Submission], error: Exception) -> list[Any]:
        """The database refuses one of the rows: find out whose, so that the others are not refused with it."""
        if not batch:
            raise Unavailable from error
        if len(batch) == 1:
            return [Failed(error)]
        verdicts = []
        for one in batch:
            try:
                verdicts += self._write([one])
            except Unavailable as gone:  # those before it are committed, and answered so
                verdicts.append(Failed(gone))
        return verdicts

    def _maintain(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._transaction() as connection:
                monotonic = self._clock.monotonic()
                now = self._moment(commit.lock_head(connection), monotonic)
                done = work(connection)
                if self._ready is None:
                    commit.prove(connection)
                connection.commit()
                self._last, self._ready = (now.now, monotonic), now.ready
                return done
        except (SQLAlchemyError, Locked) as error:
            raise Unavailable from error

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Lock, BEGIN IMMEDIATE; whatever goes wrong inside, the connection is gone before the lock is free again."""
        with self._exclusively():
            self._trace("locked")
            try:
                connection = self._connected()
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
            except BaseException:
                self._forget()
                raise

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(file_lock(self._lock))
            except OSError as error:
                raise Unavailable from error
            yield

    def _transact(self, batch: Sequence[Submission]) -> list[Any]:
        with self._transaction() as connection:
            monotonic = self._clock.monotonic()
            begun: list[tuple[Head, Moment]] = []

            def moment(head: Head) -> Moment:
                begun.append((head, self._moment(head, monotonic)))
                return begun[0][1]

            result = commit.write(connection, batch, moment, monotonic, self._trace)
            if self._ready is None and result.first_leaf is None:
                commit.prove(connection)
            self._trace("written")
            head, now = begun[0]
            self._commit(connection, head.size, result)
            self._trace("committed")
            self._committed(now.now, monotonic, result)
            return result.verdicts

    def _commit(self, connection: Connection, position: int, result: Result) -> None:
        try:
            connection.commit()
        except SQLAlchemyError:
            # Nobody knows yet whether it is on disk. What stands at the batch's first position tells.
            self._forget()
            if result.first_leaf is None or not self._stands(position, result.first_leaf):
                raise

    def _stands(self, position: int, leaf: bytes) -> bool:
        """Whether the batch is committed after all. Where that cannot be found out now, nothing is decided again."""
        try:
            connection = self._connected()
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails while the lost transaction is still open somewhere
            query = select(schema.events.c.leaf).where(schema.events.c.position == position)
            found = connection.execute(query).scalar_one_or_none()
            connection.rollback()
        except SQLAlchemyError as error:
            raise Unavailable from error
        return bool(found == leaf)

    def _committed(self, now: int, monotonic: float, result: Result) -> None:
        """Remember the time that was given, and when this process was last unable to answer."""
        self._last = (now, monotonic)
        if self._ready is None:
            self._ready = now
        took = self._clock.monotonic() - monotonic
        if took > SLOW and result.first_leaf is not None:
            self._stumble(now)
            self._ready = now + int(took * 1_000_000)

    def _stumble(self, at: int | None = None) -> None:
        """Nobody could commit from `at` on, or from the last time that was given. Close faults count as one."""
        if self._ready is not None and self._last is not None:
            since = self._last[0] if at is None else at
            if since > self._ready + CLOSE:
                self._unable = since
        self._ready = None

    def _moment(self, head: Head, monotonic: float) -> Moment:
        """Ledger time never goes back and never stands still, whatever the wall clock does.

        Until something was really written, nobody knows whether this process can commit; from the first time on,
        leeways run again. That must not wait for the first event: on a quiet ledger it may be a thief's.
        """
        wall = int(self._clock.wall() * 1_000_000)
        now = max(wall, head.last_at + 1)
        if self._last is not None:
            given, then = self._last
            passed = int((monotonic - then) * 1_000_000)
            if now - given > passed + passed // 1000 + int(STEP * 1_000_000):
                self._stumble()  # the clock was set, or the machine slept: no leeway may have run out by that
            now = max(now, given + passed)
        return Moment(now, wall, arrived=now, ready=now if self._ready is None else self._ready, unable=self._unable)

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

    def _forget(self) -> None:
        """Start again with a new connection; until a batch commits, this process counts as unable to commit."""
        self._stumble()
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(SQLAlchemyError):
                connection.rollback()
            with suppress(SQLAlchemyError):
                connection.close()

    def _close(self) -> None:
        # the last connection to close checkpoints the write-ahead log, hence the lock
        with suppress(Locked, Unavailable), self._exclusively():
            self._forget()
            self._engine.dispose()


def _identity(database: Path) -> tuple[int, int] | None:
    """Which file the path names, None for none or an empty one."""
    try:
        found = database.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size else None


def _passing(error: Exception) -> bool:
    """Whether the same batch may well succeed at once: only a lock that another connection holds."""
    return isinstance(error, OperationalError) and "locked" in str(error.orig)


def _unusable(error: Exception) -> bool:
    """Whether it is the database that fails, and not one of the rows that it does not take."""
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        return False
    refused = (IntegrityError, DataError, InterfaceError, ProgrammingError)
    return isinstance(error, (SQLAlchemyError, Locked, Unavailable)) and not isinstance(error, refused)
