"""The writing connection on PostgreSQL, on the event loop. See `writer.py` for what it holds on to."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only, greenlet_spawn

from events import commit
from events.ledger import Unavailable
from events.postgres import LOCK_MS, PASSING, connecting, state_of
from events.writer import Fault, Trace, untraced

STATEMENT_MS: Final = 5_000
IDLE_MS: Final = 10_000
"""A process that hangs inside a transaction loses it after so long, and the head row is free again."""
SETTLE: Final = 6.0
"""Seconds in which a COMMIT without an answer must be settled."""
AGAIN: Final = 0.05
_ROWS: Final = ("22", "23", "54")
"""Data, integrity, limits: classes of errors that one of the rows is to blame for."""
_LIMITS: Final = {
    "lock_timeout": str(LOCK_MS),
    "statement_timeout": str(STATEMENT_MS),
    "idle_in_transaction_session_timeout": str(IDLE_MS),
}
_LIMIT: Final = "SELECT " + ", ".join(f"set_config('{name}', '{limit}', true)" for name, limit in _LIMITS.items())
T = TypeVar("T")


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
            if state in PASSING:
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
