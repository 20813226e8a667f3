"""One process of a cluster does what is done once, and another one when that has gone."""

from collections.abc import AsyncIterator

import pytest

from core.leadership import SECONDS, Leadership
from events.store import Store
from events.writer import Writer
from tests.conftest import TestClock


@pytest.fixture
async def writers(store: Store, clock: TestClock) -> AsyncIterator[list[Writer]]:
    clock.rules(store)
    opened = [store.writer(clock.clock) for _ in range(3)]
    yield opened
    for one in opened:
        await one.close()


async def asked(processes: list[Leadership]) -> list[bool]:
    for one in processes:
        await one.run()
    return [one.holds() for one in processes]


async def test_the_first_that_asks_leads_and_goes_on_leading(writers: list[Writer], clock: TestClock) -> None:
    processes = [Leadership(one, one.now) for one in writers]

    assert [True, False, False] == await asked(processes)
    for _ in range(4):
        clock.pass_(SECONDS - 1)
        assert [True, False, False] == await asked(processes)


async def test_nobody_leads_who_has_not_asked(writers: list[Writer]) -> None:
    assert not Leadership(writers[0], writers[0].now).holds()


async def test_another_leads_when_the_first_has_died(writers: list[Writer], clock: TestClock) -> None:
    first, *others = [Leadership(one, one.now) for one in writers]
    await asked([first, *others])

    clock.pass_(SECONDS - 1)
    assert [False, False] == await asked(others)
    clock.pass_(1)
    assert [True, False] == await asked(others)


async def test_a_leader_that_could_not_renew_in_time_does_not_lead(writers: list[Writer], clock: TestClock) -> None:
    first = Leadership(writers[0], writers[0].now)
    await first.run()

    clock.pass_(SECONDS)

    assert not first.holds()


async def test_a_leader_that_stops_leaves_the_lead_to_the_next_at_once(writers: list[Writer]) -> None:
    first, second, _ = [Leadership(one, one.now) for one in writers]
    await asked([first, second])

    await first.close()

    assert [True, False] == await asked([second, first])


async def test_who_does_not_lead_takes_nothing_from_the_leader_by_stopping(writers: list[Writer]) -> None:
    first, second, third = [Leadership(one, one.now) for one in writers]
    await asked([first, second])

    await second.close()

    assert [True, False] == await asked([first, third])
