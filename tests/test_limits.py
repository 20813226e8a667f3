"""Limits hold exactly, tell how long to wait, and lock nobody out for good (attack 23)."""

import asyncio
import math

import pytest
from limits.aio.storage import MemoryStorage

from core import limits
from core.counters import Counters
from core.limits import Limits, Throttled

KEY = b"k" * 32
FAMILY = b"\x00" * 16
HOME = "203.0.113.0/24"
AWAY = "198.51.100.0/24"


def new(*, leeway: int = 10, enabled: bool = True) -> Limits:
    return Limits(enabled=enabled, leeway=leeway, key=KEY)


def network(number: int) -> str:
    return f"10.{number // 256}.{number % 256}.0/24"


async def test_a_family_has_its_burst_and_not_one_more() -> None:
    door = new()

    passed = [await door.refresh(FAMILY, HOME) is None for _ in range(80)]

    assert passed == [True] * 64 + [False] * 16


async def test_a_burst_of_one_family_leaves_the_others_alone() -> None:
    door = new()
    for _ in range(5000):
        await door.refresh(FAMILY, HOME)

    assert await door.refresh(b"\x01" * 16, HOME) is None


@pytest.mark.parametrize("leeway", [0, 1, 2, 3, 9, 10, 90])
async def test_a_refresh_never_waits_longer_than_a_third_of_the_leeway(leeway: int) -> None:
    door = new(leeway=leeway)
    waits = {await door.refresh(FAMILY, HOME) for _ in range(100)} - {None}
    for number in range(limits.REFRESH_PER_NETWORK_EACH_SECOND * max(1, leeway // 3) + 10):
        waits.add(await door.refresh(number.to_bytes(16, "big"), AWAY))

    seconds = {wait.retry_after for wait in waits if wait is not None}

    assert seconds
    assert min(seconds) >= 1
    assert max(seconds) <= max(1, leeway / 3)


async def test_a_company_behind_one_address_refreshes_thousands_of_families_a_minute() -> None:
    door = new()

    passed = [await door.refresh(number.to_bytes(16, "big"), HOME) for number in range(600)]

    assert passed == [None] * 600
    assert await door.refresh(b"\xff" * 16, HOME) is not None


async def test_one_account_from_one_network_has_ten_tries() -> None:
    door = new()

    answers = [await door.login(HOME, "alice") for _ in range(12)]

    assert answers[:10] == [None] * 10
    assert answers[10:] == [Throttled(300), Throttled(300)]


async def test_two_hundred_networks_together_have_thirty_tries_at_one_account() -> None:
    door = new()

    passed = sum([await door.login(network(number), "alice") is None for number in range(200)])

    assert passed == limits.LOGIN_PER_ACCOUNT


async def test_one_network_has_three_hundred_tries_over_all_accounts() -> None:
    door = new()

    passed = sum([await door.login(HOME, f"user{number}") is None for number in range(400)])

    assert passed == limits.LOGIN_PER_NETWORK


@pytest.mark.parametrize("spelling", ["ALICE", "Alice", " alice ", "ａｌｉｃｅ"])
async def test_another_spelling_of_a_name_has_no_budget_of_its_own(spelling: str) -> None:
    door = new()
    for _ in range(10):
        await door.login(HOME, "alice")

    assert await door.login(HOME, spelling) is not None


async def test_an_attack_from_elsewhere_does_not_lock_out_the_network_that_signed_in_before() -> None:
    door = new()
    await door.login(HOME, "alice")
    await door.logged_in(HOME, "alice")
    for number in range(200):
        await door.login(network(number), "alice")

    assert await door.login(AWAY, "alice") is not None
    assert await door.login(HOME, "alice") is None


async def test_a_network_that_signed_in_still_has_its_ten_tries_only() -> None:
    door = new()
    await door.logged_in(HOME, "alice")

    passed = sum([await door.login(HOME, "alice") is None for _ in range(50)])

    assert passed == limits.LOGIN_PER_BOTH


async def test_signing_in_gives_back_what_the_account_used_up_here() -> None:
    door = new()
    for _ in range(9):
        await door.login(HOME, "alice")
    await door.logged_in(HOME, "alice")

    assert [await door.login(HOME, "alice") for _ in range(10)] == [None] * 10


async def test_signing_in_over_and_over_is_limited_by_the_network_alone() -> None:
    door = new()
    answers = []
    for _ in range(100):
        answers.append(await door.login(HOME, "alice"))
        await door.logged_in(HOME, "alice")

    assert answers == [None] * 100


async def test_parallel_attempts_do_not_slip_through() -> None:
    door = new()
    answers = await asyncio.gather(*(door.login(HOME, "alice") for _ in range(100)))

    assert answers.count(None) == limits.LOGIN_PER_BOTH


async def test_switched_off_nothing_is_counted() -> None:
    door = new(enabled=False)

    assert [await door.login(HOME, "alice") for _ in range(1000)] == [None] * 1000
    assert [await door.refresh(FAMILY, HOME) for _ in range(1000)] == [None] * 1000


async def test_no_account_name_reaches_the_storage() -> None:
    storage = Counters()
    door = Limits(enabled=True, leeway=10, key=KEY, storage=storage)
    await door.login(HOME, "alice")
    await door.logged_in(HOME, "alice")

    assert storage._windows
    assert not [key for key in storage._windows if "alice" in key]


async def test_a_name_of_any_characters_is_counted() -> None:
    door = new()

    assert [await door.login(HOME, name) for name in ("", "\ud800", "\x00", "x" * 100_000, "🦉")] == [None] * 5


async def test_any_storage_of_the_library_will_do() -> None:
    door = Limits(enabled=True, leeway=10, key=KEY, storage=MemoryStorage())

    passed = sum([await door.refresh(FAMILY, HOME) is None for _ in range(80)])

    assert passed == 64


async def test_a_window_ends_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("core.counters.time.monotonic", lambda: now)
    counters = Counters()
    counts = [await counters.incr("a", 10), await counters.incr("a", 10)]
    now = 1009.9
    counts.append(await counters.get("a"))
    now = 1010.0

    assert [*counts, await counters.get("a"), await counters.incr("a", 10)] == [1, 2, 2, 0, 1]


async def test_trying_on_does_not_move_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("core.counters.time.monotonic", lambda: now)
    monkeypatch.setattr("core.limits.time.time", lambda: now)
    door = new(leeway=30)
    last = None
    for step in range(200):
        now = 1000 + step / 25
        last = await door.refresh(FAMILY, HOME)

    assert last == Throttled(math.ceil(1010 - now))


async def test_a_full_table_forgets_the_oldest_and_stays_bounded() -> None:
    counters = Counters(size=100)
    for number in range(10_000):
        await counters.incr(str(number), 1000)

    assert len(counters._windows) <= 100
    assert await counters.get("9999") == 1
    assert await counters.get("0") == 0


async def test_a_full_table_first_forgets_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("core.counters.time.monotonic", lambda: now)
    counters = Counters(size=100)
    await counters.incr("long", 5000)
    for number in range(99):
        await counters.incr(str(number), 1)
    now = 1002.0
    await counters.incr("new", 1)

    assert set(counters._windows) == {"long", "new"}


async def test_a_client_with_a_shorter_leeway_shortens_the_window_of_all() -> None:
    door = new(leeway=30)
    waits = []
    for leeway in (30, 3, 30):
        door.follow(leeway)
        throttled = [await door.refresh(FAMILY, HOME) for _ in range(limits.REFRESH_PER_FAMILY + 1)][-1]
        assert throttled is not None
        waits.append(throttled.retry_after)

    assert waits[0] > 5
    assert 1 == waits[1]
