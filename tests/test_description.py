"""The description of the API against the API: schemathesis, which nobody here wrote, asks all that it allows, and more.

Of its checks one is left out, `positive_data_acceptance`: what fits a JSON schema is refused for a grammar (a filter, a
cursor, an origin) or because it names something that is not there, and no schema can say so.
"""

import asyncio
import json
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

import app
from core.scope import SERVICE
from tests.applications import Application, application, own_token
from tests.conftest import MakeSettings, running
from tests.ports import free_port
from tests.serving import answering
from tests.test_matrix import MATRIX, NOWHERE
from tests.visitors import ALICE, bearer, register

LEFT_OUT = "positive_data_acceptance"
NOT_HERE = {
    "GET /auth/csrf",
    "POST /auth/password",
    "DELETE /auth/sessions/{family_id}",
    "POST /v1/webhooks/{webhook_id}/replay",
    "POST /v1/ssf/streams",
}
"""Succeed for who has the cookie, a dead letter or no stream yet, or end what the others need; other tests do that."""
NOT_THERE = {"GET /.well-known/oauth-authorization-server/{rest}"}
"""Is for issuers with a path."""


REPEATED = {
    f"{method} {path}"
    for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
    for path in ("/v1/verify", "/v1/verify/{rest}")
}
"""Routes for gateways whose function answers GET and POST, too."""
REFUSALS = [400, 401, 403, 404, 405, 408, 409, 410, 411, 413, 414, 415, 422, 429, 431]
"""What refuses a wrong request; schemathesis does not think of all of them by itself."""


class Described(NamedTuple):
    """A served service, what proves a client and a user, and all that was answered so far."""

    url: str
    folder: Path
    proofs: Mapping[str, str]
    """The `Authorization` for the paths that a pattern fits."""
    known: Mapping[str, str]
    """What there is, by the place and name of the parameter."""
    bodies: Mapping[str, Mapping[str, str]]
    """Bodies that succeed, by route."""
    answered: set[tuple[str, int]]


@pytest.fixture
async def described(make_settings: MakeSettings, tmp_path: Path) -> AsyncIterator[Described]:
    port = free_port()
    own = {"public_url": f"http://localhost:{port}", "port": port}
    receivers = {"webhook_http": True, "webhook_networks": "127.0.0.0/8"}
    settings = make_settings(public_schema=True, rate_limits=False, **own, **receivers)
    async with running(settings) as service:
        service.stopping.set()  # streams and long polls end at once
        edge, answered = app.create_app(service), set()
        edge.config = replace(
            edge.config, observe=lambda method, route, status, *_: answered.add((f"{method} {route}", status))
        )
        async with answering(edge, port):
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
                has = await populated(service, http)
            answered.clear()
            yield Described(f"http://127.0.0.1:{port}", tmp_path, *has, answered)


async def populated(
    service: app.Service, http: httpx.AsyncClient
) -> tuple[Mapping[str, str], Mapping[str, str], Mapping[str, Mapping[str, str]]]:
    """An operator, a client that it may change, and two users: one with a password, one of the operator's own."""
    operator = await application(service, "ops", scopes=" ".join(SERVICE), operator=1)
    other = await application(service, "shop")
    await register(service, "alice", ALICE)
    own = bearer(await own_token(http, operator))
    user = (await http.post("/v1/subjects", json={"external_id": "1"}, headers=own)).json()["subject"]
    family = (await http.post("/v1/families", json={"subject": user}, headers=own)).json()["family_id"]
    cursor = (await http.get("/v1/revocations", headers=own)).json()["cursor"]
    password = {"username": "alice", "password": ALICE, "mode": "body"}
    session, another = [(await http.post("/auth/login", json=password)).json() for _ in range(2)]
    hook = (await http.post("/v1/webhooks", json={"url": NOWHERE}, headers=own)).json()["webhook_id"]
    signals = (await http.post("/v1/ssf/streams", json={}, headers=own)).json()["stream_id"]
    proofs = {
        "^/v1/(?!verify)": own["Authorization"],
        "^/(auth|v1/verify)": f"Bearer {session['access_token']}",
        "^/oauth": basic(operator),
    }
    known = {
        "path.subject_id": user,
        "path.family_id": family,
        "path.client_id": other.name,
        "path.webhook_id": hook,
        "query.stream_id": signals,
        "query.only": "dead",
        "query.audience": service.settings.audience,
        "query.scope": "",
    }
    bodies = {
        "POST /auth/login": password,
        "POST /auth/refresh": {"refresh_token": another["refresh_token"]},
        "POST /oauth/token": {"grant_type": "client_credentials"},
        "POST /oauth/introspect": {"token": session["access_token"]},
        "POST /oauth/revoke": {"token": "of nobody"},
        "POST /v1/clients": {"client_id": "new", "type": "public"},
        "POST /v1/families": {"subject": user},
        "POST /v1/webhooks": {"url": NOWHERE},
        "POST /v1/ssf/poll": {"returnImmediately": True},
        "POST /v1/ssf/status": {"stream_id": signals, "status": "enabled"},
        "POST /v1/ssf/verification": {"stream_id": signals},
        "PATCH /v1/ssf/streams": {"stream_id": signals},
        "PUT /v1/ssf/streams": {"stream_id": signals},
        "POST /v1/revocations/ack": {"verifier": "orders/1", "cursor": cursor},
    }
    return proofs, known, bodies


def basic(of: Application) -> str:
    return "Basic " + b64encode(f"{of.name}:{of.secret}".encode()).decode()


async def judged(
    one: Described, *arguments: str, proved: bool, known: bool, left_out: Collection[str] = ()
) -> dict[str, Any]:
    """The report of a run in which no check failed. Who `proved` itself and knows what is `known` can succeed."""
    paths = {name: one.folder / name for name in ("schemathesis.toml", "schema.json", "report.json")}
    settings, schema, report = paths.values()
    described = await description(one)
    for route, body in one.bodies.items() if known else ():
        method, _, path = route.partition(" ")
        (content,) = described["paths"][path][method.lower()]["requestBody"]["content"].values()
        content["example"] = body
    schema.write_text(json.dumps(described))
    lines = ["[parameters]", *(f'"{name}" = "{value}"' for name, value in one.known.items() if known)]
    lines += ["[checks.negative_data_rejection]", f"expected-statuses = {REFUSALS}"]
    if left_out:
        lines += ["[[operations]]", f"include-name = {sorted(left_out)}", "enabled = false"]
    for pattern, proof in one.proofs.items() if proved else ():
        lines += ["[[operations]]", f"include-path-regex = '{pattern}'", f'headers = {{ Authorization = "{proof}" }}']
    settings.write_text("\n".join(lines))
    command = [
        *("-m", "schemathesis.cli", "--config-file", str(settings), "run", str(schema), "--url", one.url),
        *("--checks", "all", "--exclude-checks", LEFT_OUT, "--continue-on-failure", "--seed", "1"),
        *("--report-json-path", str(report), *arguments),
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=one.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await process.communicate()
    assert 0 == process.returncode, told.decode()
    found: dict[str, Any] = json.loads(report.read_text())
    print(found["test_cases"], found["running_time"])
    assert found["operations"]["tested"] == found["operations"]["total"] - len(left_out) > 45
    return found


async def test_who_may_is_answered_as_described(described: Described, on_sqlite: None) -> None:
    found = await judged(described, "--phases", "examples,coverage", proved=True, known=True, left_out=REPEATED)
    good = {route for route, status in described.answered if status < 300}
    named = {f"{method} {path}" for method, path in routes(await description(described))}

    assert found["test_cases"]["generated"] > 1000
    assert NOT_HERE | NOT_THERE == named - good - REPEATED, "the others were not only refused"


async def test_who_may_not_is_answered_as_described(described: Described, on_sqlite: None) -> None:
    await judged(described, "--phases", "coverage", "--mode", "positive", proved=False, known=False, left_out=REPEATED)

    good = {route for route, status in described.answered if status < 300}
    assert {"POST /auth/login", "GET /v1/families", "POST /v1/verify"} & good == set()
    assert {"GET /health/ready", "GET /.well-known/jwks.json"} <= good


@pytest.mark.soak
@pytest.mark.parametrize("proved", [True, False])
@pytest.mark.parametrize("known", [True, False])
async def test_a_long_search_finds_nothing_else(described: Described, proved: bool, known: bool) -> None:
    # an id that is given stands for each that was created: what follows from what is asked about others only
    phases = "examples,coverage,fuzzing" if known else "coverage,fuzzing,stateful"
    asked: tuple[str, ...] = ("--phases", phases, "--max-examples", "60", "--max-time", "120")
    if known:  # beside what is given, a parameter more is taken for a wrong request; it is not looked at
        asked += ("--mode", "positive")
    await judged(described, *asked, proved=proved, known=known)


async def description(one: Described) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=one.url, trust_env=False) as http:
        found: dict[str, Any] = (await http.get("/schema/openapi.json")).json()
        return found


def routes(described: dict[str, Any]) -> list[tuple[str, str]]:
    return [(method.upper(), path) for path, item in described["paths"].items() for method in item]


async def test_the_description_names_the_scope_that_the_matrix_knows(described: Described, on_sqlite: None) -> None:
    paths = (await description(described))["paths"]
    told = {
        f"{method.upper()} {path}": operation.get("security", [])
        for path, item in paths.items()
        for method, operation in item.items()
        if path.startswith("/v1")
    }

    wanted = {route: [{"client": [line.scope]}] if line.scope else [] for route, line in MATRIX.items()}
    assert wanted == {route: [one for one in needs if "client" in one] for route, needs in told.items()}
    assert {"user", "bound"} == {
        name for route, needs in told.items() if "verify" in route for one in needs for name in one
    }


async def test_every_route_is_described_with_words(described: Described, on_sqlite: None) -> None:
    paths = (await description(described))["paths"]

    assert [] == [
        f"{method} {path}" for path, item in paths.items() for method, one in item.items() if not one.get("description")
    ]
