"""What the writer remembers between batches: never anything that is not in the rows."""

import sqlite3
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from core.verdict import Verdict
from events.decision import Streams
from events.heads import Head
from events.ledger import Ledger, Unavailable
from events.log import STREAM, Log
from events.rebuild import rebuild
from events.remembered import Remembered
from events.sqlite_store import SqliteStore
from events.store import Store
from tests import holders, tables
from tests.conftest import TestClock

HEAD = Head(7, b"", 1)
LATER = Head(8, b"", 2)
LOG = Log(id=STREAM, version=1, origin="ledger.example", started_at=1)
THE_LOG = Streams(logs=frozenset((STREAM,)))


def other(number: int) -> Log:
    return Log(id=bytes([number]) * 16, version=1, origin="", started_at=1)


def test_what_a_batch_left_is_known_to_the_next() -> None:
    remembered = Remembered()
    remembered.keep(HEAD, {STREAM: LOG, b"nobody": None})
    assert remembered.recall(HEAD, THE_LOG) == {STREAM: LOG}


def test_nothing_is_known_at_another_head() -> None:
    remembered = Remembered()
    remembered.keep(HEAD, {STREAM: LOG})
    assert remembered.recall(LATER, THE_LOG) == {}


def test_nothing_is_known_after_a_batch_that_was_not_kept() -> None:
    remembered = Remembered()
    remembered.keep(HEAD, {STREAM: LOG})
    remembered.recall(HEAD, THE_LOG)
    assert remembered.recall(HEAD, THE_LOG) == {}


def test_what_was_forgotten_stays_so_when_the_next_batch_is_kept() -> None:
    remembered = Remembered()
    remembered.keep(HEAD, {STREAM: LOG})
    remembered.forget()
    remembered.recall(HEAD, THE_LOG)
    remembered.keep(LATER, {})
    assert remembered.recall(LATER, THE_LOG) == {}


def test_what_no_batch_named_for_the_longest_time_goes_first() -> None:
    remembered = Remembered(most=2)
    remembered.keep(HEAD, {one.id: one for one in (other(1), other(2))})
    remembered.keep(HEAD, {one.id: one for one in (other(1), other(3))})
    named = Streams(logs=frozenset(other(number).id for number in (1, 2, 3)))
    assert set(remembered.recall(HEAD, named)) == {other(1).id, other(3).id}


class Watched(NamedTuple):
    """A ledger, and the statements that its writer runs."""

    ledger: Ledger
    statements: list[str]
    commit: list[Exception]
    """What the next COMMIT fails with; nothing of its transaction stays."""

    def reads(self) -> int:
        """How often families were read since this was asked last."""
        found = sum(said.startswith("SELECT") and "FROM families" in said for said in self.statements)
        self.statements.clear()
        return found


@pytest.fixture
async def watched(store: Store, clock: TestClock) -> AsyncIterator[Watched]:
    writer = store.writer(clock.clock)
    found = Watched(Ledger(writer), [], [])
    engine = writer._hold._engine  # type: ignore[attr-defined]
    engine = getattr(engine, "sync_engine", engine)

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        found.statements.append(statement)

    @event.listens_for(engine, "commit")
    def lose(connection: Any) -> None:
        if found.commit:
            connection.connection.driver_connection.rollback()
            raise found.commit.pop()

    await holders.people(found.ledger)
    yield found
    await found.ledger.close()


async def test_a_family_that_this_process_changed_is_not_read_again(watched: Watched) -> None:
    first = await holders.begin(watched.ledger)
    watched.reads()
    second = holders.successor(first, await holders.refresh(watched.ledger, first))
    verdict = (await holders.refresh(watched.ledger, second)).verdict
    assert (verdict, watched.reads()) == (Verdict.ROTATED, 0)


async def test_what_another_process_wrote_is_read(watched: Watched, store: Store, clock: TestClock) -> None:
    held = await holders.begin(watched.ledger)
    beside = Ledger(store.writer(clock.clock))
    await holders.revoke(beside, held.family)
    await beside.close()
    watched.reads()
    verdict = (await holders.refresh(watched.ledger, held)).verdict
    assert (verdict, watched.reads()) == (Verdict.REVOKED, 1)


async def test_what_a_rebuild_wrote_is_read_though_the_log_is_the_same(watched: Watched, store: Store) -> None:
    first = await holders.begin(watched.ledger)
    second = holders.successor(first, await holders.refresh(watched.ledger, first))
    rebuild(store)
    watched.reads()
    verdict = (await holders.refresh(watched.ledger, second)).verdict
    assert (verdict, watched.reads()) == (Verdict.ROTATED, 1)


async def test_what_a_hand_on_the_file_wrote_is_read(watched: Watched, sqlite_store: SqliteStore) -> None:
    held = await holders.begin(watched.ledger)
    tables.rows(sqlite_store, "UPDATE families SET status = 'revoked' WHERE id = ?", held.family)
    tampered = (await holders.refresh(watched.ledger, held)).verdict
    rebuild(sqlite_store)
    assert (tampered, (await holders.refresh(watched.ledger, held)).verdict) == (Verdict.REVOKED, Verdict.ROTATED)


async def test_a_batch_that_was_not_committed_leaves_no_memory(watched: Watched, on_sqlite: None) -> None:
    first = await holders.begin(watched.ledger)
    watched.commit.append(OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error")))
    with pytest.raises(Unavailable):
        await holders.refresh(watched.ledger, first)
    watched.reads()
    answer = await holders.refresh(watched.ledger, first)
    assert (answer.verdict, watched.reads(), answer.family and answer.family.generation) == (Verdict.ROTATED, 1, 2)
