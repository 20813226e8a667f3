"""The polls that wait: a few of each stream, of which a newer one ends the oldest. Knows not what they wait for."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LONGEST: Final = 20.0
"""Seconds that a poll waits for something to say."""
AT_ONCE: Final = 4
"""Polls of one stream that wait for so long, in one process."""
SHORTEST: Final = 2.0
"""Seconds that a poll waits before a newer one ends it: receivers that end each other's would come again at once."""


class Waits:
    """The limits of the polls that wait, by stream, the oldest first."""

    def __init__(self) -> None:
        self._of: dict[bytes, list[asyncio.Timeout]] = {}

    @contextmanager
    def one_more(self, stream: bytes, limit: asyncio.Timeout) -> Iterator[None]:
        """Count it for as long as it waits; the one that has waited longest makes room for it."""
        mine = self._of.setdefault(stream, [])
        if len(mine) >= AT_ONCE:
            _end(mine.pop(0))
        mine.append(limit)
        try:
            yield
        finally:
            if limit in mine:
                mine.remove(limit)
            if not mine and self._of.get(stream) is mine:  # there may be a newer list, of polls that began since
                del self._of[stream]


def _end(limit: asyncio.Timeout) -> None:
    """Bring its end forward, unless it has come: then the poll has just not been told yet."""
    end = limit.when()
    if end is not None and not limit.expired():
        now = asyncio.get_running_loop().time()
        limit.reschedule(min(end, max(now, end - LONGEST + SHORTEST)))
