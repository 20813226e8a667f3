"""Requests that no program should send, and errors that all have one shape, ours included (attacks 38, 39, 50).

A disk is made full by a limit of pages that only SQLite has.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

import app
from events import postgres, postgres_hold, sqlite
from events.sqlite_hold import SqliteHold
from tests.applications import application, own_token
from tests.conftest import PASSWORD, visiting
from tests.databases import held
from tests.visitors import PAGE, bearer, code, facts, let_pass, me, page_sign_in, refresh, sign_in, story

JSON = {"Content-Type": "application/json"}
ADMIN = {"username": "admin", "password": PASSWORD, "mode": "body"}
CHANGE = {"current": PASSWORD, "new": "gravel-topaz-stork-44-bassoon"}
POSTS = ("/auth/login", "/auth/refresh", "/auth/logout", "/auth/logout-all", "/auth/password")
REQUIRED = {
    "/auth/login": {"username": "admin", "password": "x", "mode": "body"},
    "/auth/refresh": {"refresh_token": "x"},
    "/auth/logout": {"refresh_token": "x"},
    "/auth/logout-all": {"refresh_token": "x"},
    "/auth/password": {"current": "x", "new": "y"},
}

NOT_JSON = [
    *(b"", b" ", b"x", b"null", b"true", b"1", b'"text"', b"[]", b"[{}]"),
    *(b"{", b"{}{}", b"{} x", b"{'a':1}", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{a:1}", b"{/*a*/}", b'{"a":1}\x00'),
    *(b'{"a":01}', b'{"a":.5}', b'{"a":+1}', b'{"a":1.}', b'{"a":0x1}', b'{"a":' + b"9" * 15_000 + b"}"),
    *(b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e999}', b'{"username":1e-999999999}'),
    *(b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\xc0\x80"}'),
    *(b'{"a":"\\ud800"}', b'{"\\udc00":1}', b'{"a":"\x00"}', b'{"a":"\n"}', b'{"a":"\\x"}'),
    *(b'{"a":' * 2000 + b"1" + b"}" * 2000, b"[" * 8000, b"[" * 8000 + b"]" * 8000),
    *(b"\x1f\x8b\x08\x00", b"%PDF", b"<a/>", b"username=admin&password=x"),
]


def shown(answer: httpx.Response) -> tuple[int, str]:
    """As `code`; nothing wrong with a request may ever look like a fault of ours."""
    assert answer.status_code < 500, answer.text
    return code(answer)


async def access(http: httpx.AsyncClient) -> dict[str, str]:
    return bearer((await sign_in(http))["access_token"])


async def test_attack_39_what_is_no_json_object_is_400_at_every_route(http: httpx.AsyncClient) -> None:
    headers = await access(http) | JSON
    for route in POSTS:
        for body in NOT_JSON:
            answer = await http.post(route, content=body, headers=headers)
            assert shown(answer) == (400, "invalid_request"), (route, body[:40])
            assert "access_token" not in answer.text


async def test_attack_39_a_field_of_another_type_is_400_at_every_route(http: httpx.AsyncClient) -> None:
    headers = await access(http)
    wrong: list[object] = [1, -1, 1.5, 1e308, 10**30, True, [], ["x"], {}, {"a": "x"}, [[["x"]]]]
    for route, required in REQUIRED.items():
        for name in required:
            for value in [*wrong, *([] if name == "refresh_token" else [None])]:
                answer = await http.post(route, json=required | {name: value}, headers=headers)
                assert shown(answer) == (400, "invalid_request"), (route, name, value)
            if name not in {"mode", "refresh_token"}:
                missing = {key: value for key, value in required.items() if key != name}
                assert shown(await http.post(route, json=missing, headers=headers)) == (400, "invalid_request")


@pytest.mark.parametrize("value", ['"2"', "2.0", "true", "null", "[2]"])
async def test_attack_39_what_only_looks_like_a_number_is_none(
    service: app.Service, http: httpx.AsyncClient, value: str
) -> None:
    operator = await application(service, "ops", scopes="clients:write", operator=1)
    headers = JSON | bearer(await own_token(http, operator))

    answer = await http.patch("/v1/clients/ops", content=f'{{"family_limit":{value}}}', headers=headers)

    assert (400, "invalid_request") == code(answer)
    assert "family_limit: expected `int`" in answer.json()["detail"]


async def test_attack_39_what_only_looks_like_a_flag_is_none(service: app.Service, http: httpx.AsyncClient) -> None:
    operator = await application(service, "ops", scopes="clients:write", operator=1)
    headers = JSON | bearer(await own_token(http, operator))

    for value in ("0", "1", '"true"', '"no"'):
        answer = await http.patch("/v1/clients/ops", content=f'{{"first_party":{value}}}', headers=headers)
        assert (400, "invalid_request") == code(answer)
        assert "first_party: expected `bool`" in answer.json()["detail"]


async def test_attack_38_a_member_that_comes_twice_is_400_in_whatever_spelling(http: httpx.AsyncClient) -> None:
    first = await sign_in(http)
    text = first["refresh_token"]
    for body in (
        f'{{"refresh_token":"x","refresh_token":"{text}"}}',
        f'{{"refresh_token":"{text}","refresh_token":"{text}"}}',
        f'{{"refresh_token":"{text}","refresh\\u005ftoken":"x"}}',
        f'{{"refresh_token":"{text}","client_id":"web","client_id":"web"}}',
        f'{{"refresh_token":"{text}","a":{{"b":1,"b":2}}}}',
        f'{{"refresh_token":["{text}"]}}',
        f'{{"refresh_token[]":"{text}"}}',
        f'{{"Refresh_Token":"{text}"}}',
    ):
        assert shown(await http.post("/auth/refresh", content=body, headers=JSON)) == (400, "invalid_request"), body
    many = "&".join(f"a{number}=" for number in range(300))
    for query in ("client_id=web&client_id=web", "client_id=web&client%5fid=mobile", "a=%ff", many):
        posted = await http.post(f"/auth/refresh?{query}", json={"refresh_token": text})
        got = await http.get(f"/auth/csrf?{query}", headers=PAGE)
        assert [(400, "invalid_request")] * 2 == [shown(posted), shown(got)], query
    assert (await refresh(http, text)).json()["refresh_token"] != text


async def test_attack_38_a_query_never_takes_the_place_of_the_body(http: httpx.AsyncClient) -> None:
    query = f"?username=admin&password={PASSWORD}&mode=body"

    assert shown(await http.post(f"/auth/login{query}", json={})) == (400, "invalid_request")
    assert shown(await http.post(f"/auth/login{query}")) == (400, "invalid_request")


@pytest.mark.parametrize("route", POSTS)
async def test_attack_39_another_content_type_or_none_is_415(http: httpx.AsyncClient, route: str) -> None:
    body = json.dumps(REQUIRED[route]).encode()
    for kind in (
        *("text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "*/*"),
        *("application/xml", "application/json-patch+json", "application/msgpack", "application/json, text/plain"),
        *("application/json; charset=utf-16", "application/json;charset=latin-1", "json"),
    ):
        answer = await http.post(route, content=body, headers={"Content-Type": kind})
        assert shown(answer) == (415, "unsupported_media_type"), kind
    assert shown(await http.post(route, content=body)) == (415, "unsupported_media_type")
    for coding in ("gzip", "deflate", "br", "zstd", "identity, gzip", "x"):
        packed = await http.post(route, content=body, headers=JSON | {"Content-Encoding": coding})
        assert shown(packed) == (415, "unsupported_media_type"), coding


@pytest.mark.parametrize("route", POSTS)
async def test_attack_39_a_body_over_16_kib_is_413(http: httpx.AsyncClient, route: str) -> None:
    for size in (16 * 1024 + 1, 300_000):
        answer = await http.post(route, content=b'{"a":"' + b"x" * (size - 8) + b'"}', headers=JSON)
        assert shown(answer) == (413, "body_too_large")


async def test_attack_39_a_body_without_its_length_is_411(http: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"{}"

    answer = await http.post("/auth/refresh", content=pieces(), headers=JSON | {"Transfer-Encoding": "chunked"})

    assert shown(answer) == (411, "length_required")


async def test_a_long_address_or_header_is_414_or_431(http: httpx.AsyncClient) -> None:
    assert shown(await http.get("/auth/me?" + "x" * 2100)) == (414, "url_too_long")
    assert shown(await http.get("/" + "x" * 2100)) == (414, "url_too_long")
    assert shown(await http.get("/auth/me", headers={"X": "x" * 9000})) == (431, "headers_too_large")
    assert shown(await http.get("/auth/me", headers={f"X-{n}": "x" for n in range(150)})) == (431, "headers_too_large")


async def test_every_route_takes_its_own_method_only(http: httpx.AsyncClient) -> None:
    public = ("/.well-known/jwks.json", "/v1/checkpoint", "/health/live", "/health/ready", "/")
    routes = dict.fromkeys(POSTS, "POST")
    routes |= dict.fromkeys(("/auth/me", "/auth/sessions", "/auth/csrf", *public), "GET")
    routes["/auth/sessions/fam_x"] = "DELETE"
    for route, own in routes.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} - {own}:
            answer = await http.request(method, route)
            assert shown(answer) == (405, "method_not_allowed"), (method, route)
            assert own in answer.headers["allow"]
        asked = await http.options(route)
        assert (asked.status_code, asked.content) == (204, b"")
        assert own in asked.headers["allow"]


async def test_what_is_not_there_is_404_in_the_one_shape(http: httpx.AsyncClient) -> None:
    for path in (
        *("/nothing", "/auth", "/auth/", "/auth/nothing", "/AUTH/me", "/auth//me", "/auth/me/x", "/oauth", "/debug"),
        *("/schema", "/schema/openapi.json", "/docs", "/metrics", "/.env", "/.git/config", "/static/x"),
        *("/auth/..%2f..%2fetc/passwd", "/%2e%2e/x", "/auth/%00", "/auth/%ff", "/api/../auth/nothing", "/🦉"),
    ):
        answer = await http.get(path)
        assert shown(answer) == (404, "not_found"), path


async def test_a_refusal_never_repeats_what_came_in(http: httpx.AsyncClient) -> None:
    marked = "MARK-<script>-ED"
    answers = [
        await http.post("/auth/login", json={marked: 1}),
        await http.post("/auth/login", json={"username": marked, "password": marked, "mode": marked}),
        await http.post("/auth/login", json={"username": marked, "password": marked, "client_id": marked}),
        await http.post("/auth/refresh", json={"refresh_token": marked}),
        await http.get(f"/{marked}"),
        await http.get(f"/auth/me?x={marked}", headers=bearer(marked)),
        await http.request(marked.upper(), "/auth/me"),
        await http.post("/auth/login", content=marked.encode(), headers=JSON),
        await http.post("/auth/login", content=b"{}", headers={"Content-Type": marked}),
        await http.get("/auth/csrf", params={"client_id": marked}, headers=PAGE),
    ]

    assert not [answer.text for answer in answers if "mark" in (answer.text + str(answer.headers)).lower()]
    assert {400, 401, 404, 405, 415} == {answer.status_code for answer in answers}


# When something of ours fails (attack 50)


@pytest.fixture
def quickly_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer gives the lock up after a moment instead of some seconds."""
    monkeypatch.setattr(sqlite.file_lock.__wrapped__, "__defaults__", (0.2,))  # type: ignore[attr-defined]
    limit = postgres_hold._LIMIT.replace(str(postgres.LOCK_MS), "100")
    monkeypatch.setattr(postgres_hold, "_LIMIT", limit)


async def test_attack_50_while_another_process_holds_the_ledger_nothing_is_decided_and_nobody_is_signed_out(
    service: app.Service, http: httpx.AsyncClient, quickly_unavailable: None
) -> None:
    first = await sign_in(http)
    page = await page_sign_in(http)
    own = PAGE | {"X-CSRF-Token": page.json()["csrf_token"]}
    jar = dict(http.cookies)
    async with visiting(service) as alone:
        with held(service.store):
            answers = await asyncio.gather(
                refresh(alone, first["refresh_token"]),
                http.post("/auth/refresh", json={}, headers=own),
                http.post("/auth/login", json=ADMIN),
                http.post("/auth/logout", json={}, headers=own),
                http.post("/auth/logout-all", json={}, headers=own),
                http.delete(f"/auth/sessions/{first['family_id']}", headers=bearer(page.json()["access_token"])),
                http.post("/auth/password", json=CHANGE, headers=bearer(first["access_token"])),
                http.get("/health/ready"),
            )
            looked = await me(http, first["access_token"])
            alive = await http.get("/health/live")

    for answer in answers:
        assert (code(answer), answer.headers["retry-after"]) == ((503, "unavailable"), "1")
        assert "set-cookie" not in answer.headers
    assert (looked.status_code, alive.status_code) == (200, 200)
    assert jar == dict(http.cookies)
    assert (await http.get("/health/ready")).status_code == 200
    assert (
        await http.post("/auth/refresh", json={}, headers=PAGE | {"X-CSRF-Token": page.json()["csrf_token"]})
    ).status_code == 200
    http.cookies.clear()
    assert (await refresh(http, first["refresh_token"])).status_code == 200
    assert ["token.issued", "token.rotated"] == await story(service, first["family_id"])


async def test_attack_50_an_honest_retry_after_a_long_outage_is_no_theft(
    service: app.Service, http: httpx.AsyncClient, quickly_unavailable: None
) -> None:
    """Our own slowness must never make a retry a reuse."""
    first = await sign_in(http)
    lost = (await refresh(http, first["refresh_token"])).json()
    with held(service.store):
        assert code(await refresh(http, first["refresh_token"])) == (503, "unavailable")
        let_pass(service, 300)
    again = await refresh(http, first["refresh_token"])

    assert (again.status_code, again.json()["refresh_token"]) == (200, lost["refresh_token"])


async def test_attack_50_a_database_that_cannot_be_read_is_503_and_never_a_bad_token(
    service: app.Service, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    first = await sign_in(http)
    (tmp_path / "broken.db").write_bytes(b"this is no database" * 1000)
    broken, whole = sqlite.read_engine(tmp_path / "broken.db"), service.engine
    service.family_reader._engine = service.subject_reader._engine = broken
    answers = [
        await me(http, first["access_token"]),
        await http.get("/auth/sessions", headers=bearer(first["access_token"])),
        await http.delete(f"/auth/sessions/{first['family_id']}", headers=bearer(first["access_token"])),
        await http.post("/auth/login", json=ADMIN),
    ]
    service.family_reader._engine = service.subject_reader._engine = whole
    await broken.dispose()

    assert [((503, "unavailable"), "1")] * 4 == [(code(one), one.headers["retry-after"]) for one in answers]
    assert (await me(http, first["access_token"])).status_code == 200


async def test_attack_50_a_full_disk_is_503_and_what_was_answered_stays(
    service: app.Service, http: httpx.AsyncClient, on_sqlite: None
) -> None:
    first = await sign_in(http)
    assert isinstance(service.writer._hold, SqliteHold)
    connection = service.writer._hold._connection
    assert connection is not None
    size = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    connection.exec_driver_sql(f"PRAGMA max_page_count={size}").close()
    statuses = [200]
    while statuses[-1] == 200 and len(statuses) < 200:
        statuses.append((await http.post("/auth/login", json=ADMIN | {"device": "x" * 1000})).status_code)
        await service.families.close()
    issued = [event for event in await facts(service) if event.fact.TYPE == "token.issued"]

    assert statuses[-1] == 503
    assert statuses.count(200) == len(issued)
    assert (await refresh(http, first["refresh_token"])).status_code == 200


async def test_attack_50_a_service_that_cannot_sign_uses_no_token_up(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    first = await sign_in(http)
    ring = service.keys.ring
    service.keys.ring = type(ring)()
    unsigned = [
        await refresh(http, first["refresh_token"]),
        await http.post("/auth/login", json=ADMIN),
    ]
    told = await story(service, first["family_id"])
    service.keys.ring = ring

    assert [(503, "unavailable")] * 2 == [code(answer) for answer in unsigned]
    assert ["token.issued"] == told
    assert (await refresh(http, first["refresh_token"])).status_code == 200


async def test_attack_50_a_fault_of_ours_is_500_without_a_word_about_it(
    service: app.Service, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_token: str) -> None:
        raise ValueError(PASSWORD)

    first = await sign_in(http)
    monkeypatch.setattr(service.families, "authenticate", broken)
    answer = await me(http, first["access_token"])

    assert code(answer) == (500, "internal")
    assert PASSWORD not in answer.text
