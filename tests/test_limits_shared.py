"""Limits that processes share in a Redis: one budget for all, and nobody is refused when it is silent."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis as Client

from core import limits, shared_counters
from core.limits import Limits, Throttled
from core.shared_counters import SharedCounters
from core.start import StartError
from tests import redises
from tests.conftest import MakeSettings, running, visiting
from tests.logged import logged
from tests.redises import Redis
from tests.visitors import refresh, sign_in

KEY = b"k" * 32
HOME = "203.0.113.0/24"
AWAY = "198.51.100.0/24"
FAMILY = b"\x07" * 16
ANSWER = shared_counters.ANSWER


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy is no failure, where the test is not about an answer that does not come."""
    monkeypatch.setattr(shared_counters, "ANSWER", 20.0)


@pytest.fixture(scope="module")
def counting() -> Iterator[Redis]:
    redises.needed()
    with Redis() as one:
        yield one


@pytest.fixture
async def redis(counting: Redis) -> Redis:
    """Empty, and serving."""
    if not counting.watched.running:
        counting.start()
    async with Client.from_url(counting.url) as client:
        await client.flushall()
    return counting


@asynccontextmanager
async def sharing(url: str, *, key: bytes = KEY) -> AsyncIterator[Limits]:
    """The limits of one process."""
    counters = SharedCounters(url, key)
    try:
        yield Limits(enabled=True, leeway=90, key=key, storage=counters)
    finally:
        await counters.close()


async def keys(url: str) -> list[str]:
    async with Client.from_url(url, decode_responses=True) as client:
        return [str(key) async for key in client.scan_iter("*")]


# One budget


async def test_two_processes_share_the_budget_of_an_account(redis: Redis) -> None:
    async with sharing(redis.url) as one, sharing(redis.url) as other:
        passed = [await door.login(HOME, "alice") is None for door in (one, other) * 8]
        await one.logged_in(HOME, "alice")
        again = [await other.login(HOME, "alice") is None for _ in range(limits.LOGIN_PER_BOTH)]

    assert [True] * limits.LOGIN_PER_BOTH + [False] * 6 == passed
    assert [True] * limits.LOGIN_PER_BOTH == again


async def test_parallel_attempts_at_two_processes_do_not_slip_through(redis: Redis) -> None:
    async with sharing(redis.url) as one, sharing(redis.url) as other:
        answers = await asyncio.gather(*(door.login(HOME, "alice") for door in (one, other) for _ in range(40)))

    assert limits.LOGIN_PER_BOTH == answers.count(None)


async def test_a_family_and_a_client_have_one_budget_everywhere(redis: Redis) -> None:
    async with sharing(redis.url) as one, sharing(redis.url) as other:
        refreshed = [await door.refresh(FAMILY, HOME) is None for door in (one, other) * limits.REFRESH_PER_FAMILY]
        for door in (one, other) * (limits.PROOFS_PER_CLIENT // 2):
            assert await door.proof(AWAY, "shop") is None
            await door.proof_failed(AWAY, "shop")
        proofs = [await door.proof(AWAY, "shop") for door in (one, other)]

    assert limits.REFRESH_PER_FAMILY == sum(refreshed)
    assert all(isinstance(one, Throttled) and 1 <= one.retry_after <= limits.PROOFS_SECONDS for one in proofs)


async def test_valkey_is_spoken_to_in_the_same_words(redis: Redis) -> None:
    async with sharing(redis.url) as one, sharing(redis.url.replace("redis:", "valkey:")) as other:
        passed = [await door.login(HOME, "alice") is None for door in (one, other) * 8]

    assert limits.LOGIN_PER_BOTH == sum(passed)


async def test_two_ledgers_on_one_server_have_budgets_of_their_own(redis: Redis) -> None:
    async with sharing(redis.url) as one, sharing(redis.url, key=b"another key") as other:
        passed = [[await door.login(HOME, "alice") is None for _ in range(12)] for door in (one, other)]

    assert [limits.LOGIN_PER_BOTH] * 2 == [sum(each) for each in passed]


async def test_no_key_holds_the_name_of_an_account_or_a_client(redis: Redis) -> None:
    async with sharing(redis.url) as one:
        await one.login(HOME, "alice")
        await one.logged_in(HOME, "alice")
        await one.proof_failed(HOME, "shop")
        found = await keys(redis.url)

    assert len(found) > 4
    assert [] == [key for key in found if "alice" in key or "shop" in key or not key.startswith("session-ledger:")]


async def test_every_key_ends_by_itself(redis: Redis) -> None:
    async with sharing(redis.url) as one, Client.from_url(redis.url) as client:
        await one.login(HOME, "alice")
        await one.logged_in(HOME, "alice")
        await one.refresh(FAMILY, HOME)
        left = [await client.ttl(key) for key in await keys(redis.url)]

    assert len(left) > 4
    assert all(0 < seconds <= limits.KNOWN_NETWORK_SECONDS for seconds in left)


# It does not answer


async def test_a_server_that_is_gone_leaves_each_process_its_own_budget_and_one_warning(redis: Redis) -> None:
    redis.stop()
    with logged("info") as log:
        async with sharing(redis.url) as one, sharing(redis.url) as other:
            passed = [[await door.login(HOME, "alice") is None for _ in range(30)] for door in (one, other)]

    assert [limits.LOGIN_PER_BOTH] * 2 == [sum(each) for each in passed]
    told = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [("limits_not_shared", "warning")] * 2 == [(line["event"], line["level"]) for line in told]
    assert redises.PASSWORD not in log.getvalue()


@pytest.mark.alone
async def test_a_server_that_hangs_costs_one_request_a_quarter_of_a_second_and_refuses_nobody(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sharing(redis.url) as one:
        await one.login(HOME, "alice")
        monkeypatch.setattr(shared_counters, "ANSWER", ANSWER)
        redis.hang()
        try:
            before = time.monotonic()
            passed = [await one.refresh(FAMILY, HOME) is None for _ in range(50)]
            took = time.monotonic() - before
        finally:
            redis.go_on()

    assert [True] * 50 == passed
    assert ANSWER * 0.9 < took < 2


async def test_a_server_that_comes_back_is_asked_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_counters, "PAUSE", 0.05)
    async with sharing(redis.url) as one:
        await one.login(HOME, "alice")
        redis.stop()
        assert await one.login(HOME, "alice") is None
        redis.start()
        await asyncio.sleep(0.1)
        await one.login(HOME, "alice")
        assert [] != await keys(redis.url)


async def test_a_connection_that_the_server_has_closed_is_no_failure(redis: Redis) -> None:
    with logged("info") as log:
        async with sharing(redis.url) as one, Client.from_url(redis.url) as client:
            await one.login(HOME, "alice")
            await client.client_kill_filter(skipme=True, _type="normal")
            passed = [await one.login(HOME, "alice") is None for _ in range(12)]

    assert limits.LOGIN_PER_BOTH - 1 == sum(passed)
    assert "" == log.getvalue()


async def test_a_wrong_password_of_the_server_is_a_warning_and_no_failure(redis: Redis) -> None:
    with logged("info") as log:
        async with sharing(redis.url.replace(redises.PASSWORD, "wrong-word")) as one:
            assert await one.login(HOME, "alice") is None

    assert "limits_not_shared" in log.getvalue()
    assert "wrong-word" not in log.getvalue()


# The service


async def test_two_services_share_what_one_family_may_do(
    make_settings: MakeSettings, redis: Redis, on_postgresql: None
) -> None:
    """Only PostgreSQL takes two services on one ledger."""
    settings = make_settings(limits_url=redis.url, retry_leeway=90)
    async with running(settings) as one, running(settings) as other, visiting(one) as here, visiting(other) as there:
        begun = await sign_in(here)
        token = begun["refresh_token"]
        for http in (here, there) * (limits.REFRESH_PER_FAMILY // 2):
            token = (await refresh(http, token)).json()["refresh_token"]
        throttled = [(await refresh(http, token)).status_code for http in (here, there)]

    assert [429, 429] == throttled


async def test_a_service_starts_and_signs_in_without_the_server_that_it_was_told(
    make_settings: MakeSettings, redis: Redis
) -> None:
    redis.stop()
    with logged("info") as log:
        async with running(make_settings(limits_url=redis.url)) as service, visiting(service) as http:
            begun = await sign_in(http)
            refreshed = await refresh(http, begun["refresh_token"])

    assert 200 == refreshed.status_code
    assert 1 == log.getvalue().count("limits_not_shared")
    assert redises.PASSWORD not in log.getvalue()


Broken = Callable[[pytest.MonkeyPatch], str]


def _without_its_package(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    return "redis://:hidden-word@localhost/0"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (_without_its_package, "LEDGER_LIMITS_URL needs a package more: pip install 'session-ledger[redis]'."),
        (lambda _: "redis://:hidden-word@localhost:99999/0", "LEDGER_LIMITS_URL cannot be used: check its port"),
        (lambda _: "redis://:hidden-word@localhost/0?colour=red", "LEDGER_LIMITS_URL cannot be used: check its port"),
        (lambda _: "redis://:hidden-word@localhost/0?db=x", "LEDGER_LIMITS_URL cannot be used: check its port"),
    ],
)
async def test_what_cannot_work_is_one_sentence_at_the_start(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, on_sqlite: None, url: Broken, sentence: str
) -> None:
    """The same on both engines: no ledger is opened for it."""
    settings = make_settings(limits_url=url(monkeypatch))
    with pytest.raises(StartError) as refused:
        async with running(settings):
            pass

    assert str(refused.value).startswith(sentence)
    assert "hidden-word" not in str(refused.value) + repr(settings)
