"""Group reads: many who wait share one SELECT, nobody gets what was read before they asked, nobody waits for ever."""

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
from events.sqlite import SqliteWriter
from tests import holders
from tests.check import check
from tests.conftest import MakeSettings, running


class Store:
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
def store() -> Store:
    return Store()


@pytest.fixture
def group(store: Store) -> GroupRead[str, int]:
    return GroupRead(store.fetch)


async def test_callers_that_wait_together_share_one_read(store: Store, group: GroupRead[str, int]) -> None:
    store.open.set()
    found = await asyncio.gather(*(group.get(key) for key in ("a", "b", "a", "c")))

    assert [1, 2, 1, None] == found
    assert [frozenset("abc")] == store.asked


async def test_who_asks_during_a_read_gets_the_next_one(store: Store, group: GroupRead[str, int]) -> None:
    before = asyncio.create_task(group.get("a"))
    await asyncio.sleep(0.01)
    store.stored["a"] = 7  # committed after the first read began
    after = asyncio.create_task(group.get("a"))
    await asyncio.sleep(0.01)
    store.open.set()

    assert [1, 7] == [await before, await after]
    assert [frozenset("a"), frozenset("a")] == store.asked


async def test_a_read_that_fails_fails_for_its_callers_and_for_nobody_after(
    store: Store, group: GroupRead[str, int]
) -> None:
    store.error = Unavailable()
    store.open.set()
    failed = await asyncio.gather(group.get("a"), group.get("b"), return_exceptions=True)
    store.error = None

    assert [Unavailable, Unavailable] == [type(one) for one in failed]
    assert 1 == await group.get("a")


async def test_a_caller_that_goes_away_costs_the_others_nothing(store: Store, group: GroupRead[str, int]) -> None:
    gone, stays = asyncio.create_task(group.get("a")), asyncio.create_task(group.get("a"))
    await asyncio.sleep(0.01)
    gone.cancel()
    store.open.set()

    assert 1 == await stays
    assert gone.cancelled()
    assert 2 == await group.get("b")


async def test_a_snapshot_sees_one_state_however_long_it_reads(database: Path) -> None:
    engine = sqlite.read_engine(database)
    query = select(schema.head.c.key_checks)
    try:
        async with reads.snapshot(engine) as connection:
            before = (await connection.execute(query)).scalar_one()
            with sqlite.transaction(database) as writing:
                writing.exec_driver_sql('UPDATE head SET key_checks = \'{"1":"new"}\'')
            during = (await connection.execute(query)).scalar_one()
        async with reads.snapshot(engine) as connection:
            after = (await connection.execute(query)).scalar_one()
    finally:
        await engine.dispose()

    assert ("{}", "{}", '{"1":"new"}') == (before, during, after)


def files_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def cannot_read(database: Path) -> None:
    """Assert that reading is Unavailable, and wait for the driver's thread to end."""
    engine = sqlite.read_engine(database)
    with pytest.raises(Unavailable):
        async with reads.snapshot(engine):
            pass
    await engine.dispose()
    await asyncio.sleep(0.1)


async def test_a_database_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"garbage" * 4096)

    await cannot_read(tmp_path / "ledger.db")
    await cannot_read(tmp_path / "none" / "ledger.db")


async def test_a_reader_makes_no_file_where_none_is(tmp_path: Path) -> None:
    await cannot_read(tmp_path / "ledger.db")
    with pytest.raises(OperationalError):
        sqlite.sync_read_engine(tmp_path / "ledger.db").connect()

    assert [] == files_of(tmp_path)


async def test_a_reader_that_closes_last_leaves_the_write_ahead_log_alone(database: Path) -> None:
    log = database.with_name("ledger.db-wal")
    reader = sqlite.read_engine(database)
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
    ledger = Ledger(SqliteWriter(database))
    await holders.people(ledger)
    await ledger.close()
    engine = sqlite.read_engine(database)
    async with reads.snapshot(engine) as connection:
        found = (await connection.execute(select(schema.head.c.size))).scalar_one()
    await engine.dispose()

    assert 3 == found
    check(database)


async def test_a_service_that_stopped_leaves_everything_in_one_file(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings()
    async with running(settings) as service:
        await service.family_reader.slice_after(b"", 10)
        await service.clients.refresh()

    names = {path.name for path in files_of(settings.data_dir)}
    assert set() == {name for name in names if name.endswith(("-wal", "-shm"))}
    copy = Path(shutil.copy(service.database, tmp_path / "ledger.db"))
    check(copy, tmp_path / "checkpoints")
