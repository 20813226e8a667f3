"""kill -9 at named points, again and again on one ledger, and everything that must hold after each."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from events import sqlite
from events.family import REVOKED
from tests.check import check, events_of, family_rows
from tests.crash_child import CALM, CLIENTS, POINTS, REBUILD, Order

ROOT = Path(__file__).parent.parent
KILLS_EACH = 25
KILLS_IN_ONE_LEDGER = 13
"""The check grows with the log."""
LEEWAYS_LATER = 60.0
"""Seconds that the wall clock gains with each restart: far more than a leeway."""

Live = Callable[[Order], int]


@pytest.fixture
def live() -> Iterator[Live]:
    """Runs a child of the nursery to its end."""
    command = [sys.executable, "-m", "tests.crash_child"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None

        def one(order: Order) -> int:
            print(json.dumps(order), file=nursery.stdin, flush=True)
            return int(nursery.stdout.readline())  # type: ignore[union-attr]

        yield one
        nursery.stdin.close()


class Ledger:
    """The files of one ledger, and what its clients were told."""

    def __init__(self, folder: Path, empty: Path) -> None:
        self.folder = folder
        self.database = folder / "data" / "ledger.db"
        self.database.parent.mkdir(parents=True)
        shutil.copy(empty, self.database)
        (folder / "answers").touch()

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "answers").read_text().splitlines()]

    def assert_whole(self) -> None:
        """Every invariant, and nothing that was answered is missing; a reader that comes first sees all of it."""
        with sqlite.sync_read_engine(self.database).connect() as connection:
            seen = connection.exec_driver_sql("SELECT size FROM head").scalar_one()
        assert seen == len(events_of(self.database))
        check(self.database, self.folder / "checkpoints")
        self._assert_rotations_present()
        families = family_rows(self.database)
        for answer in self.answers:
            if "revoked" in answer:
                assert REVOKED == families[bytes.fromhex(answer["revoked"])].status
        signed = [answer["signed"] for answer in self.answers if "signed" in answer]
        if signed:
            note = (self.folder / "checkpoints" / "checkpoint").read_text()
            assert max(signed) <= int(note.split("\n")[1])

    def _assert_rotations_present(self) -> None:
        log = events_of(self.database)
        stored = {(event.stream, json.loads(event.body).get("jti")) for event in log}
        assert "token.reuse_detected" not in {event.name for event in log}
        families = family_rows(self.database)
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
        order = Order(str(ledger.folder), point, chance.randint(2, 9), number * LEEWAYS_LATER)
        assert -signal.SIGKILL == live(order), point
        ledger.assert_whole()
    told = len(ledger.answers)
    assert live(Order(str(ledger.folder), CALM, 0, len(points) * LEEWAYS_LATER)) == 0
    assert CLIENTS == sum("client" in answer for answer in ledger.answers[told:])
    ledger.assert_whole()


def crash_often(live: Live, folder: Path, empty: Path, kills: int, seed: int) -> int:
    """So many kills, spread evenly over the points; answers how many lost answers were given again."""
    chance = random.Random(seed)
    points = iter(islice(cycle(POINTS[seed % len(POINTS) :] + POINTS[: seed % len(POINTS)]), kills))
    retried = 0
    for number in range(kills):
        some = list(islice(points, KILLS_IN_ONE_LEDGER))
        if not some:
            break
        ledger = Ledger(folder / str(number), empty)
        crash(live, ledger, some, chance)
        retried += ledger.retried
    return retried


@pytest.mark.parametrize("part", range(4))
def test_a_killed_process_loses_nothing_that_it_acknowledged_and_signs_nobody_out(
    part: int, live: Live, tmp_path: Path, empty_database: Path
) -> None:
    retried = crash_often(live, tmp_path, empty_database, KILLS_EACH, part)

    assert retried > 0, "no answer was lost between commit and reply, so nothing was shown of it"


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_a_thousand_kills_lose_nothing(part: int, live: Live, tmp_path: Path, empty_database: Path) -> None:
    assert crash_often(live, tmp_path, empty_database, 100, part) > 0


@pytest.mark.parametrize(("point", "after"), [("committed", 4), ("answered", 1)])
def test_a_rotation_whose_answer_was_lost_gives_the_same_successor_long_after(
    point: str, after: int, live: Live, tmp_path: Path, empty_database: Path
) -> None:
    ledger = Ledger(tmp_path / "one", empty_database)
    assert live(Order(str(ledger.folder), CALM, 0, 0.0)) == 0
    before = {a["client"]: a["generation"] for a in ledger.answers if "client" in a}
    # three batches find that everybody is there already; the fourth holds one refresh of each client
    assert -signal.SIGKILL == live(Order(str(ledger.folder), point, after, 0.0))
    committed = {row.id: row.generation for row in family_rows(ledger.database).values()}

    assert live(Order(str(ledger.folder), CALM, 0, 24 * 3600.0)) == 0

    told = {a["client"]: a for a in ledger.answers if "client" in a}
    assert {n: generation + 1 for n, generation in before.items()} == {n: a["generation"] for n, a in told.items()}
    assert {"retried"} == {a["verdict"] for a in told.values()}
    assert {a["generation"] for a in told.values()} == {committed[bytes.fromhex(a["family"])] for a in told.values()}
    ledger.assert_whole()


def test_a_rebuild_that_is_killed_leaves_the_projections_as_they_were(
    live: Live, tmp_path: Path, empty_database: Path
) -> None:
    ledger = Ledger(tmp_path / "one", empty_database)
    assert -signal.SIGKILL == live(Order(str(ledger.folder), "committed", 30, 0.0))
    ledger.assert_whole()
    for milliseconds in range(12, 100, 9):
        assert -signal.SIGALRM == live(Order(str(ledger.folder), REBUILD, milliseconds, 0.0))
        ledger.assert_whole()
    assert live(Order(str(ledger.folder), CALM, 0, 60.0)) == 0
    ledger.assert_whole()
