"""Who may do what under /v1: one line for each route of the router, asked as everybody, about everybody's things."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

import httpx
import pytest
from litestar import Litestar, get
from litestar.params import FromPath

import app
from api.gateway import METHODS
from core.scope import SERVICE
from core.webhook import Plan
from events import ids
from events.webhook import POLL, PREFIX, SET, STANDARD
from tests.applications import Application, application, own_token
from tests.conftest import MakeSettings, running, visiting
from tests.edges import app_of
from tests.visitors import bearer

COLUMNS: Final = ("own", "foreign", "operator", "without the scope", "without a token", "staff")
"""Who asks about a thing of the client `shop`: itself, another client, an operator; itself by a token that has every
scope but that of the route; nobody; an operator about a user with a console role, or about the dashboard itself."""
BY_QUERY: Final = {"GET /v1/ssf/status", "DELETE /v1/ssf/streams"}
"""Routes that name a stream in the query."""
TELLS: Final = "tells"
"""Stands behind the status where the answer names the thing."""


class Thing(NamedTuple):
    """What a route is asked about."""

    subject: str
    family: str
    ended: str
    client: str
    cursor: str = ""
    webhook: str = ""
    stream: str = ""
    """Of shared signals; each client has one."""
    extra: dict[str, Any] = {}  # noqa: RUF012 - read only
    """What no client may ask for, in a body that creates."""


Body = Callable[[Thing, str], dict[str, Any]]


class Line(NamedTuple):
    """Scope of a route, what each column is answered, and the body that it takes."""

    scope: str
    cells: str
    body: Body = lambda _thing, _asking: {}


READS: Final = "events:read"
NOWHERE: Final = "http://127.0.0.1:9/hooks"
"""Where nobody listens."""
FEED: Final = "revocations:read"


def _policy(thing: Thing, asking: str) -> dict[str, Any]:
    return {"client_id": f"made-by-{asking.replace(' ', '-')}", "type": "public"} | thing.extra


def _acknowledged(thing: Thing, _asking: str) -> dict[str, Any]:
    return {"verifier": "orders/1", "cursor": thing.cursor}


def _hook(thing: Thing, _asking: str) -> dict[str, Any]:
    return {"url": NOWHERE} | thing.extra


def _stream(thing: Thing, _asking: str) -> dict[str, Any]:
    return {"stream_id": thing.stream}


def _status(thing: Thing, _asking: str) -> dict[str, Any]:
    return {"stream_id": thing.stream, "status": "enabled"}


MATRIX: Final = {
    "POST /v1/families": Line(
        "families:write", "201 | 404 | 201 | 403 | 401 | 403", lambda thing, _: {"subject": thing.subject}
    ),
    "GET /v1/families": Line("families:read", "200 tells | 200 | 200 tells | 403 | 401 | 200 tells"),
    "GET /v1/families/{family_id}": Line("families:read", "200 tells | 404 | 200 tells | 403 | 401 | 200 tells"),
    "POST /v1/families/{family_id}/revoke": Line("families:write", "204 | 404 | 204 | 403 | 401 | 403"),
    "POST /v1/subjects": Line("subjects:write", "201 | 201 | 201 | 403 | 401 | 400", lambda thing, _: thing.extra),
    "GET /v1/subjects/{subject_id}": Line("subjects:read", "200 tells | 404 | 200 tells | 403 | 401 | 200 tells"),
    "POST /v1/subjects/{subject_id}/revoke": Line("families:write", "204 | 404 | 204 | 403 | 401 | 403"),
    "POST /v1/subjects/{subject_id}/disable": Line("subjects:write", "204 | 404 | 204 | 403 | 401 | 403"),
    "POST /v1/subjects/{subject_id}/enable": Line("subjects:write", "204 | 404 | 204 | 403 | 401 | 403"),
    "POST /v1/subjects/{subject_id}/erase": Line("subjects:erase", "200 | 404 | 200 | 403 | 401 | 403"),
    "GET /v1/clients": Line("clients:read", "200 tells | 200 | 200 tells | 403 | 401 | 200"),
    "GET /v1/clients/{client_id}": Line("clients:read", "200 tells | 404 | 200 tells | 403 | 401 | 404"),
    "POST /v1/clients": Line("clients:write", "403 | 403 | 201 | 403 | 401 | 400", _policy),
    "PATCH /v1/clients/{client_id}": Line("clients:write", "403 | 404 | 200 | 403 | 401 | 404"),
    "POST /v1/clients/{client_id}/secrets": Line("clients:write", "201 | 404 | 201 | 403 | 401 | 404"),
    "GET /v1/events": Line(READS, "200 tells | 200 | 200 tells | 403 | 401 | 200 tells"),
    "GET /v1/events/stream": Line(READS, "200 | 200 | 200 | 403 | 401 | 200"),
    "GET /v1/revocations": Line(FEED, "200 tells | 200 | 200 tells | 403 | 401 | 200 tells"),
    "GET /v1/revocations/stream": Line(FEED, "200 tells | 200 | 200 tells | 403 | 401 | 200 tells"),
    "POST /v1/revocations/ack": Line(FEED, "204 | 204 | 204 | 403 | 401 | 204", _acknowledged),
    "POST /v1/webhooks": Line("webhooks:write", "201 | 201 | 201 | 403 | 401 | 400", _hook),
    "GET /v1/webhooks": Line("webhooks:read", "200 tells | 200 | 200 tells | 403 | 401 | 200 tells"),
    "GET /v1/webhooks/{webhook_id}": Line("webhooks:read", "200 tells | 404 | 200 tells | 403 | 401 | 404"),
    "PATCH /v1/webhooks/{webhook_id}": Line("webhooks:write", "200 | 404 | 200 | 403 | 401 | 404"),
    "DELETE /v1/webhooks/{webhook_id}": Line("webhooks:write", "204 | 404 | 204 | 403 | 401 | 404"),
    "POST /v1/webhooks/{webhook_id}/secrets": Line("webhooks:write", "201 | 404 | 201 | 403 | 401 | 404"),
    "GET /v1/webhooks/{webhook_id}/deliveries": Line("webhooks:read", "200 | 404 | 200 | 403 | 401 | 404"),
    # there is no dead letter, so who reaches the webhook is told that
    "POST /v1/webhooks/{webhook_id}/replay": Line("webhooks:write", "404 | 404 | 404 | 403 | 401 | 404"),
    "POST /v1/webhooks/{webhook_id}/ping": Line("webhooks:write", "202 | 404 | 202 | 403 | 401 | 404"),
    # a stream of shared signals is reached by its own client only; not even an operator has another's
    "POST /v1/ssf/streams": Line("ssf.manage", "409 | 201 | 201 | 403 | 401 | 409"),
    "GET /v1/ssf/streams": Line("ssf.read", "200 tells | 200 | 200 | 403 | 401 | 200"),
    "PATCH /v1/ssf/streams": Line("ssf.manage", "200 | 404 | 404 | 403 | 401 | 404", _stream),
    "PUT /v1/ssf/streams": Line("ssf.manage", "200 | 404 | 404 | 403 | 401 | 404", _stream),
    "GET /v1/ssf/status": Line("ssf.read", "200 tells | 404 | 404 | 403 | 401 | 404"),
    "POST /v1/ssf/status": Line("ssf.manage", "200 | 404 | 404 | 403 | 401 | 404", _status),
    "POST /v1/ssf/verification": Line("ssf.manage", "204 | 404 | 404 | 403 | 401 | 404", _stream),
    "POST /v1/ssf/poll": Line("ssf.read", "200 | 200 | 200 | 403 | 401 | 200", lambda *_: {"returnImmediately": True}),
    "DELETE /v1/ssf/streams": Line("ssf.manage", "204 | 404 | 404 | 403 | 401 | 404"),
    "GET /v1/checkpoint": Line("", "200 | 200 | 200 | 200 | 200 | 200"),
    # these are asked with the token of a user; that of a client is none
    **{f"{method.value} /v1/verify": Line("", "401 | 401 | 401 | 401 | 401 | 401") for method in METHODS},
    **{f"{method.value} /v1/verify/{{rest}}": Line("", "401 | 401 | 401 | 401 | 401 | 401") for method in METHODS},
}


def routes(litestar: Litestar) -> set[str]:
    """Every method and path under /v1 that somebody wrote."""
    found = set()
    for route in litestar.routes:
        path = route.path_format.rstrip("/")
        for handler in getattr(route, "route_handlers", []):
            if path.startswith("/v1"):
                given = not handler.fn.__module__.startswith("litestar.")  # it answers OPTIONS by itself
                found |= {f"{method} {path}" for method in handler.http_methods if given}
    return found


class World:
    """A client with its user and families, another one, an operator; and a member of staff with a family."""

    def __init__(self, service: app.Service, http: httpx.AsyncClient) -> None:
        self.service, self.http = service, http
        self.clients: dict[str, Application] = {}
        self.tokens: dict[tuple[str, str], str] = {}
        self.made = 0

    async def begin(self) -> None:
        everything = " ".join(SERVICE)
        for name, operator in (("shop", 0), ("stranger", 0), ("ops", 1)):
            self.clients[name] = await application(self.service, name, scopes=everything, operator=operator)
            await self.headers(name)
        for scope in SERVICE:  # now: a cell makes new secrets
            await self.headers("shop", scope)

    async def headers(self, name: str, lacking: str = "") -> dict[str, str]:
        if (name, lacking) not in self.tokens:
            scope = " ".join(one for one in SERVICE if one != lacking)
            self.tokens[name, lacking] = await own_token(self.http, self.clients[name], scope=scope)
        return bearer(self.tokens[name, lacking])

    async def post(self, path: str, body: dict[str, Any], asking: str = "shop") -> dict[str, Any]:
        answer = await self.http.post(path, json=body, headers=await self.headers(asking))
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    async def thing(self, *, staff: bool) -> Thing:
        """New for each cell, because cells end and disable."""
        self.made += 1
        subject = (await self.post("/v1/subjects", {"external_id": str(self.made)}))["subject"]
        ended, family = [(await self.post("/v1/families", {"subject": subject}))["family_id"] for _ in range(2)]
        await self.post(f"/v1/families/{ended}/revoke", {})
        feed = await self.http.get("/v1/revocations", headers=await self.headers("ops"))
        cursor = feed.json()["cursor"]
        webhook, stream = await self.receivers("dashboard" if staff else "shop")
        if not staff:
            return Thing(subject, family, ended, "shop", cursor, webhook, stream)
        owner = await self.service.subjects.find(subject)
        assert owner is not None
        await self.service.subjects.change_roles(owner, "viewer", "cli")
        extra = {"roles": ["admin"], "operator": True}
        return Thing(subject, family, ended, "dashboard", cursor, webhook, stream, extra)

    async def receivers(self, owner: str) -> tuple[str, str]:
        """A webhook of a client, and the stream of shared signals of `shop`."""
        for one in await self.service.webhooks.all():
            if one.format == STANDARD and one.client == owner:  # a client has few
                await self.service.webhooks.remove(one.id, "cli")
        made = await self.service.webhooks.register(owner, "cli", Plan(STANDARD, url=NOWHERE))
        opened = await self.service.webhooks.open_stream("shop", "cli", Plan(SET, method=POLL))
        current = await self.service.webhooks.stream_of("shop")
        assert current is not None, opened
        return ids.to_text(PREFIX, made.webhook), ids.to_text(PREFIX, current.id)

    async def cell(self, route: str, line: Line, column: str) -> str:
        thing = await self.thing(staff=column == "staff")
        method, _, path = route.partition(" ")
        named = {"{subject_id}": thing.subject, "{family_id}": thing.family, "{client_id}": thing.client, "{rest}": "x"}
        named["{webhook_id}"] = thing.webhook
        for place, value in named.items():
            path = path.replace(place, value)
        asking = {"foreign": "stranger", "operator": "ops", "staff": "ops"}.get(column, "shop")
        headers = await self.headers(asking, line.scope if column == "without the scope" else "")
        if column == "without a token":
            headers = {}
        asked = {"stream_id": thing.stream} if f"{method} {path}" in BY_QUERY else None
        body = line.body(thing, column) if method in {"POST", "PATCH", "PUT"} and line.scope else None
        answer = await self.http.request(method, path, params=asked, json=body, headers=headers)
        if column == "without the scope" and line.scope:
            assert answer.json()["code"] == "insufficient_scope", (route, answer.text)
        told = any(f'"{one}"' in answer.text for one in (*thing[:4], thing.webhook, thing.stream))
        return (
            f"{answer.status_code} {TELLS}"
            if told and method == "GET" and answer.is_success
            else str(answer.status_code)
        )


@pytest.fixture
async def world(make_settings: MakeSettings) -> AsyncIterator[World]:
    own = {"webhook_http": True, "webhook_networks": "127.0.0.0/8"}
    settings = make_settings(public_schema=True, rate_limits=False, **own)
    async with running(settings) as service, visiting(service) as http:
        made = World(service, http)
        await made.begin()
        yield made


def test_every_route_under_v1_has_its_line(service: app.Service, sqlite_store: object) -> None:
    inner = app_of(service).app
    assert isinstance(inner, Litestar)

    assert set(MATRIX) == routes(inner)


def test_a_route_that_somebody_adds_has_no_line() -> None:
    @get("/v1/another/{name:str}")
    async def another(name: FromPath[str]) -> str:
        return name

    assert {"GET /v1/another/{name}"} == routes(Litestar([another], openapi_config=None)) - MATRIX.keys()


def test_every_scope_of_our_own_routes_opens_one_of_them() -> None:
    assert SERVICE.keys() - {"introspect"} == {line.scope for line in MATRIX.values() if line.scope}


@pytest.mark.usefixtures("on_sqlite")  # who may is asked before any database is
async def test_everybody_is_answered_as_the_matrix_says(world: World) -> None:
    described = (await world.http.get("/schema/openapi.json")).json()["paths"]
    found, undescribed = {}, []
    for route, line in MATRIX.items():
        if route.endswith("/stream"):
            world.service.stopping.set()  # ends what would go on for twenty seconds
        cells = [await world.cell(route, line, column) for column in COLUMNS]
        world.service.stopping.clear()
        found[route] = " | ".join(cells)
        method, _, path = route.partition(" ")
        statuses = described[path].get(method.lower(), {}).get("responses", {})
        undescribed += [(route, cell) for cell in cells if statuses and cell[:3] not in statuses]

    assert [] == undescribed
    assert {route: line.cells for route, line in MATRIX.items()} == found
