"""A ledger in a file, see `store.py`."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from events.commit import Clock
from events.sqlite import Locked, file_lock, lock_path, read_engine, sync_read_engine, transaction, write_engine
from events.sqlite_hold import SqliteHold
from events.store import Scrubbed
from events.writer import Trace, Writer, untraced

_SCRUB_MS = 200
"""How long a cut of the write-ahead log waits for readers: the ledger's lock is held meanwhile."""
_QUICKLY = 64 * 1024 * 1024
"""Bytes of a database that is written anew within a second, while nobody else can write."""
T = TypeVar("T")


class SqliteStore:
    """One file, and the locks beside it."""

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
