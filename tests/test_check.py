"""The check that the other tests end with: it passes what is whole and finds what is not, one thing at a time."""

from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from events.checkpoints import CheckpointStore
from events.store import Store
from tests.check import check
from tests.conftest import Made
from tests.databases import Stores
from tests.small_ledger import close_gaps, forge_head, forge_leaves, signed, small_ledger
from tests.tables import tampering

TAMPERED = {
    "a body": "UPDATE events SET body = (SELECT body FROM events WHERE position = 6) WHERE position = 5",
    "a time": "UPDATE events SET at = at - 5000000 WHERE position = 7",
    "a leaf": "UPDATE events SET leaf = zeroblob(32) WHERE position = 7",
    "a search column": "UPDATE events SET client = 'another' WHERE position = 7",
    "an actor": "UPDATE events SET actor = 'cli' WHERE position = 7",
    "a last event": "DELETE FROM events WHERE position = 19",
    "an event in the middle": "DELETE FROM events WHERE position = 9",
    "a version": "UPDATE events SET version = 99 WHERE position = 17",
    "a private row": "UPDATE event_private SET data = x'7b7d' WHERE position = 2",
    "a private row that is gone": "DELETE FROM event_private WHERE position = 2",
    "an address": "UPDATE event_private SET ip = x'7f000001' WHERE ip IS NOT NULL",
    "a private row of no event": "INSERT INTO event_private VALUES (99, 1, zeroblob(16), x'7b7d', NULL)",
    "a family": "UPDATE families SET status = 'living'",
    "a family that is gone": "DELETE FROM families",
    "a subject": "UPDATE subjects SET roles = 'admin'",
    "a client": "UPDATE clients SET leeway = 100",
    "a key": "UPDATE keys SET status = 'active'",
    "the log's row": "UPDATE log SET contexts_below = 100",
    "the size": "UPDATE head SET size = size + 1",
    "the frontier": "UPDATE head SET frontier = zeroblob(64)",
    "the head's time": "UPDATE head SET last_at = last_at + 1",
}


@pytest.fixture(scope="session")
def written(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    """A ledger of twenty events and its checkpoint; copied, never used itself."""
    store, checkpoints = small_ledger(stores), tmp_path_factory.mktemp("checkpoints")
    signed(store, CheckpointStore(checkpoints))
    return store, checkpoints


@pytest.fixture
def twenty(written: tuple[Store, Path], stores: Stores, made: Made) -> Store:
    return made(stores.copy(written[0]))


@pytest.fixture
def checkpoints(written: tuple[Store, Path]) -> Path:
    return written[1]


def test_a_whole_ledger_passes(twenty: Store, checkpoints: Path) -> None:
    check(twenty, checkpoints, ["not in it"])


def test_an_empty_ledger_passes(store: Store) -> None:
    check(store)


@pytest.mark.parametrize("statement", TAMPERED.values(), ids=TAMPERED)
def test_what_was_changed_is_found(statement: str, twenty: Store) -> None:
    with tampering(twenty, hidden=True) as tables:
        tables.run(statement)

    with pytest.raises((AssertionError, ValueError, SQLAlchemyError)):
        check(twenty)


def test_a_history_that_was_rewritten_whole_is_found_by_the_checkpoint(twenty: Store, checkpoints: Path) -> None:
    with tampering(twenty, hidden=True) as tables:
        tables.run("DELETE FROM events WHERE stream = (SELECT stream FROM events WHERE position = 6)")
        tables.run("DELETE FROM families WHERE id NOT IN (SELECT stream FROM events)")
        tables.run("DELETE FROM event_private WHERE position NOT IN (SELECT position FROM events)")
        close_gaps(tables)
        forge_leaves(tables)
        forge_head(tables)

    check(twenty)
    with pytest.raises(AssertionError):
        check(twenty, checkpoints)


def test_a_missing_guard_is_found(twenty: Store) -> None:
    with tampering(twenty):
        pass

    with pytest.raises(AssertionError):
        check(twenty)


@pytest.mark.parametrize("secret", ["$argon2id$alice", "192.0.2.7", b"Firefox"])
def test_a_secret_in_a_row_is_found(secret: str | bytes, twenty: Store) -> None:
    with pytest.raises(AssertionError):
        check(twenty, None, [secret])
