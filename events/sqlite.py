"""The embedded engine: one file, one writer at a time, readers that never write, locks between processes.

Durable: a batch is answered after COMMIT with `synchronous=FULL`. Exclusive: every writing transaction and every
checkpoint of the write-ahead log, in whatever process, holds `ledger.lock`; SQLite before 3.51.3 can corrupt a file
when two connections write or checkpoint at the same moment (sqlite.org/wal.html#walresetbug).
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

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


READ_WAIT = 5.0
"""Seconds that a read waits for a connection: then it is unavailable, while whoever asked still listens."""


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
        pool_timeout=READ_WAIT,
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
