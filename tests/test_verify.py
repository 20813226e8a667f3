"""Verify: a good ledger passes, and whatever somebody does to its tables is found and named.

A column holds a value of another type, and a statement replaces a row, on SQLite alone.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import ids, log, replay
from events.checkpoints import CheckpointStore, Signed
from events.decision import Change, Origin
from events.store import Store
from events.verify import Finding, Intact, verify
from tests import small_ledger as small
from tests import tables
from tests.conftest import Made
from tests.databases import Stores
from tests.small_ledger import FIRST, SIZE, check, close_gaps, forge_head, forge_leaves, insert_copy, signed
from tests.tables import REFUSED, Tables, tampering

LEAF = "its leaf is not the hash of its time, stream, version, type and body"
COLUMNS = "its search columns do not follow from its body"
PRIVATE = "its private row is not the one that was written with it"
GONE = "its private row is gone, and no event says why"
FAMILY = f"family {ids.to_text('fam', FIRST)}"
FOREIGN = "is nothing that the ledger writes"


@pytest.fixture(scope="session")
def pristine(stores: Stores) -> Store:
    return small.small_ledger(stores)


@pytest.fixture
def ledger(pristine: Store, stores: Stores, made: Made) -> Store:
    return made(stores.copy(pristine))


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def test_a_good_ledger_passes_with_its_size_and_root(ledger: Store, checkpoints: CheckpointStore) -> None:
    last = signed(ledger, checkpoints)
    assert check(ledger, last) == Intact(SIZE, last.checkpoint.root)


def test_an_empty_ledger_passes(store: Store, checkpoints: CheckpointStore) -> None:
    last = signed(store, checkpoints)
    assert check(store, last) == Intact(0, last.checkpoint.root)


def test_a_ledger_that_grew_since_its_checkpoint_passes(store: Store, checkpoints: CheckpointStore) -> None:
    small.append(store, *small.BATCHES[:8])
    last = signed(store, checkpoints)
    small.append(store, *small.BATCHES[8:])
    found = check(store, last)
    assert (type(found), found[0]) == (Intact, SIZE)


@pytest.mark.parametrize("position", range(SIZE))
def test_one_flipped_bit_of_a_body_names_its_position(ledger: Store, position: int) -> None:
    with tampering(ledger) as file:
        (body,) = file.run("SELECT body FROM events WHERE position = ?", position)[0]
        flipped = body[:-1] + bytes([body[-1] ^ 1])
        file.run("UPDATE events SET body = ? WHERE position = ?", flipped, position)
    assert check(ledger) == Finding(position, LEAF)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, SIZE - 1), st.sampled_from(["stream", "body", "leaf"]), st.integers(0), st.integers(1, 255))
def test_any_changed_byte_of_the_log_names_its_position(
    ledger: Store, position: int, column: str, at: int, change: int
) -> None:
    put = f"UPDATE events SET {column} = ? WHERE position = ?"
    with tampering(ledger) as file:
        ((value,),) = file.run(f"SELECT {column} FROM events WHERE position = ?", position)
        changed = bytearray(value)
        changed[at % len(value)] ^= change
        file.run(put, bytes(changed), position)
    found = check(ledger)
    with tampering(ledger) as file:
        file.run(put, value, position)
    assert found == Finding(position, LEAF)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("at = at + 1", LEAF),
        ("at = at - 1", LEAF),
        ("type = 3", LEAF),
        ("version = 99", LEAF),
        ("subject = NULL", COLUMNS),
        ("client = 'app'", COLUMNS),
        ("actor = 'policy'", COLUMNS),
        ("request = x'00'", COLUMNS),
        ("jti = x'00'", COLUMNS),
    ],
)
def test_one_changed_field_of_an_event_is_named(ledger: Store, change: str, expected: str) -> None:
    with tampering(ledger) as file:
        file.run(f"UPDATE events SET {change} WHERE position = 9")
    assert check(ledger) == Finding(9, expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("body = CAST(body AS TEXT)", f"{FOREIGN} (TypeError)"),
        ("stream = CAST('0123456789abcdef' AS TEXT)", f"{FOREIGN} (error)"),
        ("at = 'noon'", f"{FOREIGN} (error)"),
        ("type = 'token.rotated'", f"{FOREIGN} (error)"),
        ("version = 1e300", f"{FOREIGN} (error)"),
        ("leaf = 1", LEAF),
    ],
)
def test_a_field_of_another_type_is_named(ledger: Store, on_sqlite: None, change: str, expected: str) -> None:
    with tampering(ledger) as file:
        file.run(f"UPDATE events SET {change} WHERE position = 9")
    assert check(ledger) == Finding(9, expected)


def test_a_text_that_the_driver_cannot_even_read_is_named(ledger: Store, on_sqlite: None) -> None:
    with tampering(ledger) as file:
        file.run("UPDATE events SET client = CAST(x'ff' AS TEXT) WHERE position = 9")
    found = check(ledger)
    assert (found[0], str(found)[:22]) == (9, "#9: cannot be read: Co")


def change_body(file: Tables) -> None:
    ((body,),) = file.run("SELECT body FROM events WHERE position = 9")
    changed = body.replace(b'"generation":4', b'"generation":3')
    file.run("UPDATE events SET body = ? WHERE position = 9", changed)


def test_a_changed_body_with_a_changed_leaf_does_not_fit_the_head(ledger: Store) -> None:
    with tampering(ledger) as file:
        change_body(file)
        forge_leaves(file)
    assert check(ledger) == Finding(0, "or one of those up to #15 is not the event that the head was made from")


def test_a_changed_body_with_leaf_and_head_does_not_fit_the_checkpoint(
    ledger: Store, checkpoints: CheckpointStore
) -> None:
    last = signed(ledger, checkpoints)
    with tampering(ledger) as file:
        change_body(file)
        forge_leaves(file)
        forge_head(file)
    reason = "is not the event that the last checkpoint was signed for"
    found = [check(ledger, last), check(ledger, last._replace(frontier=None))]
    assert found == [
        Finding(0, f"or one of those up to #15 {reason}"),
        Finding(0, f"or one of those up to #19 {reason}"),
    ]


def test_the_frontier_beside_the_checkpoint_narrows_the_place(store: Store, checkpoints: CheckpointStore) -> None:
    small.append(store, *small.BATCHES[:8])  # nine events: eight, and one
    last = signed(store, checkpoints)
    with tampering(store) as file:
        file.run("UPDATE events SET at = at + 1 WHERE position = 8")
        forge_leaves(file)
        forge_head(file)
    assert check(store, last) == Finding(8, "is not the event that the last checkpoint was signed for")


def test_an_event_that_cannot_follow_in_its_stream_is_named(ledger: Store) -> None:
    with tampering(ledger) as file:
        file.run("UPDATE events SET stream = ?, version = 1 WHERE position = 9", small.stream(9))
        forge_leaves(file)
        forge_head(file)
    found = check(ledger)
    assert (found[0], "cannot follow what was before: token.rotated in a stream" in str(found)) == (9, True)


def test_without_a_checkpoint_a_rewritten_fold_still_shows(ledger: Store) -> None:
    with tampering(ledger) as file:
        file.run("UPDATE events SET at = at + 1 WHERE position = 11")
        forge_leaves(file)
        forge_head(file)
    reason = f"{FAMILY}: what is stored of it does not follow from its events: rotated_at"
    assert check(ledger) == Finding(19, reason)


def swap(file: Tables, one: int, other: int) -> None:
    for old, new in ((one, -1), (other, one), (-1, other)):
        file.run("UPDATE events SET position = ? WHERE position = ?", new, old)
        file.run("UPDATE event_private SET position = ? WHERE position = ?", new, old)


def test_two_events_that_changed_places_are_named(ledger: Store) -> None:
    with tampering(ledger) as file:
        swap(file, 11, 12)
        forge_head(file)
    assert check(ledger) == Finding(12, "is older than the event before it")


def test_two_events_of_one_stream_and_one_moment_that_changed_places_are_named(ledger: Store) -> None:
    with tampering(ledger) as file:
        swap(file, 18, 19)
    assert check(ledger) == Finding(18, "is version 8 of its stream, after version 6")


def test_two_events_of_one_moment_that_changed_places_do_not_fit_the_head(ledger: Store) -> None:
    with tampering(ledger) as file:
        swap(file, 2, 3)
    assert check(ledger) == Finding(0, "or one of those up to #15 is not the event that the head was made from")


def test_a_deleted_last_event_is_missing_by_the_head(ledger: Store) -> None:
    with tampering(ledger) as file:
        file.run("DELETE FROM events WHERE position = 19")
        file.run("DELETE FROM event_private WHERE position = 19")
    assert check(ledger) == Finding(19, "is missing: the head says 20 events")


def test_a_deleted_last_event_is_missing_by_the_checkpoint(ledger: Store, checkpoints: CheckpointStore) -> None:
    last = signed(ledger, checkpoints)
    with tampering(ledger) as file:
        file.run("DELETE FROM events WHERE position = 19")
        file.run("DELETE FROM event_private WHERE position = 19")
        forge_head(file)
    assert check(ledger, last) == Finding(19, "is missing: a checkpoint of 20 events was signed")


def delete_stream(file: Tables) -> None:
    positions = "SELECT position FROM events WHERE stream = ?"
    file.run(f"DELETE FROM event_private WHERE position IN ({positions})", FIRST)
    file.run("DELETE FROM events WHERE stream = ?", FIRST)
    file.run("DELETE FROM families WHERE id = ?", FIRST)


def test_a_deleted_stream_is_missing_where_it_began(ledger: Store) -> None:
    with tampering(ledger) as file:
        delete_stream(file)
    assert check(ledger) == Finding(5, "is missing")


def test_a_deleted_stream_without_gaps_does_not_fit_the_checkpoint(ledger: Store, checkpoints: CheckpointStore) -> None:
    last = signed(ledger, checkpoints)
    with tampering(ledger) as file:
        delete_stream(file)
        close_gaps(file)
        forge_head(file)
    found = [type(check(ledger)), check(ledger, last)]
    assert found == [Intact, Finding(12, "is missing: a checkpoint of 20 events was signed")]


def insert_in_the_past(file: Tables) -> None:
    """A whole new family after #16, in the time of #16."""
    for position in (19, 18, 17):
        file.run("UPDATE events SET position = position + 1 WHERE position = ?", position)
        file.run("UPDATE event_private SET position = position + 1 WHERE position = ?", position)
    (at,) = file.run("SELECT at FROM events WHERE position = 16")[0]
    insert_copy(file, 6, position=17, stream=small.stream(9), at=at)
    file.run("INSERT INTO event_private SELECT 17, kind, salt, data, ip FROM event_private WHERE position = 6")
    forge_leaves(file)


def test_an_event_inserted_in_the_past_does_not_fit_the_head(ledger: Store) -> None:
    with tampering(ledger) as file:
        insert_in_the_past(file)
    assert check(ledger) == Finding(20, "stands after the end: the head says 20 events")


def test_an_event_inserted_in_the_past_does_not_fit_the_checkpoint(ledger: Store, checkpoints: CheckpointStore) -> None:
    last = signed(ledger, checkpoints)
    with tampering(ledger) as file:
        insert_in_the_past(file)
        forge_head(file)
    expected = Finding(16, "or one of those up to #19 is not the event that the last checkpoint was signed for")
    assert check(ledger, last) == expected


def test_an_event_before_the_beginning_is_named(ledger: Store) -> None:
    with tampering(ledger) as file:
        file.run("UPDATE events SET position = -3 WHERE position = 19")
    assert check(ledger) == Finding(-3, "stands before the beginning of the log")


def test_a_rolled_back_copy_is_shorter_than_its_checkpoint(
    store: Store, stores: Stores, made: Made, checkpoints: CheckpointStore
) -> None:
    small.append(store, *small.BATCHES[:-1])
    older = made(stores.copy(store))
    small.append(store, small.BATCHES[-1])
    last = signed(store, checkpoints)
    assert check(older, last) == Finding(18, "is missing: a checkpoint of 20 events was signed")


def test_a_rolled_back_copy_that_went_on_differently_does_not_fit(
    store: Store, stores: Stores, made: Made, checkpoints: CheckpointStore
) -> None:
    small.append(store, *small.BATCHES[:-1])
    older = made(stores.copy(store))
    small.append(store, small.BATCHES[-1])
    last = signed(store, checkpoints)
    small.append(older, *((small.LAPTOP, (small.rotated(FIRST, small.ALICE, 7 + n),)) for n in range(4)))
    expected = Finding(16, "or one of those up to #19 is not the event that the last checkpoint was signed for")
    assert check(older, last) == expected


def test_the_checkpoint_of_another_log_is_named(ledger: Store, checkpoints: CheckpointStore) -> None:
    last = signed(ledger, checkpoints)
    other = Signed(last.checkpoint._replace(origin="other.example"), last.frontier)
    assert check(ledger, other) == Finding(
        None, "The last checkpoint is of the log other.example, not of ledger.example."
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "UPDATE head SET frontier = zeroblob(64)",
            "#0: or one of those up to #15 is not the event that the head was made from",
        ),
        (
            "UPDATE head SET frontier = x''",
            "#0: or one of those up to #19 is not the event that the head was made from",
        ),
        ("UPDATE head SET size = 21", "#20: is missing: the head says 21 events"),
        ("UPDATE head SET size = 19", "#19: stands after the end: the head says 19 events"),
        ("UPDATE head SET last_at = last_at + 1", "The time in the head is not that of the last event."),
        ("DELETE FROM head", "There are 0 heads; a ledger has one."),
        (
            "INSERT INTO head SELECT 2, size, frontier, last_at, key_checks, signing_key, signing_since FROM head",
            "There are 2 heads; a ledger has one.",
        ),
    ],
)
def test_a_changed_head_is_named(ledger: Store, change: str, expected: str) -> None:
    with tampering(ledger) as file:
        file.run(change)
    assert str(check(ledger)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("UPDATE head SET frontier = 7", "#0: or one of those up to #19 is not the event that the head was made from"),
        ("UPDATE head SET size = 'many'", "The head is nothing that the ledger writes."),
    ],
)
def test_a_head_of_other_types_is_named(ledger: Store, on_sqlite: None, change: str, expected: str) -> None:
    with tampering(ledger) as file:
        file.run(change)
    assert str(check(ledger)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "UPDATE families SET generation = 2, jti = 'x' WHERE id = ?",
            f"#19: {FAMILY}: what is stored of it does not follow from its events: generation, jti",
        ),
        (
            "UPDATE families SET status = 'living', ended_at = 0 WHERE id = ?",
            f"#19: {FAMILY}: what is stored of it does not follow from its events: status, ended_at",
        ),
        ("DELETE FROM families WHERE id = ?", f"#19: {FAMILY}: its events are there, but nothing is stored of it"),
    ],
)
def test_a_changed_projection_is_named(ledger: Store, change: str, expected: str) -> None:
    with tampering(ledger) as file:
        file.run(change, FIRST)
    assert str(check(ledger)) == expected


def test_a_row_that_no_event_began_is_named(ledger: Store) -> None:
    with tampering(ledger) as file:
        file.run("UPDATE families SET id = ? WHERE id = ?", small.stream(9), FIRST)
    name = ids.to_text("fam", small.stream(9))
    assert str(check(ledger)) == f"family {name}: is stored, but no event began it"


@pytest.mark.parametrize("table", ["subjects", "clients", "keys", "log"])
def test_every_projection_is_compared(ledger: Store, table: str) -> None:
    with tampering(ledger) as file:
        file.run(f"UPDATE {table} SET version = 7")
    assert str(check(ledger)).endswith("what is stored of it does not follow from its events: version")


def test_a_finding_shows_no_value_of_a_projection(ledger: Store) -> None:
    with tampering(ledger) as file:
        file.run("UPDATE subjects SET password = '$argon2id$forged' WHERE name = 'alice'")
    found = str(check(ledger))
    assert (found.endswith("events: password"), "argon2id" in found) == (True, False)


def test_a_projection_that_the_driver_cannot_read_is_found_and_not_quoted(ledger: Store, on_sqlite: None) -> None:
    with tampering(ledger) as file:
        file.run("UPDATE subjects SET password = CAST(x'61ff' AS TEXT) WHERE name = 'alice'")
    assert check(ledger) == Finding(None, "The database cannot be read: OperationalError.")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "UPDATE event_private SET data = x'7b226970223a223230332e302e3131332e39227d' WHERE position = 9",
            Finding(9, PRIVATE),
        ),
        ("UPDATE event_private SET salt = zeroblob(16) WHERE position = 9", Finding(9, PRIVATE)),
        (
            "UPDATE event_private SET ip = x'00000000' WHERE position = 9",
            Finding(9, "the address that its private row is searched by is not the one in that row"),
        ),
        (
            "UPDATE event_private SET data = x'7b226e616d65223a226d616c6c6f7279227d' WHERE position = 2",
            Finding(2, PRIVATE),
        ),
        ("DELETE FROM event_private WHERE position = 9", Finding(9, GONE)),
        ("DELETE FROM event_private WHERE position = 17", Finding(17, GONE)),
        (
            "INSERT INTO event_private SELECT 0, kind, salt, data, ip FROM event_private WHERE position = 9",
            Finding(0, "has a private row that it does not name"),
        ),
        (
            "INSERT INTO event_private SELECT position, 7, salt, data, ip FROM event_private WHERE position = 9",
            Finding(9, "has a private row that it does not name"),
        ),
        (
            "INSERT INTO event_private SELECT 25, kind, salt, data, ip FROM event_private WHERE position = 9",
            Finding(25, "is no event, but there is a private row of it"),
        ),
    ],
)
def test_a_changed_private_row_is_named(ledger: Store, change: str, expected: Finding) -> None:
    with tampering(ledger) as file:
        file.run(change)
    assert check(ledger) == expected


def test_a_private_row_of_another_type_is_named(ledger: Store, on_sqlite: None) -> None:
    with tampering(ledger) as file:
        file.run("UPDATE event_private SET data = 'text' WHERE position = 9")
    assert check(ledger) == Finding(9, f"{FOREIGN} (TypeError)")


def test_a_deleted_account_is_not_explained_by_expired_contexts(ledger: Store) -> None:
    expire_contexts(ledger, below=20)
    with tampering(ledger) as file:
        file.run("DELETE FROM event_private WHERE position = 5 AND kind = 2")
    assert check(ledger) == Finding(5, GONE)


def expire_contexts(ledger: Store, below: int) -> None:
    """As the job does: the event and the deletion."""
    small.append(ledger, (Origin(), (Change(log.STREAM, log.ContextExpired(actor="system", below=below)),)), begins=60)
    tables.rows(ledger, "DELETE FROM event_private WHERE kind = 1 AND position < ?", below)


def test_contexts_that_expired_are_missed_by_nobody(ledger: Store) -> None:
    expire_contexts(ledger, below=12)
    assert check(ledger)[0] == SIZE + 1


def test_a_context_that_went_before_its_time_is_named(ledger: Store) -> None:
    expire_contexts(ledger, below=12)
    with tampering(ledger) as file:
        file.run("DELETE FROM event_private WHERE kind = 1 AND position IN (12, 13)")
    assert check(ledger) == Finding(12, GONE)


def test_a_service_that_writes_meanwhile_disturbs_nothing(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PAGE", 3)
    batches = [(small.PHONE, (small.rotated(small.SECOND, small.BOB, 8 + n),)) for n in range(4)]

    def progress(_done: int) -> None:
        if batches:
            small.append(ledger, batches.pop(0), begins=60)

    found = ledger.read(lambda connection: verify(connection, progress=progress))
    assert (type(found), found[0]) == (Intact, SIZE + 4)


@pytest.mark.parametrize("page", [1, 2, 7, 19, 20, 21])
def test_the_size_of_a_page_changes_nothing(
    ledger: Store, checkpoints: CheckpointStore, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    last = signed(ledger, checkpoints)
    monkeypatch.setattr(replay, "PAGE", page)
    assert check(ledger, last) == Intact(SIZE, last.checkpoint.root)


FORBIDDEN: dict[str, Callable[[Tables], object]] = {
    "update": lambda file: file.run("UPDATE events SET at = at + 1 WHERE position = 9"),
    "delete": lambda file: file.run("DELETE FROM events WHERE position = 19"),
    "insert with a gap": lambda file: insert_copy(file, 9, position=21, stream=b"9", version=1),
    "update of a private row": lambda file: file.run("UPDATE event_private SET data = x'00'"),
    "delete of the head": lambda file: file.run("DELETE FROM head"),
}
REPLACING: dict[str, Callable[[Tables], object]] = {
    "update or replace": lambda file: file.run("UPDATE OR REPLACE events SET position = 8 WHERE position = 9"),
    "insert or replace by position": lambda file: insert_copy(file, 9, "INSERT OR REPLACE", stream=b"9", version=1),
    "insert or replace by stream and version": lambda file: insert_copy(file, 9, "INSERT OR REPLACE", position=20),
    "replacement of a private row": lambda file: file.run(
        "INSERT OR REPLACE INTO event_private SELECT position, kind, salt, x'00', ip FROM event_private"
    ),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_the_database_itself_refuses_to_change_the_past(ledger: Store, name: str) -> None:
    with tables.opened(ledger) as file, pytest.raises(REFUSED):
        FORBIDDEN[name](file)
    assert check(ledger)[0] == SIZE


@pytest.mark.parametrize("name", REPLACING)
def test_the_database_itself_refuses_to_replace_the_past(ledger: Store, on_sqlite: None, name: str) -> None:
    with tables.opened(ledger) as file, pytest.raises(REFUSED):
        REPLACING[name](file)
    assert check(ledger)[0] == SIZE
