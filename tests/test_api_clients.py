"""Clients managed by programs: who sees and changes whom, and that nobody gives away more than it has."""

from typing import Any

import httpx
import pytest

import app
from core.clients import proves
from tests.applications import Application, application, own_token
from tests.visitors import bearer, facts

pytestmark = pytest.mark.usefixtures("sqlite_store")

BOTH = "clients:read clients:write"
NEW = {"client_id": "reporter", "type": "confidential", "scopes": ["read", "clients:read"], "access_ttl": 300}


async def held(http: httpx.AsyncClient, of: Application) -> dict[str, str]:
    return bearer(await own_token(http, of))


async def test_an_operator_registers_looks_changes_and_switches_off(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    ops = await held(http, await application(service, "ops", scopes=BOTH, operator=1))

    made = await http.post("/v1/clients", json=NEW, headers=ops)
    reporter = Application("reporter", made.json()["client_secret"])
    changed = await http.patch("/v1/clients/reporter", json={"audiences": ["https://api.example.com"]}, headers=ops)
    seen = await http.get("/v1/clients/reporter", headers=ops)
    token = await own_token(http, reporter)
    off = await http.patch("/v1/clients/reporter", json={"status": "disabled"}, headers=ops)

    assert (201, "no-store") == (made.status_code, made.headers["cache-control"])
    assert changed.json() == seen.json()
    assert {"scopes": ["read", "clients:read"], "access_ttl": 300, "operator": False, "status": "enabled"}.items() <= (
        seen.json().items()
    )
    assert "disabled" == off.json()["status"]
    assert 401 == (await http.get("/v1/clients", headers=bearer(token))).status_code
    actors = {one.fact.actor for one in await facts(service) if getattr(one.fact, "client", "") == "reporter"}
    assert {"client:ops"} == actors


async def test_everybody_else_sees_itself_only(service: app.Service, http: httpx.AsyncClient) -> None:
    await application(service, "other")
    mine = await held(http, await application(service, scopes=BOTH))
    ops = await held(http, await application(service, "ops", scopes=BOTH, operator=1))

    def ids_in(answer: httpx.Response) -> list[str]:
        return [one["client_id"] for one in answer.json()["clients"]]

    assert ["backend"] == ids_in(await http.get("/v1/clients", headers=mine))
    assert ["backend", "ops", "other", "web"] == ids_in(await http.get("/v1/clients", headers=ops))
    for name in ("other", "web", "dashboard", "unheard"):
        answer = await http.get(f"/v1/clients/{name}", headers=mine)
        assert (404, "client_not_found") == (answer.status_code, answer.json()["code"]), name
    assert 404 == (await http.get("/v1/clients/dashboard", headers=ops)).status_code


async def test_only_an_operator_registers_and_changes_but_a_client_rotates_its_own_secret(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    backend = await application(service, scopes=BOTH)
    mine = await held(http, backend)

    refused = [
        await http.post("/v1/clients", json=NEW, headers=mine),
        await http.patch("/v1/clients/backend", json={"scopes": ["admin"]}, headers=mine),
    ]
    rotated = await http.post("/v1/clients/backend/secrets", json={"keep": 0}, headers=mine)

    assert [(403, "operator_needed")] * 2 == [(one.status_code, one.json()["code"]) for one in refused]
    state = service.clients.get("backend")
    assert 201 == rotated.status_code
    assert [False, True] == [proves(state, one) for one in (backend.secret, rotated.json()["client_secret"])]


async def test_nobody_gives_away_a_scope_that_it_lacks(service: app.Service, http: httpx.AsyncClient) -> None:
    ops = await application(service, "ops", scopes=f"{BOTH} families:write", operator=1)
    await application(service, "strong", scopes="subjects:write")
    await application(service, "weak")
    all_of_it, some = await held(http, ops), bearer(await own_token(http, ops, scope=BOTH))

    def asked(scopes: str) -> dict[str, Any]:
        return NEW | {"client_id": "more", "scopes": [scopes]}

    refused = [
        await http.post("/v1/clients", json=asked("subjects:write"), headers=all_of_it),
        await http.post("/v1/clients", json=asked("families:write"), headers=some),
        await http.patch("/v1/clients/weak", json={"scopes": ["subjects:write"]}, headers=all_of_it),
        await http.patch("/v1/clients/strong", json={"audiences": []}, headers=all_of_it),
        await http.post("/v1/clients/strong/secrets", json={}, headers=all_of_it),
    ]

    assert [(403, "scope_exceeded")] * 5 == [(one.status_code, one.json()["code"]) for one in refused]
    assert 201 == (await http.post("/v1/clients", json=asked("families:write"), headers=all_of_it)).status_code


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"operator": True}, ""),
        ({"type": "open"}, ""),
        ({"client_id": "a b"}, "client: "),
        ({"leeway": 31}, "leeway: "),
        ({"scopes": ["a b"]}, "scopes: "),
        ({"scopes": [""]}, "scopes: "),
        ({"origins": ["https://a.example/x"]}, "origins: "),
        ({"access_ttl": 10**12}, "access_ttl: "),
    ],
)
async def test_what_cannot_be_is_refused_by_its_field(
    service: app.Service, http: httpx.AsyncClient, changes: dict[str, Any], said: str
) -> None:
    ops = await held(http, await application(service, "ops", scopes=BOTH, operator=1))

    answer = await http.post("/v1/clients", json=NEW | changes, headers=ops)

    assert (400, "invalid_request") == (answer.status_code, answer.json()["code"])
    assert answer.json()["detail"].startswith(said)
    assert service.clients.get("reporter") is None


async def test_a_second_of_one_name_and_a_secret_for_a_public_one_are_conflicts(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    ops = await held(http, await application(service, "ops", scopes=BOTH, operator=1))

    again = await http.post("/v1/clients", json={"client_id": "web", "type": "public"}, headers=ops)
    public = await http.post("/v1/clients", json={"client_id": "spa", "type": "public"}, headers=ops)
    secret = await http.post("/v1/clients/spa/secrets", json={}, headers=ops)

    assert (409, "client_exists") == (again.status_code, again.json()["code"])
    assert (201, {"client_id": "spa", "client_secret": None}) == (public.status_code, public.json())
    assert (409, "public_client") == (secret.status_code, secret.json()["code"])


async def test_looking_does_not_allow_changing(service: app.Service, http: httpx.AsyncClient) -> None:
    reader = await held(http, await application(service, "ops", scopes="clients:read", operator=1))

    answers = [
        await http.post("/v1/clients", json=NEW, headers=reader),
        await http.patch("/v1/clients/web", json={}, headers=reader),
        await http.post("/v1/clients/ops/secrets", json={}, headers=reader),
    ]

    assert [(403, "insufficient_scope")] * 3 == [(one.status_code, one.json()["code"]) for one in answers]
