"""Families that are bound to a key, through the doors: sign-in, refresh, use of access tokens; what a thief gets."""

import asyncio
from typing import Any

import httpx
import pytest

import app
from core import dpop
from core.proofs import Seen
from events import uses
from events.client import CONFIDENTIAL, REQUIRED
from events.decision import Use
from tests.applications import application, issued_to, oauth_error, own_token
from tests.check import check
from tests.conftest import PASSWORD, MakeSettings, running, visiting
from tests.keyholders import KeyHolder, bound_refresh, bound_sign_in, told_nonce
from tests.tables import rows
from tests.visitors import OWN, bearer, code, facts, let_pass, me, sign_in, story, unpacked

SHAPES = pytest.mark.usefixtures("on_sqlite")
"""Shapes and checks before the ledger are the same on every engine."""


async def test_a_bound_session_signs_in_refreshes_and_is_used_by_its_key_alone(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    alice, thief = KeyHolder(), KeyHolder()
    first = await bound_sign_in(http, alice, PASSWORD)
    assert ("DPoP", alice.thumbprint) == (first["token_type"], cnf(first["access_token"]))

    refused = [
        await bound_refresh(http, first["refresh_token"], None),
        await bound_refresh(http, first["refresh_token"], (await told_nonce(http, thief)).proof()),
        await http.post("/auth/refresh", json={"refresh_token": first["refresh_token"]}),
    ]
    answer = await bound_refresh(http, first["refresh_token"], alice.proof())
    second = answer.json()

    assert [(400, "invalid_dpop_proof"), (400, "invalid_grant")] == [oauth_error(one) for one in refused[:2]]
    assert (400, "invalid_dpop_proof") == code(refused[2])
    assert (200, "DPoP", alice.thumbprint) == (answer.status_code, second["token_type"], cnf(second["access_token"]))
    assert alice.nonce == answer.headers["dpop-nonce"]
    for token in (first["access_token"], second["access_token"]):
        assert 200 == (await http.get("/auth/me", headers=alice.bound(token))).status_code
    told = ["token.issued", "token.refused", "token.refused", "token.rotated"]
    assert told == await story(service, first["family_id"])
    secrets = [second["refresh_token"], first["refresh_token"], alice.proof()]
    check(service.store, secrets=secrets)


def cnf(access_token: str) -> str:
    found: str = unpacked(access_token.split(".")[1])["cnf"]["jkt"]
    return found


@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519", "RS256", "PS256"])
async def test_the_other_algorithms_work_through_the_doors_too(
    sqlite_store: Any, service: app.Service, http: httpx.AsyncClient, algorithm: str
) -> None:
    alice = KeyHolder(algorithm)
    first = await bound_sign_in(http, alice, PASSWORD)

    assert 200 == (await bound_refresh(http, first["refresh_token"], alice.proof())).status_code


@SHAPES
async def test_a_bad_proof_uses_nothing_up_and_leaves_no_trace(service: app.Service, http: httpx.AsyncClient) -> None:
    alice = KeyHolder()
    first = await bound_sign_in(http, alice, PASSWORD)
    private = alice.jwk | {"d": "AAAA"}
    bad = [
        alice.proof(url=f"{OWN}/oauth/revoke"),
        alice.proof(method="GET"),
        alice.proof(iat=1),
        alice.proof(jti=None),
        alice.signed(alice.header(typ="JWT"), alice.claims()),
        alice.signed(alice.header(alg="none"), alice.claims()),
        alice.signed(alice.header(alg="HS256"), alice.claims()),
        alice.signed(alice.header(jwk=private), alice.claims()),
        alice.signed(alice.header(jwk=KeyHolder().jwk), alice.claims()),
        "x",
        "x" * 8000,
    ]
    nonces = [alice.proof(nonce="x" * 22), alice.proof(nonce=None)]

    answers = [await bound_refresh(http, first["refresh_token"], one) for one in bad]
    asked = [await bound_refresh(http, first["refresh_token"], one) for one in nonces]

    assert [(400, "invalid_dpop_proof")] * len(bad) == [oauth_error(one) for one in answers]
    assert [(400, "use_dpop_nonce")] * 2 == [oauth_error(one) for one in asked]
    assert all(one.headers["dpop-nonce"] for one in answers + asked)
    assert ["token.issued"] == await story(service, first["family_id"])
    assert 200 == (await bound_refresh(http, first["refresh_token"], alice.proof())).status_code


@SHAPES
async def test_two_proofs_in_one_request_are_refused(service: app.Service, http: httpx.AsyncClient) -> None:
    alice = await told_nonce(http, KeyHolder())
    headers = [("DPoP", alice.proof()), ("DPoP", alice.proof())]
    form = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": "slr_x"}

    answer = await http.post("/oauth/token", data=form, headers=headers)

    assert (400, "invalid_request") == oauth_error(answer)


async def test_a_proof_works_once_here_and_in_every_other_process(
    service: app.Service, http: httpx.AsyncClient, make_settings: MakeSettings
) -> None:
    alice = KeyHolder()
    first = await bound_sign_in(http, alice, PASSWORD)
    proof = alice.proof()
    second = (await bound_refresh(http, first["refresh_token"], proof)).json()

    here = await bound_refresh(http, second["refresh_token"], proof)

    assert (400, "invalid_dpop_proof") == oauth_error(here)
    refused = [event for event in await facts(service, first["family_id"]) if event.fact.TYPE == "token.refused"]
    assert ["dpop_replayed"] == [one.fact.reason for one in refused]  # type: ignore[attr-defined]
    assert 200 == (await bound_refresh(http, second["refresh_token"], alice.proof())).status_code


async def test_what_was_used_stays_used_after_a_restart(make_settings: MakeSettings) -> None:
    alice, settings = KeyHolder(), make_settings()
    async with running(settings) as before, visiting(before) as http:
        first = await bound_sign_in(http, alice, PASSWORD)
        proof = alice.proof()
        second = (await bound_refresh(http, first["refresh_token"], proof)).json()

    async with running(settings) as after, visiting(after) as http:
        replayed = await bound_refresh(http, second["refresh_token"], proof)
        honest = await bound_refresh(http, second["refresh_token"], alice.proof())

        assert (400, "invalid_dpop_proof") == oauth_error(replayed)
        assert 200 == honest.status_code
        check(after.store)


async def test_two_processes_share_what_was_used(
    postgres_store: Any, service: app.Service, http: httpx.AsyncClient, make_settings: MakeSettings
) -> None:
    alice = KeyHolder()
    first = await bound_sign_in(http, alice, PASSWORD)
    async with running(make_settings()) as other, visiting(other) as there:
        proof = alice.proof()
        second = (await bound_refresh(http, first["refresh_token"], proof)).json()
        replayed = await bound_refresh(there, second["refresh_token"], proof)
        honest = await bound_refresh(there, second["refresh_token"], alice.proof())

    assert (400, "invalid_dpop_proof") == oauth_error(replayed)
    assert 200 == honest.status_code


@SHAPES
async def test_the_nonce_of_one_process_counts_at_another_and_an_old_one_no_more(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    alice = KeyHolder()
    first = await bound_sign_in(http, alice, PASSWORD)
    let_pass(service, 2 * dpop.NONCE_PERIOD)
    late = alice.proof(iat=int(service.writer.wall()))

    old = await bound_refresh(http, first["refresh_token"], late)
    await told_nonce(http, alice, old)
    again = await bound_refresh(http, first["refresh_token"], alice.proof(iat=int(service.writer.wall())))

    assert (400, "use_dpop_nonce") == oauth_error(old)
    assert 200 == again.status_code


async def test_what_is_too_old_to_come_again_is_forgotten(service: app.Service, http: httpx.AsyncClient) -> None:
    alice = KeyHolder()
    await bound_sign_in(http, alice, PASSWORD)

    kept = await service.proofs.forget()
    before = rows(service.store, "SELECT value FROM uses")
    let_pass(service, 4 * dpop.WINDOW)
    gone = await service.proofs.forget()

    assert (0, 1, 1) == (kept, len(before), gone)
    assert [] == rows(service.store, "SELECT value FROM uses")


async def test_a_value_that_two_decisions_of_a_batch_use_is_new_to_one_of_them(service: app.Service) -> None:
    use = Use(b"v" * 32, 2**53)
    found = [service.proofs.spend(use) for _ in range(20)]

    assert [False] * 19 + [True] == sorted(await asyncio.gather(*found))
    assert [(use.value, use.until)] == [tuple(row) for row in rows(service.store, "SELECT value, until FROM uses")]


@SHAPES
async def test_the_table_is_read_and_cleared_in_slices(service: app.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "SLICE", 2)
    for number in range(5):
        assert await service.proofs.spend(Use(bytes([number]) * 32, number))

    assert 5 == await service.proofs.forget()


# Access tokens


@SHAPES
async def test_a_bound_access_token_is_no_bearer_s_and_a_bearer_s_is_not_bound(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    alice = KeyHolder()
    token = (await bound_sign_in(http, alice, PASSWORD))["access_token"]
    plain = (await sign_in(http))["access_token"]
    good = alice.bound(token)

    as_bearer = await me(http, token)
    with_proof = await http.get("/auth/me", headers=good | bearer(token))
    without = await http.get("/auth/me", headers={"Authorization": f"DPoP {token}"})
    unbound = await http.get("/auth/me", headers=alice.bound(plain))

    assert [401] * 4 == [one.status_code for one in (as_bearer, with_proof, without, unbound)]
    assert as_bearer.headers["www-authenticate"].startswith('Bearer error="invalid_token", DPoP algs="ES256 ')
    assert without.headers["www-authenticate"].startswith('DPoP error="invalid_token", algs="ES256 ')
    assert 200 == (await http.get("/auth/me", headers=good)).status_code
    assert 200 == (await me(http, plain)).status_code


@SHAPES
async def test_what_is_wrong_with_the_proof_of_a_bound_access_token(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    alice = KeyHolder()
    first = await bound_sign_in(http, alice, PASSWORD)
    token = first["access_token"]
    wrong = [
        alice.bound(token, "POST"),
        alice.bound(token, path="/auth/sessions"),
        alice.bound(token, iat=1),
        alice.bound(token, ath=None),
        alice.bound(token, ath="x" * 43),
        alice.bound(token) | {"DPoP": "x"},
    ]
    other_key = KeyHolder().bound(token)
    once = alice.bound(token)

    answers = [await http.get("/auth/me", headers=one) for one in wrong]
    thief = await http.get("/auth/me", headers=other_key)
    twice = [await http.get("/auth/me", headers=once) for _ in range(2)]

    assert [(401, "invalid_token")] * len(wrong) == [code(one) for one in answers]
    assert all(one.headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof"') for one in answers)
    assert (401, 'DPoP error="invalid_token"') == (thief.status_code, thief.headers["www-authenticate"][:26])
    assert [200, 401] == [one.status_code for one in twice]


@SHAPES
async def test_every_route_of_an_account_takes_the_bound_token_and_a_new_password_keeps_the_key(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    alice = KeyHolder()
    first = await bound_sign_in(http, alice, PASSWORD)
    token, new = first["access_token"], "gravel-indigo-parsnip-41-swan"

    sessions = await http.get("/auth/sessions", headers=alice.bound(token, path="/auth/sessions"))
    changed = await http.post(
        "/auth/password",
        json={"current": PASSWORD, "new": new},
        headers=alice.bound(token, "POST", "/auth/password"),
    )
    second = changed.json()
    path = f"/auth/sessions/{second['family_id']}"
    ended = await http.delete(path, headers=alice.bound(second["access_token"], "DELETE", path))

    assert [first["family_id"]] == [one["family_id"] for one in sessions.json()["sessions"]]
    assert ("DPoP", alice.thumbprint) == (second["token_type"], cnf(second["access_token"]))
    assert 204 == ended.status_code


# Sign-in


@SHAPES
async def test_a_bound_session_is_never_one_of_cookies(http: httpx.AsyncClient) -> None:
    alice = await told_nonce(http, KeyHolder())
    asked = {"username": "admin", "password": PASSWORD, "mode": "cookie"}
    headers = {"Sec-Fetch-Site": "same-origin", "DPoP": alice.proof(url=f"{OWN}/auth/login")}

    assert (400, "invalid_request") == code(await http.post("/auth/login", json=asked, headers=headers))


async def test_a_client_that_requires_keys_begins_no_session_without_one(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    before = await sign_in(http)
    await service.clients.update("web", "cli", {"dpop": REQUIRED})
    asked = {"username": "admin", "password": PASSWORD, "mode": "body"}

    without = await http.post("/auth/login", json=asked)
    with_key = await bound_sign_in(http, KeyHolder(), PASSWORD)
    old = await http.post("/auth/refresh", json={"refresh_token": before["refresh_token"]})

    assert (400, "invalid_dpop_proof") == code(without)
    assert "DPoP" == with_key["token_type"]
    assert (401, "session_revoked") == code(old)
    assert ["token.issued", "family.revoked"] == await story(service, before["family_id"])


@SHAPES
async def test_a_sign_in_with_a_used_proof_is_refused(service: app.Service, http: httpx.AsyncClient) -> None:
    alice = await told_nonce(http, KeyHolder())
    asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
    headers = {"DPoP": alice.proof(url=f"{OWN}/auth/login")}

    answers = [await http.post("/auth/login", json=asked, headers=headers) for _ in range(2)]

    assert [200, 400] == [one.status_code for one in answers]
    assert (400, "invalid_dpop_proof") == code(answers[1])


# Backends


@SHAPES
async def test_a_backend_begins_a_family_for_its_user_s_key(service: app.Service, http: httpx.AsyncClient) -> None:
    shop = await application(service, "shop", scopes="families:write families:read subjects:write introspect")
    token = await own_token(http, shop)
    alice = KeyHolder()
    made = await http.post("/v1/subjects", json={"external_id": "7"}, headers=bearer(token))
    asked = {"subject": made.json()["subject"], "dpop_jkt": alice.thumbprint}
    headers = bearer(token) | {"Idempotency-Key": "one"}

    begun = [(await http.post("/v1/families", json=asked, headers=headers)).json() for _ in range(2)]
    bad = await http.post("/v1/families", json=asked | {"dpop_jkt": "short"}, headers=bearer(token))
    await told_nonce(http, alice)
    form = {"grant_type": "refresh_token", "refresh_token": begun[0]["refresh_token"]}
    without = await http.post("/oauth/token", data=form, auth=shop.basic)
    refreshed = await http.post("/oauth/token", data=form, auth=shop.basic, headers={"DPoP": alice.proof()})
    seen = await http.get(f"/v1/families/{begun[0]['family_id']}", headers=bearer(token))

    assert [("DPoP", alice.thumbprint)] * 2 == [(one["token_type"], cnf(one["access_token"])) for one in begun]
    assert 400 == bad.status_code
    assert (400, "invalid_dpop_proof") == oauth_error(without)
    assert (200, "DPoP") == (refreshed.status_code, refreshed.json()["token_type"])
    assert alice.thumbprint == seen.json()["dpop_jkt"]


@SHAPES
async def test_introspection_tells_the_key(service: app.Service, http: httpx.AsyncClient) -> None:
    alice = KeyHolder()
    first = await bound_sign_in(http, alice, PASSWORD)
    ops = await application(service, "ops", scopes="introspect", operator=1)

    access = await http.post("/oauth/introspect", data={"token": first["access_token"]}, auth=ops.basic)

    told = access.json()
    assert (True, "DPoP", {"jkt": alice.thumbprint}) == (told["active"], told["token_type"], told["cnf"])


@SHAPES
async def test_a_client_s_own_token_can_be_bound_and_then_opens_our_routes_with_its_key_only(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    ops = await application(service, "ops", scopes="families:read introspect", operator=1, dpop=REQUIRED)
    holder = await told_nonce(http, KeyHolder())
    form, proof = {"grant_type": "client_credentials"}, holder.proof()

    without = await http.post("/oauth/token", data=form, auth=ops.basic)
    made = await http.post("/oauth/token", data=form, auth=ops.basic, headers={"DPoP": proof})
    again = await http.post("/oauth/token", data=form, auth=ops.basic, headers={"DPoP": proof})
    token = made.json()["access_token"]
    as_bearer = await http.get("/v1/families", headers=bearer(token))
    bound = await http.get("/v1/families", headers=holder.bound(token, path="/v1/families"))
    path = "/oauth/introspect"
    asked = await http.post(path, data={"token": token}, headers=holder.bound(token, "POST", path))
    downgraded = await http.post(path, data={"token": token}, headers=bearer(token))

    assert [(400, "invalid_dpop_proof")] * 2 == [oauth_error(without), oauth_error(again)]
    assert ("DPoP", holder.thumbprint) == (made.json()["token_type"], cnf(token))
    assert (401, 200) == (as_bearer.status_code, bound.status_code)
    assert {"jkt": holder.thumbprint} == asked.json()["cnf"]
    assert (401, "invalid_token") == oauth_error(downgraded)


@SHAPES
async def test_a_confidential_client_binds_its_users_access_tokens_to_a_key_of_its_own(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    shop = await application(service, "shop", type=CONFIDENTIAL)
    first = await issued_to(service, "shop")
    holder = await told_nonce(http, KeyHolder())
    form = {"grant_type": "refresh_token", "refresh_token": first.refresh_token}

    answer = await http.post("/oauth/token", data=form, auth=shop.basic, headers={"DPoP": holder.proof()})

    assert ("DPoP", holder.thumbprint) == (answer.json()["token_type"], cnf(answer.json()["access_token"]))


@SHAPES
async def test_the_metadata_say_what_proofs_may_be_signed_with(http: httpx.AsyncClient) -> None:
    told = (await http.get("/.well-known/oauth-authorization-server")).json()

    assert ["ES256", "EdDSA", "Ed25519", "PS256", "RS256"] == told["dpop_signing_alg_values_supported"]


# What one process remembers


def test_a_process_remembers_so_many_and_so_long() -> None:
    seen = Seen(most=2)
    one, two, three = (Use(bytes([number]) * 32, 100 + number) for number in range(3))

    assert [True, False, True] == [seen.take(one, 0), seen.take(one, 99), seen.take(two, 99)]
    assert seen.take(one, 100)
    assert seen.take(three, 100)
    assert not seen.take(three, 101)
    assert seen.take(three, 102)
