"""The edge over a real Litestar application: caps, strict bodies, headers, one line (attacks 14, 24, 32, 38, 39)."""

import asyncio
import io
import ipaddress
import json
import logging
import re
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Literal

import httpx
import msgspec
import pytest
import structlog
from litestar import Litestar, Request, Response, delete, get, post
from litestar.exceptions import NotAuthorizedException
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Stream

import edge
from api.problems import exception_handlers, problem
from core import journal
from edge import Edge, EdgeConfig, note, passage_of
from tests.logged import logged

SECRET = "hunter2-hunter2"
OWN = "https://auth.example.test"
Lines = Callable[[], list[dict[str, Any]]]


class Busy(Exception):
    """Nothing was decided."""


class Login(msgspec.Struct, forbid_unknown_fields=True):
    username: str
    password: Annotated[str, msgspec.Meta(max_length=64)] = ""
    mode: Literal["cookie", "body"] = "cookie"


@post("/auth/login", status_code=200)
async def login(data: JSONBody[Login]) -> dict[str, str]:
    return {"username": data.username}


@post(["/auth/echo", "/v1/echo"], status_code=200)
async def echo(request: Request[Any, Any, Any]) -> Response[bytes]:
    return Response(await request.body(), media_type="application/octet-stream")


@post(["/oauth/token", "/dashboard/kill"], status_code=200)
async def form(request: Request[Any, Any, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in (await request.form()).items()}


@get("/auth/seen")
async def seen(request: Request[Any, Any, Any]) -> dict[str, str]:
    passage = passage_of(request.scope)
    return {"address": passage.address, "network": passage.network, "agent": passage.agent, "id": passage.request_id}


@get("/v1/families/{family:str}")
async def one_family(request: Request[Any, Any, Any], family: FromPath[str]) -> dict[str, str]:
    note(request.scope, family=family, verdict="rotated", password=SECRET, username="alice")
    return {"host": "unused"}


@get("/v1/events")
async def events(limit: FromQuery[int] = 1) -> dict[str, int]:
    return {"limit": limit}


@delete("/auth/sessions/{family:str}")
async def end(family: FromPath[str]) -> None:
    return None


@get("/.well-known/jwks.json")
async def jwks() -> Response[dict[str, Any]]:
    return Response({"keys": []}, headers={"Cache-Control": "public, max-age=300"})


@get("/v1/throttled")
async def throttled() -> Response[Any]:
    return problem(429, "rate_limited", "Too many tries.", {"Retry-After": "3"})


@get("/v1/guarded")
async def guarded() -> None:
    raise NotAuthorizedException(SECRET)


@get(["/v1/broken", "/oauth/broken", "/dashboard/broken"])
async def broken() -> None:
    raise ValueError(SECRET) from KeyError(SECRET)


@get(["/v1/busy", "/oauth/busy"])
async def busy() -> None:
    raise Busy(SECRET)


@get("/v1/half")
async def half() -> Stream:
    async def parts() -> AsyncIterator[bytes]:
        yield b"half of it"
        raise ValueError(SECRET)

    return Stream(parts())


@get("/v1/slow")
async def slow(request: Request[Any, Any, Any]) -> None:
    request.app.state.reached.set()
    await asyncio.sleep(3600)


@get("/v1/begun")
async def begun(request: Request[Any, Any, Any]) -> Stream:
    async def parts() -> AsyncIterator[bytes]:
        yield b"the first half"
        request.app.state.reached.set()
        await request.app.state.go_on.wait()
        yield b" and the second"

    return Stream(parts())


@get("/health/live")
async def live() -> dict[str, str]:
    return {"status": "live"}


ROUTES = [
    login,
    echo,
    form,
    seen,
    one_family,
    events,
    end,
    jwks,
    throttled,
    guarded,
    broken,
    busy,
    half,
    slow,
    begun,
    live,
]


def page(status: int, code: str, detail: str) -> bytes:
    return f"<h1>{status} {code}</h1><p>{detail}</p>".encode()


def served(public_url: str = OWN, **settings: Any) -> Edge:
    app = Litestar(ROUTES, exception_handlers=exception_handlers(), openapi_config=None, logging_config=None)
    app.state.go_on = asyncio.Event()
    return Edge(app, EdgeConfig(public_url, unavailable=(Busy,), page=page, **settings))


def client(app: Edge | None = None, peer: str = "203.0.113.7") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app or served(), client=(peer, 4711))
    return httpx.AsyncClient(transport=transport, base_url=OWN)


@pytest.fixture(autouse=True)
def written() -> Iterator[io.StringIO]:
    """Where the log goes during a test."""
    with logged("info") as stream:
        yield stream


@pytest.fixture
def lines(written: io.StringIO) -> Lines:
    """The log of the test so far. Every line must be JSON."""
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


async def raw(app: Edge, *messages: dict[str, Any], **scope: Any) -> list[dict[str, Any]]:
    """What the application sends when the server passes on exactly this."""
    asked = {
        "type": "http", "method": "POST", "path": "/auth/echo", "raw_path": b"/auth/echo", "query_string": b"",
        "headers": [(b"content-type", b"application/json")], "client": ("203.0.113.7", 1), "state": {},
    } | scope  # fmt: skip
    given = iter(messages)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        for message in given:
            return message
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await app(asked, receive, send)
    return sent


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


# The end


async def under_way(edge: Edge, path: str) -> asyncio.Task[httpx.Response]:
    """A request that has reached its route."""
    edge.app.state.reached = asyncio.Event()  # type: ignore[attr-defined]
    asked = asyncio.create_task(client(edge).get(path))
    await edge.app.state.reached.wait()  # type: ignore[attr-defined]
    return asked


async def test_who_has_no_answer_when_the_service_ends_is_told_to_try_again(lines: Lines) -> None:
    edge = served()
    slow, begun = await under_way(edge, "/v1/slow"), await under_way(edge, "/v1/begun")
    edge.cut()
    refused = await slow

    assert (503, "unavailable", "1") == (refused.status_code, refused.json()["code"], refused.headers["retry-after"])
    assert [503] == [line["status"] for line in lines()]
    edge.app.state.go_on.set()  # type: ignore[attr-defined]
    assert b"the first half and the second" == (await begun).content
    assert set() == edge.under_way


async def test_a_client_that_goes_away_is_not_answered(lines: Lines) -> None:
    edge = served()
    slow = await under_way(edge, "/v1/slow")
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow

    assert [499] == [line["status"] for line in lines()]
    assert set() == edge.under_way


# Headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/auth/seen", 200),
        ("GET", "/nothing", 404),
        ("DELETE", "/auth/seen", 405),
        ("HEAD", "/auth/seen", 405),
        ("POST", "/auth/login", 400),
        ("GET", "/v1/broken", 500),
        ("GET", "/v1/busy", 503),
        ("GET", "//auth/seen", 404),
        ("GET", "/v1/throttled", 429),
        ("GET", "/v1/guarded", 401),
        ("DELETE", "/auth/sessions/x", 204),
    ],
)
async def test_every_answer_of_the_api_carries_the_security_headers(method: str, path: str, status: int) -> None:
    async with client() as http:
        answer = await http.request(method, path)

    assert answer.status_code == status
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
    assert answer.headers["server"] == "session-ledger"
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", answer.headers["x-request-id"])


async def test_the_dashboard_has_its_own_policy_on_pages_and_errors() -> None:
    async with client() as http:
        for path in ("/dashboard/nothing", "/dashboard/broken", "/dashboard"):
            answer = await http.get(path)
            policy = answer.headers["content-security-policy"]

            assert "script-src 'self'" in policy
            assert policy.endswith("upgrade-insecure-requests")
            assert "unsafe" not in policy
            assert answer.headers["cross-origin-opener-policy"] == "same-origin"
            assert answer.headers["x-robots-tag"] == "noindex"
            assert answer.headers["cache-control"] == "no-store"


async def test_on_plain_http_nothing_demands_https() -> None:
    async with client(served(public_url="http://localhost:8000")) as http:
        answers = [await http.get("/auth/seen"), await http.get("/dashboard/nothing")]

    assert not [answer for answer in answers if "strict-transport-security" in answer.headers]
    assert not [answer for answer in answers if "upgrade-insecure" in answer.headers["content-security-policy"]]


async def test_a_header_that_a_route_sets_itself_stays() -> None:
    async with client() as http:
        answer = await http.get("/.well-known/jwks.json")

    assert answer.headers.get_list("cache-control") == ["public, max-age=300"]


async def test_a_request_id_from_outside_is_ignored() -> None:
    async with client() as http:
        answer = await http.get("/auth/seen", headers={"X-Request-Id": "forged"})

    assert answer.headers.get_list("x-request-id") == [answer.json()["id"]]
    assert answer.json()["id"] != "forged"


# Where it came from (attacks 23 and 32)


async def test_the_address_is_the_peers_unless_a_trusted_proxy_says_otherwise() -> None:
    forged = {"X-Forwarded-For": "198.51.100.1", "X-Real-IP": "198.51.100.2", "Forwarded": "for=198.51.100.3"}
    async with client() as http:
        direct = (await http.get("/auth/seen", headers=forged)).json()
    async with client(served(trusted=(ipaddress.ip_network("10.0.0.0/8"),)), peer="10.0.0.1") as http:
        proxied = (await http.get("/auth/seen", headers=forged)).json()

    assert (direct["address"], direct["network"]) == ("203.0.113.7", "203.0.113.0/24")
    assert (proxied["address"], proxied["network"]) == ("198.51.100.1", "198.51.100.0/24")


async def test_repeated_forwarding_headers_are_one_list() -> None:
    app = served(trusted=(ipaddress.ip_network("10.0.0.0/8"),))
    async with client(app, peer="10.0.0.1") as http:
        answer = await http.get(
            "/auth/seen", headers=[("X-Forwarded-For", "192.0.2.66"), ("X-Forwarded-For", "198.51.100.1")]
        )

    assert answer.json()["address"] == "198.51.100.1"


async def test_a_unix_socket_has_no_address_and_breaks_nothing() -> None:
    sent = await raw(served(), part(b""), method="GET", path="/auth/seen", raw_path=b"/auth/seen", client=None)

    assert json.loads(sent[1]["body"])["address"] == ""


async def test_host_and_forwarded_host_change_nothing_32() -> None:
    poison = {
        "Host": "evil.test",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Prefix": "/e",
    }
    async with client() as http:
        answers = [await http.get(path, headers=poison) for path in ("/auth/seen", "/nothing", "/v1/broken")]

    assert not [answer for answer in answers if "evil" in answer.text + str(answer.headers)]


async def test_an_unknown_host_is_refused_where_hosts_are_listed_32() -> None:
    async with client(served(hosts=frozenset({"auth.example.test"}))) as http:
        answers = [
            await http.get("/auth/seen", headers={"Host": host})
            for host in ("auth.example.test", "AUTH.example.test:8443", "evil.test", "auth.example.test.evil.test", "")
        ]

    assert [200, 200, 421, 421, 421] == [one.status_code for one in answers]


# Caps (attacks 14 and 39)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("authorization", "Bearer " + "x" * 9_000)], 431),
        ([("authorization", "x" * 70_000)], 431),
        ([("authorization", "x" * 1_000_000)], 431),
        ([(f"x-{n}", "x" * 4_000) for n in range(5)], 431),
        ([(f"x-{n}", "") for n in range(120)], 431),
        ([("x", "x")] * 120, 431),
        ([("cookie", f"c{n}=x") for n in range(80)], 200),
        ([("authorization", "a"), ("authorization", "a")], 400),
        ([("origin", OWN), ("origin", OWN)], 400),
        ([("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], 400),
        ([("x-csrf-token", "a"), ("x-csrf-token", "b")], 400),
        ([("user-agent", "a"), ("user-agent", "b")], 400),
    ],
)
async def test_headers_have_caps_and_single_ones_come_once_14(headers: list[tuple[str, str]], status: int) -> None:
    async with client() as http:
        http.headers.clear()
        answer = await http.get("/auth/seen", headers=headers)

    assert answer.status_code == status


async def test_a_long_url_is_refused() -> None:
    async with client() as http:
        long_path, long_query = await http.get("/" + "x" * 3000), await http.get("/v1/events?q=" + "x" * 3000)

    assert (long_path.status_code, long_query.status_code) == (414, 414)
    assert long_path.json()["code"] == "url_too_long"


@pytest.mark.parametrize(("path", "limit"), [("/auth/echo", 16 * 1024), ("/v1/echo", 64 * 1024)])
async def test_a_body_may_be_as_long_as_its_cap_and_not_a_byte_longer(path: str, limit: int) -> None:
    json_type = {"content-type": "application/json"}
    async with client() as http:
        fits = await http.post(path, content=b'"' + b"x" * (limit - 2) + b'"', headers=json_type)
        over = await http.post(path, content=b'"' + b"x" * (limit - 1) + b'"', headers=json_type)

    assert (fits.status_code, len(fits.content)) == (200, limit)
    assert (over.status_code, over.json()["code"]) == (413, "body_too_large")


async def test_a_chunked_body_is_counted_while_it_comes_39() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 1024

    app = served()
    chunks = endless()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return part(await anext(chunks), more=True)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {"type": "http", "method": "POST", "path": "/auth/echo", "query_string": b"", "client": None}
    await app(scope | {"headers": []}, receive, send)

    assert sent[0]["status"] == 413
    assert read == 17


async def test_attack_40_a_body_in_chunks_is_refused_before_it_is_read() -> None:
    both = [(b"transfer-encoding", b"chunked"), (b"content-length", b"2"), (b"content-type", b"application/json")]
    sent = await raw(served(), part(b"{}"), headers=both)

    assert sent[0]["status"] == 411


async def test_an_announced_length_that_lies_is_not_believed() -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    sent = await raw(served(), *[part(b"x" * 9000, more=True)] * 2, part(b""), headers=headers)

    assert sent[0]["status"] == 413


@pytest.mark.parametrize(
    ("length", "status"),
    [(b"1000000000", 413), (b"9" * 400, 413), (b"-1", 400), (b"+1", 400), (b"1, 2", 400), (b"\xb2", 400)],
)
async def test_an_announced_length_is_judged_before_anything_is_read(length: bytes, status: int) -> None:
    sent = await raw(served(), headers=[(b"content-type", b"application/json"), (b"content-length", length)])

    assert sent[0]["status"] == status


async def test_a_body_that_does_not_arrive_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "BODY_SECONDS", 0.05)
    sent = await raw(served(), part(b'{"a"', more=True))

    assert sent[0]["status"] == 408


async def test_a_client_that_leaves_while_it_sends_gets_no_answer_and_one_line(lines: Lines) -> None:
    sent = await raw(served(), part(b'{"a"', more=True), {"type": "http.disconnect"})

    assert sent == []
    assert [(line["event"], line["status"]) for line in lines()] == [("request", 499)]


async def test_the_application_gets_the_body_whole_and_once() -> None:
    sent = await raw(served(), part(b'{"a"', more=True), part(b":1", more=True), part(b"}"))

    assert sent[1]["body"] == b'{"a":1}'


# Strict JSON (attacks 14, 38, 39)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b" ",
        b"x",
        b"{}{}",
        b"{'a':1}",
        b'{"username":"a","username":"b"}',
        b'{"username":"a","\\u0075sername":"b"}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'\xef\xbb\xbf{"username":"a"}',
        '{"username":"a"}'.encode("utf-16"),
        '{"username":"a"}'.encode("utf-32"),
        b'{"username":"\xff"}',
        b'{"username":"\xc0\xaf"}',
        b'{"username":"\xed\xa0\x80"}',
        b'{"username":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"username":"\x00"}',
        b'{"a":' * 9 + b"1" + b"}" * 9,
        b"[" * 8000,
        b"[" * 8000 + b"]" * 8000,
        b'{"a":[' * 2000,
    ],
)
async def test_what_is_no_strict_json_is_400_and_never_500_39(body: bytes, lines: Lines) -> None:
    async with client() as http:
        answer = await http.post("/auth/login", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert [line["event"] for line in lines()] == ["request"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 8 + b"1" + b"}" * 8,
        b'{"a":"[[[[[[[[[[[[{{{{{{{{"}',
        b'{"a":"\\"[[[[[[[[[[[["}',
        b'{"a":"\\\\"}',
        '{"a":"🦉"}'.encode(),
        b'{"a":"\\ud83e\\udd89"}',
        b'{"a":"\\\\ud800"}',
        b"[" + b"{}," * 5000 + b"{}]",
        b"null",
        b' {"a" : 1.5e3}\n',
    ],
)
async def test_strict_json_passes_unchanged(body: bytes) -> None:
    async with client() as http:
        answer = await http.post("/auth/echo", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.content) == (200, body)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/jsonp",
        "text/json",
        "application/json, text/plain",
        "application/json; a=b",
        "application/xml",
        "",
        "x",
    ],
)
async def test_json_under_another_name_is_415_19(kind: str) -> None:
    async with client() as http:
        answer = await http.post("/auth/login", content=b'{"username":"alice"}', headers={"content-type": kind})

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
async def test_json_under_its_own_name_passes(kind: str) -> None:
    async with client() as http:
        answer = await http.post("/auth/login", content=b'{"username":"alice"}', headers={"content-type": kind})

    assert answer.json() == {"username": "alice"}


async def test_a_body_without_a_type_or_in_gzip_is_415_39() -> None:
    async with client() as http:
        untyped = await http.post("/auth/login", content=b'{"username":"alice"}')
        packed = await http.post(
            "/auth/login", content=b"x", headers={"content-type": "application/json", "content-encoding": "gzip"}
        )

    assert (untyped.status_code, packed.status_code) == (415, 415)


async def test_no_body_needs_no_type() -> None:
    async with client() as http:
        assert (await http.post("/auth/echo")).status_code == 200
        assert (await http.delete("/auth/sessions/x")).status_code == 204


# Forms and queries (attack 38)


async def test_a_form_field_comes_once_38() -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    async with client() as http:
        once = await http.post("/oauth/token", content=b"grant_type=refresh_token&refresh_token=a%20b", headers=kind)
        twice = await http.post("/oauth/token", content=b"grant_type=a&grant_type=a", headers=kind)
        hidden = await http.post("/dashboard/kill", content=b"reason=a&re%61son=b", headers=kind)

    assert once.json() == {"grant_type": "refresh_token", "refresh_token": "a b"}
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    assert hidden.status_code == 400


@pytest.mark.parametrize("body", [b"a=%ff", b"a=\xff", b"&".join(b"f%d=1" % n for n in range(257))])
async def test_a_form_that_no_browser_sends_is_400(body: bytes) -> None:
    async with client() as http:
        answer = await http.post(
            "/dashboard/kill", content=body, headers={"content-type": "application/x-www-form-urlencoded"}
        )

    assert answer.status_code == 400


async def test_json_and_multipart_are_no_forms_39() -> None:
    async with client() as http:
        answers = [
            await http.post("/oauth/token", json={"grant_type": "refresh_token"}),
            await http.post("/dashboard/kill", files={"reason": b"x"}),
        ]

    assert [answer.status_code for answer in answers] == [415, 415]


async def test_a_query_field_comes_once_unless_it_is_listed_38() -> None:
    async with client() as http:
        repeated = await http.get("/v1/events?limit=1&limit=2")
    async with client(served(repeatable=frozenset({"limit"}))) as http:
        listed = await http.get("/v1/events?limit=1&limit=2")

    assert (repeated.status_code, repeated.json()["detail"]) == (400, "Query: a field comes more than once.")
    assert listed.status_code == 200


async def test_another_spelling_of_a_path_does_not_escape_its_rule() -> None:
    async with client() as http:
        for path in ("//auth/login", "/auth//login", "/AUTH/login", "/x/../auth//login"):
            answer = await http.post(path, content=b"x=1", headers={"content-type": "text/plain"})

            assert answer.status_code in {404, 415}


# Refusals


async def test_a_refusal_is_a_problem_that_names_the_request() -> None:
    async with client() as http:
        answer = await http.get("/v1/throttled")

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "3"
    assert answer.json() == {
        "type": "urn:session-ledger:problem:rate_limited",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "Too many tries.",
        "code": "rate_limited",
        "request_id": answer.headers["x-request-id"],
    }


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "TRACE", "FOO", "HEAD"])
async def test_another_method_is_405_with_allow(method: str) -> None:
    async with client() as http:
        answer = await http.request(method, "/auth/seen")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, OPTIONS")
    assert method == "HEAD" or answer.json()["code"] == "method_not_allowed"


async def test_401_names_the_scheme() -> None:
    async with client() as http:
        answer = await http.get("/v1/guarded")

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"username": 1}, "username: expected `str`, got `int`."),
        ({}, "body: object missing required field `username`."),
        ({"username": "a", SECRET: 1}, "body: there is a field that this address does not know."),
        ({"username": "a", "mode": SECRET}, "mode: it is not one of the values that are allowed."),
        ({"username": "a", "password": SECRET * 9}, "password: expected `str` of length <= 64."),
        ([SECRET], "body: expected `object`, got `array`."),
    ],
)
async def test_a_wrong_field_is_named_and_its_value_is_not_echoed(body: object, detail: str, lines: Lines) -> None:
    async with client() as http:
        answer = await http.post("/auth/login", json=body)

    assert (answer.status_code, answer.json()["detail"]) == (400, detail)
    assert SECRET not in answer.text + json.dumps(lines())


async def test_a_wrong_query_is_named_and_not_echoed() -> None:
    async with client() as http:
        answer = await http.get(f"/v1/events?limit={SECRET}")

    assert answer.json()["detail"] == "limit: expected `int`, got `str`."


async def test_an_unforeseen_error_is_500_logged_once_and_without_its_message(lines: Lines) -> None:
    async with client() as http:
        answer = await http.get("/v1/broken")
    failure, request = lines()

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert (failure["event"], failure["error"]) == ("failure", "ValueError < KeyError")
    assert re.fullmatch(r"tests/test_edge\.py:\d+ broken", failure["frames"][-1])
    assert failure["request_id"] == request["request_id"] == answer.json()["request_id"]
    assert (request["status"], request["code"], request["level"]) == (500, "internal", "error")
    assert SECRET not in answer.text + json.dumps([failure, request])


async def test_nothing_decided_is_503_and_worth_another_try(lines: Lines) -> None:
    async with client() as http:
        answer = await http.get("/v1/busy")

    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "1")
    assert [(line["event"], line["code"]) for line in lines()] == [("request", "unavailable")]


async def test_an_answer_that_fails_half_way_does_not_look_whole(lines: Lines) -> None:
    sent = await raw(served(), method="GET", path="/v1/half", raw_path=b"/v1/half")

    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"]
    assert [line["event"] for line in lines()] == ["failure", "request"]


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/oauth/broken", 500, "server_error"),
        ("/oauth/busy", 503, "temporarily_unavailable"),
        ("/oauth/x", 404, "invalid_request"),
    ],
)
async def test_under_oauth_errors_have_the_shape_of_rfc_6749(path: str, status: int, error: str) -> None:
    async with client() as http:
        answer = await http.get(path)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json()["error"] == error
    assert answer.json()["error_description"]


async def test_a_browser_at_the_dashboard_gets_a_page_and_a_program_does_not() -> None:
    async with client() as http:
        browser = [
            await http.get(path, headers={"accept": "text/html,*/*"}) for path in ("/dashboard/no", "/dashboard/broken")
        ]
        long = await http.get("/dashboard/" + "x" * 3000, headers={"accept": "text/html,*/*"})
        program = await http.get("/dashboard/no")
        api = await http.get("/auth/no", headers={"accept": "text/html"})

    assert [answer.text[:20] for answer in [*browser, long]] == [
        "<h1>404 not_found</h",
        "<h1>500 internal</h1",
        "<h1>414 url_too_long",
    ]
    assert {answer.headers["content-type"] for answer in [*browser, long]} == {"text/html; charset=utf-8"}
    assert {program.headers["content-type"], api.headers["content-type"]} == {"application/problem+json"}


async def test_no_web_socket_is_spoken() -> None:
    sent = await raw(served(), {"type": "websocket.connect"}, type="websocket")

    assert [message["type"] for message in sent] == ["websocket.close"]


# The log (attack 24)


async def test_one_line_holds_the_route_and_never_the_path_or_what_came_in(lines: Lines) -> None:
    headers = {"Authorization": f"Bearer {SECRET}", "Cookie": f"__Host-refresh-web={SECRET}", "User-Agent": SECRET}
    async with client() as http:
        await http.get(f"/v1/families/fam_a?access_token={SECRET}", headers=headers)
    (line,) = lines()

    assert set(line) == {
        "event",
        "level",
        "timestamp",
        "method",
        "route",
        "status",
        "ms",
        "request_id",
        "network",
        "family",
        "verdict",
    }
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/families/{family}", 200)
    assert (line["family"], line["verdict"], line["network"]) == ("fam_a", "rotated", "203.0.113.0/24")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])
    assert SECRET not in json.dumps(line)
    assert "203.0.113.7" not in json.dumps(line)


@pytest.mark.parametrize(
    "evil", ['\r\n{"level":"info"}', "\x1b]0;x\x07", "\u202e", "\u2028", "\x85", "\x7f", "${jndi:x}", "x" * 1_000_000]
)
def test_what_gets_into_the_log_stays_on_its_line_24(evil: str, written: io.StringIO) -> None:
    structlog.get_logger().info("request", family=evil)
    line = written.getvalue()

    assert line.isascii()
    assert line.count("\n") == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", line)
    assert len(line) < 2000
    assert json.loads(line)["family"].isprintable()


async def test_an_unknown_method_is_not_written_down(lines: Lines) -> None:
    async with client() as http:
        await http.request(SECRET.upper(), "/auth/seen")

    assert [line["method"] for line in lines()] == ["OTHER"]


async def test_health_checks_are_not_logged_at_the_usual_level(lines: Lines) -> None:
    async with client() as http:
        await http.get("/health/live")

    assert lines() == []


def test_the_readable_log_of_a_terminal_is_as_harmless() -> None:
    stream = io.StringIO()
    journal.configure_logging("info", as_json=False, stream=stream)
    structlog.get_logger().info("request", family="\x1b[2J\r\nfake line\u202e")
    line = stream.getvalue()

    assert line.count("\n") == 1
    assert "\x1b[2J" not in line
    assert "\u202e" not in line


async def test_a_failure_is_answered_where_the_log_is_readable_too(written: io.StringIO) -> None:
    journal.configure_logging("info", as_json=False, stream=written)
    async with client() as http:
        answer = await http.get("/v1/broken")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "broken" in written.getvalue()


def test_libraries_are_logged_by_place_and_never_by_message(lines: Lines) -> None:
    logging.getLogger("some.library").error("failed on %s", SECRET, exc_info=ValueError(SECRET))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn_explicit(SECRET, ResourceWarning, "x.py", 1)

    found = lines()

    assert [(line["event"], line["logger"], line["error"]) for line in found] == [
        ("library", "some.library", "ValueError"),
        ("library", "py.warnings", None),
    ]
    assert SECRET not in json.dumps(found)


def test_a_value_that_is_no_json_is_logged_as_its_kind(lines: Lines) -> None:
    structlog.get_logger().info("request", family={"a": object()}, client=SECRET.encode())

    assert [(line["family"], line["client"]) for line in lines()] == [({"a": "object"}, "bytes")]


async def test_a_log_that_cannot_be_written_does_not_cost_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    app = served()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(app, "log", type("Full", (), {"info": full, "error": full}))
    async with client(app) as http:
        answers = [await http.get("/auth/seen"), await http.get("/v1/broken")]

    assert [answer.status_code for answer in answers] == [200, 500]


async def test_the_lifespan_passes_through() -> None:
    ran = []
    app = Litestar(
        [], on_startup=[lambda: ran.append("start")], on_shutdown=[lambda: ran.append("stop")], openapi_config=None
    )
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    given = iter(messages)
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return next(given)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await Edge(app, EdgeConfig(OWN))({"type": "lifespan", "state": {}}, receive, send)

    assert ran == ["start", "stop"]
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
