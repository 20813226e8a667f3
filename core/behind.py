"""Work that goes on behind answers that were given. Knows no ledger; what fails there costs nobody an answer."""

import asyncio
from collections.abc import Coroutine


class Behind:
    """Tasks nobody waits for, until the service stops."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    def begin(self, work: Coroutine[object, object, object]) -> None:
        """Let it run. It is lost if we crash, and if it fails."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def close(self) -> None:
        """Wait for all of it."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # or the loop reports it as forgotten
