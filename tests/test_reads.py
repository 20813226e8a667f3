"""Group reads: many who wait share one SELECT, nobody gets what was read before they asked, nobody waits for ever.

What readers do to the files, and to names of folders that a URL would misread, is a matter of SQLite alone.
"""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from events import reads, schema, sqlite
from events.ledger import Ledger, Unavailable
from events.reads import GroupRead
from events.sqlite_store import SqliteStore
from events.store import Store
from tests import holders, tables
from tests.check import check
from tests.conftest import MakeSettings, running


class Slow:
    """Something slow to read that counts how often it was read, and what for."""

    def __init__(self) -> None:
        self.stored: dict[str, int] = {"a": 1, "b": 2}
        self.asked: list[frozenset[str]] = []
        self.open = asyncio.Event()
        self.error: Exception | None = None

    async def fetch(self, keys: frozenset[str]) -> Mapping[str, int]:
        self.asked.append(keys)
        found = {key: self.stored[key] for key in keys & self.stored.keys()}
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return found


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def group(slow: Slow) -> GroupRead[str, int]:
    return GroupRead(slow.fetch)


async def test_callers_that_wait_together_share_one_read(slow: Slow, group: GroupRead[str, int]) -> None:
    slow.open.set()
    found = await asyncio.gather(*(group.get(key) for key in ("a", "b", "a", "c")))

    assert [1, 2, 1, None] == found
    assert [frozenset("abc")] == slow.asked


async def test_who_asks_during_a_read_gets_the_next_one(slow: Slow, group: GroupRead[str, int]) -> None:
    before = asyncio.create_task(group.get("a"))
    await asyncio.sleep(0.01)
    slow.stored["a"] = 7  # committed after the first read began
    after = asyncio.create_task(group.get("a"))
    await asyncio.sleep(0.01)
    slow.open.set()

    assert [1, 7] == [await before, await after]
    assert [frozenset("a"), frozenset("a")] == slow.asked


async def test_a_read_that_fails_fails_for_its_callers_and_for_nobody_after(
    slow: Slow, group: GroupRead[str, int]
) -> None:
    slow.error = Unavailable()
    slow.open.set()
    failed = await asyncio.gather(group.get("a"), group.get("b"), return_exceptions=True)
    slow.error = None

    assert [Unavailable, Unavailable] == [type(one) for one in failed]
    assert 1 == await group.get("a")


async def test_a_caller_that_goes_away_costs_the_others_nothing(slow: Slow, group: GroupRead[str, int]) -> None:
    gone, stays = asyncio.create_task(group.get("a")), asyncio.create_task(group.get("a"))
    await asyncio.sleep(0.01)
    gone.cancel()
    slow.open.set()

    assert 1 == await stays
    assert gone.cancelled()
    assert 2 == await group.get("b")


async def test_a_snapshot_sees_one_state_however_long_it_reads(store: Store) -> None:
    engine = store.readers()
    query = select(schema.head.c.key_checks)
    try:
        async with reads.snapshot(engine) as connection:
            before = (await connection.execute(query)).scalar_one()
            tables.rows(store, 'UPDATE head SET key_checks = \'{"1":"new"}\'')
            during = (await connection.execute(query)).scalar_one()
        async with reads.snapshot(engine) as connection:
            after = (await connection.execute(query)).scalar_one()
    finally:
        await engine.dispose()

    assert ("{}", "{}", '{"1":"new"}') == (before, during, after)


def files_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def can_be_read(database: Path) -> bool:
    """Whether reading begins or is Unavailable; the driver's thread has ended then."""
    engine = sqlite.read_engine(database)
    try:
        async with reads.snapshot(engine):
            return True
    except Unavailable:
        return False
    finally:
        await engine.dispose()
        await asyncio.sleep(0.1)


async def test_a_database_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    garbage, missing = tmp_path / "ledger.db", tmp_path / "none" / "ledger.db"
    garbage.write_bytes(b"garbage" * 4096)

    assert [False, False] == [await can_be_read(garbage), await can_be_read(missing)]


async def test_a_read_that_gets_no_connection_is_unavailable_before_its_caller_gives_up(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "READ_WAIT", 0.2)
    engine = sqlite_store.readers(1)
    try:
        async with reads.snapshot(engine), asyncio.timeout(2):
            with pytest.raises(Unavailable):
                async with reads.snapshot(engine):
                    pass
    finally:
        await engine.dispose()


async def test_a_reader_makes_no_file_where_none_is(tmp_path: Path) -> None:
    readable = await can_be_read(tmp_path / "ledger.db")
    with pytest.raises(OperationalError):
        sqlite.sync_read_engine(tmp_path / "ledger.db").connect()

    assert (False, []) == (readable, files_of(tmp_path))


async def test_a_reader_that_closes_last_leaves_the_write_ahead_log_alone(
    sqlite_store: SqliteStore,
) -> None:
    database = sqlite_store.database
    log = database.with_name("ledger.db-wal")
    reader = sqlite_store.readers()
    async with reader.connect() as reading:
        with sqlite.transaction(database) as writing:
            writing.exec_driver_sql('UPDATE head SET key_checks = \'{"1":"new"}\'')
        await reading.exec_driver_sql("SELECT 1 FROM head")
    written = log.read_bytes()
    await reader.dispose()

    assert len(written) > 0
    assert written == log.read_bytes()


async def test_a_folder_may_have_any_name(tmp_path: Path, empty_database: Path) -> None:
    folder = tmp_path / "a b?c#d%20e&mode=rw é"
    folder.mkdir()
    database = Path(shutil.copy(empty_database, folder / "ledger.db"))
    store = SqliteStore(database)
    ledger = Ledger(store.writer())
    await holders.people(ledger)
    await ledger.close()
    engine = store.readers()
    async with reads.snapshot(engine) as connection:
        found = (await connection.execute(select(schema.head.c.size))).scalar_one()
    await engine.dispose()

    assert 3 == found
    check(store)


async def test_a_service_that_stopped_leaves_everything_in_one_file(
    make_settings: MakeSettings, sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    settings = make_settings()
    async with running(settings) as service:
        await service.family_reader.slice_after(b"", 10)
        await service.clients.refresh()

    names = {path.name for path in files_of(settings.data_dir)}
    assert set() == {name for name in names if name.endswith(("-wal", "-shm"))}
    copy = Path(shutil.copy(sqlite_store.database, tmp_path / "ledger.db"))
    check(SqliteStore(copy), tmp_path / "checkpoints")
