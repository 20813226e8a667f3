"""A limit of time for reading: a query that is too slow is interrupted, and that is an answer. Knows no query.

`asyncio.timeout` would only stop waiting: the thread behind the connection would go on until the query ends. So does a
cancelled caller; its query is interrupted too, before the pool gets the connection back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import reads

SECONDS = 2.0
_AGAIN = 0.05
"""An interrupt between two statements of one reading hits nothing, so it is repeated until the reading ends."""

T = TypeVar("T")


class TooSlow(NamedTuple):
    """The answer was not found within this many seconds."""

    seconds: float


async def within(
    engine: AsyncEngine, read: Callable[[AsyncConnection], Awaitable[T]], seconds: float = SECONDS
) -> T | TooSlow:
    """What `read` finds on one snapshot, or TooSlow. The connection stays usable. Raises Unavailable."""
    async with reads.snapshot(engine) as connection:
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
