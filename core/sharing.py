"""One run for all who want the same at a time: each begins after the last of its callers asked. Keeps no result."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Shared(Generic[K, V]):
    """Runs `make` once at a time for each key. One key waits for no other, unlike in `events.reads.GroupRead`."""

    def __init__(self, make: Callable[[K], Awaitable[V]]) -> None:
        self._make = make
        self._running: dict[K, asyncio.Task[V]] = {}
        self._next: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V:
        """What `make` answers, or raises, in a run that has not begun yet. A caller that goes away ends no run."""
        if key not in self._next:
            self._next[key] = asyncio.create_task(self._run(key, self._running.get(key)), name="shared")
        return await asyncio.shield(self._next[key])

    async def _run(self, key: K, before: asyncio.Task[V] | None) -> V:
        if before is not None:
            await asyncio.wait((before,))
        self._running[key] = self._next.pop(key)
        try:
            return await self._make(key)
        finally:
            del self._running[key]
