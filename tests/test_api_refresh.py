"""Refresh and sign-out over HTTP in body mode: the answer to every verdict (attacks 11, 15-18, 26, 27, 43)."""

import asyncio
import hashlib

import httpx
import pytest

import app
from core.limits import REFRESH_PER_FAMILY
from events.client import ClientDisabled, ClientRegistered, ClientUpdated, stream_of
from events.decision import Change, Decision, Streams
from tests.conftest import PASSWORD, MakeSettings, running, visiting
from tests.visitors import (
    ALICE,
    PAGE,
    bearer,
    code,
    cookie_of,
    facts,
    forged,
    let_pass,
    me,
    page_sign_in,
    refresh,
    register,
    sign_in,
    story,
    unpacked,
    visiting_from,
)
from tests.visitors import (
    stream_of as family_stream,
)

CHROME = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36"}
FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


async def add_client(service: app.Service, name: str, **policy: object) -> None:
    """Another application of the same ledger."""
    fact = ClientRegistered(actor="system", client=name, **policy)  # type: ignore[arg-type]
    streams = Streams(clients=frozenset((stream_of(name),)))
    await service.ledger.submit(streams, lambda _states, _moment: Decision(None, (Change(stream_of(name), fact),)))
    await service.clients.refresh()


async def test_a_refresh_gives_new_tokens_of_the_same_session(http: httpx.AsyncClient) -> None:
    first = await sign_in(http)
    answer = await refresh(http, first["refresh_token"])
    second = answer.json()

    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert set(first) == set(second)
    assert (first["family_id"], "Bearer", 900) == (second["family_id"], second["token_type"], second["expires_in"])
    assert not {first["refresh_token"], first["access_token"]} & {second["refresh_token"], second["access_token"]}
    assert (await me(http, second["access_token"])).status_code == 200
    assert "set-cookie" not in answer.headers


async def test_attack_15_a_replayed_token_ends_its_family_and_no_other(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    other = await sign_in(http)
    first = await sign_in(http)
    second = (await refresh(http, first["refresh_token"])).json()
    third = (await refresh(http, second["refresh_token"])).json()

    assert code(await refresh(http, first["refresh_token"])) == (401, "token_reused")
    for one in (first, second, third):
        assert code(await refresh(http, one["refresh_token"])) == (401, "session_revoked")
        assert code(await me(http, one["access_token"])) == (401, "invalid_token")
    assert (await refresh(http, other["refresh_token"])).status_code == 200
    assert [
        "token.issued", "token.rotated", "token.rotated", "token.reuse_detected", "family.revoked", "token.refused"
    ] == await story(service, first["family_id"])  # fmt: skip


async def test_attack_15_a_token_of_fifty_generations_ago_is_recognised(http: httpx.AsyncClient) -> None:
    first = newest = await sign_in(http)
    for _ in range(50):
        newest = (await refresh(http, newest["refresh_token"])).json()

    assert code(await refresh(http, first["refresh_token"])) == (401, "token_reused")


async def test_attack_15_a_thief_elsewhere_is_caught_with_both_places_on_record(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    """Within the leeway, but another device: no lost answer looks like that."""
    first = await sign_in(http)
    await http.post("/auth/refresh", json={"refresh_token": first["refresh_token"]}, headers=CHROME)
    async with visiting_from(service, "192.0.2.66", headers=FIREFOX) as thief:
        caught = await refresh(thief, first["refresh_token"])
    contexts = {event.fact.TYPE: event.context for event in await facts(service, first["family_id"])}

    assert code(caught) == (401, "token_reused")
    assert contexts["token.rotated"].ip == "203.0.113.7"
    assert contexts["token.reuse_detected"].ip == "192.0.2.66"
    assert contexts["token.reuse_detected"].agent == FIREFOX["User-Agent"]


async def test_attack_15_a_used_token_after_the_leeway_is_a_theft_even_from_the_same_device(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    first = await sign_in(http)
    await refresh(http, first["refresh_token"])
    let_pass(service, 11)

    assert code(await refresh(http, first["refresh_token"])) == (401, "token_reused")


async def test_a_lost_answer_is_given_again_from_another_network_too(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    first = await sign_in(http)
    lost = (await refresh(http, first["refresh_token"])).json()
    async with visiting_from(service, "192.0.2.1") as elsewhere:
        again = (await refresh(elsewhere, first["refresh_token"])).json()

    assert (lost["refresh_token"], lost["family_id"]) == (again["refresh_token"], again["family_id"])
    assert (await refresh(http, again["refresh_token"])).status_code == 200


async def test_attack_16_fifty_at_once_get_one_successor(service: app.Service, http: httpx.AsyncClient) -> None:
    first = await sign_in(http)
    answers = await asyncio.gather(*(refresh(http, first["refresh_token"]) for _ in range(50)))
    told = await story(service, first["family_id"])

    assert {200} == {answer.status_code for answer in answers}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert len({answer.json()["access_token"] for answer in answers}) == 50
    assert (told.count("token.rotated"), told.count("token.retried")) == (1, 49)


async def test_attack_16_without_a_leeway_one_wins_and_the_family_ends(make_settings: MakeSettings) -> None:
    async with running(make_settings(retry_leeway=0)) as service, visiting(service) as http:
        first = await sign_in(http)
        answers = await asyncio.gather(*(refresh(http, first["refresh_token"]) for _ in range(50)))
        codes = [answer.json().get("code", "ok") for answer in answers]
        (winner,) = [answer.json() for answer in answers if answer.status_code == 200]

        assert (codes.count("ok"), codes.count("token_reused"), codes.count("session_revoked")) == (1, 1, 48)
        assert code(await refresh(http, winner["refresh_token"])) == (401, "session_revoked")


async def test_attack_17_nothing_lives_after_a_revoke_has_returned(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    for _ in range(40):
        first = await sign_in(http)
        raced, _ = await asyncio.gather(
            refresh(http, first["refresh_token"]),
            service.families.revoke(family_stream(first["family_id"]), "staff", "test"),
        )
        newest = raced.json() if raced.status_code == 200 else first

        assert code(await refresh(http, newest["refresh_token"])) == (401, "session_revoked")
        assert code(await me(http, newest["access_token"])) == (401, "invalid_token")


async def test_attack_17_a_disabled_user_is_out_at_once_and_enabling_revives_nothing(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await register(service)
    first = await sign_in(http, "alice", ALICE)
    alice = await service.subjects.find("alice")
    assert alice is not None
    await service.subjects.disable(alice, "left", "staff")
    while_disabled = [await refresh(http, first["refresh_token"]), await me(http, first["access_token"])]
    await service.subjects.enable(alice, "staff")
    afterwards = [await refresh(http, first["refresh_token"]), await me(http, first["access_token"])]

    assert [(401, "session_revoked"), (401, "invalid_token")] * 2 == [code(one) for one in while_disabled + afterwards]


async def test_attack_17_signing_out_survives_a_restart(make_settings: MakeSettings) -> None:
    settings = make_settings()
    async with running(settings) as service, visiting(service) as http:
        first, second = await sign_in(http), await sign_in(http)
        await http.post("/auth/logout", json={"refresh_token": first["refresh_token"]})
    async with running(settings) as service, visiting(service) as http:
        assert code(await refresh(http, first["refresh_token"])) == (401, "session_revoked")
        assert code(await me(http, first["access_token"])) == (401, "invalid_token")
        assert (await me(http, second["access_token"])).status_code == 200
        assert (await refresh(http, second["refresh_token"])).status_code == 200


async def test_signing_out_takes_any_token_of_the_session_and_raises_no_alarm(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    first = await sign_in(http)
    second = (await refresh(http, first["refresh_token"])).json()
    third = (await refresh(http, second["refresh_token"])).json()
    answers = [
        await http.post("/auth/logout", json={"refresh_token": one["refresh_token"]}) for one in (first, first, third)
    ]

    assert [(204, b"")] * 3 == [(answer.status_code, answer.content) for answer in answers]
    assert ["token.issued", "token.rotated", "token.rotated", "family.revoked"] == await story(
        service, first["family_id"]
    )
    assert code(await refresh(http, third["refresh_token"])) == (401, "session_revoked")


@pytest.mark.parametrize("route", ["/auth/logout", "/auth/logout-all"])
async def test_who_is_not_signed_in_is_signed_out_already(
    service: app.Service, http: httpx.AsyncClient, route: str
) -> None:
    first = await sign_in(http)
    before = len(await facts(service))
    foreign = forged(service, first["refresh_token"], nonce=b"n" * 16)
    answers = [
        await http.post(route, json={"refresh_token": text}) for text in ("", "garbage", "slr_" + "A" * 92, foreign)
    ]

    assert [204] * 4 == [answer.status_code for answer in answers]
    assert (await me(http, first["access_token"])).status_code == 200
    assert before == len(await facts(service))


async def test_signing_out_everywhere_ends_every_session_of_the_user_and_of_nobody_else(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await register(service)
    mine = [await sign_in(http, "alice", ALICE) for _ in range(3)]
    others = await sign_in(http)
    answer = await http.post("/auth/logout-all", json={"refresh_token": mine[1]["refresh_token"]})

    assert (answer.status_code, answer.content) == (204, b"")
    for one in mine:
        assert code(await refresh(http, one["refresh_token"])) == (401, "session_revoked")
        assert code(await me(http, one["access_token"])) == (401, "invalid_token")
    assert (await me(http, others["access_token"])).status_code == 200


async def test_attack_17_an_ended_session_cannot_sign_out_the_others(http: httpx.AsyncClient) -> None:
    """Who found an old token cannot throw its former owner out."""
    old, living = await sign_in(http), await sign_in(http)
    await http.post("/auth/logout", json={"refresh_token": old["refresh_token"]})
    answer = await http.post("/auth/logout-all", json={"refresh_token": old["refresh_token"]})

    assert answer.status_code == 204
    assert (await me(http, living["access_token"])).status_code == 200


GARBAGE = [
    "", "slr_", "slr_" + "A" * 91, "slr_" + "A" * 93, "slr_" + "A" * 92, "SLR_" + "A" * 92, " slr_" + "A" * 92,
    "slr_" + "A" * 92 + "\n", "slr_" + "=" * 92, "slr_" + "+/" * 46, "slr_" + "é" * 92,
    "slr_" + "Ａ" * 92, "slr_" + "\x00" * 92, "x" * 10_000,
    "eyJhbGciOiJub25lIn0.e30.", "null", "../../etc/passwd", "' OR '1'='1",
]  # fmt: skip


async def test_attack_27_garbage_is_unknown_and_reaches_neither_database_nor_limits(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    first = await sign_in(http)
    batches, counted = service.ledger.batches, service.families._tools.limits
    swapped = first["refresh_token"][:-1] + ("A" if first["refresh_token"][-1] != "A" else "B")
    for text in [*GARBAGE, swapped, first["refresh_token"] + "=", first["refresh_token"].swapcase()] * 8:
        assert code(await refresh(http, text)) == (401, "token_unknown")

    assert batches == service.ledger.batches
    assert await counted.refresh(family_stream(first["family_id"]), "203.0.113.0/24") is None
    assert (await refresh(http, first["refresh_token"])).status_code == 200


async def test_attack_27_every_flipped_bit_of_a_token_makes_it_unknown_and_hurts_nobody(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    first = await sign_in(http)
    text = first["refresh_token"]
    for at in range(4, len(text)):
        wrong = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        assert code(await refresh(http, wrong)) == (401, "token_unknown")

    assert ["token.issued"] == await story(service, first["family_id"])


async def test_attack_27_a_leaked_key_alone_ends_no_session(service: app.Service, http: httpx.AsyncClient) -> None:
    """A right MAC over another nonce, another family: unknown, never a reuse."""
    first = await sign_in(http)
    for changed in ({"nonce": b"n" * 16}, {"family": b"\x00" + b"f" * 15}, {"nonce": b"n" * 16, "generation": 2}):
        assert code(await refresh(http, forged(service, first["refresh_token"], **changed))) == (401, "token_unknown")

    assert ["token.issued"] == await story(service, first["family_id"])
    assert (await refresh(http, first["refresh_token"])).status_code == 200


async def test_a_token_ahead_of_the_ledger_is_refused_and_no_theft(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    """A restored ledger has forgotten rotations that it answered."""
    first = await sign_in(http)
    ahead = forged(service, first["refresh_token"], generation=5)

    assert code(await refresh(http, ahead)) == (401, "refresh_refused")
    assert ["token.issued", "token.refused"] == await story(service, first["family_id"])
    assert (await refresh(http, first["refresh_token"])).status_code == 200


async def test_attack_26_another_client_cannot_use_a_token(service: app.Service, http: httpx.AsyncClient) -> None:
    await add_client(service, "mobile")
    first = await sign_in(http)
    other = await sign_in(http, client_id="mobile")

    assert code(await refresh(http, first["refresh_token"], client_id="mobile")) == (401, "refresh_refused")
    assert code(await refresh(http, other["refresh_token"])) == (401, "refresh_refused")
    assert code(await refresh(http, first["refresh_token"], client_id="nobody")) == (400, "unknown_client")
    assert code(await refresh(http, first["refresh_token"], client_id="dashboard")) == (400, "unknown_client")
    assert (await refresh(http, first["refresh_token"])).status_code == 200
    assert (await refresh(http, other["refresh_token"], client_id="mobile")).status_code == 200


async def test_an_old_token_at_the_wrong_client_is_no_theft(service: app.Service, http: httpx.AsyncClient) -> None:
    await add_client(service, "mobile")
    first = await sign_in(http)
    second = (await refresh(http, first["refresh_token"])).json()
    third = (await refresh(http, second["refresh_token"])).json()

    assert code(await refresh(http, first["refresh_token"], client_id="mobile")) == (401, "refresh_refused")
    assert (await refresh(http, third["refresh_token"])).status_code == 200


async def test_a_disabled_client_refreshes_nothing(service: app.Service, http: httpx.AsyncClient) -> None:
    first = await sign_in(http)
    streams = Streams(clients=frozenset((stream_of("web"),)))
    off = Change(stream_of("web"), ClientDisabled(actor="staff", client="web"))
    await service.ledger.submit(streams, lambda _states, _moment: Decision(None, (off,)))

    assert code(await refresh(http, first["refresh_token"])) == (401, "session_revoked")
    assert code(await http.post("/auth/login", json={"username": "admin", "password": PASSWORD, "mode": "body"})) == (
        401,
        "invalid_credentials",
    )


async def test_a_client_that_wants_a_sign_in_for_a_new_device_gets_it_without_a_theft(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    streams = Streams(clients=frozenset((stream_of("web"),)))
    strict = ClientUpdated(actor="staff", client="web", on_device_change="require_login")
    await service.ledger.submit(streams, lambda _states, _moment: Decision(None, (Change(stream_of("web"), strict),)))
    first = await sign_in(http)
    elsewhere = await http.post("/auth/refresh", json={"refresh_token": first["refresh_token"]}, headers=FIREFOX)

    assert code(elsewhere) == (401, "refresh_refused")
    assert (await refresh(http, first["refresh_token"])).status_code == 200


async def test_attack_43_a_session_ends_when_it_is_idle_or_old_to_the_second(make_settings: MakeSettings) -> None:
    limits = make_settings(access_ttl=60, retry_leeway=5, refresh_idle_ttl=100, refresh_absolute_ttl=250)
    async with running(limits) as service, visiting(service) as http:
        idle, kept = await sign_in(http), await sign_in(http)
        let_pass(service, 98)
        kept = (await refresh(http, kept["refresh_token"])).json()
        let_pass(service, 100)
        assert code(await refresh(http, idle["refresh_token"])) == (401, "session_expired")
        let_pass(service, 190)
        kept = (await refresh(http, kept["refresh_token"])).json()
        let_pass(service, 248)
        last = (await refresh(http, kept["refresh_token"])).json()
        assert last["expires_in"] <= 3  # never past the end of the session
        let_pass(service, 250)
        assert code(await refresh(http, last["refresh_token"])) == (401, "session_expired")
        assert (await story(service, idle["family_id"]))[-1] == "family.expired"


async def test_attack_43_a_clock_that_is_set_back_brings_nothing_back(make_settings: MakeSettings) -> None:
    async with (
        running(
            make_settings(access_ttl=60, retry_leeway=5, refresh_idle_ttl=100, refresh_absolute_ttl=250)
        ) as service,
        visiting(service) as http,
    ):
        first = await sign_in(http)
        let_pass(service, 101)
        assert code(await refresh(http, first["refresh_token"])) == (401, "session_expired")
        let_pass(service, -3600)
        assert code(await refresh(http, first["refresh_token"])) == (401, "session_expired")


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, "?refresh_token={0}"),
        ({"X-Auth-Token": "{0}"}, ""),
        ({"X-Refresh-Token": "{0}"}, "#{0}"),
        ({"Authorization": "Bearer {0}"}, ""),
        ({"Cookie": "refresh_token={0}"}, ""),
    ],
)
async def test_attack_18_a_refresh_token_elsewhere_than_in_body_or_cookie_is_not_seen(
    http: httpx.AsyncClient, headers: dict[str, str], query: str
) -> None:
    first = await sign_in(http)
    text = first["refresh_token"]
    sent = {name: value.format(text) for name, value in headers.items()}
    answer = await http.post("/auth/refresh" + query.format(text), json={}, headers=sent)

    assert code(answer) == (403, "csrf_failed")
    assert (await refresh(http, text)).status_code == 200


async def test_attack_11_no_other_kind_of_token_is_a_refresh_token(http: httpx.AsyncClient) -> None:
    first = await sign_in(http)

    assert code(await refresh(http, first["access_token"])) == (401, "token_unknown")
    assert code(await me(http, first["refresh_token"])) == (401, "invalid_token")


async def test_attack_18_the_carriage_of_a_session_is_fixed(http: httpx.AsyncClient) -> None:
    """A cookie that a script could read out is of no use in a body."""
    stolen = cookie_of(await page_sign_in(http), "__Host-refresh-web")
    http.cookies.clear()

    assert code(await refresh(http, stolen)) == (401, "refresh_refused")


async def test_sixty_four_refreshes_of_one_session_in_a_window_and_no_more(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    first = await sign_in(http)
    other = await sign_in(http)
    asked = (refresh(http, first["refresh_token"]) for _ in range(REFRESH_PER_FAMILY + 1))
    answers = sorted(await asyncio.gather(*asked), key=lambda answer: answer.status_code)

    assert [200] * REFRESH_PER_FAMILY + [429] == [answer.status_code for answer in answers]
    assert code(answers[-1]) == (429, "rate_limited")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 3  # a third of the leeway
    assert (await refresh(http, other["refresh_token"])).status_code == 200


async def test_a_throttled_retry_is_still_a_retry_after_the_wait(make_settings: MakeSettings) -> None:
    async with running(make_settings(retry_leeway=9)) as service, visiting(service) as http:
        first = await sign_in(http)
        second = (await refresh(http, first["refresh_token"])).json()
        tried = [await refresh(http, first["refresh_token"]) for _ in range(REFRESH_PER_FAMILY)]
        throttled = tried[-1]
        assert code(throttled) == (429, "rate_limited")
        assert throttled.headers["retry-after"] in {"1", "2", "3"}  # what is left of a third of the leeway
        await asyncio.sleep(int(throttled.headers["retry-after"]))
        again = await refresh(http, first["refresh_token"])

        assert (again.status_code, again.json()["refresh_token"]) == (200, second["refresh_token"])


async def test_a_session_that_runs_wild_does_not_use_up_its_network(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    wild = await sign_in(http)
    await asyncio.gather(*(refresh(http, wild["refresh_token"]) for _ in range(800)))
    calm = await sign_in(http)

    assert (await refresh(http, calm["refresh_token"])).status_code == 200


async def test_refresh_limits_can_be_switched_off_for_load_tests(make_settings: MakeSettings) -> None:
    async with running(make_settings(rate_limits=False)) as service, visiting(service) as http:
        first = await sign_in(http)
        answers = await asyncio.gather(*(refresh(http, first["refresh_token"]) for _ in range(100)))
        for slow in [answer for answer in answers if answer.status_code == 503]:  # a busy machine says: try again
            answers.remove(slow)
            answers.append(await refresh(http, first["refresh_token"]))

    assert [200] * 100 == [answer.status_code for answer in answers]


async def test_roles_that_changed_stand_in_the_next_access_token(service: app.Service, http: httpx.AsyncClient) -> None:
    await register(service)
    first = await sign_in(http, "alice", ALICE)
    alice = await service.subjects.find("alice")
    assert alice is not None
    await service.subjects.change_roles(alice, "viewer", "staff")
    second = (await refresh(http, first["refresh_token"])).json()

    assert "roles" not in unpacked(first["access_token"].split(".")[1])
    assert unpacked(second["access_token"].split(".")[1])["roles"] == ["viewer"]
    assert (await http.get("/auth/me", headers=bearer(first["access_token"]))).json()["roles"] == ["viewer"]


async def test_attack_31_a_new_master_key_takes_over_without_signing_anybody_out(make_settings: MakeSettings) -> None:
    old, new = (f"{number}:{hashlib.sha256(bytes([number])).hexdigest()}" for number in (1, 2))
    async with running(make_settings(master_key=old)) as service, visiting(service) as http:
        first = await sign_in(http)
        page = await page_sign_in(http)
        cookie, csrf = cookie_of(page, "__Host-refresh-web"), page.json()["csrf_token"]
    async with running(make_settings(master_key=f"{new},{old}")) as service, visiting(service) as http:
        second = (await refresh(http, first["refresh_token"])).json()
        again = (await refresh(http, first["refresh_token"])).json()
        sent = PAGE | {"Cookie": f"__Host-refresh-web={cookie}", "X-CSRF-Token": csrf}
        carried = await http.post("/auth/refresh", json={}, headers=sent)
        read = service.families.read_token(second["refresh_token"])

        assert read is not None
        assert read.key == 2
        assert second["refresh_token"] == again["refresh_token"]
        assert carried.status_code == 200
        assert csrf != carried.json()["csrf_token"]
        assert (await me(http, first["access_token"])).status_code == 200
