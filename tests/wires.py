"""A wire between a ledger and its PostgreSQL that can be cut at the worst moment, in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

COMMITTED = b"COMMIT\x00"
"""What a server says when a COMMIT is done: the tag of its CommandComplete."""


T = TypeVar("T")


class Wire:
    """Listens on 127.0.0.1 and passes everything on to the server of `url`, until told otherwise."""

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self._open: set[asyncio.Task[None]] = set()
        self.swallow_commits = 0
        """So many answers to a COMMIT do not arrive: the connection is cut in their place."""
        self.cuts = 0
        self.refusing = False

    @property
    def url(self) -> str:
        """The same database, through this wire."""
        there = self._there
        account = there.netloc.rpartition("@")[0]
        return urlunsplit((there.scheme, f"{account}@127.0.0.1:{self.port}", there.path, there.query, ""))

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire")
        self._thread.start()
        self._server = self._done(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._done(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _done(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _close(self) -> None:
        self._server.close()
        await self._cut()

    def turn(self, url: str) -> None:
        """Lead to another server from now on."""
        self._there = urlsplit(url)
        self.cut()

    def cut(self) -> None:
        """End every connection now."""
        self._done(self._cut())

    async def _cut(self) -> None:
        going = list(self._open)
        for one in going:
            one.cancel()
        await asyncio.gather(*going, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if not self.refusing:
                await self._connected(reader, writer)
        except (OSError, asyncio.CancelledError, _Cut):
            pass
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._there.hostname, self._there.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, there_writer, answers=False))
                both.create_task(self._pass_on(there_reader, writer, answers=True))
        except* (OSError, _Cut):
            pass
        finally:
            there_writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await reader.read(65536):
            if answers and self.swallow_commits and COMMITTED in data:
                self.swallow_commits -= 1
                self.cuts += 1
                raise _Cut
            with suppress(OSError):
                writer.write(data)
                await writer.drain()
        raise _Cut


class _Cut(Exception):
    """This connection ends here."""
