"""The log as the database guards it: nobody changes, deletes, replaces or skips, whatever SQL they are let to run."""

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from events import sqlite
from events.schema import events
from tests.check import check
from tests.small_ledger import BOB, PHONE, SECOND, SIZE, append, reused, small_ledger

REFUSED_ON_THE_LOG = (
    "UPDATE events SET body = x'7b7d' WHERE position = 3",
    "UPDATE events SET leaf = zeroblob(32)",
    "UPDATE events SET position = position + 1000",
    "UPDATE OR REPLACE events SET position = 3 WHERE position = 4",
    "UPDATE OR IGNORE events SET body = x'7b7d' WHERE position = 3",
    "UPDATE events SET actor = 'cli' WHERE position = 3",
    "DELETE FROM events WHERE position = 3",
    f"DELETE FROM events WHERE position = {SIZE - 1}",
    "DELETE FROM events",
    "UPDATE event_private SET data = x'7b7d'",
    "UPDATE OR REPLACE event_private SET position = 2 WHERE position = 3",
    "INSERT OR REPLACE INTO event_private SELECT position, kind, zeroblob(16), x'7b7d', ip FROM event_private",
    "INSERT INTO event_private SELECT * FROM event_private WHERE 1 ON CONFLICT DO UPDATE SET data = x'7b7d'",
    "DELETE FROM head",
    "INSERT INTO head SELECT 2, size, frontier, last_at, key_checks FROM head",
    "INSERT OR REPLACE INTO head SELECT id, size - 1, frontier, last_at, key_checks FROM head",
    "REPLACE INTO head SELECT id, size, zeroblob(32), last_at, key_checks FROM head",
    "UPDATE head SET size = size - 1",
    "UPDATE head SET last_at = last_at - 1",
    "UPDATE head SET id = 2",
)


NEW = {"stream": "zeroblob(16)", "version": "1"}


def copied(position: str, of: int = 3, verb: str = "INSERT", other: Mapping[str, str] = NEW) -> str:
    """A statement that writes a copy of an event to another position."""
    names = [column.name for column in events.columns]
    values = {**{name: name for name in names}, **other, "position": position}
    return f"{verb} INTO events SELECT {', '.join(values[name] for name in names)} FROM events WHERE position = {of}"


REFUSED_INSERTS = {
    "over its own position": copied("3", verb="INSERT OR REPLACE", other={}),
    "over its own position, as another": copied("3", verb="REPLACE"),
    "over its stream and version": copied(str(SIZE), verb="INSERT OR REPLACE", other={}),
    "a stream and version that exist": copied(str(SIZE), other={}),
    "a position that exists": copied("3", of=4),
    "behind a gap": copied(str(SIZE + 1)),
    "before the beginning": copied("-1"),
    "at no position": copied("NULL"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of twenty events; copied, never used itself."""
    return small_ledger(tmp_path_factory.mktemp("written"))


@pytest.fixture
def twenty(written: Path, tmp_path: Path) -> Path:
    """A ledger of twenty events of this test's own."""
    return Path(shutil.copy(written, tmp_path / "ledger.db"))


@pytest.fixture(params=["recursive_triggers=OFF", "recursive_triggers=ON"])
def anybody(request: pytest.FixtureRequest, twenty: Path) -> Iterator[sqlite3.Connection]:
    """A connection of somebody who may write and who does not use our pragmas."""
    with closing(sqlite3.connect(twenty, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA {request.param}")
        yield connection


def contents(connection: sqlite3.Connection) -> list[list[object]]:
    tables = ("events", "event_private", "head")
    return [connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables]


@pytest.mark.parametrize("statement", REFUSED_ON_THE_LOG)
def test_what_would_change_the_log_is_refused(statement: str, anybody: sqlite3.Connection) -> None:
    before = contents(anybody)

    with pytest.raises(sqlite3.IntegrityError):
        anybody.execute(statement)

    assert before == contents(anybody)


@pytest.mark.parametrize("statement", REFUSED_INSERTS.values(), ids=REFUSED_INSERTS)
def test_an_event_is_only_ever_added_at_the_end(statement: str, anybody: sqlite3.Connection) -> None:
    before = contents(anybody)

    with pytest.raises(sqlite3.IntegrityError):
        anybody.execute(statement)

    assert before == contents(anybody)


def test_the_guards_let_an_honest_event_pass(anybody: sqlite3.Connection) -> None:
    anybody.execute(copied(str(SIZE)))

    assert [(SIZE,)] == anybody.execute("SELECT max(position) FROM events").fetchall()


def test_private_rows_can_be_deleted_and_nothing_else_can(anybody: sqlite3.Connection) -> None:
    anybody.execute("DELETE FROM event_private")

    assert [(0,)] == anybody.execute("SELECT count(*) FROM event_private").fetchall()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM event_private",
        "INSERT INTO event_private VALUES (0, 9, x'', x'', NULL)",
        "UPDATE families SET status = 'living'",
        "UPDATE head SET size = size + 1",
        "DROP TRIGGER events_no_update",
        "CREATE TABLE mine (id INTEGER)",
    ],
)
async def test_a_reader_cannot_write(statement: str, twenty: Path) -> None:
    engine = sqlite.read_engine(twenty)
    try:
        async with engine.connect() as connection:
            with pytest.raises(OperationalError, match="readonly"):
                await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()
    with sqlite.sync_read_engine(twenty).connect() as reading, pytest.raises(OperationalError, match="readonly"):
        reading.exec_driver_sql(statement)

    check(twenty)


def test_the_ledger_goes_on_after_somebody_tried(anybody: sqlite3.Connection, twenty: Path) -> None:
    for statement in (*REFUSED_ON_THE_LOG, *REFUSED_INSERTS.values()):
        with pytest.raises(sqlite3.IntegrityError):
            anybody.execute(statement)
    anybody.close()

    append(twenty, (PHONE, reused(SECOND, BOB)), begins=3600)

    check(twenty)
