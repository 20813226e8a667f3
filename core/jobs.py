"""What runs beside the requests: a table of name, period and use case. Each job may die at any point and run again."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import structlog

from core import ending, judgement, policy
from core.policy import Policy
from events import log, upkeep
from events.client import Client
from events.decision import Streams
from events.families import FamilyReader
from events.family import Family
from events.ledger import Ledger, Unavailable
from events.standing import Standing
from events.writer import Writer

SWEEP_SLICE = 2_000
"""Families looked at in one run of the sweeper: a bounded cost, however many there are."""
SWEEP_TOGETHER = 64
"""Ended in one commit, and few enough to leave the queue to everybody else."""


class Job(NamedTuple):
    """Something done every `period` seconds, counted from the end of the run before."""

    name: str
    period: float
    run: Callable[[], Awaitable[object]]
    once: bool = False
    """Whether one process of a cluster is enough."""


async def every(job: Job, leads: Callable[[], bool] = lambda: True) -> None:
    """Run a job until cancelled; what is done once in a cluster, while this process leads.

    A failed run is logged and made up for by the next. A cancel that a run loses ends the job all the same:
    `asyncio.wait_for` of Python 3.11 loses one that comes together with the answer.
    """
    while not _cancelled():
        await asyncio.sleep(job.period)
        try:
            if leads() or not job.once:
                await job.run()
        except Unavailable:
            structlog.get_logger().warning("job_postponed", job=job.name, reason="the ledger is unavailable")
        except Exception as error:  # noqa: BLE001 - one wrong run must not end the job for good
            structlog.get_logger().error("job_failed", job=job.name, error=type(error).__name__)


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Sweeper:
    """Ends families whose limit has passed, slice by slice in the order of their ids.

    Nothing waits for it: a refresh looks at the limits itself. It makes the end visible, in the log and the dashboard.
    """

    def __init__(
        self,
        ledger: Ledger,
        reader: FamilyReader,
        defaults: Policy,
        now: Callable[[], int],
        client: Callable[[str], Client | None] = lambda _name: None,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._reader = reader
        self._defaults = defaults
        self._now = now
        self._cursor = b""

    async def run(self) -> int:
        """Look at the next slice; answers how many families ended."""
        found = await self._reader.slice_after(self._cursor, SWEEP_SLICE)
        self._cursor = found[-1].id if len(found) == SWEEP_SLICE else b""
        now = self._now()
        due = [one.id for one in found if one.living and self._lapsed(one, now)]
        ended = 0
        for start in range(0, len(due), SWEEP_TOGETHER):
            ended += sum(await asyncio.gather(*map(self._expire, due[start : start + SWEEP_TOGETHER])))
        return ended

    def _lapsed(self, state: Family, now: int) -> bool:
        client = self._client(state.client)
        applied = policy.of(client, self._defaults) if client else self._defaults
        return bool(judgement.lapse(state, applied, now))

    async def _expire(self, stream: bytes) -> int:
        count: int = await self._ledger.submit(
            Streams(families=frozenset((stream,))), ending.expire(stream, self._defaults)
        )
        return count


class Count:
    """How many families live, and what stands under which master key: a full count, so it is made seldom.

    It costs at most a hundredth of the time.
    """

    def __init__(self, reader: FamilyReader) -> None:
        self._reader = reader
        self._not_before = 0.0
        self.living = math.nan
        """Not a number until it was counted."""
        self.standing: Mapping[int, Standing] | None = None
        """By the number of the master key; None until it was counted."""

    async def run(self) -> float:
        """Count again, unless the last count was long and not long ago."""
        began = time.monotonic()
        if began >= self._not_before:
            try:
                self.standing = await self._reader.standing()
                self.living = sum(one.families for one in self.standing.values())
            finally:  # one that was cut off in the middle cost as much
                self._not_before = began + 100 * (time.monotonic() - began)
        return self.living


class ContextExpiry:
    """Deletes addresses and user agents older than the limit, after the log says that they are gone."""

    def __init__(self, ledger: Ledger, writer: Writer, ttl: int, now: Callable[[], int]) -> None:
        self._ledger = ledger
        self._writer = writer
        self._ttl = ttl
        self._now = now

    async def run(self) -> int:
        """State it, then delete in slices; answers how many rows went."""
        before = self._now() - self._ttl * 1_000_000
        below = await self._writer.maintain(lambda connection: upkeep.contexts_before(connection, before))
        streams = Streams(logs=frozenset((log.STREAM,)))
        stated = await self._ledger.submit(streams, upkeep.expire_contexts(below))
        gone = 0
        while stated and (deleted := await self._writer.maintain(upkeep.delete_contexts(stated))):
            gone += deleted
        return gone
