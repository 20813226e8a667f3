"""A limit of time for reading: a query that is too slow is interrupted, and that is an answer. Knows no query.

`asyncio.timeout` would only stop waiting: the thread behind SQLite's connection would go on until the query ends. So
does a cancelled caller; its query is interrupted too, before the pool gets the connection back. PostgreSQL ends a
statement by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import reads

SECONDS = 2.0
_AGAIN = 0.05
"""An interrupt between two statements of one reading hits nothing, so it is repeated until the reading ends."""

_CANCELED = "57014"
"""SQLSTATE query_canceled: by the time-out, here."""

_SET = "SELECT set_config('statement_timeout', '{}', true), set_config('plan_cache_mode', 'force_custom_plan', true)"
"""A plan for any value would take an address range for rare, and gather and sort all that came from a busy one."""

T = TypeVar("T")


class TooSlow(NamedTuple):
    """The answer was not found within this many seconds."""

    seconds: float


async def within(
    engine: AsyncEngine, read: Callable[[AsyncConnection], Awaitable[T]], seconds: float = SECONDS
) -> T | TooSlow:
    """What `read` finds on one snapshot, or TooSlow. The connection stays usable. Raises Unavailable."""
    async with reads.snapshot(engine) as connection:
        if engine.dialect.name == "postgresql":
            return await _timed_by_server(connection, read, seconds)
        driver = (await connection.get_raw_connection()).driver_connection
        reading = asyncio.ensure_future(read(connection))
        try:
            await asyncio.wait((reading,), timeout=seconds)
            interrupted = not reading.done()
        finally:
            await _end(reading, driver)
        return TooSlow(seconds) if interrupted and _is_interrupt(reading.exception()) else reading.result()


async def _end(reading: asyncio.Future[Any], driver: Any) -> None:
    while not reading.done():
        await driver.interrupt()
        await asyncio.wait((reading,), timeout=_AGAIN)
    reading.exception()  # it was seen, also where the caller goes away


def _is_interrupt(error: BaseException | None) -> bool:
    return isinstance(error, OperationalError) and "interrupt" in str(error.orig)


async def _timed_by_server(
    connection: AsyncConnection, read: Callable[[AsyncConnection], Awaitable[T]], seconds: float
) -> T | TooSlow:
    """The server ends the statement that goes over the time; several that do only together are few and short.

    A caller that goes away cuts the connection, and the server ends what ran on it.
    """
    await connection.exec_driver_sql(_SET.format(max(1, int(seconds * 1000))))
    try:
        return await read(connection)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _CANCELED:
            return TooSlow(seconds)
        raise
