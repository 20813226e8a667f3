"""A process that drives a ledger without HTTP until it kills itself at a named point, and the nursery that starts it.

The nursery imports everything once and forks a child for each order that it reads, so that a kill costs milliseconds.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection

from core.checkpointing import Checkpointing
from core.jobs import ContextExpiry
from core.token import Token
from events import upkeep
from events.checkpoints import CheckpointStore
from events.commit import Clock
from events.ledger import Ledger
from events.rebuild import rebuild
from events.stores import store_at
from events.writer import Writer
from tests import holders

T = TypeVar("T")
CLIENTS = 6
SEED = bytes(range(32))
POINTS = (
    "locked",
    "decided",
    "events inserted",
    "private rows inserted",
    "written",
    "committed",
    "answered",
    "frontier replaced",
    "half a checkpoint",
    "checkpoint not replaced",
    "checkpoint replaced",
    "contexts expiring",
    "anywhere",
)
CALM = "calm"
"""Not a crash point: every client refreshes once and the process ends well."""
SURVIVE = "survive"
"""Not a crash point: everything goes on beside others that die, until there is a file `stop` in the folder."""
REBUILD = "rebuild"
"""Not a crash point: the projections are made anew, again and again, until a signal ends it after some milliseconds."""


class Order(NamedTuple):
    """Where to work, where to die, and how far the wall clock is ahead."""

    folder: str
    point: str
    after: int
    ahead: float
    url: str
    """Of the ledger; on PostgreSQL the wall clock is the database's."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Fate:
    """Dies when the named point is passed for the n-th time."""

    def __init__(self, order: Order) -> None:
        self.point = order.point
        self._left = order.after

    def __call__(self, point: str) -> None:
        if point == self.point:
            self._left -= 1
            if self._left <= 0:
                _die()


class FatefulStore(CheckpointStore):
    """The real store, passing points between its steps."""

    def __init__(self, folder: Path, fate: Callable[[str], None]) -> None:
        super().__init__(folder)
        self._fate = fate

    def _replace(self, name: str, data: bytes, *, sync: bool = False) -> None:
        if name == "checkpoint":
            (self.folder / "checkpoint.new").write_bytes(data[: len(data) // 2])
            self._fate("half a checkpoint")
            (self.folder / "checkpoint.new").write_bytes(data)
            self._fate("checkpoint not replaced")
        super()._replace(name, data, sync=sync)
        self._fate(f"{name} replaced")


class FatefulUpkeep:
    """The writer as a job sees it, passing a point after each of its transactions."""

    def __init__(self, writer: Writer, fate: Fate) -> None:
        self._writer = writer
        self._fate = fate

    async def maintain(self, work: Callable[[Connection], T]) -> T:
        done = await self._writer.maintain(work)
        self._fate("contexts expiring")
        return done


class Child:
    """Several holders that refresh at once, a signer, and a file that tells what they were answered."""

    def __init__(self, order: Order) -> None:
        folder = Path(order.folder)
        self.calm = order.point == CALM
        self._stop = folder / "stop"
        self.fate = Fate(order)
        clock = Clock(lambda: time.time() + order.ahead)
        ledger = store_at(order.url)
        self.writer = ledger.writer(clock, trace=self.fate)
        self.ledger = Ledger(self.writer)
        store = FatefulStore(folder / "checkpoints", self.fate)
        self.checkpointing = Checkpointing(ledger, ledger.readers(1), store, SEED)
        fateful: Any = FatefulUpkeep(self.writer, self.fate)
        self.expiry = ContextExpiry(self.ledger, fateful, 1, self.writer.now)
        self.answers = folder / "answers"
        self.log = os.open(self.answers, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @property
    def goes_on(self) -> bool:
        """A calm life is one round of each."""
        return not self.calm and not self._stop.exists()

    def tell(self, **what: object) -> None:
        """One line, in the kernel's hands at once: a kill does not take it back."""
        os.write(self.log, json.dumps(what).encode() + b"\n")

    async def live(self) -> None:
        await holders.people(self.ledger)
        tokens = {line["client"]: line for line in map(json.loads, self.answers.open()) if "client" in line}
        work = [self.refresh(number, tokens.get(number)) for number in range(CLIENTS)]
        await asyncio.gather(*work, self.sign(), *([] if self.calm else [self.revoke(), self.expire()]))
        await self.ledger.close()

    async def refresh(self, number: int, known: dict[str, str] | None) -> None:
        if known is None:
            presented = await holders.begin(self.ledger)
        else:
            nonce, stream = bytes.fromhex(known["nonce"]), bytes.fromhex(known["family"])
            presented = Token(1, stream, nonce, int(known["generation"]))
        while True:
            answer = await holders.refresh(self.ledger, presented)
            self.fate("answered")
            presented = holders.successor(presented, answer)
            self.tell(
                client=number,
                verdict=answer.verdict,
                family=presented.family.hex(),
                nonce=presented.nonce.hex(),
                generation=presented.generation,
                jti=answer.jti,
            )
            if not self.goes_on:
                return
            await asyncio.sleep(random.random() * 0.002)

    async def revoke(self) -> None:
        while self.goes_on:
            begun = await holders.begin(self.ledger)
            await holders.revoke(self.ledger, begun.family)
            self.tell(revoked=begun.family.hex())
            await asyncio.sleep(random.random() * 0.004)

    async def expire(self) -> None:
        while self.goes_on:
            await self.expiry.run()
            await asyncio.sleep(random.random() * 0.02)

    async def sign(self) -> None:
        while True:
            await self.checkpointing.run()
            self.tell(signed=self.checkpointing.size)
            if not self.goes_on:
                return
            await asyncio.sleep(random.random() * 0.004)


def _rebuild(order: Order) -> None:
    signal.setitimer(signal.ITIMER_REAL, order.after / 1000)  # its signal ends the process where it stands
    while True:
        rebuild(store_at(order.url))


async def _live(order: Order) -> None:
    if order.point == "anywhere":
        # the writer's thread is in the middle of whatever it does
        asyncio.get_running_loop().call_later(0.02 + random.random() * 0.06, _die)
    await asyncio.wait_for(Child(order).live(), 600 if order.point == SURVIVE else 20)


def _born(order: Order) -> None:
    upkeep.SLICE = 4
    try:
        if order.point == REBUILD:
            _rebuild(order)
        asyncio.run(_live(order))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it must not come out of the fork
        print(f"child: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def nursery() -> None:
    """For each order on a line of stdin, fork a child, wait for its end, and print its status as subprocess does."""
    for line in sys.stdin:
        order = Order(*json.loads(line))
        child = os.fork()
        if child == 0:
            random.seed()
            _born(order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    nursery()
