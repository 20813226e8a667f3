"""What the line of a request says of it: who asked, and why it was turned away; and which numbers count that."""

import io
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import app
from core import origin
from core.access import Refusal
from core.metrics import Metrics
from events import ids
from tests.applications import application, own_token
from tests.browsers import Browser
from tests.conftest import PASSWORD, visiting
from tests.edges import app_of
from tests.keyholders import KeyHolder, bound_sign_in
from tests.logged import logged
from tests.visitors import (
    PAGE,
    bearer,
    forged,
    let_pass,
    me,
    packed,
    page_sign_in,
    sign_in,
    stream_of,
    unpacked,
)

pytestmark = pytest.mark.usefixtures("sqlite_store")
"""Lines are the same on every engine."""

DESCRIBED = Path(__file__).parent.parent / "docs" / "metrics.md"
REASONS = {
    *Refusal,
    origin.NO_PROOF,
    origin.REPEATED,
    origin.CROSS_SITE,
    origin.FOREIGN_ORIGIN,
    origin.UNKNOWN_SITE,
    origin.CSRF_TOKEN,
}
EVIL = {"Origin": "https://evil.test"}
CROSSING = {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}

Count = Callable[..., float | None]


class Line:
    """The lines of requests, of which mostly the newest is asked for."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def __call__(self) -> dict[str, Any]:
        return self.last(1)[0]

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    def last(self, number: int) -> list[dict[str, Any]]:
        found = [json.loads(text) for text in self._stream.getvalue().splitlines()]
        return [one for one in found if one["event"] == "request"][-number:]


@pytest.fixture
def line() -> Iterator[Line]:
    with logged("debug") as stream:
        yield Line(stream)


async def presented(http: httpx.AsyncClient, path: str, token: str) -> None:
    """A refresh token, as each route takes it."""
    if path.startswith("/auth/"):
        await http.post(path, json={"refresh_token": token})
    else:
        form = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": token, "token": token}
        await http.post(path, data=form)


async def admin(service: app.Service) -> bytes:
    found = await service.subjects.find("admin")
    assert found is not None
    return found.id


@pytest.fixture
async def http(service: app.Service) -> AsyncIterator[httpx.AsyncClient]:
    """Requests that are counted, as where there is a port for numbers."""
    edge = app_of(service)
    edge.config = replace(edge.config, observe=service.metrics.request)
    async with visiting(service) as client:
        yield client


@pytest.fixture
def count(service: app.Service) -> Count:
    """How often something was counted; None for never."""

    def of(name: str, **labels: str) -> float | None:
        return service.metrics.registry.get_sample_value(f"session_ledger_{name}_total", labels)

    return of


def altered(token: str) -> str:
    """Another's name in a token whose signature is as it was."""
    head, claims, signature = token.split(".")
    return f"{head}.{packed(unpacked(claims) | {'sub': 'sub_' + 'a' * 26})}.{signature}"


def headless(token: str) -> str:
    return f"{packed({})}.{token.partition('.')[2]}"


# Who asked


async def test_the_line_of_whoever_comes_with_an_access_token_names_session_and_client(
    http: httpx.AsyncClient, line: Line
) -> None:
    mine, other = await sign_in(http), await sign_in(http)
    sent = bearer(mine["access_token"])
    asked = [
        await http.get("/auth/me", headers=sent),
        await http.get("/auth/sessions", headers=sent),
        await http.get("/v1/verify", headers=sent),
        await http.get("/v1/verify/orders", headers=sent),
        await http.post("/auth/password", headers=sent, json={"current": "wrong", "new": "short"}),
        await http.delete("/auth/sessions/fam_nobody", headers=sent),
        await http.delete(f"/auth/sessions/{other['family_id']}", headers=sent),
    ]

    assert [200, 200, 200, 200, 400, 404, 204] == [one.status_code for one in asked]
    assert [(mine["family_id"], "web")] * 7 == [(one["family"], one["client"]) for one in line.last(7)]


@pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout-all"])
async def test_the_line_of_a_logout_names_the_session_and_what_became_of_it(
    http: httpx.AsyncClient, line: Line, path: str
) -> None:
    mine = await sign_in(http)

    await http.post(path, json={"refresh_token": mine["refresh_token"]})

    assert (mine["family_id"], "web", "ended") == (line()["family"], line()["client"], line()["verdict"])


@pytest.mark.parametrize("path", ["/auth/refresh", "/auth/logout", "/auth/logout-all"])
async def test_a_genuine_token_without_its_csrf_token_has_a_line_that_names_its_session(
    http: httpx.AsyncClient, line: Line, path: str
) -> None:
    mine = (await page_sign_in(http)).json()

    await http.post(path, json={}, headers=PAGE)

    assert (403, mine["family_id"], "web") == (line()["status"], line()["family"], line()["client"])


async def test_garbage_is_nobodys_and_its_line_names_no_session(http: httpx.AsyncClient, line: Line) -> None:
    mine = await sign_in(http)

    await http.post("/auth/logout", json={"refresh_token": mine["refresh_token"][:-1] + "x"})

    assert (204, False, False) == (line()["status"], "family" in line(), "client" in line())


async def test_a_session_that_ends_at_the_dashboard_is_named_with_the_verdict(
    http: httpx.AsyncClient, service: app.Service, line: Line
) -> None:
    staff = Browser(http)
    await staff.signs_in()
    (held,) = [one for one in await service.family_reader.of_subject(await admin(service)) if one.living]
    await service.families.revoke(held.id, "staff", "test")

    await staff.opens("/dashboard/me")
    page = line()
    await staff.opens("/dashboard/me", **{"HX-Request": "true"})

    named = ids.to_text("fam", held.id)
    assert [("revoked", named)] * 2 == [(one["verdict"], one["family"]) for one in (page, line())]


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/introspect"])
async def test_a_client_that_did_not_prove_itself_is_named_in_the_line(
    http: httpx.AsyncClient, service: app.Service, line: Line, path: str
) -> None:
    await application(service)
    form = {"grant_type": "client_credentials", "token": "x"}

    await http.post(path, data=form, auth=httpx.BasicAuth("backend", "wrong"))

    assert (401, "invalid_client", "backend") == (line()["status"], line()["code"], line()["client"])


async def test_a_client_whose_key_does_not_fit_or_that_tries_too_often_is_named_too(
    http: httpx.AsyncClient, service: app.Service, line: Line
) -> None:
    await application(service, "signer")
    form = {"grant_type": "client_credentials"} | KeyHolder().asserted("signer")

    for _ in range(100):
        await http.post("/oauth/token", data=form)
        assert "signer" == line()["client"]
        if line()["status"] == 429:
            break

    assert "rate_limited" == line()["code"]


@pytest.mark.parametrize("name", ["slc_" + "s" * 43, "nobody", "backend ", "Backend"])
async def test_what_is_no_clients_name_is_in_no_line(
    http: httpx.AsyncClient, service: app.Service, line: Line, name: str
) -> None:
    """It may be a secret that was put into the wrong field."""
    await application(service)

    await http.post("/oauth/token", data={"grant_type": "client_credentials", "client_id": name})

    assert (401, False) == (line()["status"], "client" in line())
    assert name.strip() not in line.text


# What is counted of refresh tokens


@pytest.mark.parametrize("path", ["/auth/refresh", "/oauth/token"])
async def test_garbage_instead_of_a_refresh_token_is_counted_wherever_it_comes(
    http: httpx.AsyncClient, count: Count, path: str
) -> None:
    mine = await sign_in(http)

    await presented(http, path, mine["refresh_token"][:-1] + "x")
    await presented(http, path, "garbage")
    await presented(http, path, mine["refresh_token"])

    assert (2, 1) == tuple(count("verdicts", route=path, verdict=verdict) for verdict in ("garbage", "rotated"))


@pytest.mark.parametrize("path", ["/auth/refresh", "/oauth/token", "/auth/logout", "/auth/logout-all", "/oauth/revoke"])
async def test_a_token_that_only_a_leaked_key_can_make_is_counted_and_told_from_garbage(
    http: httpx.AsyncClient, service: app.Service, line: Line, count: Count, path: str
) -> None:
    mine = await sign_in(http)

    await presented(http, path, forged(service, mine["refresh_token"], nonce=b"n" * 16))
    unknown = line()
    await presented(http, path, "garbage")

    assert ("unknown", "web") == (unknown["verdict"], unknown["client"])
    assert 1 == count("verdicts", route=path, verdict="unknown")


def test_what_is_worth_an_alarm_of_a_leaked_key_is_described() -> None:
    alarms = DESCRIBED.read_text("utf-8").partition("Worth an alarm:")[2]

    assert 'verdict="unknown"' in alarms


# Why a token or a page was turned away


@pytest.mark.parametrize("path", ["/auth/me", "/v1/verify"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [(altered, "signature"), (lambda _: "garbage", "malformed"), (headless, "header")],
)
async def test_the_line_says_why_an_access_token_was_refused_and_the_answer_does_not(
    http: httpx.AsyncClient, line: Line, count: Count, path: str, change: Callable[[str], str], reason: str
) -> None:
    good = (await sign_in(http))["access_token"]

    answer = await http.get(path, headers=bearer(change(good)))

    assert (401, "invalid_token") == (answer.status_code, answer.json()["code"])
    assert reason not in answer.text
    assert (path, reason) == (line()["route"].rstrip("/"), line()["reason"])
    assert 1 == count("refusals", route=line()["route"], reason=reason)


async def test_an_access_token_that_is_too_old_is_told_from_one_whose_session_was_ended(
    http: httpx.AsyncClient, service: app.Service, line: Line
) -> None:
    mine, other = await sign_in(http), await sign_in(http)
    await service.families.revoke(stream_of(mine["family_id"]), "staff", "test")

    await me(http, mine["access_token"])
    ended = line()
    let_pass(service, 901 + 5)
    await me(http, other["access_token"])

    assert ("ended", mine["family_id"], "web") == (ended["reason"], ended["family"], ended["client"])
    assert "expired" == line()["reason"]


async def test_a_clients_own_token_is_refused_with_a_reason_too(
    http: httpx.AsyncClient, service: app.Service, line: Line
) -> None:
    backend = await application(service, scopes="events:read")
    own = await own_token(http, backend)

    await http.get("/v1/events", headers=bearer(altered(own)))
    signature = line()
    await service.clients.revoke_access("backend", "cli")
    await http.get("/v1/events", headers=bearer(own))

    assert ("signature", False) == (signature["reason"], "client" in signature)
    assert ("ended", "backend") == (line()["reason"], line()["client"])


@pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/revoke"])
async def test_a_token_that_somebody_asks_about_has_its_reason_too(
    http: httpx.AsyncClient, service: app.Service, line: Line, count: Count, path: str
) -> None:
    backend = await application(service, scopes="introspect")
    token = altered((await sign_in(http))["access_token"])

    answer = await http.post(path, data={"token": token}, auth=backend.basic)

    assert 200 == answer.status_code
    assert ("signature", "backend", False) == (line()["reason"], line()["client"], "verdict" in line())
    assert 1 == count("refusals", route=path, reason="signature")


async def test_a_token_without_the_proof_of_its_key_says_so_in_the_line(http: httpx.AsyncClient, line: Line) -> None:
    bound = await bound_sign_in(http, KeyHolder(), PASSWORD)

    await me(http, bound["access_token"])

    assert (401, "binding", bound["family_id"]) == (line()["status"], line()["proof"], line()["family"])


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "no_proof"),
        (EVIL, "foreign_origin"),
        (CROSSING, "cross_site"),
        (PAGE | {"Sec-Fetch-Site": "elsewhere"}, "unknown_site"),
        (PAGE | {"X-CSRF-Token": "wrong"}, "csrf_token"),
    ],
)
async def test_the_line_says_why_a_page_may_not_use_the_cookies_and_the_answer_does_not(
    http: httpx.AsyncClient, line: Line, count: Count, headers: Any, reason: str
) -> None:
    await page_sign_in(http)

    answer = await http.post("/auth/refresh", json={}, headers=headers)

    assert (403, "csrf_failed") == (answer.status_code, answer.json()["code"])
    assert reason not in answer.text
    assert reason == line()["reason"]
    assert 1 == count("refusals", route="/auth/refresh", reason=reason)


async def test_a_form_from_elsewhere_and_one_without_its_token_have_their_reasons_at_the_dashboard(
    http: httpx.AsyncClient, line: Line, count: Count
) -> None:
    staff = Browser(http)
    await staff.signs_in()

    await staff.sends("/dashboard/sign-out", {}, CROSSING)
    crossing = line()
    await staff.sends("/dashboard/sign-out", {"csrf": "wrong"})

    assert ["cross_site", "csrf_token"] == [crossing["reason"], line()["reason"]]
    assert 1 == count("refusals", route="/dashboard/sign-out", reason="cross_site")


def test_every_reason_is_described_and_there_are_few_of_them() -> None:
    described = set(re.findall(r"`([a-z_]+)`", DESCRIBED.read_text("utf-8")))

    assert set() == REASONS - described
    assert len(REASONS) < 20


def test_a_request_without_a_reason_counts_for_none() -> None:
    metrics = Metrics()
    metrics.request("GET", "/auth/me", 200, 0.001, {"family": "fam_"})

    assert [] == [one for kind in metrics.registry.collect() for one in kind.samples if "refusals" in one.name]
