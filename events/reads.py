"""Reading beside the writer: snapshots, and group reads that answer many waiting callers with one SELECT."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events.ledger import Unavailable

STATEMENT_MS = 5_000
"""A SELECT that takes longer on PostgreSQL has failed; searches have a budget of their own, see `events/budget.py`."""

_SET = "SELECT set_config('statement_timeout', '{}', true), set_config('jit', 'off', true)"
"""Compiling a query takes longer than any of ours runs."""
K = TypeVar("K")
V = TypeVar("V")


@asynccontextmanager
async def snapshot(engine: AsyncEngine, milliseconds: int = STATEMENT_MS) -> AsyncIterator[AsyncConnection]:
    """A connection on which all SELECTs see the same state of the ledger. Raises Unavailable.

    On PostgreSQL also for a SELECT that takes longer than so many milliseconds.
    """
    try:
        connection = await _begun(engine, milliseconds)
        try:
            yield connection
        finally:
            await connection.close()  # which rolls back; had that been done before, it would be done twice
    except (SQLAlchemyError, OSError) as error:
        raise Unavailable from error


async def _begun(engine: AsyncEngine, milliseconds: int) -> AsyncConnection:
    """A connection inside a transaction. One that the server has left since it was used last is replaced."""
    for last in (False, True):
        connection = await engine.connect()
        try:
            if engine.dialect.name == "sqlite":
                await connection.exec_driver_sql("BEGIN")
            else:
                await connection.exec_driver_sql(_SET.format(milliseconds))
        except DBAPIError as error:
            await connection.close()
            # with it the pool gave up all connections of its age: the next one is new, or cannot be had
            if last or not error.connection_invalidated:
                raise
        except BaseException:
            await connection.close()
            raise
        else:
            return connection
    raise Unavailable


class GroupRead(Generic[K, V]):
    """Callers that wait together share one read. Each read begins after the last of its callers asked."""

    def __init__(self, fetch: Callable[[frozenset[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._fetch = fetch
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._running: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """What is stored under `key` now, None where there is nothing. Raises Unavailable."""
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="group-read")
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                await self._answer(waiting)
        finally:
            self._running = None

    async def _answer(self, waiting: dict[K, list[asyncio.Future[V | None]]]) -> None:
        found: Mapping[K, V] | Exception
        try:
            found = await self._fetch(frozenset(waiting))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody may wait for ever
            found = error
        for key, futures in waiting.items():
            for future in futures:
                if future.done():
                    continue
                if isinstance(found, Exception):
                    future.set_exception(found)
                else:
                    future.set_result(found.get(key))
