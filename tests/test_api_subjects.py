"""Users that a backend creates: names, ids of its own, imported hashes, switching off; and what it may not."""

from typing import Any

import bcrypt
import httpx
import pytest

import app
from tests.applications import application, own_token
from tests.test_api_families import SCOPES, Shop, a_shop
from tests.visitors import ALICE, bearer, code, facts, me, sign_in


@pytest.fixture
async def shop(service: app.Service, http: httpx.AsyncClient) -> Shop:
    return await a_shop(service, http)


async def seen(shop: Shop, subject: str) -> dict[str, Any]:
    answer = await shop.http.get(f"/v1/subjects/{subject}", headers=shop.headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_user_without_a_name_signs_in_at_the_backend_only(service: app.Service, shop: Shop) -> None:
    made = await shop.post("/v1/subjects", {})

    subject = made.json()["subject"]
    assert (201, None, None) == (made.status_code, made.json()["username"], made.json()["external_id"])
    assert made.json() == await seen(shop, subject)
    denied = await shop.http.post("/auth/login", json={"username": subject, "password": "", "mode": "body"})
    assert 401 == denied.status_code
    registered = [one for one in await facts(service) if one.fact.TYPE == "subject.registered"]
    assert ("client:shop", "shop") == (registered[-1].fact.actor, registered[-1].fact.client)  # type: ignore[attr-defined]


async def test_a_user_with_a_password_signs_in_everywhere(shop: Shop) -> None:
    made = await shop.post("/v1/subjects", {"username": "Alice", "password": ALICE})

    tokens = await sign_in(shop.http, "alice", ALICE)
    assert ("alice", made.json()["subject"]) == (
        made.json()["username"],
        (await me(shop.http, tokens["access_token"])).json()["sub"],
    )


async def test_the_user_of_an_id_that_was_given_already_is_answered(service: app.Service, shop: Shop) -> None:
    before = await service.history.newest()

    again = await shop.post("/v1/subjects", {"external_id": "42", "username": "other"})

    assert (200, shop.subject, "42", None) == (
        again.status_code, again.json()["subject"], again.json()["external_id"], again.json()["username"],
    )  # fmt: skip
    assert before == await service.history.newest()


async def test_an_id_is_that_of_one_client(service: app.Service, http: httpx.AsyncClient, shop: Shop) -> None:
    other = await a_shop(service, http, "other")
    ops = await a_shop(service, http, "ops", operator=1)

    assert 3 == len({shop.subject, other.subject, ops.subject})
    assert None is (await seen(ops, shop.subject))["external_id"]


async def test_a_name_that_is_taken_is_a_conflict(shop: Shop) -> None:
    await shop.post("/v1/subjects", {"username": "alice"})

    for name in ("alice", "ALICE", "admin"):
        assert (409, "username_taken") == code(await shop.post("/v1/subjects", {"username": name})), name


@pytest.mark.parametrize(
    "body",
    [
        {"username": ""},
        {"username": " alice"},
        {"username": "a\u202eb"},
        {"external_id": ""},
        {"external_id": "a\u001fb"},
        {"external_id": "x" * 255},
        {"password": ALICE},
        {"password_hash": "$2b$04$" + "a" * 53},
        {"username": "alice", "password": ALICE, "password_hash": "$2b$04$" + "a" * 53},
        {"username": "alice", "password_hash": "md5$abc"},
        {"username": "alice", "password_hash": ""},
        {"username": "alice", "roles": ["admin"]},
        {"username": "alice", "status": "disabled"},
    ],
)
async def test_what_cannot_be_is_refused_and_creates_nothing(
    service: app.Service, shop: Shop, body: dict[str, Any]
) -> None:
    before = await service.history.newest()

    assert (400, "invalid_request") == code(await shop.post("/v1/subjects", body))
    assert before == await service.history.newest()


async def test_a_weak_password_is_refused_by_its_reason(shop: Shop) -> None:
    answer = await shop.post("/v1/subjects", {"username": "alice", "password": "short"})

    assert (400, "password_too_short") == code(answer)


async def test_an_imported_hash_is_good_at_once_and_ours_after_the_next_sign_in(
    service: app.Service, shop: Shop
) -> None:
    hashed = bcrypt.hashpw(b"short", bcrypt.gensalt(4)).decode()
    await shop.post("/v1/subjects", {"username": "alice", "password_hash": hashed})

    wrong = await shop.http.post("/auth/login", json={"username": "alice", "password": "shorter", "mode": "body"})
    await sign_in(shop.http, "alice", "short")
    await service.families.close()

    owner = await service.subjects.find("alice")
    assert 401 == wrong.status_code
    assert owner is not None
    assert owner.password.startswith("$argon2id$")
    await sign_in(shop.http, "alice", "short")
    changed = [one for one in await facts(service) if one.fact.TYPE == "subject.password_changed"]
    assert ["upgraded"] == [one.fact.reason for one in changed]  # type: ignore[attr-defined]


# Ending and switching off


async def test_all_sessions_of_a_user_end_but_only_ones_own(
    service: app.Service, http: httpx.AsyncClient, shop: Shop
) -> None:
    ops = await a_shop(service, http, "ops", operator=1)
    mine = [(await shop.begun())["family_id"] for _ in range(2)]
    theirs = (await ops.begun(subject=shop.subject))["family_id"]

    answer = await shop.post(f"/v1/subjects/{shop.subject}/revoke", {"reason": "left", "ticket": "INC-9"})

    assert 204 == answer.status_code
    assert ["revoked"] * 2 == [(await shop.seen(one))["status"] for one in mine]
    last = (await facts(service, mine[0]))[-1].fact
    assert ("left", "INC-9") == (last.reason, last.ticket)  # type: ignore[attr-defined]
    assert "living" == (await ops.seen(theirs))["status"]
    await ops.post(f"/v1/subjects/{shop.subject}/revoke")
    assert "revoked" == (await ops.seen(theirs))["status"]


async def test_a_disabled_user_loses_every_session_and_gets_none_back(
    service: app.Service, http: httpx.AsyncClient, shop: Shop
) -> None:
    begun = await shop.begun()
    path = f"/v1/subjects/{shop.subject}"

    off = [await shop.post(f"{path}/disable", {"reason": "left"}), await shop.post(f"{path}/disable")]
    dead = await me(http, begun["access_token"])
    state = await seen(shop, shop.subject)
    on = [await shop.post(f"{path}/enable"), await shop.post(f"{path}/enable")]

    assert [204] * 4 == [one.status_code for one in (*off, *on)]
    assert (401, "disabled") == (dead.status_code, state["status"])
    assert ("revoked", "subject_disabled") == (
        (await shop.seen(begun["family_id"]))["status"],
        (await shop.seen(begun["family_id"]))["ended_reason"],
    )
    assert 201 == (await shop.begin()).status_code


async def test_a_user_with_a_session_of_ours_is_ours_to_sign_out_but_not_to_switch_off(
    service: app.Service, http: httpx.AsyncClient, shop: Shop
) -> None:
    ops = await a_shop(service, http, "ops", operator=1)
    bob = (await ops.post("/v1/subjects", {"external_id": "bob"})).json()["subject"]
    assert 404 == (await shop.begin(subject=bob)).status_code
    await ops.begun(subject=bob, client_id="shop")

    assert 201 == (await shop.begin(subject=bob)).status_code
    assert 204 == (await shop.post(f"/v1/subjects/{bob}/revoke")).status_code
    for verb in ("disable", "enable"):
        assert (403, "subject_of_others") == code(await shop.post(f"/v1/subjects/{bob}/{verb}"))


async def test_events_of_its_users_are_in_the_feed_of_who_created_them(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    shop = await a_shop(service, http, scopes=f"{SCOPES} events:read")
    await shop.begun()

    found = (await http.get("/v1/events", headers=shop.headers)).json()["events"]

    assert {"subject.registered", "token.issued"} <= {one["type"] for one in found}


async def test_a_name_of_nobody_is_told_from_nothing(service: app.Service, http: httpx.AsyncClient) -> None:
    client = await application(service, "shop", scopes=SCOPES)
    headers = bearer(await own_token(http, client))

    answers = [await http.get(f"/v1/subjects/{name}", headers=headers) for name in ("sub_" + "a" * 26, "admin", "sub_")]

    assert {(404, "subject_not_found")} == {code(one) for one in answers}
