"""An application that answers on a port in the process of a test, a bench or a script."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from core import serving


class Served:
    """A server that is running."""

    def __init__(self, running: asyncio.Task[bool], stop: asyncio.Event) -> None:
        self._running = running
        self._stop = stop

    async def end(self) -> None:
        """Tell it to stop, and wait until it has."""
        self._stop.set()
        await self._running


@asynccontextmanager
async def answering(application: Any, port: int, stop: asyncio.Event | None = None) -> AsyncIterator[Served]:
    """Answers on 127.0.0.1 inside of this. Raises RuntimeError where it ends before it answers."""
    stop, ready = stop or asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(serving.serve(application, "127.0.0.1", port, stop, ready.set))
    opened = asyncio.create_task(ready.wait())
    await asyncio.wait({running, opened}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.is_set():
        opened.cancel()
        raise RuntimeError(f"nothing answers on port {port}")
    served = Served(running, stop)
    try:
        yield served
    finally:
        await served.end()
