"""A wall clock that is set back and forth, within a process and between two: ledger time only goes on."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from core.policy import Policy
from core.token import Token
from core.verdict import Answer, Verdict
from events.ledger import Ledger
from events.store import Store
from tests import holders
from tests.check import check, events_of, family_rows
from tests.conftest import TestClock

HOUR, DAY = 3600.0, 86400.0
STEPS = (-HOUR, HOUR, -DAY)
Refresh = Callable[[Token], Awaitable[Answer]]


class Process:
    """A process on the ledger; `restart` begins another."""

    def __init__(self, store: Store, clock: TestClock) -> None:
        self.store, self.clock = store, clock
        self.writer = store.writer(clock.clock)
        self.ledger = Ledger(self.writer)

    async def restart(self) -> None:
        await self.ledger.close()
        self.__init__(self.store, self.clock)  # type: ignore[misc]

    async def begin(self, policy: Policy = holders.DEFAULTS) -> Token:
        return await holders.begin(self.ledger, policy, self.clock.monotonic_now)

    async def refresh(self, token: Token, policy: Policy = holders.DEFAULTS) -> Answer:
        return await holders.refresh(self.ledger, token, policy, self.clock.monotonic_now)


@pytest.fixture
async def process(store: Store, clock: TestClock) -> AsyncIterator[Process]:
    begun = Process(store, clock)
    await holders.people(begun.ledger)
    yield begun
    await begun.ledger.close()
    check(store)


def times(process: Process) -> list[int]:
    return [event.at for event in events_of(process.store)]


@pytest.mark.parametrize("restarting", [False, True])
async def test_time_in_the_log_never_goes_back_whatever_the_clock_does(process: Process, restarting: bool) -> None:
    token = await process.begin()
    for step in STEPS * 2:
        process.clock.step(step)
        if restarting:
            await process.restart()
        answer = await process.refresh(token)
        assert Verdict.ROTATED is answer.verdict
        token = holders.successor(token, answer)
        process.clock.pass_(1)

    assert sorted(times(process)) == times(process)


async def test_time_goes_on_at_its_pace_after_the_clock_was_set_back(process: Process) -> None:
    token = await process.begin()
    process.clock.step(-DAY)
    process.clock.pass_(7)
    for _ in range(3):
        await process.ledger.probe()  # asks for the time and writes no event
        process.clock.pass_(1)
    await process.refresh(token)

    before, after = times(process)[-2:]
    assert 10_000_000 == after - before


@pytest.mark.parametrize("step", [*STEPS, 0.0])
async def test_a_family_idles_out_when_its_time_has_passed_and_not_before(process: Process, step: float) -> None:
    policy = Policy(idle_ttl=7200, absolute_ttl=100_000)
    token = await process.begin(policy)
    process.clock.step(min(step, 0.0))
    process.clock.pass_(7199)
    still = await process.refresh(token, policy)
    process.clock.pass_(7200)
    gone = await process.refresh(holders.successor(token, still), policy)

    assert (Verdict.ROTATED, Verdict.EXPIRED) == (still.verdict, gone.verdict)


@pytest.mark.parametrize("restarting", [False, True])
async def test_a_family_that_expired_by_a_wrong_clock_does_not_live_again(process: Process, restarting: bool) -> None:
    token = await process.begin()
    process.clock.step(31 * DAY)
    expired = await process.refresh(token)
    process.clock.step(-31 * DAY)
    if restarting:
        await process.restart()
    again = await process.refresh(token)

    assert (Verdict.EXPIRED, Verdict.EXPIRED) == (expired.verdict, again.verdict)
    assert "expired" == family_rows(process.store)[token.family].status


@pytest.mark.parametrize("step", STEPS)
async def test_access_tokens_count_from_the_wall_clock(process: Process, step: float) -> None:
    token = await process.begin()
    process.clock.step(step)
    answer = await process.refresh(token)

    wall = int(process.clock.wall_now)
    assert (wall, wall + 900) == (answer.issued_at, answer.expires_at)


@pytest.mark.parametrize("step", [*STEPS, 11.0, 31.0])
async def test_a_retry_within_the_leeway_stays_one_when_the_clock_is_set(process: Process, step: float) -> None:
    token = await process.begin()
    await process.refresh(token)
    process.clock.pass_(4)
    process.clock.step(step)
    process.clock.pass_(5)
    answer = await process.refresh(token)

    assert (Verdict.RETRIED, 2) == (answer.verdict, answer.family.generation if answer.family else 0)


@pytest.mark.parametrize("step", [-HOUR, -DAY, 0.0])
async def test_a_leeway_ends_in_its_time_also_when_the_clock_was_set_back(process: Process, step: float) -> None:
    token = await process.begin()
    await process.refresh(token)
    process.clock.step(step)
    process.clock.pass_(11)
    answer = await process.refresh(token)

    assert Verdict.REUSED is answer.verdict


async def test_a_leeway_ends_in_its_time_after_the_clock_was_set_forward(process: Process) -> None:
    token = await process.begin()
    await process.refresh(token)
    process.clock.step(HOUR)
    await process.ledger.probe()
    process.clock.pass_(11)
    answer = await process.refresh(token)

    assert Verdict.REUSED is answer.verdict


async def test_a_clock_that_drifts_is_not_taken_for_one_that_was_set(process: Process) -> None:
    token = await process.begin()
    await process.refresh(token)
    process.clock.pass_(1800)
    process.clock.step(1.8)
    answer = await process.refresh(token)

    assert Verdict.REUSED is answer.verdict


async def test_a_retry_after_a_commit_that_took_long_is_honest(store: Store, clock: TestClock) -> None:
    slow = False

    def stall(point: str) -> None:
        if slow and point == "written":
            clock.pass_(20)

    ledger = Ledger(store.writer(clock.clock, trace=stall))
    await holders.people(ledger)
    token = await holders.begin(ledger, arrived=clock.monotonic_now)
    slow = True
    first = await holders.refresh(ledger, token, arrived=clock.monotonic_now)
    slow = False
    clock.pass_(9)
    again = await holders.refresh(ledger, token, arrived=clock.monotonic_now)
    clock.pass_(2)
    late = await holders.refresh(ledger, token, arrived=clock.monotonic_now)
    await ledger.close()

    assert [Verdict.ROTATED, Verdict.RETRIED, Verdict.REUSED] == [first.verdict, again.verdict, late.verdict]
    check(store)


async def test_who_only_looks_sees_the_time_that_the_next_batch_gets(process: Process) -> None:
    writer = process.writer
    await process.begin()
    seen = []
    for step in (-HOUR, 0.0, 2 * HOUR, -DAY):
        process.clock.step(step)
        process.clock.pass_(1)
        seen.append(writer.now())
        await process.begin()
        assert seen[-1] == times(process)[-1]

    assert sorted(seen) == seen
