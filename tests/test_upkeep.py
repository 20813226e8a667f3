"""Contexts expire by age: stated first, deleted afterwards, in slices, whatever stops it in between."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from core.jobs import ContextExpiry
from core.token import Token
from core.verdict import Answer
from events import private, upkeep
from events.ledger import Ledger
from events.log import ContextExpired
from events.store import Store
from tests import holders, tables
from tests.check import check, events_of
from tests.conftest import TestClock

HOUR = 3600


class Kept:
    """A ledger with a family that was refreshed every hour, and its expiry after five hours."""

    def __init__(self, store: Store, clock: TestClock) -> None:
        self.store, self.clock = store, clock
        self.writer = store.writer(clock.clock)
        self.ledger = Ledger(self.writer)
        self.expiry = ContextExpiry(self.ledger, self.writer, 5 * HOUR, lambda: int(clock.wall_now * 1_000_000))

    async def refresh_hourly(self, times: int) -> None:
        token = await self.begun()
        for _ in range(times):
            self.clock.pass_(HOUR)
            token = holders.successor(token, await self.refreshed(token))

    async def begun(self) -> Token:
        await holders.people(self.ledger)
        return await holders.begin(self.ledger, arrived=self.clock.monotonic_now)

    async def refreshed(self, token: Token) -> Answer:
        return await holders.refresh(self.ledger, token, arrived=self.clock.monotonic_now)

    @property
    def contexts(self) -> list[int]:
        """Times of the events whose contexts are still there, in hours before now."""
        query = f"SELECT position FROM event_private WHERE kind = {private.CONTEXT} ORDER BY position"
        positions = [row[0] for row in tables.rows(self.store, query)]
        log, now = events_of(self.store), self.clock.wall_now
        return [round(now - log[position].at / 1_000_000) // HOUR for position in positions]

    @property
    def accounts(self) -> int:
        query = f"SELECT count(*) FROM event_private WHERE kind = {private.ACCOUNT}"
        return int(tables.rows(self.store, query)[0][0])

    @property
    def stated(self) -> int:
        return sum(event.type == ContextExpired.CODE for event in events_of(self.store))


@pytest.fixture
async def kept(store: Store, clock: TestClock) -> AsyncIterator[Kept]:
    begun = Kept(store, clock)
    await begun.refresh_hourly(9)
    yield begun
    await begun.ledger.close()
    check(store)


async def test_contexts_older_than_the_limit_go_and_the_others_stay(kept: Kept) -> None:
    accounts = kept.accounts
    gone = await kept.expiry.run()

    assert [5, 4, 3, 2, 1, 0] == kept.contexts
    assert (5, 1, accounts) == (gone, kept.stated, kept.accounts)


async def test_a_second_run_states_nothing_and_deletes_nothing(kept: Kept) -> None:
    await kept.expiry.run()

    assert (0, 1) == (await kept.expiry.run(), kept.stated)


async def test_many_contexts_go_in_slices(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "SLICE", 2)

    assert 5 == await kept.expiry.run()
    assert [5, 4, 3, 2, 1, 0] == kept.contexts


async def test_a_crash_between_stating_and_deleting_is_made_up_for(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_connection: Connection) -> int:
        raise InterruptedError

    monkeypatch.setattr(upkeep, "delete_contexts", lambda _below: crash)
    with pytest.raises(InterruptedError):
        await kept.expiry.run()
    monkeypatch.undo()
    check(kept.store)

    assert (5, 1) == (await kept.expiry.run(), kept.stated)


async def test_a_crash_in_the_middle_of_deleting_is_made_up_for(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    real, runs = upkeep.delete_contexts, []

    def once(below: int) -> object:
        runs.append(below)
        if len(runs) > 1:
            raise InterruptedError
        return real(below)

    monkeypatch.setattr(upkeep, "SLICE", 2)
    monkeypatch.setattr(upkeep, "delete_contexts", once)
    with pytest.raises(InterruptedError):
        await kept.expiry.run()
    monkeypatch.undo()
    check(kept.store)

    assert (3, 1) == (await kept.expiry.run(), kept.stated)


async def test_a_clock_that_was_set_back_brings_nothing_back_and_breaks_nothing(kept: Kept) -> None:
    await kept.expiry.run()
    kept.clock.step(-3 * HOUR)

    assert (0, 1) == (await kept.expiry.run(), kept.stated)


async def test_nothing_expires_in_an_empty_ledger(store: Store, clock: TestClock) -> None:
    empty = Kept(store, clock)
    gone = await empty.expiry.run()
    await empty.ledger.close()

    assert 0 == gone


@given(st.lists(st.integers(0, 30)), st.integers(-1, 31))
def test_the_position_of_a_time_is_that_of_the_first_event_not_before_it(times: list[int], at: int) -> None:
    times.sort()
    expected = sum(time < at for time in times)

    assert expected == upkeep.position_at(times.__getitem__, len(times), at)
