"""A limit of time for reading: a query that is too slow is interrupted, and that is an answer. Knows no query.

`asyncio.timeout` would only stop waiting: the thread behind the connection would go on until the query ends.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
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
        async with _interrupting(connection, seconds) as interrupted:
            try:
                return await read(connection)
            except OperationalError as error:
                if not interrupted.is_set() or "interrupt" not in str(error.orig):
                    raise
        return TooSlow(seconds)


@asynccontextmanager
async def _interrupting(connection: AsyncConnection, seconds: float) -> AsyncIterator[asyncio.Event]:
    """Interrupt what runs on the connection once the time is over, or when the caller goes away."""
    driver = (await connection.get_raw_connection()).driver_connection
    interrupted = asyncio.Event()
    watch = asyncio.create_task(_watch(driver, seconds, interrupted), name="time budget")
    try:
        yield interrupted
    except asyncio.CancelledError:
        await driver.interrupt()  # type: ignore[union-attr]
        raise
    finally:
        # awaited, so that nothing of ours can hit the connection's next user
        watch.cancel()
        with suppress(asyncio.CancelledError, ValueError):
            await watch


async def _watch(driver: Any, seconds: float, interrupted: asyncio.Event) -> None:
    await asyncio.sleep(seconds)
    interrupted.set()
    while True:
        await driver.interrupt()
        await asyncio.sleep(_AGAIN)
