"""Whose tries are counted: the network of an address, the address behind a proxy, and no garbage (23, 27, 32)."""

import httpx
import pytest

import app
from core.limits import LOGIN_PER_BOTH, REFRESH_PER_FAMILY
from tests.conftest import MakeSettings, running
from tests.visitors import code, facts, refresh, sign_in, stream_of, visiting_from

PROXY = "10.1.2.3"
WRONG = {"username": "alice", "password": "not-the-password-of-anybody", "mode": "body"}


async def attempts(http: httpx.AsyncClient, count: int, headers: dict[str, str] | None = None) -> list[int]:
    return [(await http.post("/auth/login", json=WRONG, headers=headers)).status_code for _ in range(count)]


async def test_attack_23_headers_of_a_stranger_give_no_new_budget(service: app.Service) -> None:
    async with visiting_from(service, "198.51.100.9") as http:
        await attempts(http, LOGIN_PER_BOTH)
        for header in (
            "X-Forwarded-For",
            "X-Real-IP",
            "Forwarded",
            "CF-Connecting-IP",
            "True-Client-IP",
            "X-Client-IP",
            "Via",
        ):
            assert await attempts(http, 1, {header: "192.0.2.77"}) == [429], header


async def test_attack_23_neighbours_in_one_network_share_a_budget_and_others_do_not(service: app.Service) -> None:
    async with visiting_from(service, "198.51.100.9") as http:
        await attempts(http, LOGIN_PER_BOTH)
    async with visiting_from(service, "198.51.100.200") as neighbour:
        assert await attempts(neighbour, 1) == [429]
    async with visiting_from(service, "198.51.101.9") as other:
        assert await attempts(other, 1) == [401]


async def test_attack_23_an_ipv4_address_in_ipv6_is_the_same_address(service: app.Service) -> None:
    async with visiting_from(service, "198.51.100.9") as http:
        await attempts(http, LOGIN_PER_BOTH)
    async with visiting_from(service, "::ffff:198.51.100.9") as mapped:
        assert await attempts(mapped, 1) == [429]


async def test_behind_a_trusted_proxy_the_client_is_counted_and_not_the_proxy(make_settings: MakeSettings) -> None:
    async with (
        running(make_settings(trusted_proxies=("10.0.0.0/8",))) as service,
        visiting_from(service, PROXY) as http,
    ):
        for client, expected in (("192.0.2.1", [401] * LOGIN_PER_BOTH + [429]), ("198.51.100.1", [401])):
            assert await attempts(http, len(expected), {"X-Forwarded-For": client}) == expected


async def test_attack_23_what_a_client_writes_before_the_proxy_is_not_believed(make_settings: MakeSettings) -> None:
    async with (
        running(make_settings(trusted_proxies=("10.0.0.0/8",))) as service,
        visiting_from(service, PROXY) as http,
    ):
        for number in range(LOGIN_PER_BOTH):
            forged = f"8.8.{number}.8, garbage, 192.0.2.1, 10.9.9.9"
            assert await attempts(http, 1, {"X-Forwarded-For": forged}) == [401]
        assert await attempts(http, 1, {"X-Forwarded-For": "192.0.2.1"}) == [429]


async def test_the_evidence_of_a_sign_in_is_the_client_behind_the_proxy(make_settings: MakeSettings) -> None:
    async with (
        running(make_settings(trusted_proxies=("10.0.0.0/8",))) as service,
        visiting_from(service, PROXY) as http,
    ):
        http.headers["X-Forwarded-For"] = "203.0.113.99"
        begun = await sign_in(http)
        (event,) = await facts(service, begun["family_id"])

        assert event.context.ip == "203.0.113.99"


async def test_attack_27_garbage_uses_up_no_budget_of_anybody(service: app.Service) -> None:
    async with visiting_from(service, "198.51.100.9") as http:
        begun = await sign_in(http)
        wrong = begun["refresh_token"][:-3] + "AAA"
        answers = [code(await refresh(http, wrong)) for _ in range(REFRESH_PER_FAMILY * 12)]

        assert {(401, "token_unknown")} == set(answers)
        assert (await refresh(http, begun["refresh_token"])).status_code == 200


async def test_many_sessions_of_one_network_share_a_limit_on_refreshes(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    """Six hundred in three seconds: a company behind one address stays below it, a loop does not."""
    limits = service.families._tools.limits
    begun = await sign_in(http)
    for number in range(600):
        assert await limits.refresh(number.to_bytes(16), "203.0.113.0/24") is None
    throttled = await refresh(http, begun["refresh_token"])

    assert code(throttled) == (429, "rate_limited")
    assert 1 <= int(throttled.headers["retry-after"]) <= 3
    async with visiting_from(service, "198.51.100.9") as elsewhere:
        assert (await refresh(elsewhere, begun["refresh_token"])).status_code == 200


@pytest.mark.parametrize(("leeway", "longest"), [(0, 1), (1, 1), (3, 1), (10, 3), (60, 20)])
async def test_no_refresh_is_asked_to_wait_longer_than_a_third_of_the_leeway(
    make_settings: MakeSettings, leeway: int, longest: int
) -> None:
    async with running(make_settings(retry_leeway=leeway)) as service, visiting_from(service, "198.51.100.9") as http:
        begun = await sign_in(http)
        for _ in range(REFRESH_PER_FAMILY):
            await service.families._tools.limits.refresh(stream_of(begun["family_id"]), "198.51.100.0/24")
        throttled = await refresh(http, begun["refresh_token"])

        assert code(throttled) == (429, "rate_limited")
        assert 1 <= int(throttled.headers["retry-after"]) <= longest
        assert [event.fact.TYPE for event in await facts(service, begun["family_id"])] == ["token.issued"]
