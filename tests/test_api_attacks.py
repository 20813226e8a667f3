"""The log under attack, and what a whole visit leaves in it; and that nobody learns from it what he typed (24, 49)."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

import app
from events.store import Store
from tests.check import found_in_store
from tests.conftest import PASSWORD, MakeSettings, running, visiting
from tests.logged import logged
from tests.visitors import ALICE, PAGE, bearer, code, me, page_sign_in, refresh, register, sign_in, stream_of

EVIL = (
    '\r\n{"level":"info","event":"request","status":200}',
    "%0d%0aSet-Cookie:x=1",
    "\x1b]0;owned\x07",
    "\u202egnp.exe",
    "\u2028next line",
    "${jndi:ldap://evil.test/a}",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "'; DROP TABLE events; --",
    "x" * 1000,
)
LINE = {"event", "level", "timestamp", "method", "route", "status", "ms", "request_id", "network"}
EXTRA = {"family", "client", "verdict", "code"}
"""What a line of ours may hold beside, at these routes."""
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def written() -> Iterator[io.StringIO]:
    """Where the log goes during a test."""
    with logged("debug") as stream:
        yield stream


@pytest.fixture
def lines(written: io.StringIO) -> Lines:
    """The requests that were logged so far. Every line must be JSON."""
    return lambda: [
        line for text in written.getvalue().splitlines() if (line := json.loads(text))["event"] == "request"
    ]


async def test_attack_24_nothing_typed_or_sent_gets_into_the_log_or_into_a_header(
    service: app.Service, http: httpx.AsyncClient, written: io.StringIO
) -> None:
    for evil in EVIL:
        header = evil.encode("utf-8").replace(b"\r", b"").replace(b"\n", b"")
        answers = [
            await http.post("/auth/login", json={"username": evil, "password": evil, "device": evil, "mode": "body"}),
            await http.post("/auth/login", json={"username": "a", "password": "b", "client_id": evil}),
            await http.post("/auth/refresh", json={"refresh_token": evil}),
            await http.get(
                "/auth/me",
                headers=[(b"User-Agent", header), (b"Referer", header), (b"Authorization", b"Bearer " + header)],
            ),
            await http.get("/auth/csrf", params={"client_id": evil}, headers=PAGE),
            await http.get("/auth/sessions/" + quote(evil[:200], safe="")),
        ]
        for answer in answers:
            assert answer.status_code in {400, 401, 403, 404, 405, 429}
            assert "x" not in answer.headers.get("set-cookie", "")
    text = written.getvalue()

    assert text.count("\n") == len(text.splitlines()) == 6 * len(EVIL)
    assert text.isascii()
    assert not [
        evil for evil in ("jndi", "script", "DROP", "7*7", "owned", "gnp", "xxxx", "Set-Cookie") if evil in text
    ]


async def test_attack_24_a_device_name_is_given_back_as_it_was_typed_and_never_logged(
    service: app.Service, http: httpx.AsyncClient, written: io.StringIO
) -> None:
    for evil in EVIL:
        mine = await sign_in(http, device=evil)
        listed = (await http.get("/auth/sessions", headers=bearer(mine["access_token"]))).json()["sessions"]
        assert listed[0]["device"] == evil

    assert "jndi" not in written.getvalue()


async def test_a_visit_leaves_one_line_for_each_request_with_these_fields_only(
    service: app.Service, http: httpx.AsyncClient, lines: Lines
) -> None:
    mine = await sign_in(http)
    second = (await refresh(http, mine["refresh_token"])).json()
    await me(http, second["access_token"])
    await refresh(http, mine["refresh_token"] + "x")
    await http.delete(f"/auth/sessions/{mine['family_id']}", headers=bearer(second["access_token"]))
    ended = await refresh(http, second["refresh_token"])
    await http.get(f"/nothing/{PASSWORD}?token={second['access_token']}")
    found = lines()

    assert [LINE] * len(found) == [LINE & set(line) for line in found]
    assert not set().union(*found) - LINE - EXTRA
    assert [
        ("/auth/login", 200, "begun"),
        ("/auth/refresh", 200, "rotated"),
        ("/auth/me", 200, None),
        ("/auth/refresh", 401, None),
        ("/auth/sessions/{family_id}", 204, None),
        ("/auth/refresh", 401, "revoked"),
        ("", 404, None),
    ] == [(line["route"], line["status"], line.get("verdict")) for line in found]
    assert (mine["family_id"], "session_revoked") == (found[5]["family"], found[5]["code"])
    assert found[5]["request_id"] == ended.headers["x-request-id"]
    assert {"203.0.113.0/24"} == {line["network"] for line in found}


async def test_attack_49_no_secret_of_a_whole_visit_is_in_log_errors_or_database(
    make_settings: MakeSettings, store: Store, written: io.StringIO
) -> None:
    """Whatever was typed, issued or derived; the database is searched as bytes, write-ahead log included."""
    settings = make_settings()
    secrets, refusals = {PASSWORD, ALICE, "typed-into-the-wrong-field"}, []
    async with running(settings) as service, visiting(service) as http:
        await register(service)
        mine = await sign_in(http, "alice", ALICE)
        newer = (await refresh(http, mine["refresh_token"])).json()
        secrets |= {mine["refresh_token"], mine["access_token"], newer["refresh_token"], newer["access_token"]}
        refusals += [await refresh(http, text) for text in (mine["access_token"], mine["refresh_token"][:-1])]
        page = await page_sign_in(http)
        secrets |= {http.cookies["__Host-refresh-web"], page.json()["csrf_token"], page.json()["access_token"]}
        refusals += [await http.post("/auth/refresh", json={}, headers=PAGE)]
        refusals += [
            await http.post(
                "/auth/login", json={"username": "typed-into-the-wrong-field", "password": ALICE, "mode": "body"}
            ),
            await http.post("/auth/login", json={"username": "alice", "password": PASSWORD, "mode": "body"}),
            await http.get(
                "/auth/me?access_token=" + newer["access_token"], headers=bearer(newer["access_token"] + "x")
            ),
        ]
        shown = repr([service.families.__dict__, service.settings, service.master, service.keys, service.keys.ring])
    master = settings.master_key_text or (settings.data_dir / "master-key").read_text("utf-8").strip()
    secrets |= {master.rpartition(":")[2]}
    seen = written.getvalue() + shown + "".join(answer.text + str(answer.headers) for answer in refusals)

    assert {400, 401, 403} >= {code(answer)[0] for answer in refusals}
    assert not [secret for secret in secrets if secret in seen]
    assert set() == found_in_store(store, [*secrets, bytes.fromhex(master.rpartition(":")[2])])


async def test_a_request_id_of_ours_joins_answer_log_and_ledger(
    service: app.Service, http: httpx.AsyncClient, lines: Lines
) -> None:
    answer = await http.post(
        "/auth/login",
        json={"username": "admin", "password": PASSWORD, "mode": "body"},
        headers={
            "X-Request-Id": "theirs",
            "Request-Id": "theirs",
            "Traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        },
    )
    ours = answer.headers["x-request-id"]
    (event,) = await service.history.of_stream(stream_of(answer.json()["family_id"]), 0, 10)

    assert ours == lines()[-1]["request_id"]
    assert ours == event.fact.request
    assert "theirs" not in str(answer.headers)


async def test_health_is_not_logged_at_the_usual_level(http: httpx.AsyncClient, lines: Lines) -> None:
    await http.get("/health/live")

    assert [line["level"] for line in lines()] == ["debug"]
