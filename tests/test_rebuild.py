"""Rebuild: projections made anew from the events are the stored ones, or take their place."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from events import ids, projections, replay, sqlite
from events.catalogue import Illegal
from events.rebuild import rebuild
from events.replay import Difference
from events.verify import Intact
from tests import small_ledger as small
from tests.small_ledger import FIRST, SIZE, check, forge_head, forge_leaves, tampering

PROJECTIONS = ("families", "subjects", "clients", "keys", "log")
WRONG = "what is stored of it does not follow from its events"


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.small_ledger(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def ledger(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(pristine, tmp_path))


def rebuilt(ledger: Path, progress: Callable[[int], None] = lambda _done: None) -> list[Difference]:
    with sqlite.sync_read_engine(ledger).connect() as reading:
        return rebuild(reading, partial(sqlite.transaction, ledger), progress)


def content(ledger: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything in the database, its schema too."""
    with closing(sqlite3.connect(ledger)) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        rows = {
            name: file.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()
            for name in tables
            if name != "alembic_version"
        }
        rows["schema"] = file.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        return rows


def test_the_projections_of_a_good_ledger_are_made_again_as_they_were(ledger: Path) -> None:
    before = content(ledger)
    assert (rebuilt(ledger), content(ledger)) == ([], before)


def test_an_empty_ledger_is_rebuilt_to_nothing(tmp_path: Path) -> None:
    assert rebuilt(small.created(tmp_path)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("UPDATE families SET generation = 2, nonce = '' WHERE id = ?", f"{WRONG}: nonce, generation"),
        ("DELETE FROM families WHERE id = ?", "its events are there, but nothing is stored of it"),
    ],
)
def test_a_projection_that_was_changed_is_told_and_put_right(ledger: Path, change: str, expected: str) -> None:
    before = content(ledger)
    with closing(sqlite3.connect(ledger)) as file:
        file.execute(change, (FIRST,))
        file.commit()
    assert rebuilt(ledger) == [Difference("family", FIRST, expected)]
    assert (content(ledger), type(check(ledger))) == (before, Intact)


def test_a_row_without_events_is_told_and_removed(ledger: Path) -> None:
    before = content(ledger)
    with closing(sqlite3.connect(ledger)) as file:
        file.execute("UPDATE subjects SET id = ? WHERE name = 'bob'", (small.stream(9),))
        file.commit()
    assert rebuilt(ledger) == [
        Difference("subject", small.stream(9), "is stored, but no event began it"),
        Difference("subject", small.BOB, "its events are there, but nothing is stored of it"),
    ]
    assert content(ledger) == before


@pytest.mark.parametrize("table", PROJECTIONS)
def test_every_projection_can_be_lost_and_comes_back(ledger: Path, table: str) -> None:
    before = content(ledger)
    with closing(sqlite3.connect(ledger)) as file:
        file.execute(f"DELETE FROM {table}")
        file.commit()
    assert {difference.noun for difference in rebuilt(ledger)} == {
        "family" if table == "families" else table.removesuffix("s")
    }
    assert content(ledger) == before


def test_a_difference_names_the_thing_and_the_fields_but_no_value() -> None:
    name = ids.to_text("fam", FIRST)
    assert str(Difference("family", FIRST, f"{WRONG}: nonce")) == f"family {name}: {WRONG}: nonce"


def test_what_is_written_while_the_log_is_read_is_folded_too(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PAGE", 3)
    batches = [(small.PHONE, (small.rotated(small.SECOND, small.BOB, 8 + n),)) for n in range(4)]
    done = []

    def progress(events: int) -> None:
        done.append(events)
        if batches and events < SIZE:
            small.append(ledger, batches.pop(0), begins=60)

    assert (rebuilt(ledger, progress), done[-1], type(check(ledger))) == ([], SIZE + 4, Intact)


@pytest.mark.parametrize("page", [1, 2, 19, 20, 21])
def test_the_size_of_a_page_changes_nothing(ledger: Path, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    before = content(ledger)
    monkeypatch.setattr(replay, "PAGE", page)
    assert (rebuilt(ledger), content(ledger)) == ([], before)


def test_an_end_in_the_middle_leaves_everything_as_it_was(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(ledger)
    real = projections.save

    def save(connection: Connection, *args: object) -> None:
        real(connection, *args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(projections, "save", save)
    with pytest.raises(KeyboardInterrupt):
        rebuilt(ledger)
    assert content(ledger) == before


def test_a_log_that_cannot_be_folded_changes_nothing(ledger: Path) -> None:
    with tampering(ledger) as file:
        file.execute("UPDATE events SET stream = ? WHERE position = 9", (small.stream(9),))
        forge_leaves(file)
        forge_head(file)
    before = content(ledger)
    with pytest.raises(Illegal, match=r"^token\.rotated in a stream"):
        rebuilt(ledger)
    assert content(ledger) == before
