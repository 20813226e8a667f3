"""The log as the database guards it: nobody changes, deletes, replaces or skips, whatever SQL they are let to run.

Replacing a row is a word of SQLite, emptying a table one of PostgreSQL.
"""

from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy.exc import DBAPIError

from events.schema import events
from events.sqlite_store import SqliteStore
from events.store import Store
from tests import tables
from tests.check import check
from tests.conftest import Made
from tests.databases import Stores
from tests.small_ledger import BOB, PHONE, SECOND, SIZE, append, reused, small_ledger
from tests.tables import REFUSED, Tables

AGAIN = "INSERT INTO event_private SELECT * FROM event_private WHERE true"
REFUSED_ON_THE_LOG = (
    "UPDATE events SET body = x'7b7d' WHERE position = 3",
    "UPDATE events SET leaf = zeroblob(32)",
    "UPDATE events SET position = position + 1000",
    "UPDATE events SET actor = 'cli' WHERE position = 3",
    "DELETE FROM events WHERE position = 3",
    f"DELETE FROM events WHERE position = {SIZE - 1}",
    "DELETE FROM events",
    "UPDATE event_private SET data = x'7b7d'",
    AGAIN + " ON CONFLICT (position, kind) DO UPDATE SET data = x'7b7d'",
    "DELETE FROM head",
    "INSERT INTO head SELECT 2, size, frontier, last_at, key_checks, signing_key, signing_since FROM head",
    "UPDATE head SET size = size - 1",
    "UPDATE head SET last_at = last_at - 1",
    "UPDATE head SET id = 2",
)
REPLACING = (
    "UPDATE OR REPLACE events SET position = 3 WHERE position = 4",
    "UPDATE OR IGNORE events SET body = x'7b7d' WHERE position = 3",
    "UPDATE OR REPLACE event_private SET position = 2 WHERE position = 3",
    "INSERT OR REPLACE INTO event_private SELECT position, kind, zeroblob(16), x'7b7d', ip FROM event_private",
    "INSERT OR REPLACE INTO head SELECT id, size - 1, frontier, last_at, key_checks, signing_key, 0 FROM head",
    "REPLACE INTO head SELECT id, size, zeroblob(32), last_at, key_checks, signing_key, signing_since FROM head",
)
"""Only SQLite has such words."""
EMPTYING = ("TRUNCATE events", "TRUNCATE event_private", "TRUNCATE head", "TRUNCATE events, event_private, head")
"""Only PostgreSQL has that one."""

NEW = {"stream": "zeroblob(16)", "version": "1"}


def copied(position: str, of: int = 3, verb: str = "INSERT", other: Mapping[str, str] = NEW) -> str:
    """A statement that writes a copy of an event to another position."""
    names = [column.name for column in events.columns]
    values = {**{name: name for name in names}, **other, "position": position}
    return f"{verb} INTO events SELECT {', '.join(values[name] for name in names)} FROM events WHERE position = {of}"


REFUSED_INSERTS = {
    "a stream and version that exist": copied(str(SIZE), other={}),
    "a position that exists": copied("3", of=4),
    "behind a gap": copied(str(SIZE + 1)),
    "before the beginning": copied("-1"),
    "at no position": copied("NULL"),
}
REPLACING_INSERTS = {
    "over its own position": copied("3", verb="INSERT OR REPLACE", other={}),
    "over its own position, as another": copied("3", verb="REPLACE"),
    "over its stream and version": copied(str(SIZE), verb="INSERT OR REPLACE", other={}),
}


@pytest.fixture(scope="session")
def written(stores: Stores) -> Store:
    """A ledger of twenty events; copied, never used itself."""
    return small_ledger(stores)


@pytest.fixture
def twenty(written: Store, stores: Stores, made: Made) -> Store:
    """A ledger of twenty events of this test's own."""
    return made(stores.copy(written))


@pytest.fixture(params=["careful", "careless"])
def anybody(request: pytest.FixtureRequest, twenty: Store) -> Iterator[Tables]:
    """A connection of somebody who may write and who does not use our settings."""
    careful = request.param == "careful"
    with tables.opened(twenty) as connection:
        if isinstance(twenty, SqliteStore):
            connection.run(f"PRAGMA recursive_triggers={'ON' if careful else 'OFF'}")
        else:
            connection.run(f"SET session_replication_role = {'origin' if careful else 'replica'}")
        yield connection


def contents(connection: Tables) -> list[list[tuple[object, ...]]]:
    names = ("events", "event_private", "head")
    return [connection.run(f"SELECT * FROM {name} ORDER BY 1, 2") for name in names]


def refused(statement: str, anybody: Tables) -> None:
    before = contents(anybody)

    with pytest.raises(REFUSED):
        anybody.run(statement)

    assert before == contents(anybody)


@pytest.mark.parametrize("statement", REFUSED_ON_THE_LOG)
def test_what_would_change_the_log_is_refused(statement: str, anybody: Tables) -> None:
    refused(statement, anybody)


@pytest.mark.parametrize("statement", REFUSED_INSERTS.values(), ids=REFUSED_INSERTS)
def test_an_event_is_only_ever_added_at_the_end(statement: str, anybody: Tables) -> None:
    refused(statement, anybody)


@pytest.mark.parametrize("statement", [*REPLACING, *REPLACING_INSERTS.values()])
def test_what_would_replace_a_row_is_refused(statement: str, anybody: Tables, on_sqlite: None) -> None:
    refused(statement, anybody)


@pytest.mark.parametrize("statement", EMPTYING)
def test_what_would_empty_the_log_is_refused(statement: str, anybody: Tables, on_postgresql: None) -> None:
    refused(statement, anybody)


def test_the_guards_let_an_honest_event_pass(anybody: Tables) -> None:
    anybody.run(copied(str(SIZE)))

    assert [(SIZE,)] == anybody.run("SELECT max(position) FROM events")


def test_private_rows_can_be_deleted_and_nothing_else_can(anybody: Tables) -> None:
    anybody.run("DELETE FROM event_private")

    assert [(0,)] == anybody.run("SELECT count(*) FROM event_private")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM event_private",
        "INSERT INTO event_private SELECT 0, 9, salt, data, ip FROM event_private",
        "UPDATE families SET status = 'living'",
        "UPDATE head SET size = size + 1",
        "DROP TABLE families",
        "CREATE TABLE mine (id INTEGER)",
    ],
)
async def test_a_reader_cannot_write(statement: str, twenty: Store) -> None:
    engine = twenty.readers()
    try:
        async with engine.connect() as connection:
            with pytest.raises(DBAPIError, match=r"read-?only"):
                await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()
    with pytest.raises(DBAPIError, match=r"read-?only"):
        twenty.read(lambda reading: reading.exec_driver_sql(statement))

    check(twenty)


def test_the_ledger_goes_on_after_somebody_tried(anybody: Tables, twenty: Store) -> None:
    replacing = (*REPLACING, *REPLACING_INSERTS.values())
    own = replacing if isinstance(twenty, SqliteStore) else EMPTYING
    for statement in (*REFUSED_ON_THE_LOG, *REFUSED_INSERTS.values(), *own):
        with pytest.raises(REFUSED):
            anybody.run(statement)

    append(twenty, (PHONE, reused(SECOND, BOB)), begins=3600)

    check(twenty)
