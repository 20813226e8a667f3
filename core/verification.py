"""Verifying the log from the dashboard: one run at a time, in a thread, with its progress and its last result."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from events.checkpoints import CheckpointStore, Contradiction, Signed
from events.store import Store
from events.verify import Finding, Intact, verify


class Result(NamedTuple):
    """What the last run found."""

    intact: bool
    said: str
    """A sentence; for a finding, the first bad position and why."""
    size: int
    finished_at: float
    """Seconds since the epoch."""
    seconds: float


class Verification:
    """Runs `verify` beside the service. `publics` tells the keys that may have signed the last checkpoint."""

    def __init__(self, ledger: Store, store: CheckpointStore, publics: Callable[[], tuple[bytes, ...]]) -> None:
        self._ledger = ledger
        self._store = store
        self._publics = publics
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self.done = 0
        """Events that the running one has looked at."""
        self.last: Result | None = None

    @property
    def running(self) -> bool:
        """Whether one is under way."""
        return self._task is not None

    def start(self) -> bool:
        """Begin a run, unless one is under way; answers whether it began."""
        if self._task is not None:
            return False
        self.done = 0
        self._task = asyncio.create_task(self._run(), name="verify")
        return True

    async def ended(self) -> None:
        """Wait for the run that is under way."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def close(self) -> None:
        """Let the run that is under way stop at its next page, and wait for that."""
        self._stopped = True
        await self.ended()

    async def _run(self) -> None:
        began = time.monotonic()
        try:
            found = await asyncio.to_thread(self._verify)
        except _Stopped:
            return
        except Contradiction as error:
            found = Finding(None, str(error))
        finally:
            self._task = None
        self.last = _result(found, time.monotonic() - began)

    def _verify(self) -> Intact | Finding:
        signed, progress = self._signed(), self._progress()
        return self._ledger.read(lambda connection: verify(connection, signed, progress))

    def _signed(self) -> Signed | None:
        return None if self._store.last() is None else self._store.signed(*self._publics())

    def _progress(self) -> Callable[[int], None]:
        def told(done: int) -> None:
            self.done = done
            if self._stopped:
                raise _Stopped

        return told


class _Stopped(Exception):
    """The service is stopping."""


def _result(found: Intact | Finding, seconds: float) -> Result:
    if isinstance(found, Intact):
        said = f"All {found.size:,} events fit, and so do the projections. Root {found.root.hex()}."
        return Result(True, said, found.size, time.time(), seconds)
    return Result(False, str(found), 0, time.time(), seconds)
