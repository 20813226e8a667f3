"""Rebuild: projections made anew from the events are the stored ones, or take their place."""

import pytest
from sqlalchemy import Connection

from events import ids, projections, replay
from events.catalogue import Illegal
from events.rebuild import rebuild
from events.replay import Difference
from events.store import Store
from events.verify import Intact
from tests import small_ledger as small
from tests import tables
from tests.conftest import Made
from tests.databases import Stores
from tests.small_ledger import FIRST, SIZE, check, forge_head, forge_leaves
from tests.tables import tampering

PROJECTIONS = ("families", "subjects", "clients", "keys", "log")
WRONG = "what is stored of it does not follow from its events"


@pytest.fixture(scope="session")
def pristine(stores: Stores) -> Store:
    return small.small_ledger(stores)


@pytest.fixture
def ledger(pristine: Store, stores: Stores, made: Made) -> Store:
    return made(stores.copy(pristine))


def content(ledger: Store) -> dict[str, list[tuple[object, ...]]]:
    """Everything in the database, its schema too."""
    names = [name for name in tables.names(ledger) if name != "alembic_version"]
    rows = {name: tables.rows(ledger, f"SELECT * FROM {name} ORDER BY 1, 2") for name in names}
    rows["schema"] = tables.schema(ledger)
    return rows


def test_the_projections_of_a_good_ledger_are_made_again_as_they_were(ledger: Store) -> None:
    before = content(ledger)
    assert (rebuild(ledger), content(ledger)) == ([], before)


def test_an_empty_ledger_is_rebuilt_to_nothing(store: Store) -> None:
    assert rebuild(store) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("UPDATE families SET generation = 2, nonce = '' WHERE id = ?", f"{WRONG}: nonce, generation"),
        ("DELETE FROM families WHERE id = ?", "its events are there, but nothing is stored of it"),
    ],
)
def test_a_projection_that_was_changed_is_told_and_put_right(ledger: Store, change: str, expected: str) -> None:
    before = content(ledger)
    tables.rows(ledger, change, FIRST)
    assert rebuild(ledger) == [Difference("family", FIRST, expected)]
    assert (content(ledger), type(check(ledger))) == (before, Intact)


def test_a_row_without_events_is_told_and_removed(ledger: Store) -> None:
    before = content(ledger)
    tables.rows(ledger, "UPDATE subjects SET id = ? WHERE name = 'bob'", small.stream(9))
    assert rebuild(ledger) == [
        Difference("subject", small.stream(9), "is stored, but no event began it"),
        Difference("subject", small.BOB, "its events are there, but nothing is stored of it"),
    ]
    assert content(ledger) == before


@pytest.mark.parametrize("table", PROJECTIONS)
def test_every_projection_can_be_lost_and_comes_back(ledger: Store, table: str) -> None:
    before = content(ledger)
    tables.rows(ledger, f"DELETE FROM {table}")
    assert {difference.noun for difference in rebuild(ledger)} == {
        "family" if table == "families" else table.removesuffix("s")
    }
    assert content(ledger) == before


def test_a_difference_names_the_thing_and_the_fields_but_no_value() -> None:
    name = ids.to_text("fam", FIRST)
    assert str(Difference("family", FIRST, f"{WRONG}: nonce")) == f"family {name}: {WRONG}: nonce"


def test_what_is_written_while_the_log_is_read_is_folded_too(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PAGE", 3)
    batches = [(small.PHONE, (small.rotated(small.SECOND, small.BOB, 8 + n),)) for n in range(4)]
    done = []

    def progress(events: int) -> None:
        done.append(events)
        if batches and events < SIZE:
            small.append(ledger, batches.pop(0), begins=60)

    assert (rebuild(ledger, progress), done[-1], type(check(ledger))) == ([], SIZE + 4, Intact)


@pytest.mark.parametrize("page", [1, 2, 19, 20, 21])
def test_the_size_of_a_page_changes_nothing(ledger: Store, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    before = content(ledger)
    monkeypatch.setattr(replay, "PAGE", page)
    assert (rebuild(ledger), content(ledger)) == ([], before)


def test_an_end_in_the_middle_leaves_everything_as_it_was(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(ledger)
    real = projections.save

    def save(connection: Connection, *args: object) -> None:
        real(connection, *args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(projections, "save", save)
    with pytest.raises(KeyboardInterrupt):
        rebuild(ledger)
    assert content(ledger) == before


def test_a_log_that_cannot_be_folded_changes_nothing(ledger: Store) -> None:
    with tampering(ledger) as file:
        file.run("UPDATE events SET stream = ? WHERE position = 9", small.stream(9))
        forge_leaves(file)
        forge_head(file)
    before = content(ledger)
    with pytest.raises(Illegal, match=r"^token\.rotated in a stream"):
        rebuild(ledger)
    assert content(ledger) == before
