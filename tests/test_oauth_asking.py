"""Revocation, introspection and metadata: shapes of RFC 7009, 7662 and 8414, and whose tokens a client can reach."""

import json
from typing import Any

import httpx
import pytest

import app
from tests.applications import Application, application, issued_to, oauth_error, own_token, renewed
from tests.conftest import MakeSettings, running, visiting
from tests.visitors import bearer, facts, let_pass, me, refresh, sign_in, story, unpacked

pytestmark = pytest.mark.usefixtures("sqlite_store")
"""Shapes are the same on every engine."""

API = "https://api.example.com"
WEB = Application("web")
NOTHING = b'{"active":false}'


async def revoked(http: httpx.AsyncClient, of: Application, token: str, **more: str) -> httpx.Response:
    return await http.post("/oauth/revoke", data=of.posted | {"token": token} | more)


async def introspected(http: httpx.AsyncClient, by: Application, token: str, **more: str) -> httpx.Response:
    answer = await http.post("/oauth/introspect", data={"token": token} | more, auth=by.basic)
    assert (200, "application/json", "no-store") == (
        answer.status_code,
        answer.headers["content-type"],
        answer.headers["cache-control"],
    )
    return answer


# Revocation


@pytest.mark.parametrize("which", ["refresh_token", "access_token"])
@pytest.mark.parametrize("hint", ["", "access_token", "refresh_token", "foo"])
async def test_either_token_ends_its_family_whatever_the_hint(
    http: httpx.AsyncClient, service: app.Service, which: str, hint: str
) -> None:
    first = await sign_in(http)

    answer = await revoked(http, WEB, first[which], token_type_hint=hint)

    assert (200, b"", "no-store") == (answer.status_code, answer.content, answer.headers["cache-control"])
    assert 401 == (await me(http, first["access_token"])).status_code
    assert 401 == (await refresh(http, first["refresh_token"])).status_code
    assert ["token.issued", "family.revoked", "token.refused"] == await story(service, first["family_id"])


async def test_an_old_token_ends_the_family_without_an_alarm(http: httpx.AsyncClient, service: app.Service) -> None:
    backend = await application(service)
    first = await issued_to(service, "backend")
    second = (await renewed(http, backend, first.refresh_token)).json()

    await revoked(http, backend, first.refresh_token)

    assert (400, "invalid_grant") == oauth_error(await renewed(http, backend, second["refresh_token"]))
    ended = next(one.fact for one in await facts(service) if one.fact.TYPE == "family.revoked")
    assert ("client:backend", "logout") == (ended.actor, ended.reason)  # type: ignore[attr-defined]


async def test_what_is_nothing_or_ended_already_is_answered_as_if_it_had_ended_now(http: httpx.AsyncClient) -> None:
    first = await sign_in(http)
    await revoked(http, WEB, first["refresh_token"])

    for token in (first["refresh_token"], first["access_token"], "garbage", "slr_" + "A" * 92, "a.b.c", "x" * 9000):
        answer = await revoked(http, WEB, token)
        assert (200, b"") == (answer.status_code, answer.content), token[:20]


@pytest.mark.parametrize(("which", "generation"), [("refresh_token", 1), ("access_token", 0)])
async def test_another_clients_token_is_refused_and_lives_on_and_the_log_says_so(
    http: httpx.AsyncClient, service: app.Service, which: str, generation: int
) -> None:
    backend, first = await application(service), await sign_in(http)

    answer = await revoked(http, backend, first[which])

    assert (400, "invalid_grant") == oauth_error(answer)
    assert ["token.issued", "token.refused"] == await story(service, first["family_id"])
    refused = (await facts(service, first["family_id"]))[-1].fact
    assert (generation, "client", "web") == (refused.generation, refused.reason, refused.client)  # type: ignore[attr-defined]
    assert 200 == (await refresh(http, first["refresh_token"])).status_code


async def test_both_tokens_from_another_client_are_one_note_a_minute_which_counts_what_was_left_out(
    http: httpx.AsyncClient, service: app.Service
) -> None:
    backend, first = await application(service), await sign_in(http)

    for which in ("access_token", "refresh_token", "access_token"):
        await revoked(http, backend, first[which])
    before = await story(service, first["family_id"])
    let_pass(service, 60)
    await revoked(http, backend, first["access_token"])

    assert ["token.issued", "token.refused"] == before
    assert [0, 2] == [one.fact.omitted for one in (await facts(service, first["family_id"]))[1:]]  # type: ignore[attr-defined]


async def test_an_access_token_of_an_ended_session_is_noted_too_and_stays_refused(
    http: httpx.AsyncClient, service: app.Service
) -> None:
    backend, first = await application(service), await sign_in(http)
    await revoked(http, WEB, first["refresh_token"])

    assert (400, "invalid_grant") == oauth_error(await revoked(http, backend, first["access_token"]))
    assert ["token.issued", "family.revoked", "token.refused"] == await story(service, first["family_id"])


async def test_a_token_that_another_client_holds_for_itself_is_of_no_session_and_writes_nothing(
    http: httpx.AsyncClient, service: app.Service
) -> None:
    backend, other = await application(service), await application(service, "other")
    own = await own_token(http, other)
    before = len(await facts(service))

    assert (400, "invalid_grant") == oauth_error(await revoked(http, backend, own))
    assert before == len(await facts(service))


async def test_a_client_revokes_all_that_it_holds_for_itself(http: httpx.AsyncClient, service: app.Service) -> None:
    backend = await application(service, scopes="introspect")
    one, two = await own_token(http, backend), await own_token(http, backend)

    assert 200 == (await revoked(http, backend, one)).status_code
    assert [NOTHING] * 2 == [(await introspected(http, backend, token)).content for token in (one, two)]
    after = await own_token(http, backend)
    assert (await introspected(http, backend, after)).json()["active"]
    assert unpacked(after.split(".")[1])["iat"] > unpacked(one.split(".")[1])["iat"]


@pytest.mark.parametrize("path", ["/oauth/revoke", "/oauth/introspect"])
async def test_who_asks_must_be_known_and_must_say_about_what(
    http: httpx.AsyncClient, service: app.Service, path: str
) -> None:
    backend = await application(service)

    assert (401, "invalid_client") == oauth_error(await http.post(path, data={"token": "x"}))
    wrong = await http.post(path, data={"token": "x"}, auth=httpx.BasicAuth("backend", "wrong"))
    assert (401, "invalid_client") == oauth_error(wrong)
    for form in ({}, {"token": ""}):
        assert (400, "invalid_request") == oauth_error(await http.post(path, data=form, auth=backend.basic))
    assert 405 == (await http.get(path)).status_code


async def test_a_ledger_that_cannot_commit_never_says_that_something_was_revoked(
    http: httpx.AsyncClient, service: app.Service
) -> None:
    first = await sign_in(http)
    await service.ledger.drain()

    answer = await revoked(http, WEB, first["refresh_token"])

    assert (503, "temporarily_unavailable") == oauth_error(answer)
    assert answer.headers["retry-after"].isdigit()


# Introspection


async def test_a_users_access_token_is_described_in_few_words(http: httpx.AsyncClient, service: app.Service) -> None:
    backend = await application(service, scopes="read")
    first = await issued_to(service, "backend")

    said = (await introspected(http, backend, first.access_token, token_type_hint="refresh_token")).json()

    claims = unpacked(first.access_token.split(".")[1])
    assert {"active": True, "token_type": "Bearer", "amr": ["pwd"]} | claims == said


async def test_a_refresh_token_is_described_to_its_client_only(http: httpx.AsyncClient, service: app.Service) -> None:
    backend, other = await application(service), await application(service, "other", scopes="introspect", operator=1)
    first = await issued_to(service, "backend")
    second = (await renewed(http, backend, first.refresh_token)).json()

    said = (await introspected(http, backend, second["refresh_token"])).json()

    assert {"active", "iss", "sub", "client_id", "exp", "iat", "sid"} == set(said)
    assert NOTHING == (await introspected(http, other, second["refresh_token"])).content
    assert NOTHING == (await introspected(http, backend, first.refresh_token)).content
    assert 200 == (await renewed(http, backend, second["refresh_token"])).status_code  # looking uses nothing up


async def test_whatever_is_not_good_now_is_answered_in_the_same_bytes(
    http: httpx.AsyncClient, service: app.Service
) -> None:
    backend = await application(service, scopes="read introspect")
    ended, living, foreign = [(await issued_to(service, "backend")) for _ in range(3)]
    await service.families.revoke(ended.family.id, "cli", "stolen_token")
    head, body, signature = living.access_token.split(".")
    user = await sign_in(http)
    several = [
        *("garbage", "slr_" + "A" * 92, "a.b.c", "\u00e9", "x" * 9000),
        *(ended.access_token, ended.refresh_token, f"{head}.{body}.{signature[:-4]}AAAA", f"{living.access_token}=="),
        user["refresh_token"],
        backend.secret,
    ]

    assert {NOTHING} == {(await introspected(http, backend, token)).content for token in several}
    assert (await introspected(http, backend, foreign.access_token)).json()["active"]
    let_pass(service, 901)
    assert NOTHING == (await introspected(http, backend, foreign.access_token)).content


async def test_a_disabled_user_or_client_has_no_good_token(http: httpx.AsyncClient, service: app.Service) -> None:
    backend = await application(service, scopes="introspect")
    await application(service, "shop")
    of_shop, of_alice = await issued_to(service, "shop"), await issued_to(service, "backend")
    assert (await introspected(http, backend, of_shop.access_token)).json()["active"]

    await service.clients.set_enabled("shop", "cli", enabled=False)
    assert NOTHING == (await introspected(http, backend, of_shop.access_token)).content
    alice = await service.subjects.find("alice")
    assert alice is not None
    await service.subjects.disable(alice, "left", "cli")
    assert NOTHING == (await introspected(http, backend, of_alice.access_token)).content


async def test_a_resource_server_sees_the_tokens_that_are_for_it(http: httpx.AsyncClient, service: app.Service) -> None:
    await application(service, "shop", audiences=API)
    mine = await application(service, "api", scopes="introspect", audiences=API)
    others = await application(service, "other-api", scopes="introspect", audiences="https://other.example.com")
    without = await application(service, "unasked", audiences=API)
    token = (await issued_to(service, "shop")).access_token

    seen = [(await introspected(http, by, token)).json()["active"] for by in (mine, others, without)]

    assert [True, False, False] == seen


async def test_a_token_of_the_caller_with_the_scope_will_do(http: httpx.AsyncClient, service: app.Service) -> None:
    asking = await application(service, scopes="introspect events:read")
    token = await own_token(http, asking)
    poor = await own_token(http, asking, scope="events:read")

    said = await http.post("/oauth/introspect", data={"token": token}, headers=bearer(token))
    refused = [
        await http.post("/oauth/introspect", data={"token": token}, headers=bearer(one)) for one in (poor, "garbage")
    ]

    assert (True, "backend", "backend") == tuple(said.json()[name] for name in ("active", "client_id", "sub"))
    assert [(401, "invalid_token")] * 2 == [oauth_error(one) for one in refused]
    assert all('Bearer realm="session-ledger", error="invalid_token"' == r.headers["www-authenticate"] for r in refused)


async def test_a_public_client_asks_about_nothing(http: httpx.AsyncClient) -> None:
    asked = await http.post("/oauth/introspect", data={"token": "x", "client_id": "web"})

    assert (401, "invalid_client") == oauth_error(asked)


# Metadata


async def test_the_metadata_say_what_there_is_and_nothing_else(http: httpx.AsyncClient) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    answer = await http.get("/.well-known/oauth-authorization-server", headers=headers)
    said = answer.json()

    assert (200, "application/json") == (answer.status_code, answer.headers["content-type"])
    assert ("public, max-age=300", "*") == (
        answer.headers["cache-control"],
        answer.headers["access-control-allow-origin"],
    )
    assert "https://ledger.test" == said["issuer"]
    assert ["refresh_token", "client_credentials"] == said["grant_types_supported"]
    assert not {"authorization_endpoint", "registration_endpoint", "response_types_supported"} & set(said)
    assert all(value for value in said.values())
    assert "evil" not in json.dumps(said)
    for name in ("token_endpoint", "revocation_endpoint", "introspection_endpoint"):
        assert 401 == (await http.post(said[name], data={"grant_type": "refresh_token"})).status_code, name
    assert 200 == (await http.get(said["jwks_uri"])).status_code


async def test_an_issuer_with_a_path_has_its_metadata_behind_the_well_known_part(make_settings: MakeSettings) -> None:
    async with running(make_settings(issuer="https://ledger.test/t1")) as service, visiting(service) as http:
        found = await http.get("/.well-known/oauth-authorization-server/t1")
        others: list[Any] = [
            await http.get(f"/.well-known/oauth-authorization-server{rest}") for rest in ("", "/t2", "/t1/x")
        ]
        token = (await sign_in(http))["access_token"]

    assert (200, "https://ledger.test/t1") == (found.status_code, found.json()["issuer"])
    assert found.json()["issuer"] == unpacked(token.split(".")[1])["iss"]
    assert [404] * 3 == [one.status_code for one in others]
