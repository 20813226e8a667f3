"""Signing in over HTTP: who gets tokens, what nobody is told, what stops who guesses (attacks 20, 22, 23, 45)."""

import asyncio
import statistics
import time
from typing import Any

import httpx
import pytest

import app
from core import subject
from core.limits import LOGIN_PER_ACCOUNT, LOGIN_PER_BOTH, LOGIN_PER_NETWORK
from core.passwords import Hasher
from tests.conftest import PASSWORD, MakeSettings, running, visiting
from tests.visitors import (
    ALICE,
    BOB,
    PAGE,
    bearer,
    code,
    cookie_of,
    facts,
    me,
    page_sign_in,
    refresh,
    register,
    sign_in,
    story,
    unpacked,
    visiting_from,
)

WRONG = "not-the-password-of-anybody"


async def attempt(http: httpx.AsyncClient, username: str, password: str = WRONG, **more: Any) -> httpx.Response:
    return await http.post("/auth/login", json={"username": username, "password": password, "mode": "body"} | more)


async def test_body_mode_answers_tokens_and_sets_no_cookie(http: httpx.AsyncClient) -> None:
    answer = await attempt(http, "admin", PASSWORD)

    assert {"access_token", "token_type", "expires_in", "family_id", "refresh_token"} == set(answer.json())
    assert ("Bearer", 900) == (answer.json()["token_type"], answer.json()["expires_in"])
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    assert "set-cookie" not in answer.headers


async def test_cookie_mode_keeps_the_refresh_token_out_of_the_body(http: httpx.AsyncClient) -> None:
    answer = await page_sign_in(http)

    assert {"access_token", "token_type", "expires_in", "family_id", "csrf_token"} == set(answer.json())
    assert cookie_of(answer, "__Host-refresh-web").startswith("slr_")
    assert "slr_" not in answer.text


async def test_an_access_token_says_who_and_which_session(service: app.Service, http: httpx.AsyncClient) -> None:
    found = await sign_in(http)
    head, body, _ = found["access_token"].split(".")
    claims = unpacked(body)

    assert {"alg": "EdDSA", "typ": "at+jwt"} == {name: unpacked(head)[name] for name in ("alg", "typ")}
    assert ("https://ledger.test", "https://ledger.test", "web") == (claims["iss"], claims["aud"], claims["client_id"])
    assert (found["family_id"], ["admin"], 900) == (claims["sid"], claims["roles"], claims["exp"] - claims["iat"])


async def test_a_user_name_is_the_same_in_any_case_and_form(service: app.Service, http: httpx.AsyncClient) -> None:
    await register(service, "Zoë", ALICE)

    for spelling in ("zoë", "ZOË", "zoe\u0308"):
        assert (await me(http, (await sign_in(http, spelling, ALICE))["access_token"])).json()["username"] == "zoë"
    assert code(await attempt(http, " zoë", ALICE)) == (401, "invalid_credentials")


async def test_attack_45_a_password_is_taken_exactly_as_typed(service: app.Service, http: httpx.AsyncClient) -> None:
    long = "correct horse battery staple, " + "🦉é " * 18 + "end"
    await register(service, "alice", long)
    await register(service, "bob", "nul\x00 inside of these words")

    assert (await attempt(http, "alice", long)).status_code == 200
    assert (await attempt(http, "bob", "nul\x00 inside of these words")).status_code == 200
    for wrong in (long[:72], long[:-1], long + " ", " " + long, long.upper(), "", "\x00", "x" * 1024):
        assert code(await attempt(http, "alice", wrong)) == (401, "invalid_credentials")
        await attempt(http, "alice", long)  # gives the tries back
    assert code(await attempt(http, "bob", "nul")) == (401, "invalid_credentials")


@pytest.mark.parametrize("field", ["username", "password", "device"])
async def test_attack_45_what_no_person_types_is_400_before_it_is_hashed(http: httpx.AsyncClient, field: str) -> None:
    typed = {"username": "admin", "password": PASSWORD, "mode": "body", field: "x" * 1025}

    assert code(await http.post("/auth/login", json=typed)) == (400, "invalid_request")


async def test_attack_20_a_page_of_another_site_signs_nobody_in(service: app.Service, http: httpx.AsyncClient) -> None:
    typed = {"username": "admin", "password": PASSWORD}
    for headers in (
        {},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://ledger.test"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.ledger.test"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "null"},
        {"Origin": "https://ledger.test.evil.test"},
        {"Origin": "http://ledger.test"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.test", "Host": "evil.test"},
    ):
        answer = await http.post("/auth/login", json=typed, headers=headers)
        assert code(answer) == (403, "csrf_failed"), headers
        assert "set-cookie" not in answer.headers

    assert [event for event in await facts(service) if event.fact.TYPE == "token.issued"] == []


async def test_attack_20_a_planted_cookie_never_becomes_the_session(http: httpx.AsyncClient) -> None:
    planted = "slr_" + "A" * 92
    answer = await http.post(
        "/auth/login",
        json={"username": "admin", "password": PASSWORD},
        headers=PAGE | {"Cookie": f"__Host-refresh-web={planted}; __Host-csrf-web=planted"},
    )

    assert planted != cookie_of(answer, "__Host-refresh-web")
    assert "planted" not in {cookie_of(answer, "__Host-csrf-web"), answer.json()["csrf_token"]}


async def test_attack_20_signing_in_over_a_live_cookie_ends_that_session_whoever_it_was(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await register(service)
    first = await page_sign_in(http)
    second = await page_sign_in(http, "alice", ALICE)

    assert (await story(service, first.json()["family_id"])) == ["token.issued", "family.revoked"]
    assert b'"reason":"replaced"' in (await facts(service, first.json()["family_id"]))[-1].body
    assert code(await me(http, first.json()["access_token"])) == (401, "invalid_token")
    assert (await me(http, second.json()["access_token"])).json()["username"] == "alice"
    assert first.json()["csrf_token"] != second.json()["csrf_token"]


async def test_a_program_signs_in_beside_its_earlier_session(http: httpx.AsyncClient) -> None:
    first = await sign_in(http)
    await sign_in(http)

    assert (await me(http, first["access_token"])).status_code == 200


@pytest.mark.parametrize("client", ["nobody", "dashboard", "", "web; Domain=evil.test", "\r\nSet-Cookie: a=b", "WEB"])
async def test_only_a_client_that_auth_serves_signs_in(http: httpx.AsyncClient, client: str) -> None:
    answer = await attempt(http, "admin", PASSWORD, client_id=client)

    assert code(answer) == (400, "unknown_client")
    assert "set-cookie" not in answer.headers


async def test_attack_22_nobody_learns_which_accounts_there_are(service: app.Service, http: httpx.AsyncClient) -> None:
    """Unknown, wrong, disabled with the right password, blocked with the right password, staff: one answer."""
    for name, password in (("alice", ALICE), ("bob", BOB), ("charlie", ALICE)):
        await register(service, name, password)
    bob = await service.subjects.find("bob")
    assert bob is not None
    await service.subjects.disable(bob, "left", "staff")
    for last in range(subject.FREE_FAILURES):
        async with visiting_from(service, f"198.51.{last}.1") as elsewhere:
            await attempt(elsewhere, "charlie")
    await service.families.close()

    answers = [
        await attempt(http, name, password)
        for name, password in (
            ("nobody", WRONG),
            ("alice", WRONG),
            ("bob", BOB),
            ("bob", WRONG),
            ("charlie", ALICE),
            ("admin", WRONG),
        )
    ]
    shown = [
        (answer.status_code, {**answer.json(), "request_id": ""}, {**answer.headers, "x-request-id": ""})
        for answer in answers
    ]

    assert code(answers[0]) == (401, "invalid_credentials")
    assert [shown[0]] * len(shown) == shown


@pytest.mark.alone
async def test_attack_22_the_time_of_an_answer_tells_nothing(make_settings: MakeSettings) -> None:
    """A hash that costs milliseconds would show where it is left out; a commit that is waited for, too."""
    hasher = Hasher(memory_kib=8192, time_cost=1)
    async with running(make_settings(rate_limits=False), hasher) as service, visiting(service) as http:
        await register(service)
        await register(service, "bob", BOB)
        bob = await service.subjects.find("bob")
        assert bob is not None
        await service.subjects.disable(bob, "left", "staff")
        took: dict[str, list[float]] = {"nobody": [], "alice": [], "bob": []}
        for _ in range(40):
            for name, times in took.items():
                began = time.perf_counter()
                await attempt(http, name, BOB)
                times.append(time.perf_counter() - began)
    # Round by round, so that a busy machine slows all of a round's answers.
    for name in ("alice", "bob"):
        differences = [one - other for one, other in zip(took[name], took["nobody"], strict=True)]
        assert abs(statistics.median(differences)) < 0.005, name


async def test_attack_23_ten_tries_on_an_account_from_one_network_and_no_more(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    """Real names and invented ones alike, in whatever spelling, whatever the headers say."""
    await register(service)
    for name, spelling in (("alice", "ALICE"), ("nobody", "NoBody")):
        tries = [
            await http.post(
                "/auth/login",
                json={"username": spelling if number % 2 else name, "password": WRONG, "mode": "body"},
                headers={
                    "X-Forwarded-For": f"192.0.2.{number}",
                    "X-Real-IP": f"192.0.2.{number}",
                    "Forwarded": f"for=192.0.2.{number}",
                },
            )
            for number in range(LOGIN_PER_BOTH + 2)
        ]

        assert [401] * LOGIN_PER_BOTH + [429, 429] == [answer.status_code for answer in tries]
        assert code(tries[-1]) == (429, "rate_limited")
        assert 1 <= int(tries[-1].headers["retry-after"]) <= 300


async def test_attack_23_one_account_from_everywhere_is_closed_to_strangers_and_open_to_its_user(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await register(service)
    await sign_in(http, "alice", ALICE)  # counts as one, for its network was new
    statuses = []
    for number in range(LOGIN_PER_ACCOUNT):
        async with visiting_from(service, f"198.51.{number}.1") as elsewhere:
            statuses.append((await attempt(elsewhere, "alice")).status_code)
    await service.families.close()
    async with visiting_from(service, "192.0.2.1") as stranger:
        guessed = await attempt(stranger, "alice", ALICE)

    assert [401] * (LOGIN_PER_ACCOUNT - 1) + [429] == statuses
    assert code(guessed) == (429, "rate_limited")
    assert (await attempt(http, "alice", ALICE)).status_code == 200


async def test_attack_23_wrong_passwords_in_a_row_are_counted_across_a_restart(make_settings: MakeSettings) -> None:
    settings = make_settings()
    async with running(settings) as service, visiting(service) as http:
        await register(service)
        for _ in range(subject.FREE_FAILURES - 1):
            await attempt(http, "alice")
    async with running(settings) as service, visiting_from(service, "192.0.2.1") as elsewhere:
        await attempt(elsewhere, "alice")
        await service.families.close()
        right = await attempt(elsewhere, "alice", ALICE)
        types = [event.fact.TYPE for event in await facts(service)]

    assert code(right) == (401, "invalid_credentials")
    assert (subject.FREE_FAILURES, 1) == (types.count("subject.login_failed"), types.count("subject.login_blocked"))


async def test_attack_23_one_network_that_tries_all_accounts_is_stopped(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    statuses = [(await attempt(http, f"user-{number}")).status_code for number in range(LOGIN_PER_NETWORK + 1)]

    assert [401] * LOGIN_PER_NETWORK + [429] == statuses


async def test_attack_23_an_ipv6_home_has_one_budget(service: app.Service) -> None:
    statuses = []
    for number in range(LOGIN_PER_BOTH + 1):
        async with visiting_from(service, f"2001:db8:0:{number:x}::1") as http:
            statuses.append((await attempt(http, "alice")).status_code)

    assert [401] * LOGIN_PER_BOTH + [429] == statuses


async def test_attack_24_a_name_that_nobody_has_is_not_stored(service: app.Service, http: httpx.AsyncClient) -> None:
    """People type their password into the wrong field."""
    before = len(await facts(service))
    await attempt(http, PASSWORD)
    await service.families.close()

    assert before == len(await facts(service))


async def test_limits_can_be_switched_off_for_load_tests(make_settings: MakeSettings) -> None:
    async with running(make_settings(rate_limits=False)) as service, visiting(service) as http:
        statuses = [(await attempt(http, "nobody")).status_code for _ in range(LOGIN_PER_BOTH * 2)]

    assert {401} == set(statuses)


async def test_the_password_that_was_verified_must_still_be_the_current_one(
    service: app.Service, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sign-in that was under way while the password changed gets nothing."""
    await register(service)
    stale = await service.subject_reader.named("alice")
    assert stale is not None
    await service.subjects.set_password(stale, BOB, "staff")

    async def read_before(_name: str) -> Any:
        return stale

    monkeypatch.setattr(service.subject_reader, "named", read_before)

    assert code(await attempt(http, "alice", ALICE)) == (401, "invalid_credentials")


async def test_a_storm_of_sign_ins_is_told_to_come_back(make_settings: MakeSettings) -> None:
    hasher = Hasher(memory_kib=8192, time_cost=1, threads=1, waiting=2)
    async with running(make_settings(rate_limits=False), hasher) as service, visiting(service) as http:
        held = await sign_in(http)
        storm = [asyncio.create_task(attempt(http, f"user-{number}")) for number in range(12)]
        refreshed = await refresh(http, held["refresh_token"])
        answers = await asyncio.gather(*storm)

    assert {401, 503} == {answer.status_code for answer in answers}
    busy = next(answer for answer in answers if answer.status_code == 503)
    assert (code(busy), busy.headers["retry-after"]) == ((503, "unavailable"), "1")
    assert refreshed.status_code == 200


async def test_a_session_beyond_the_hundredth_ends_the_one_that_was_never_used(make_settings: MakeSettings) -> None:
    async with running(make_settings(rate_limits=False)) as service, visiting(service) as http:
        first, *_, newest = [await sign_in(http) for _ in range(101)]
        listed = (await http.get("/auth/sessions", headers=bearer(newest["access_token"]))).json()["sessions"]

        assert len(listed) == 100
        assert code(await refresh(http, first["refresh_token"])) == (401, "session_revoked")
