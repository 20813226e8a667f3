"""The ledger's queue: commands that wait at the same moment become one batch. Knows no rule and no engine."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from events.commit import Failed
from events.decision import Decide, Origin, Streams, Submission

MAX_BATCH = 512
"""So many share a COMMIT; on SQLite one command then costs 5 % less of the processor than with 256."""
MAX_WAITING = 2048
TURNS = 5
"""Of the event loop, from the socket to here: parsing, limits, the use case."""
MAX_WAIT = 2.0
"""Seconds that the oldest command may have waited before new ones are turned away."""


class Unavailable(Exception):
    """The ledger cannot commit now. Nothing is known to be wrong with what was asked; try again shortly."""


class Writer(Protocol):
    """An engine: commits a batch in one transaction, in whatever thread or connection suits it."""

    async def write(self, batch: Sequence[Submission]) -> list[Any]:
        """The verdicts in order (`Failed` for a rule that failed). Raises Unavailable; then nothing is committed."""

    async def close(self) -> None:
        """Give up connections and locks."""


class _Waiting(NamedTuple):
    submission: Submission
    future: asyncio.Future[Any]
    since: float


class Ledger:
    """One way in: `submit`. While one batch is being committed, the next collects itself; there is no timer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: deque[_Waiting] = deque()
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self.committed: Callable[[int, float], None] = lambda _commands, _seconds: None
        """Told of each batch: its commands, and the seconds until it was durable."""
        self.batches = 0
        self.commands = 0

    @property
    def waiting(self) -> int:
        """How many commands wait now."""
        return len(self._waiting)

    async def submit(
        self, streams: Streams, decide: Decide, origin: Origin = Origin(), arrived: float | None = None
    ) -> Any:
        """Decide under the ledger's lock, commit, then answer the verdict.

        `arrived` is `time.monotonic()` at the moment the request arrived. Raises Unavailable, or what the rule raised.
        A caller that goes away does not stop the commit.
        """
        now = time.monotonic()
        if self._closed or self._overfull(now):
            raise Unavailable
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        submission = Submission(streams, decide, origin, now if arrived is None else arrived)
        self._waiting.append(_Waiting(submission, future, now))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="ledger")
        return await future

    async def probe(self) -> None:
        """Find out whether a batch can be committed now. Raises Unavailable."""
        await self._writer.write([])

    async def drain(self) -> None:
        """Take no more and commit what waits."""
        self._closed = True
        if self._running is not None:
            await asyncio.wait((self._running,))  # who gives up waiting does not cancel the commit

    async def close(self) -> None:
        """Drain, then give up the engine."""
        await self.drain()
        await self._writer.close()

    def _overfull(self, now: float) -> bool:
        return len(self._waiting) >= MAX_WAITING or bool(self._waiting and now - self._waiting[0].since > MAX_WAIT)

    async def _run(self) -> None:
        try:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
                await self._commit(taken)
                await self._let_in()
        finally:
            self._running = None

    async def _let_in(self) -> None:
        """Requests that have come in and are still on their way here join the next batch, where there is to be one.

        Under load a batch is then half as large again, and what each pays of its COMMIT is less. Who is alone waits for
        nobody.
        """
        for _ in range(TURNS if self._waiting else 0):
            await asyncio.sleep(0)

    async def _commit(self, taken: list[_Waiting]) -> None:
        began = time.monotonic()
        try:
            verdicts = await self._writer.write([one.submission for one in taken])
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody may wait for ever
            for one in taken:
                _settle(one.future, Failed(error))
            return
        for one, verdict in zip(taken, verdicts, strict=True):
            _settle(one.future, verdict)
        self.batches += 1
        self.commands += len(taken)
        self.committed(len(taken), time.monotonic() - began)


def _settle(future: asyncio.Future[Any], verdict: Any) -> None:
    if future.done():
        return  # the caller went away; the commit stands all the same
    if isinstance(verdict, Failed):
        future.set_exception(verdict.error)
    else:
        future.set_result(verdict)
