"""A ledger that moves to another database is the same ledger there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection

from core import checks
from core.start import StartError
from core.token import Token
from core.verdict import Verdict
from events import migrate, moving
from events.ledger import Ledger
from events.moving import Moved, Unmovable, move
from events.sqlite_store import SqliteStore
from events.store import Store
from events.verify import Intact, verify
from tests import holders
from tests.check import check, events_of


def empty(folder: Path) -> SqliteStore:
    """Whatever the engine is that a ledger moves to, it comes from SQLite."""
    store = SqliteStore(folder / "ledger.db")
    migrate.bring_up(store)
    return store


@pytest.fixture
def old(tmp_path: Path) -> SqliteStore:
    return empty(tmp_path / "old")


@pytest.fixture
async def token(old: SqliteStore) -> Token:
    """The newest token of somebody who lives in the old ledger, among families that live and families that ended."""
    ledger = Ledger(old.writer())
    await holders.people(ledger)
    for _ in range(20):
        current = await holders.begin(ledger)
        for _ in range(2):
            current = holders.successor(current, await holders.refresh(ledger, current))
        await holders.revoke(ledger, current.family)
    newest = await holders.begin(ledger)
    await ledger.close()
    return newest


class Interrupted(Exception):
    pass


def stop_after(events: int) -> Callable[[int], None]:
    def done(so_far: int) -> None:
        if so_far >= events:
            raise Interrupted

    return done


def nothing(_done: int) -> None:
    pass


async def rotated(store: Store, token: Token) -> Verdict:
    ledger = Ledger(store.writer())
    answer = await holders.refresh(ledger, token)
    await ledger.close()
    return answer.verdict


async def test_everything_is_where_it_was_and_sessions_go_on(store: Store, old: SqliteStore, token: Token) -> None:
    before = old.read(verify)
    told: list[int] = []

    moved = move(old, store, told.append)

    assert isinstance(before, Intact)
    assert Moved(before.size, before.root) == moved
    assert (0, before.size) == (told[0], told[-1])
    assert events_of(old) == events_of(store)
    check(store)
    checks.ledger(store)
    assert Verdict.ROTATED is await rotated(store, token)


async def test_an_interrupted_move_is_no_ledger_and_goes_on_where_it_was(
    store: Store, old: SqliteStore, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "AT_ONCE", 10)
    told: list[int] = []

    with pytest.raises(Interrupted):
        move(old, store, stop_after(40))
    with pytest.raises(StartError, match="session-ledger migrate-data"):
        checks.ledger(store)
    with pytest.raises(Interrupted):
        move(old, store, stop_after(60))
    moved = move(old, store, told.append)

    assert old.read(verify) == Intact(moved.size, moved.root)
    assert 60 == told[0]
    check(store)
    assert Verdict.ROTATED is await rotated(store, token)


async def test_a_move_that_ended_before_the_projections_writes_them_again(
    store: Store, old: SqliteStore, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = moving._insert

    def fail(statement: object, rows: list[tuple[object, ...]], connection: Connection) -> None:
        real(statement, rows, connection)
        raise Interrupted

    monkeypatch.setattr(moving, "_insert", fail)
    with pytest.raises(Interrupted):
        move(old, store, nothing)
    monkeypatch.undo()
    move(old, store, nothing)

    check(store)
    assert Verdict.ROTATED is await rotated(store, token)


async def test_a_database_that_holds_a_ledger_is_not_written_to(store: Store, old: SqliteStore, token: Token) -> None:
    move(old, store, nothing)
    before = events_of(store)

    with pytest.raises(Unmovable, match="move into an empty database"):
        move(old, store, nothing)

    assert before == events_of(store)


async def test_two_ledgers_are_not_mixed(store: Store, old: SqliteStore, token: Token, tmp_path: Path) -> None:
    other = empty(tmp_path / "other")
    ledger = Ledger(other.writer())
    await holders.people(ledger)
    await ledger.close()
    with pytest.raises(Interrupted):
        move(other, store, stop_after(1))

    with pytest.raises(Unmovable, match="of another ledger"):
        move(old, store, nothing)


async def test_what_is_written_to_the_old_ledger_meanwhile_is_noticed(
    store: Store, old: SqliteStore, token: Token
) -> None:
    def touch(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE head SET last_at = last_at + 1")

    def write(done: int) -> None:
        if done:
            old.transact(touch)

    with pytest.raises(Unmovable, match="stop its service"):
        move(old, store, write)
    with pytest.raises(StartError, match="session-ledger migrate-data"):
        checks.ledger(store)


async def test_an_old_ledger_that_does_not_verify_is_not_moved(store: Store, old: SqliteStore, token: Token) -> None:
    def tamper(connection: Connection) -> None:
        connection.exec_driver_sql("DROP TRIGGER events_no_update")
        connection.exec_driver_sql("UPDATE events SET leaf = zeroblob(32) WHERE position = 9")

    old.transact(tamper)

    with pytest.raises(Unmovable, match="#9"):
        move(old, store, nothing)
    with pytest.raises(StartError, match="session-ledger migrate-data"):
        checks.ledger(store)
