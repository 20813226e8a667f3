"""Windows that are counted in this process: a storage for the `limits` library. Knows no limit, waits for nothing."""

import time

from limits.aio.storage import Storage

MAX_COUNTERS = 100_000
"""In memory, about 30 MB. Beyond it the oldest windows are forgotten."""


class Counters(Storage):
    """Fixed windows in this process.

    The library's own memory storage goes through all its keys again and again beside the requests, and its memory has
    no bound: 50,000 keys cost a third of a core. Here a full table makes room when a key is added. Windows begin
    with their first count, so insertion order is nearly the order of expiry. Counts run on the monotonic clock.
    """

    STORAGE_SCHEME = None
    base_exceptions = ValueError

    def __init__(self, size: int = MAX_COUNTERS) -> None:
        super().__init__()
        self._size = size
        self._windows: dict[str, tuple[float, int]] = {}

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = time.monotonic()
        until, count = self._windows.get(key, (0.0, 0))
        if until <= now:
            self._windows.pop(key, None)
            until, count = now + expiry, 0
            if len(self._windows) >= self._size:
                self._make_room(now)
        self._windows[key] = (until, count + amount)
        return count + amount

    async def get(self, key: str) -> int:
        until, count = self._windows.get(key, (0.0, 0))
        return count if until > time.monotonic() else 0

    async def get_expiry(self, key: str) -> float:
        """Wall time in seconds, as the library wants it."""
        until, _ = self._windows.get(key, (0.0, 0))
        return time.time() + max(0.0, until - time.monotonic())

    async def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    async def check(self) -> bool:
        return True

    async def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    def _make_room(self, now: float) -> None:
        """Drop what has ended; where that frees less than a tenth, the oldest tenth too. Seldom, so cheap."""
        self._windows = {key: window for key, window in self._windows.items() if window[0] > now}
        for key in list(self._windows)[: max(0, len(self._windows) - self._size * 9 // 10)]:
            del self._windows[key]
