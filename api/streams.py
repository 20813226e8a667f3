"""Answers that stay open: how many each client has, events as SSE sends them, and when a stream ends. Reads nothing."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from litestar.response import Stream

from core.problem import Problem

SECONDS: Final = 18.0
"""A stream ends by itself after so long, and its reader goes on behind the last event that it has."""
LONGEST_WAIT: Final = 20
"""Seconds that a long poll waits at most."""
PING: Final = 5.0
"""Seconds of silence at most, so that a reader knows that it is still connected, and proxies do not hang up."""
MOST: Final = 256
"""Answers of one client that may be open at a time, in one process."""
CROWDED: Final = Problem(
    429, "too_many_streams", f"Not more than {MOST} answers of one client are open at a time.", {"Retry-After": "5"}
)


class Open:
    """The answers that are open."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    def is_full(self, client: str) -> bool:
        return self._of[client] >= MOST

    @contextmanager
    def one_more(self, client: str) -> Iterator[bool]:
        """Count it for as long as it is open; whether there was room.

        A stream asks again when it begins: many that came at once have all seen room before the first one was counted.
        """
        room = not self.is_full(client)
        self._of[client] += 1
        try:
            yield room
        finally:
            self._of[client] -= 1
            if not self._of[client]:
                del self._of[client]


class Breath:
    """The time of one stream: how long it may still wait, and whether it has been silent for too long."""

    def __init__(self) -> None:
        self._end = time.monotonic() + SECONDS
        self._spoken = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds to wait at most before the next look; 0 and less where the stream is over."""
        now = time.monotonic()
        return min(self._end - now, max(self._spoken + PING - now, 0.001))

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._end

    @property
    def silent(self) -> bool:
        """Whether it is time to say that the stream is still there."""
        return time.monotonic() >= self._spoken + PING

    def spoke(self) -> None:
        self._spoken = time.monotonic()


FULL: Final = b"retry: 5000\n\n"
"""All that a stream says for which there was no room."""
PINGED: Final = b": still here\n\n"


def begun(cursor: str) -> bytes:
    """The first words of a stream: where it begins, and how soon to come again after its end."""
    return f"retry: 500\nid: {cursor}\n\n".encode()


def event(cursor: str, data: bytes) -> bytes:
    """One event: `data` on one line, the cursor behind it."""
    return b"id: %s\ndata: %s\n\n" % (cursor.encode(), data)


def stream(parts: AsyncIterator[bytes]) -> Stream:
    """Server-sent events, which nobody keeps and no proxy collects."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Stream(parts, media_type="text/event-stream", headers=headers)
