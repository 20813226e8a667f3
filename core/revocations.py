"""Use cases of the revocation feed: waiting for what is new, and what verifiers say of themselves. Knows no HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple

from events import cursor, verifiers
from events.cursor import Unread
from events.revocations import Place, RevocationReader, Slice
from events.verifiers import Verifier, VerifierReader
from events.writer import Writer

LOOK: Final = 0.2
"""Seconds between two looks at the log while somebody waits: one look for all who do."""
FRESH: Final = 120 * 1_000_000
"""Microseconds for which what a verifier said counts: it speaks at least every 30 s."""


class Watch:
    """Waiting until the log has something behind a position. `look` answers the position of the newest."""

    def __init__(self, look: Callable[[], Awaitable[int]], stopping: asyncio.Event) -> None:
        self._look = look
        self._stopping = stopping
        self._waiting: dict[asyncio.Future[bool], int] = {}
        self._running: asyncio.Task[None] | None = None

    async def beyond(self, position: int, seconds: float) -> bool:
        """Whether there was something within that time; False, too, where the service stops. Raises Unavailable."""
        if self._stopping.is_set():
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[future] = position
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="watch")
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(future, None)

    async def close(self) -> None:
        """Look no more; who waits learns that there is nothing."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))

    async def _run(self) -> None:
        try:
            while self._waiting and not self._stopping.is_set():
                self._tell(await self._look())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), LOOK)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody may wait for it in vain
            for future in self._waiting:
                if not future.done():
                    future.set_exception(error)
        finally:
            self._running = None
            for future in self._waiting:
                _settle(future, found=False)

    def _tell(self, newest: int) -> None:
        for future, position in self._waiting.items():
            if newest > position:
                _settle(future, found=True)


def _settle(future: asyncio.Future[bool], *, found: bool) -> None:
    if not future.done():
        future.set_result(found)


class CaughtUp(NamedTuple):
    """Which verifiers already refuse what was revoked at a position, and which may not yet."""

    known: list[Verifier]
    behind: list[Verifier]


class Revocations:
    """What must be refused before it expires, and who refuses it already. All methods raise Unavailable."""

    def __init__(
        self, reader: RevocationReader, heard: VerifierReader, writer: Writer, stopping: asyncio.Event
    ) -> None:
        self._reader = reader
        self._heard = heard
        self._writer = writer
        self._watch = Watch(reader.newest, stopping)
        self._said: dict[tuple[str, str], Verifier] = {}
        self._writing: asyncio.Task[None] | None = None

    async def place(self) -> Place:
        """What cursors are held against."""
        return await self._reader.place()

    async def after(self, given: str | None, client: str | None, wait: float = 0) -> Slice | Unread:
        """Entries behind a cursor; where there are none, wait so many seconds for one that this client may see.

        Without a cursor all that matter now, at once. `client` None sees those of all clients.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            found = await self._reader.after(given, self._writer.now(), client=client)
            if isinstance(found, Unread) or found.entries or given is None:
                return found
            left = deadline - loop.time()
            if left <= 0 or not await self._watch.beyond(found.position, left):
                return found
            given = found.cursor

    async def acknowledged(self, client: str, name: str, given: str) -> Unread | None:
        """A verifier refuses everything up to the cursor. Those that say so together are written together."""
        size, origin, _ = await self._reader.place()
        position = cursor.read(given, origin, size)
        if isinstance(position, Unread):
            return position
        self._said[client, name] = Verifier(client, name, position, self._writer.now())
        while (client, name) in self._said:
            if self._writing is None:
                self._writing = asyncio.create_task(self._write(), name="verifiers")
            await asyncio.shield(self._writing)
        return None

    async def caught_up(self, position: int) -> CaughtUp:
        """How far the verifiers are that were heard of lately."""
        known = await self._heard.heard_since(self._writer.now() - FRESH)
        return CaughtUp(known, [one for one in known if one.position < position])

    async def close(self) -> None:
        """Let nobody wait any longer, and finish writing."""
        await self._watch.close()
        if self._writing is not None:
            await asyncio.wait((self._writing,))

    async def _write(self) -> None:
        said, self._said = self._said, {}
        try:
            await self._writer.maintain(verifiers.heard(said.values()))
        finally:
            self._writing = None
