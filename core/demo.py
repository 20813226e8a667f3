"""Fills an empty ledger with weeks of invented life: the real rules on the real ledger, under a clock of its own.

Every event is what a rule made of a command; only the time is told, not passed. For looking only: everybody in it,
staff too, has one password.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from core import start
from core.actions import Actions
from core.checkpointing import Checkpointing
from core.clients import Clients
from core.demo_cast import Cast, Size
from core.demo_order import Waiting, at_of, batches, in_order, write
from core.demo_pen import Pen
from core.demo_turns import Turns
from core.demo_world import HOUR
from core.keys import KeyPolicy, Keys
from core.master import MasterKeys
from core.passwords import Hasher
from core.policy import SECOND, Policy
from core.presence import warm_up
from core.start import StartError
from core.subjects import initial_password
from events import heads
from events.actions import ActionReader
from events.checkpoints import CheckpointStore
from events.clients import read_clients
from events.commit import Clock
from events.decision import Submission
from events.families import FamilyReader
from events.keys import read_keys
from events.ledger import Ledger
from events.store import Store

BATCHES = 16
"""In one transaction: a page of an index is written once for all of them."""


class Place(NamedTuple):
    """The empty ledger, and what a service on it would be told."""

    ledger: Store
    checkpoints: Path
    master: MasterKeys
    defaults: Policy
    keys: KeyPolicy


class Filled(NamedTuple):
    """What there is now."""

    events: int
    living: int
    people: int
    somebody: str
    """Login name of one of them."""
    password: str
    """Of all of them."""


async def fill(place: Place, size: Size, end: int, done: Callable[[int], None], hasher: Hasher | None = None) -> Filled:
    """Write the story that ends at `end` (microseconds); `done` is told how many of its hours are. Raises StartError.

    If we crash inside, there is a shorter story: a ledger that is not empty any more, and in order.
    """
    demand_empty(place.ledger, place.checkpoints)
    warm_up()
    password, hashing = initial_password(), hasher or Hasher()
    pen = Pen(place.master, place.defaults, await hashing.hash(password))
    hashing.close()
    told = Telling(place, Cast(pen, size, end))
    try:
        await told.all(done)
        living = sum(one.families for one in (await told.families.standing()).values())
        everybody = told.cast.people
        return Filled(pen.size, living, len(everybody), everybody[0].name, password)
    finally:
        await told.close()


def demand_empty(store: Store, checkpoints: Path) -> None:
    """The past cannot be told to a ledger that has one. Raises StartError."""
    events = store.read(heads.size)
    if events:
        raise StartError(
            f"The ledger at {store.place} holds {events} events and a demonstration goes into an empty one only: "
            "set LEDGER_DATA_DIR and LEDGER_CHECKPOINT_DIR to new folders."
        )
    if CheckpointStore(checkpoints).last() is not None:
        raise StartError(
            f"{checkpoints} has a checkpoint of another ledger: set LEDGER_CHECKPOINT_DIR to a new folder."
        )


class Telling:
    """One story on its way into the ledger, in order of time."""

    def __init__(self, place: Place, cast: Cast) -> None:
        self.cast = cast
        self.now = cast.start
        self.writer = place.ledger.writer(Clock(self._seconds, self._seconds, shared=False))
        self.ledger = Ledger(self.writer)
        self.engine = place.ledger.readers()
        self.families = FamilyReader(self.engine)
        self._place = place

    async def all(self, done: Callable[[int], None]) -> None:
        """From the first event to a signed checkpoint of the last."""
        place, clients = self._place, Clients(self.ledger, lambda: read_clients(self.engine))
        keys = Keys(self.ledger, lambda: read_keys(self.engine), place.master, place.keys, lambda: self.now)
        actions = Actions(self.ledger, ActionReader(self.engine), self.families, place.defaults, _nobody_since)
        await start.begin(self.ledger, clients, keys)
        seed = place.master.checkpoint_seed(place.master.current) or b""
        signing = Checkpointing(place.ledger, self.engine, CheckpointStore(place.checkpoints), seed)
        await signing.run()
        waiting = Waiting(in_order(self.cast.beginnings(), self.cast.end))
        for turn in Turns(self.cast, keys, actions).by_time():
            await self._tell(waiting.until(turn.at), done)
            self.now = turn.at
            await turn.happens()
        await self._tell(waiting.until(self.cast.end), done)
        await signing.run()
        signing.close()
        done((self.cast.end - self.cast.start) // HOUR)

    async def close(self) -> None:
        """Give up what is open."""
        await self.engine.dispose()
        await self.ledger.close()  # last: the writer alone puts the write-ahead log back into the database

    async def _tell(self, commands: Iterator[Submission], done: Callable[[int], None]) -> None:
        """One after the other: making a batch beside the commit of another would only make both wait."""
        waiting = batches(commands)
        while some := list(islice(waiting, BATCHES)):
            self.now = max(self.now, at_of(some[-1][-1]))
            await self.writer.maintain(partial(self._write, some))
            done((self.now - self.cast.start) // HOUR)

    def _write(self, some: Iterable[Sequence[Submission]], connection: Connection) -> None:
        for batch in some:
            self.cast.pen.size = write(batch, connection)

    def _seconds(self) -> float:
        return self.now / SECOND


async def _nobody_since(_query: str, _at: int, _limit: int) -> tuple[bytes, ...]:
    return ()
