"""kill -9 of one process at named points while another goes on: only PostgreSQL takes two. And both on one token."""

import asyncio
import json
import multiprocessing
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from core.token import Token
from core.verdict import Verdict
from events.ledger import Ledger
from events.postgres_store import PostgresStore
from events.stores import store_at
from tests import holders
from tests.check import check, events_of
from tests.crash_child import CALM, POINTS, SURVIVE
from tests.databases import Stores
from tests.tables import url_of
from tests.test_crash import LEEWAYS_LATER, Live, live, nursery
from tests.test_crash import Ledger as Crashing

__all__ = ["live"]
A_FEW = ("locked", "events inserted", "written", "committed", "answered", "contexts expiring")
ANSWERS = 20
"""That the survivor gives between two kills."""


@pytest.fixture
def beside() -> Iterator[Live]:
    """A nursery of its own, because each waits for its child."""
    with nursery() as one:
        yield one


@contextmanager
def surviving(beside: Live, ledger: Crashing) -> Iterator["Survivor"]:
    """A process that goes on; it must end well."""
    with ThreadPoolExecutor(1) as pool:
        survivor = Survivor(ledger, pool.submit(beside, ledger.order(SURVIVE, 0, 0.0)))
        try:
            yield survivor
        finally:
            (ledger.folder / "stop").touch()
        assert 0 == survivor.status.result(60)


class Survivor:
    def __init__(self, ledger: Crashing, status: "Future[int]") -> None:
        self.ledger, self.status = ledger, status

    def goes_on(self) -> None:
        """Wait until it has answered some more."""
        before, deadline = len(self.ledger.answers), time.monotonic() + 30
        while len(self.ledger.answers) < before + ANSWERS:
            assert not self.status.done(), "the survivor ended"
            assert time.monotonic() < deadline, "the survivor waits for somebody who is dead"
            time.sleep(0.02)


def killed_beside(live: Live, beside: Live, folder: Path, store: PostgresStore, points: tuple[str, ...]) -> int:
    """Kill one process at each of these points while another goes on; how many lost answers were given again."""
    chance = random.Random(len(points))
    victim, other = Crashing(folder / "victim", store), Crashing(folder / "survivor", store)
    with surviving(beside, other) as survivor:
        survivor.goes_on()
        for number, point in enumerate(points):
            order = victim.order(point, chance.randint(2, 9), number * LEEWAYS_LATER)
            assert -signal.SIGKILL == live(order), point
            survivor.goes_on()
            victim.assert_kept()
    assert 0 == live(victim.order(CALM, 0, len(points) * LEEWAYS_LATER))
    for one in (victim, other):
        one.assert_whole()
    assert {"rotated"} == {answer["verdict"] for answer in other.answers if "client" in answer}
    return victim.retried


def test_a_process_that_is_killed_holds_nobody_up_and_loses_nothing(
    live: Live, beside: Live, tmp_path: Path, postgres_store: PostgresStore
) -> None:
    killed_beside(live, beside, tmp_path, postgres_store, A_FEW)


@pytest.mark.soak
def test_many_that_are_killed_hold_nobody_up_and_lose_nothing(
    live: Live, beside: Live, tmp_path: Path, stores: Stores, on_postgresql: None
) -> None:
    retried = 0
    for number in range(12):
        store = stores.fresh()
        assert isinstance(store, PostgresStore)
        (tmp_path / str(number)).mkdir()
        retried += killed_beside(live, beside, tmp_path / str(number), store, POINTS)
        stores.drop(store)

    assert retried > 0


SPAWN = multiprocessing.get_context("spawn")


async def _present(url: str, token: Token, rounds: int, together: Barrier, told: Path) -> None:
    ledger = Ledger(store_at(url).writer())
    await ledger.probe()
    verdicts = []
    for _ in range(rounds):
        await asyncio.to_thread(together.wait, 60)
        answer = await holders.refresh(ledger, token)
        token = holders.successor(token, answer)
        verdicts.append([answer.verdict, token.generation])
    told.write_text(json.dumps(verdicts))  # noqa: ASYNC240 - nobody waits
    await ledger.close()


def _presenting(url: str, token: Token, rounds: int, together: Barrier, told: Path) -> None:
    asyncio.run(_present(url, token, rounds, together, told))


@pytest.mark.parametrize("rounds", [40, pytest.param(1_000, marks=pytest.mark.soak)])
async def test_two_processes_that_present_the_same_token_get_the_same_one_successor_each_time(
    rounds: int, postgres_store: PostgresStore, tmp_path: Path
) -> None:
    ledger = Ledger(postgres_store.writer())
    await holders.people(ledger)
    first = await holders.begin(ledger)
    await ledger.close()
    together, url = SPAWN.Barrier(2), url_of(postgres_store)
    files = [tmp_path / "one", tmp_path / "other"]
    both = [SPAWN.Process(target=_presenting, args=(url, first, rounds, together, file)) for file in files]
    for process in both:
        process.start()
    for process in both:
        await asyncio.to_thread(process.join, 60 + rounds)
    answers = [json.loads(file.read_text()) for file in files]

    assert [0, 0] == [process.exitcode for process in both]
    verdicts = [sorted(verdict for verdict, _ in pair) for pair in zip(*answers, strict=True)]
    assert [[Verdict.RETRIED, Verdict.ROTATED]] * rounds == verdicts
    successors = [{generation for _, generation in pair} for pair in zip(*answers, strict=True)]
    assert [{number} for number in range(2, rounds + 2)] == successors
    stored = Counter(event.name for event in events_of(postgres_store) if event.stream == first.family)
    assert {"token.issued": 1, "token.rotated": rounds, "token.retried": rounds} == stored
    check(postgres_store)
