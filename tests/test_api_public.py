"""What anybody may read: keys, checkpoint, health, the start page; and that nothing else is public (31-33, 42)."""

import base64
import json

import httpx
import pytest
from litestar import Litestar

import app
from tests.conftest import MakeSettings, running, visiting
from tests.edges import app_of
from tests.visitors import PAGE, code, sign_in, unpacked

EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "server": "session-ledger",
}
POISON = {
    "Host": "evil.test",
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Port": "1",
    "X-Original-URL": "/auth/me",
    "X-Rewrite-URL": "/auth/me",
    "Forwarded": "host=evil.test;proto=http",
}


async def test_the_keys_verify_and_hold_nothing_private(http: httpx.AsyncClient) -> None:
    answer = await http.get("/.well-known/jwks.json")
    keys = {key["kid"]: key for key in answer.json()["keys"]}
    head = unpacked((await sign_in(http))["access_token"].split(".")[0])
    used = keys[head["kid"]]

    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert len(keys) >= 2  # the next one is there before it signs
    assert ("OKP", "Ed25519", "EdDSA", "sig") == (used["kty"], used["crv"], used["alg"], used["use"])
    assert len(base64.urlsafe_b64decode(used["x"] + "=")) == 32
    assert not [key for key in keys.values() if {"d", "k", "p", "q"} & set(key)]


async def test_the_checkpoint_is_a_signed_note_of_the_whole_log(service: app.Service, http: httpx.AsyncClient) -> None:
    await sign_in(http)
    await service.checkpointing.run()
    answer = await http.get("/v1/checkpoint")
    origin, size, root, blank, *signatures = answer.text.splitlines()

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert (origin.startswith("session-ledger/"), int(size)) == (True, (await service.history.head()).size)
    assert len(base64.b64decode(root)) == 32
    assert blank == ""
    assert all(line.startswith("\u2014 ") for line in signatures)
    assert signatures


async def test_health_says_whether_it_lives_and_whether_it_can_commit(http: httpx.AsyncClient) -> None:
    live, ready = await http.get("/health/live"), await http.get("/health/ready")

    assert [(200, {"status": "live"}), (200, {"status": "ready"})] == [(a.status_code, a.json()) for a in (live, ready)]


async def test_the_start_page_links_on_and_runs_nothing(http: httpx.AsyncClient) -> None:
    answer = await http.get("/")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "/dashboard" in answer.text
    assert not [evil for evil in ("<script", "style=", "http://", "https://") if evil in answer.text]


async def test_the_description_of_the_api_is_public_only_where_it_is_switched_on(make_settings: MakeSettings) -> None:
    pages = ("/schema/swagger", "/schema/redoc", "/schema/scalar", "/schema/elements", "/schema/rapidoc")
    async with running(make_settings()) as service, visiting(service) as http:
        paths = ("/schema", "/schema/openapi.json", *pages)
        assert {(404, "not_found")} == {code(await http.get(path)) for path in paths}
    async with running(make_settings(public_schema=True)) as service, visiting(service) as http:
        described = await http.get("/schema")
        # These pages of the framework load scripts from other hosts.
        assert {404} == {(await http.get(path)).status_code for path in pages}

    assert described.headers["content-type"] == "application/vnd.oai.openapi+json"
    assert {"/auth/login", "/auth/refresh", "/auth/me"} <= set(described.json()["paths"])
    assert not [path for path in described.json()["paths"] if path.startswith("/dashboard")]


async def test_the_description_tells_what_is_answered_and_what_a_refusal_looks_like(
    make_settings: MakeSettings,
) -> None:
    async with running(make_settings(public_schema=True)) as service, visiting(service) as http:
        described = (await http.get("/schema")).json()
        refused = (await http.get("/auth/me")).json()
    answers = described["paths"]["/auth/refresh"]["post"]["responses"]
    parts = described["components"]["schemas"]

    assert {"200", "400", "401", "403", "408", "411", "413", "414", "415", "429", "431", "503"} == set(answers)
    assert answers["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/TokenAnswer")
    assert answers["401"]["content"]["application/problem+json"]["schema"]["$ref"].endswith("/ProblemDetails")
    assert set(refused) == set(parts["ProblemDetails"]["properties"])
    assert set(parts["ProblemDetails"]["required"]) == set(refused)


async def test_attack_32_no_header_of_a_request_changes_what_we_say_of_ourselves(http: httpx.AsyncClient) -> None:
    plain = await sign_in(http)
    poisoned = await http.post(
        "/auth/login",
        json={"username": "admin", "password": "plum-violet-otter-93-lantern", "mode": "body"},
        headers=POISON,
    )
    claims = [unpacked(one["access_token"].split(".")[1]) for one in (plain, poisoned.json())]

    assert claims[0]["iss"] == claims[1]["iss"] == "https://ledger.test"
    assert claims[0]["aud"] == claims[1]["aud"] == "https://ledger.test"
    for path in ("/", "/.well-known/jwks.json", "/v1/checkpoint", "/nothing", "/auth/me"):
        answer = await http.get(path, headers=POISON)
        assert "evil" not in answer.text + str(answer.headers)
        assert answer.status_code == (await http.get(path)).status_code
    foreign = PAGE | POISON | {"Origin": "https://evil.test"}
    answer = await http.post("/auth/login", json={"username": "admin", "password": "x"}, headers=foreign)
    assert code(answer) == (403, "csrf_failed")


async def test_attack_34_every_answer_carries_the_security_headers(http: httpx.AsyncClient) -> None:
    for method, path, status in (
        ("GET", "/", 200),
        ("GET", "/.well-known/jwks.json", 200),
        ("GET", "/v1/checkpoint", 200),
        ("GET", "/health/live", 200),
        ("OPTIONS", "/auth/login", 204),
        ("POST", "/auth/login", 400),
        ("GET", "/auth/me", 401),
        ("POST", "/auth/refresh?x=%ff", 400),
        ("GET", "/nothing", 404),
        ("PUT", "/auth/me", 405),
        ("GET", "/" + "x" * 3000, 414),
    ):
        answer = await http.request(method, path)
        assert answer.status_code == status, path
        assert EVERYWHERE | dict(answer.headers) == dict(answer.headers), path
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]
        assert not {"x-powered-by", "via", "x-xss-protection"} & set(answer.headers)


ROUTES = """
GET /
GET /.well-known/jwks.json
GET /.well-known/oauth-authorization-server
GET /.well-known/oauth-authorization-server/{rest:path}
GET /.well-known/ssf-configuration
GET /.well-known/ssf-configuration/{rest:path}
GET /auth/csrf
POST /auth/login
POST /auth/logout
POST /auth/logout-all
GET /auth/me
POST /auth/password
POST /auth/refresh
GET /auth/sessions
DELETE /auth/sessions/{family_id:str}
GET /health/live
GET /health/ready
POST /oauth/introspect
POST /oauth/revoke
POST /oauth/token
GET /v1/checkpoint
GET POST /v1/clients
GET PATCH /v1/clients/{client_id:str}
POST /v1/clients/{client_id:str}/secrets
GET /v1/events
GET /v1/events/stream
GET POST /v1/families
GET /v1/families/{family_id:str}
POST /v1/families/{family_id:str}/revoke
GET /v1/revocations
POST /v1/revocations/ack
GET /v1/revocations/stream
POST /v1/ssf/poll
GET POST /v1/ssf/status
GET POST PUT PATCH DELETE /v1/ssf/streams
POST /v1/ssf/verification
POST /v1/subjects
GET /v1/subjects/{subject_id:str}
POST /v1/subjects/{subject_id:str}/disable
POST /v1/subjects/{subject_id:str}/enable
POST /v1/subjects/{subject_id:str}/erase
POST /v1/subjects/{subject_id:str}/revoke
GET HEAD POST PUT PATCH DELETE /v1/verify
GET HEAD POST PUT PATCH DELETE /v1/verify/{rest:path}
GET POST /v1/webhooks
GET PATCH DELETE /v1/webhooks/{webhook_id:str}
GET /v1/webhooks/{webhook_id:str}/deliveries
POST /v1/webhooks/{webhook_id:str}/ping
POST /v1/webhooks/{webhook_id:str}/replay
POST /v1/webhooks/{webhook_id:str}/secrets
"""
"""Every route outside of the dashboard."""


async def test_attack_42_the_routes_of_this_door_are_these_and_no_others(service: app.Service) -> None:
    """A new route must be put on this list by hand, and thought about there."""
    inner = app_of(service).app
    assert isinstance(inner, Litestar)
    found = {(method, route.path) for route in inner.routes for method in getattr(route, "methods", ())}
    ours = {(method, path) for method, path in found if method != "OPTIONS" and not path.startswith("/dashboard")}
    listed = [line.split() for line in ROUTES.strip().splitlines()]

    assert ours == {(method, path) for *methods, path in listed for method in methods}


@pytest.mark.parametrize("path", ["/auth/me", "/auth/sessions", "/health/live", "/.well-known/jwks.json"])
async def test_attack_33_nobody_gets_jsonp(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(f"{path}?callback=steal&jsonp=steal")

    assert "steal" not in answer.text
    assert json.loads(answer.text)


async def test_options_names_every_method_of_an_address(http: httpx.AsyncClient) -> None:
    told = (await http.options("/v1/clients")).headers["allow"]
    refused = (await http.delete("/v1/clients")).headers["allow"]

    assert {"GET", "POST", "OPTIONS"} == set(told.split(", ")) == set(refused.split(", "))
