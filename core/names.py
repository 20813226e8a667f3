"""Looking up names that others gave, in threads of its own: a slow one makes nobody wait who did not ask for it.

The event loop's own look-ups share a few threads with everything else. Giving up does not end one: it keeps its thread
until the system answers, which may be half a minute, and the loop waits for it when it ends. So a receiver whose name
nobody answers for could hold up the reconnection to a database, and a stop of the service.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

MOST: Final = 64
"""Look-ups at a time. Beyond that a name counts as unknown, as if the system did not know it just now."""

Look = Callable[[str, int], list[str]]
"""Blocks. Raises OSError, or UnicodeError for what is no name."""


def look_up(host: str, port: int) -> list[str]:
    """Numeric addresses as the system gives them, each once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Names:
    """Asks the system; who asks for the same at the same time shares the answer."""

    def __init__(self, look: Look = look_up) -> None:
        self._look = look
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str] | Exception]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        """Numeric addresses of a host. Raises OSError, UnicodeError. Whoever gives up leaves the look-up to itself."""
        found = await asyncio.shield(self._under_way.get((host, port)) or self._begun(host, port))
        if isinstance(found, Exception):
            raise found
        return found

    def _begun(self, host: str, port: int) -> asyncio.Future[list[str] | Exception]:
        if len(self._under_way) >= MOST:
            raise OSError("too many names are being looked up")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[str] | Exception] = loop.create_future()
        future.add_done_callback(lambda _: self._under_way.pop((host, port), None))
        self._under_way[host, port] = future
        # No executor: it would wait for its threads when the process ends, and these may be dropped.
        threading.Thread(target=self._run, args=(loop, future, host, port), name="names", daemon=True).start()
        return future

    def _run(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[list[str] | Exception], host: str, port: int
    ) -> None:
        found: list[str] | Exception
        try:
            found = self._look(host, port)
        except Exception as error:  # noqa: BLE001 - whoever waits is to learn of it
            found = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(_settle, future, found)


def _settle(future: asyncio.Future[list[str] | Exception], found: list[str] | Exception) -> None:
    if not future.done():
        future.set_result(found)
