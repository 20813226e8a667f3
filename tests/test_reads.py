"""Group reads: many who wait share one SELECT, nobody gets what was read before they asked, nobody waits for ever."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import select

from events import reads, schema, sqlite
from events.ledger import Unavailable
from events.reads import GroupRead


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


async def test_a_database_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    engine = sqlite.read_engine(tmp_path / "none" / "ledger.db")
    with pytest.raises(Unavailable):
        async with reads.snapshot(engine):
            pass
    await engine.dispose()
