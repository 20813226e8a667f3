"""kill -9 in the middle of an erasure: it was never begun, or it is carried out to the end, and the log always fits."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from core import erasures
from core.action import Selection, plan
from core.erasure import Erasure
from core.erasures import Erasures
from events import erasing
from events.actions import ActionReader
from events.commit import Clock
from events.decision import Streams
from events.erased import ErasedList, Line
from events.erasures import ErasureReader
from events.ledger import Ledger
from events.rebuild import rebuild
from events.store import Scrubbed, Store
from events.stores import store_at
from events.subjects import SubjectReader
from events.writer import Writer
from tests import holders, tables
from tests.check import check, events_of, found_in_files
from tests.databases import Files, Stores, alone
from tests.processes import FORKING
from tests.tables import url_of

T = TypeVar("T")
KEYS = {1: bytes(range(32))}
KNOWN = ("192.0.2.7", "a laptop", "$argon2id$of-alice", "user:alice")
BESIDE = "SELECT count(*) FROM event_private p JOIN events e ON e.position = p.position WHERE e.subject IS NOT NULL"
IN_THE_COMMIT = ("private rows inserted", "private rows erased", "written")
AFTER_IT = ("committed", "slice deleted", "half a line", "noted", "scrubbed")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Fate:
    """Dies at the named point, once it is armed."""

    def __init__(self, point: str) -> None:
        self.point = point
        self.armed = False

    def __call__(self, point: str) -> None:
        if self.armed and point == self.point:
            _die()


class FatefulWriter(Writer):
    """The real one, passing a point after each slice."""

    fate: Fate

    async def maintain(self, work: Callable[[Any], T]) -> T:
        done = await super().maintain(work)
        self.fate("slice deleted")
        return done


class FatefulList(ErasedList):
    """The real one, which can die with half a line written."""

    fate: Fate

    def add(self, lines: list[Line]) -> None:
        if self.fate.armed and self.fate.point == "half a line":
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text("\nsub_aaaaaaa")
            _die()
        super().add(lines)
        self.fate("noted")


@asynccontextmanager
async def opened(store: Store, folder: Path, fate: Fate) -> Any:
    """Erasures on a ledger, which die at the point."""
    hold = store.writer()._hold
    writer = FatefulWriter(hold, Clock(), trace=fate)
    writer.fate = fate
    ledger, engine = Ledger(writer), store.readers(2)
    listed = FatefulList(folder / "checkpoints", KEYS)
    listed.fate = fate
    real = store.scrub

    def scrub(*, whole: bool = False) -> Scrubbed:
        done = real(whole=whole)
        fate("scrubbed")
        return done

    store.scrub = scrub  # type: ignore[method-assign]
    readers = ErasureReader(engine), SubjectReader(engine), ActionReader(engine)
    try:
        yield Erasures(ledger, writer, store, *readers, listed)
    finally:
        await engine.dispose()
        await ledger.close()


async def lived(ledger: Ledger) -> None:
    """Alice has three families that were refreshed, and staff have searched for her."""
    await holders.people(ledger)
    for _ in range(3):
        token = await holders.begin(ledger)
        for _ in range(3):
            token = holders.successor(token, await holders.refresh(ledger, token))
    selection = Selection(erasures.new_action(), "staff:test", "user:alice", 0, ())
    await ledger.submit(Streams(actions=frozenset((selection.action,))), plan(selection))


async def erased(at: Erasures, stream: bytes = holders.ALICE) -> None:
    """What a command does, as often as it is called."""
    owner = await at.subjects.get(stream)
    assert owner is not None
    await at.erase(owner, Erasure(erasures.new_action(), owner.id, "cli", "user_request"))
    for begun in await at.unfinished(owner.id):
        assert await at.carry_out(begun)


def child(url: str, folder: Path, point: str) -> None:
    """Erase alice, and die at the point."""

    async def live() -> None:
        fate = Fate(point)
        async with opened(store_at(url), folder, fate) as at:
            fate.armed = True
            await erased(at)

    erasing.SLICE = 2
    asyncio.run(live())


def test_an_erasure_that_is_killed_is_whole_or_never_was(stores: Stores, tmp_path: Path) -> None:
    """On PostgreSQL at every second point: what differs there is the commit."""
    step = 1 if isinstance(stores, Files) else 2
    for point in [*IN_THE_COMMIT, *AFTER_IT][::step]:
        store, folder = stores.fresh(), tmp_path / point.replace(" ", "-")
        folder.mkdir()
        asyncio.run(alive(store))
        process = FORKING.Process(target=child, args=(url_of(store), folder, point))
        process.start()
        process.join(30)
        assert -signal.SIGKILL == process.exitcode, point
        alone(store)
        check(store)
        said = [event for event in events_of(store) if event.name == "subject.erased"]
        assert bool(said) == (point in AFTER_IT)

        asyncio.run(again(store, folder))

        assert [] == rebuild(store)
        check(store, secrets=KNOWN)
        assert set() == found_in_files([folder / "checkpoints"], KNOWN)
        assert [(0,)] == tables.rows(store, BESIDE)
        stores.drop(store)


async def alive(store: Store) -> None:
    ledger = Ledger(store.writer())
    await lived(ledger)
    await ledger.close()


async def again(store: Store, folder: Path) -> None:
    """The same once more, in peace."""
    async with opened(store, folder, Fate("")) as at:
        await erased(at)
        assert [] == await at.unfinished(holders.ALICE)
        assert at.listed is not None
        assert {holders.ALICE} == {line.subject for line in at.listed.all()}
