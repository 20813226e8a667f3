"""kill -9 at named points, again and again on one ledger, and everything that must hold after each."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from events.family import REVOKED
from events.store import Store
from tests.check import check, events_of, family_rows
from tests.crash_child import CALM, CLIENTS, POINTS, REBUILD, Order
from tests.databases import Files, Stores, alone, set_clock
from tests.tables import url_of

ROOT = Path(__file__).parent.parent
KILLS_EACH = 25
KILLS_IN_ONE_LEDGER = 13
"""The check grows with the log."""
LEEWAYS_LATER = 60.0
"""Seconds that the wall clock gains with each restart: far more than a leeway."""

Live = Callable[[Order], int]


@contextmanager
def nursery() -> Iterator[Live]:
    """Runs its children to their end, one at a time."""
    command = [sys.executable, "-m", "tests.crash_child"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def one(order: Order) -> int:
            print(json.dumps(order), file=process.stdin, flush=True)
            return int(process.stdout.readline())  # type: ignore[union-attr]

        yield one
        process.stdin.close()


@pytest.fixture
def live() -> Iterator[Live]:
    with nursery() as one:
        yield one


class Ledger:
    """One ledger, its checkpoints, and what its clients were told."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.folder.mkdir()
        (folder / "answers").touch()

    def order(self, point: str, after: int, ahead: float) -> Order:
        """The database's clock follows the order, where it has one."""
        set_clock(self.store, ahead=ahead)
        return Order(str(self.folder), point, after, ahead, url_of(self.store))

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "answers").read_text().splitlines()]

    def assert_whole(self) -> None:
        """Every invariant, and nothing that was answered is missing; a reader that comes first sees all of it."""
        alone(self.store)
        seen = self.store.read(lambda connection: connection.exec_driver_sql("SELECT size FROM head").scalar_one())
        assert seen == len(events_of(self.store))
        check(self.store, self.folder / "checkpoints")
        self.assert_kept()
        signed = [answer["signed"] for answer in self.answers if "signed" in answer]
        if signed:
            note = (self.folder / "checkpoints" / "checkpoint").read_text()
            assert max(signed) <= int(note.split("\n")[1])

    def assert_kept(self) -> None:
        """Nothing that was answered is missing; others may go on meanwhile."""
        self._assert_rotations_present()
        families = family_rows(self.store)
        for answer in self.answers:
            if "revoked" in answer:
                assert REVOKED == families[bytes.fromhex(answer["revoked"])].status

    def _assert_rotations_present(self) -> None:
        log = events_of(self.store)
        stored = {(event.stream, json.loads(event.body).get("jti")) for event in log}
        assert "token.reuse_detected" not in {event.name for event in log}
        families = family_rows(self.store)
        newest = {answer["client"]: answer for answer in self.answers if "client" in answer}
        for answer in self.answers:
            if "client" in answer:
                assert answer["verdict"] in {"rotated", "retried"}
                assert (bytes.fromhex(answer["family"]), answer["jti"]) in stored
        for answer in newest.values():
            behind = families[bytes.fromhex(answer["family"])].generation - answer["generation"]
            assert behind in {0, 1}, "more than the one rotation whose answer was lost"

    @property
    def retried(self) -> int:
        return sum(answer.get("verdict") == "retried" for answer in self.answers)


def crash(live: Live, ledger: Ledger, points: list[str], chance: random.Random) -> None:
    """Kill once at each point, then let every client refresh in peace."""
    for number, point in enumerate(points):
        order = ledger.order(point, chance.randint(2, 9), number * LEEWAYS_LATER)
        assert -signal.SIGKILL == live(order), point
        ledger.assert_whole()
    told = len(ledger.answers)
    assert live(ledger.order(CALM, 0, len(points) * LEEWAYS_LATER)) == 0
    assert CLIENTS == sum("client" in answer for answer in ledger.answers[told:])
    ledger.assert_whole()


def crash_often(live: Live, folder: Path, stores: Stores, kills: int, seed: int) -> int:
    """So many kills, spread evenly over the points; answers how many lost answers were given again."""
    chance = random.Random(seed)
    points = iter(islice(cycle(POINTS[seed % len(POINTS) :] + POINTS[: seed % len(POINTS)]), kills))
    retried = 0
    for number in range(kills):
        some = list(islice(points, KILLS_IN_ONE_LEDGER))
        if not some:
            break
        ledger = Ledger(folder / str(number), stores.fresh())
        crash(live, ledger, some, chance)
        retried += ledger.retried
        stores.drop(ledger.store)
    return retried


@pytest.mark.parametrize("part", range(4))
def test_a_killed_process_loses_nothing_that_it_acknowledged_and_signs_nobody_out(
    part: int, live: Live, tmp_path: Path, stores: Stores
) -> None:
    kills = KILLS_EACH if isinstance(stores, Files) else KILLS_EACH // 3
    retried = crash_often(live, tmp_path, stores, kills, part)

    assert retried > 0, "no answer was lost between commit and reply, so nothing was shown of it"


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_a_thousand_kills_lose_nothing(part: int, live: Live, tmp_path: Path, stores: Stores) -> None:
    assert crash_often(live, tmp_path, stores, 100, part) > 0


@pytest.mark.parametrize(("point", "after"), [("committed", 4), ("answered", 1)])
def test_a_rotation_whose_answer_was_lost_gives_the_same_successor_long_after(
    point: str, after: int, live: Live, tmp_path: Path, stores: Stores
) -> None:
    ledger = Ledger(tmp_path / "one", stores.fresh())
    assert live(ledger.order(CALM, 0, 0.0)) == 0
    before = {a["client"]: a["generation"] for a in ledger.answers if "client" in a}
    # three batches find that everybody is there already; the fourth holds one refresh of each client
    assert -signal.SIGKILL == live(ledger.order(point, after, 0.0))
    committed = {row.id: row.generation for row in family_rows(ledger.store).values()}

    assert live(ledger.order(CALM, 0, 24 * 3600.0)) == 0

    told = {a["client"]: a for a in ledger.answers if "client" in a}
    assert {n: generation + 1 for n, generation in before.items()} == {n: a["generation"] for n, a in told.items()}
    assert {"retried"} == {a["verdict"] for a in told.values()}
    assert {a["generation"] for a in told.values()} == {committed[bytes.fromhex(a["family"])] for a in told.values()}
    ledger.assert_whole()


def test_a_rebuild_that_is_killed_leaves_the_projections_as_they_were(
    live: Live, tmp_path: Path, stores: Stores
) -> None:
    ledger = Ledger(tmp_path / "one", stores.fresh())
    assert -signal.SIGKILL == live(ledger.order("committed", 30, 0.0))
    ledger.assert_whole()
    for milliseconds in range(12, 100, 9):
        assert -signal.SIGALRM == live(ledger.order(REBUILD, milliseconds, 0.0))
        ledger.assert_whole()
    assert live(ledger.order(CALM, 0, 60.0)) == 0
    ledger.assert_whole()
