"""The guard of routes for backends: whose token it takes, and the challenges of RFC 6750."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from litestar.datastructures import State
from litestar.di import Provide

import app
from api import problems
from api.backend import GivenBackend, backend_of, require_scope
from api.dpop import ALGS
from core.grants import Backend
from edge import Edge, EdgeConfig
from tests.applications import application, issued_to, own_token
from tests.visitors import OWN, bearer, code, let_pass

pytestmark = pytest.mark.usefixtures("sqlite_store")


@get("/v1/guarded", guards=[require_scope("events:read")])
async def guarded(backend: GivenBackend) -> dict[str, Any]:
    """Who was let in."""
    return {"client": backend.client.client, "actor": backend.actor, "reaches_web": backend.reaches("web")}


@pytest.fixture
async def door(service: app.Service) -> AsyncIterator[httpx.AsyncClient]:
    """One guarded route."""
    inner = Litestar(
        [guarded],
        state=State({"door": app.door_of(service)}),
        dependencies={"backend": Provide(backend_of, sync_to_thread=False)},
        exception_handlers=problems.exception_handlers(),
        openapi_config=None,
        logging_config=None,
    )
    transport = httpx.ASGITransport(Edge(inner, EdgeConfig(OWN)), client=("203.0.113.7", 50000))
    async with httpx.AsyncClient(transport=transport, base_url=OWN) as client:
        yield client


async def test_a_client_with_the_scope_is_let_in(
    service: app.Service, http: httpx.AsyncClient, door: httpx.AsyncClient
) -> None:
    own, wide = (
        await application(service, scopes="events:read"),
        await application(service, "ops", scopes="events:read", operator=1),
    )

    seen = [(await door.get("/v1/guarded", headers=bearer(await own_token(http, one)))).json() for one in (own, wide)]

    assert [
        {"client": "backend", "actor": "client:backend", "reaches_web": False},
        {"client": "ops", "actor": "client:ops", "reaches_web": True},
    ] == seen


async def test_without_a_token_the_challenge_names_no_error(door: httpx.AsyncClient) -> None:
    answer = await door.get("/v1/guarded")

    assert (401, "invalid_token") == code(answer)
    assert f'Bearer realm="session-ledger", DPoP algs="{ALGS}"' == answer.headers["www-authenticate"]


async def test_a_token_without_the_scope_is_told_which_one(
    service: app.Service, http: httpx.AsyncClient, door: httpx.AsyncClient
) -> None:
    poor = await application(service, scopes="families:read")

    answer = await door.get("/v1/guarded", headers=bearer(await own_token(http, poor)))

    assert (403, "insufficient_scope") == (answer.status_code, answer.json()["code"])
    assert (
        'Bearer realm="session-ledger", error="insufficient_scope", scope="events:read"'
        == answer.headers["www-authenticate"]
    )


async def test_no_other_token_is_taken(service: app.Service, http: httpx.AsyncClient, door: httpx.AsyncClient) -> None:
    backend = await application(service, scopes="events:read", audiences="https://api.example.com")
    elsewhere = await own_token(http, backend, resource="https://api.example.com")
    users = await issued_to(service, "backend")
    good = await own_token(http, backend)
    several = ["garbage", backend.secret, users.access_token, users.refresh_token, elsewhere, f"{good}=="]

    answers = [await door.get("/v1/guarded", headers=bearer(one)) for one in several]
    answers.append(await door.get("/v1/guarded", headers={"Authorization": f"Basic {good}"}))
    answers.append(await door.get(f"/v1/guarded?access_token={good}", headers={"Authorization": "Bearer"}))

    assert {(401, "invalid_token")} == {code(one) for one in answers}
    assert all('Bearer realm="session-ledger", error="invalid_token"' == a.headers["www-authenticate"] for a in answers)


async def test_a_token_is_good_no_longer_than_its_client_and_what_that_may(
    service: app.Service, http: httpx.AsyncClient, door: httpx.AsyncClient
) -> None:
    backend = await application(service, scopes="events:read")
    token = bearer(await own_token(http, backend))
    assert 200 == (await door.get("/v1/guarded", headers=token)).status_code

    await service.clients.update("backend", "cli", {"scopes": "families:read"})
    assert 403 == (await door.get("/v1/guarded", headers=token)).status_code
    await service.clients.set_enabled("backend", "cli", enabled=False)
    assert 401 == (await door.get("/v1/guarded", headers=token)).status_code
    await service.clients.set_enabled("backend", "cli", enabled=True)
    await service.clients.update("backend", "cli", {"scopes": "events:read"})
    assert 200 == (await door.get("/v1/guarded", headers=token)).status_code
    let_pass(service, 901 + 5)
    assert 401 == (await door.get("/v1/guarded", headers=token)).status_code


def test_a_scope_that_there_is_not_guards_nothing() -> None:
    with pytest.raises(ValueError, match="no scope"):
        require_scope("everything")


async def test_nobody_reaches_the_dashboards_families(service: app.Service, http: httpx.AsyncClient) -> None:
    ops = await application(service, "ops", operator=1)
    backend = service.grants.backend(await own_token(http, ops))

    assert isinstance(backend, Backend)
    assert (False, True) == (backend.reaches("dashboard"), backend.reaches("web"))
