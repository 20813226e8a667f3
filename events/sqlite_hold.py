"""The writing connection of the embedded engine, in a thread of its own. See `writer.py` for what it holds on to."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection
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

from events.ledger import Unavailable
from events.sqlite import Locked, file_lock, lock_path, write_engine
from events.writer import Fault, Trace, untraced

T = TypeVar("T")


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
