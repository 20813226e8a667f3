"""The token endpoint: shapes of RFC 6749, proofs of clients, what uses a refresh token up and what does not."""

from typing import Any

import httpx
import pytest

import app
from core.limits import PROOFS_PER_CLIENT
from tests.applications import Application, application, issued_to, oauth_error, own_token, renewed
from tests.visitors import let_pass, me, refresh, sign_in, story, unpacked

pytestmark = pytest.mark.usefixtures("sqlite_store")
"""Shapes are the same on every engine."""

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
API = "https://api.example.com"


def family_of(token: str) -> str:
    found: str = unpacked(token.split(".")[1])["sid"]
    return found


async def test_a_confidential_client_refreshes_the_family_of_its_user(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    backend = await application(service, scopes="read write")
    first = await issued_to(service, "backend")

    answer = await renewed(http, backend, first.refresh_token)

    said = answer.json()
    assert 200 == answer.status_code
    assert "application/json" == answer.headers["content-type"]
    assert ("no-store", "no-cache") == (answer.headers["cache-control"], answer.headers["pragma"])
    assert {"access_token", "token_type", "expires_in", "refresh_token", "scope"} == set(said)
    assert ("Bearer", 900, "read write") == (said["token_type"], said["expires_in"], said["scope"])
    assert said["refresh_token"] != first.refresh_token
    assert "set-cookie" not in answer.headers


async def test_a_public_client_names_itself_and_needs_no_proof(http: httpx.AsyncClient) -> None:
    first = await sign_in(http)

    answer = await renewed(http, Application("web"), first["refresh_token"])

    assert 200 == answer.status_code
    assert 200 == (await me(http, answer.json()["access_token"])).status_code


@pytest.mark.parametrize("way", ["basic", "post"])
async def test_both_ways_to_prove_oneself_work(service: app.Service, http: httpx.AsyncClient, way: str) -> None:
    backend = await application(service)
    form = {"grant_type": "client_credentials"}

    answer = await (
        http.post("/oauth/token", data=form, auth=backend.basic)
        if way == "basic"
        else http.post("/oauth/token", data=form | backend.posted)
    )

    assert 200 == answer.status_code


async def test_who_cannot_prove_itself_is_told_the_same_whatever_is_wrong(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    backend, off = await application(service), await application(service, "off")
    await service.clients.set_enabled("off", "cli", enabled=False)
    form = {"grant_type": "client_credentials"}
    asked: list[dict[str, Any]] = [
        {"data": form},
        {"data": form | {"client_id": "backend"}},
        {"data": form | {"client_id": "backend", "client_secret": "slc_wrong"}},
        {"data": form | {"client_id": "nobody", "client_secret": backend.secret}},
        {"data": form | {"client_id": "dashboard"}},
        {"data": form | {"client_id": "web", "client_secret": "something"}},
        {"data": form | off.posted},
        {"data": form, "auth": httpx.BasicAuth("backend", "wrong")},
        {"data": form, "auth": httpx.BasicAuth("backend", "")},
        {"data": form, "headers": {"Authorization": "Basic not-base64"}},
        {"data": form, "headers": {"Authorization": "Basic YWJj"}},
        {"data": form, "headers": {"Authorization": f"Bearer {backend.secret}"}},
        {"data": form, "params": backend.posted},
    ]

    answers = [await http.post("/oauth/token", **one) for one in asked]

    assert [(401, "invalid_client")] * len(asked) == [oauth_error(one) for one in answers]
    assert 1 == len({one.json()["error_description"] for one in answers})
    assert all(one.headers["www-authenticate"].startswith("Basic realm=") for one in answers)


async def test_two_proofs_at_once_are_refused(service: app.Service, http: httpx.AsyncClient) -> None:
    backend = await application(service)
    form = {"grant_type": "client_credentials"}

    both = await http.post("/oauth/token", data=form | backend.posted, auth=backend.basic)
    other = await http.post("/oauth/token", data=form | {"client_id": "web"}, auth=backend.basic)
    same = await http.post("/oauth/token", data=form | {"client_id": "backend"}, auth=backend.basic)

    assert [(400, "invalid_request")] * 2 == [oauth_error(both), oauth_error(other)]
    assert 200 == same.status_code


async def test_wrong_secrets_are_counted_for_the_client_and_network(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    backend, other = await application(service), await application(service, "other")
    form = {"grant_type": "client_credentials"}
    for _ in range(PROOFS_PER_CLIENT):
        await http.post("/oauth/token", data=form, auth=httpx.BasicAuth("backend", "wrong"))

    held = await http.post("/oauth/token", data=form, auth=backend.basic)

    assert (429, "rate_limited") == oauth_error(held)
    assert 0 < int(held.headers["retry-after"]) <= 300
    assert 200 == (await http.post("/oauth/token", data=form, auth=other.basic)).status_code


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": ""}, "invalid_request"),
        ({"grant_type": "password", "username": "admin", "password": "x"}, "unsupported_grant_type"),
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unauthorized_client"),
        ({"grant_type": "refresh_token", "refresh_token": "slr_x", "scope": 'a"b'}, "invalid_scope"),
        ({"grant_type": "refresh_token", "refresh_token": "slr_x", "scope": "a  b"}, "invalid_scope"),
        ({"grant_type": "refresh_token", "refresh_token": "garbage"}, "invalid_grant"),
    ],
)
async def test_what_cannot_be_is_named_as_the_standard_names_it(
    http: httpx.AsyncClient, form: dict[str, str], error: str
) -> None:
    assert (400, error) == oauth_error(await http.post("/oauth/token", data=form | {"client_id": "web"}))


async def test_only_a_form_in_a_post_is_taken(http: httpx.AsyncClient) -> None:
    form = "grant_type=refresh_token&client_id=web&refresh_token=a"

    assert 405 == (await http.get(f"/oauth/token?{form}")).status_code
    assert 415 == (await http.post("/oauth/token", json={"grant_type": "refresh_token"})).status_code
    twice = await http.post("/oauth/token", content=f"{form}&refresh_token=b".encode(), headers=FORM)
    assert (400, "invalid_request") == oauth_error(twice)


async def test_unknown_parameters_and_cookies_are_not_looked_at(http: httpx.AsyncClient) -> None:
    first = await sign_in(http)
    other = await sign_in(http)
    http.cookies.set("__Host-refresh-web", other["refresh_token"])

    answer = await renewed(http, Application("web"), first["refresh_token"], foo="1", scope="")

    assert 200 == answer.status_code
    assert first["family_id"] == family_of(answer.json()["access_token"])


async def test_every_refusal_of_a_refresh_token_is_one_and_the_same(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    web, backend = Application("web"), await application(service)
    ended, reused, foreign = await sign_in(http), await sign_in(http), await sign_in(http)
    idle = await sign_in(http)
    await http.post("/auth/logout", json={"refresh_token": ended["refresh_token"]})
    newest = (await renewed(http, web, reused["refresh_token"])).json()["refresh_token"]
    newest = (await renewed(http, web, newest)).json()["refresh_token"]
    said = [
        await renewed(http, web, reused["refresh_token"]),
        await renewed(http, web, newest),
        await renewed(http, web, ended["refresh_token"]),
        await renewed(http, web, "slr_" + "A" * 92),
        await renewed(http, backend, foreign["refresh_token"]),
    ]
    let_pass(service, 8 * 86_400)
    said.append(await renewed(http, web, idle["refresh_token"]))

    assert [(400, "invalid_grant")] * 6 == [oauth_error(one) for one in said]
    assert 1 == len({one.json()["error_description"] for one in said})
    assert ["token.reuse_detected", "family.revoked"] == (await story(service, reused["family_id"]))[3:5]
    assert "token.refused" == (await story(service, foreign["family_id"]))[-1]


async def test_what_another_client_tries_does_not_use_the_token_up(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    backend, first = await application(service), await sign_in(http)
    await renewed(http, backend, first["refresh_token"])

    assert 200 == (await refresh(http, first["refresh_token"])).status_code


async def test_a_narrower_scope_is_of_the_access_token_only(service: app.Service, http: httpx.AsyncClient) -> None:
    backend = await application(service, scopes="read write introspect")
    first = await issued_to(service, "backend")

    narrow = (await renewed(http, backend, first.refresh_token, scope="read")).json()
    again = (await renewed(http, backend, narrow["refresh_token"])).json()

    assert ("read", "read write") == (narrow["scope"], again["scope"])
    assert "read" == unpacked(narrow["access_token"].split(".")[1])["scope"]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"scope": "read delete"}, "invalid_scope"),
        ({"scope": "introspect"}, "invalid_scope"),
        ({"resource": "https://other.example.com"}, "invalid_target"),
    ],
)
async def test_asking_for_too_much_does_not_use_the_token_up(
    service: app.Service, http: httpx.AsyncClient, asked: dict[str, str], error: str
) -> None:
    backend = await application(service, scopes="read introspect")
    first = await issued_to(service, "backend")

    refused = await renewed(http, backend, first.refresh_token, **asked)

    assert (400, error) == oauth_error(refused)
    assert ["token.issued"] == await story(service, family_of(first.access_token))
    assert 200 == (await renewed(http, backend, first.refresh_token)).status_code


async def test_a_client_that_lost_a_scope_gets_it_in_no_token_any_more(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    backend = await application(service, scopes="read write")
    first = await issued_to(service, "backend")
    await service.clients.update("backend", "cli", {"scopes": "read"})

    assert "read" == (await renewed(http, backend, first.refresh_token)).json()["scope"]


async def test_the_audience_is_the_clients_first_or_the_one_that_was_asked_for(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    backend = await application(service, audiences=f"{API} https://files.example.com")
    first = await issued_to(service, "backend")
    plain = (await renewed(http, backend, first.refresh_token)).json()
    asked = (await renewed(http, backend, plain["refresh_token"], resource="https://files.example.com")).json()

    audiences = [unpacked(one["access_token"].split(".")[1])["aud"] for one in (plain, asked)]
    assert [API, "https://files.example.com"] == audiences
    assert 401 == (await me(http, plain["access_token"])).status_code  # our own routes take our audience only


async def test_lifetimes_and_leeway_are_the_clients_own(service: app.Service, http: httpx.AsyncClient) -> None:
    backend = await application(service, access_ttl=60, absolute_ttl=3600, idle_ttl=3600, leeway=6)
    first = await issued_to(service, "backend")
    let_pass(service, 100)
    second = (await renewed(http, backend, first.refresh_token)).json()
    let_pass(service, 105)
    retried = await renewed(http, backend, first.refresh_token)
    let_pass(service, 108)
    late = await renewed(http, backend, first.refresh_token)

    assert 60 == second["expires_in"]
    assert 3600 * 1_000_000 == first.family.ends_at - first.family.started_at
    assert second["refresh_token"] == retried.json()["refresh_token"]
    assert (400, "invalid_grant") == oauth_error(late)


async def test_the_family_limit_is_the_clients_own(service: app.Service, http: httpx.AsyncClient) -> None:
    backend = await application(service, family_limit=1)
    first = await issued_to(service, "backend")
    await issued_to(service, "backend")

    assert (400, "invalid_grant") == oauth_error(await renewed(http, backend, first.refresh_token))


async def test_a_token_of_the_client_itself_is_no_users_token(service: app.Service, http: httpx.AsyncClient) -> None:
    backend = await application(service, scopes="events:read read")

    answer = await http.post(
        "/oauth/token", data={"grant_type": "client_credentials", "scope": "events:read"}, auth=backend.basic
    )

    said = answer.json()
    claims = unpacked(said["access_token"].split(".")[1])
    assert {"access_token", "expires_in", "token_type", "scope"} == set(said)
    assert ("events:read", "Bearer", 900) == (said["scope"], said["token_type"], said["expires_in"])
    assert {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"} == set(claims)
    assert ("backend", "backend", "https://ledger.test") == (claims["sub"], claims["client_id"], claims["aud"])
    assert {"typ": "at+jwt"}.items() <= unpacked(said["access_token"].split(".")[0]).items()
    assert 401 == (await me(http, said["access_token"])).status_code


@pytest.mark.parametrize(
    ("asked", "error"), [({"scope": "read"}, "invalid_scope"), ({"resource": API}, "invalid_target")]
)
async def test_a_client_gets_no_more_than_it_was_registered_for(
    service: app.Service, http: httpx.AsyncClient, asked: dict[str, str], error: str
) -> None:
    backend = await application(service, scopes="events:read")

    answer = await http.post("/oauth/token", data={"grant_type": "client_credentials"} | asked, auth=backend.basic)

    assert (400, error) == oauth_error(answer)


async def test_at_most_two_secrets_are_good_and_the_older_one_for_a_while(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    first = await application(service)
    second = Application("backend", (await service.clients.rotate_secret("backend", "cli", keep=3600)).secret)
    assert all([await own_token(http, one) for one in (first, second)])

    third = Application("backend", (await service.clients.rotate_secret("backend", "cli", keep=3600)).secret)
    form = {"grant_type": "client_credentials"}
    statuses = [
        (await http.post("/oauth/token", data=form, auth=one.basic)).status_code for one in (first, second, third)
    ]
    await service.clients.rotate_secret("backend", "cli", keep=0)
    after = [(await http.post("/oauth/token", data=form, auth=one.basic)).status_code for one in (second, third)]

    assert [401, 200, 200] == statuses
    assert [401, 401] == after


async def test_sign_in_with_a_password_is_for_public_clients_of_our_own(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await application(service)
    await application(service, "partner", type="public", first_party=0)

    for name in ("backend", "partner", "dashboard"):
        asked = {"username": "admin", "password": "x", "mode": "body", "client_id": name}
        login = await http.post("/auth/login", json=asked)
        again = await http.post("/auth/refresh", json={"refresh_token": "slr_" + "A" * 92, "client_id": name})
        assert [(400, "unknown_client")] * 2 == [(one.status_code, one.json()["code"]) for one in (login, again)], name


async def test_a_family_in_a_cookie_is_not_refreshed_from_a_body(service: app.Service, http: httpx.AsyncClient) -> None:
    page = {"Origin": "https://ledger.test", "Sec-Fetch-Site": "same-origin"}
    asked = {"username": "admin", "password": "plum-violet-otter-93-lantern"}
    await http.post("/auth/login", json=asked, headers=page)
    token = http.cookies["__Host-refresh-web"]

    assert (400, "invalid_grant") == oauth_error(await renewed(http, Application("web"), token))
