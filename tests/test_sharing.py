"""Shared runs: many who want the same share one, nobody gets what began before they asked, no key waits for another."""

import asyncio

import pytest

from core.sharing import Shared
from events.ledger import Unavailable


class Slow:
    """Something slow that says how often it ran for each key, and how often at a time."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.most = 0
        self.gates: dict[str, asyncio.Event] = {}
        self.error: Exception | None = None
        self._at_work: list[str] = []

    async def make(self, key: str) -> int:
        self.begun.append(key)
        self._at_work.append(key)
        self.most = max(self.most, self._at_work.count(key))
        number = self.begun.count(key)
        try:
            await self.gates.setdefault(key, asyncio.Event()).wait()
            if self.error is not None:
                raise self.error
            return number
        finally:
            self._at_work.remove(key)

    def let(self, key: str) -> None:
        """Hold runs for this key up no longer."""
        self.gates.setdefault(key, asyncio.Event()).set()


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def shared(slow: Slow) -> Shared[str, int]:
    return Shared(slow.make)


async def test_callers_that_want_the_same_at_a_time_share_one_run(slow: Slow, shared: Shared[str, int]) -> None:
    slow.let("a")

    assert [1, 1, 1] == await asyncio.gather(*(shared.get("a") for _ in range(3)))
    assert ["a"] == slow.begun


async def test_who_asks_during_a_run_shares_the_next_one(slow: Slow, shared: Shared[str, int]) -> None:
    first = asyncio.create_task(shared.get("a"))
    await asyncio.sleep(0.01)
    later = [asyncio.create_task(shared.get("a")) for _ in range(3)]
    await asyncio.sleep(0.01)
    begun = list(slow.begun)
    slow.let("a")

    assert ["a"] == begun
    assert [1, 2, 2, 2] == await asyncio.gather(first, *later)
    assert 1 == slow.most


async def test_no_key_waits_for_another(slow: Slow, shared: Shared[str, int]) -> None:
    held = asyncio.create_task(shared.get("a"))
    await asyncio.sleep(0.01)
    slow.let("b")

    assert 1 == await asyncio.wait_for(shared.get("b"), 1)
    slow.let("a")
    assert 1 == await held


async def test_a_run_that_fails_fails_for_its_callers_and_for_nobody_after(
    slow: Slow, shared: Shared[str, int]
) -> None:
    slow.error = Unavailable()
    slow.let("a")
    failed = await asyncio.gather(shared.get("a"), shared.get("a"), return_exceptions=True)
    slow.error = None

    assert [Unavailable, Unavailable] == [type(one) for one in failed]
    assert 2 == await shared.get("a")


async def test_a_caller_that_goes_away_ends_nothing_for_the_others(slow: Slow, shared: Shared[str, int]) -> None:
    gone, stays = asyncio.create_task(shared.get("a")), asyncio.create_task(shared.get("a"))
    await asyncio.sleep(0.01)
    gone.cancel()
    slow.let("a")

    assert 1 == await stays
    assert gone.cancelled()
    assert 2 == await shared.get("a")
