"""The real server on a real port, spoken to byte by byte: framing, sizes, slowness (attacks 14, 32, 39, 40)."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

import app
import edge
from tests.conftest import PASSWORD
from tests.ports import free_port
from tests.serving import answering

LOGIN = json.dumps({"username": "admin", "password": PASSWORD, "mode": "body"}).encode()


class Answer(NamedTuple):
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire(NamedTuple):
    """Where the service listens."""

    port: int

    async def said(self, sent: bytes) -> tuple[list[Answer], bool]:
        """The answers to these bytes until the server is quiet, and whether it closed the connection by itself."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        got, closed = b"", False
        try:
            writer.write(sent)
            while not closed:
                data = await asyncio.wait_for(reader.read(65_536), 0.1 if got else 2)
                got, closed = got + data, not data
        except ConnectionError:
            closed = True
        except TimeoutError:
            pass
        finally:
            writer.transport.abort()
        return answers(got), closed

    async def status(self, sent: bytes) -> int:
        """The status of the one answer."""
        (answer,), _ = await self.said(sent)
        return answer.status


def answers(got: bytes) -> list[Answer]:
    found = []
    while match := re.match(rb"HTTP/1\.[01] (\d{3})[^\r]*\r\n((?:[^\r]+\r\n)*)\r\n", got):
        pairs = [line.partition(b":") for line in match[2].split(b"\r\n") if line]
        headers = {name.decode().lower(): value.strip().decode("latin-1") for name, _, value in pairs}
        end = match.end() + int(headers.get("content-length", 0))
        found.append(Answer(int(match[1]), headers, got[match.end() : end]))
        got = got[end:]
    return found


@pytest.fixture
async def wire(service: app.Service) -> AsyncIterator[Wire]:
    """The service as `serve` runs it."""
    port = free_port()
    async with answering(app.create_app(service), port):
        yield Wire(port)


def post(path: str, *headers: str, body: bytes = b"", length: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: ledger.test", "Content-Type: application/json", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def get(path: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: ledger.test", *headers]).encode("latin-1") + b"\r\n\r\n"


async def test_a_sign_in_and_a_refresh_over_one_connection(wire: Wire) -> None:
    (first,), closed = await wire.said(post("/auth/login", body=LOGIN))
    told = json.loads(first.body)
    (second,), _ = await wire.said(
        post("/auth/refresh", body=json.dumps({"refresh_token": told["refresh_token"]}).encode())
    )

    assert (first.status, second.status, closed) == (200, 200, False)
    assert first.headers["server"] == "session-ledger"
    assert json.loads(second.body)["family_id"] == told["family_id"]


async def test_old_http_is_answered_and_the_connection_closed(wire: Wire) -> None:
    (answer,), closed = await wire.said(b"GET /health/live HTTP/1.0\r\n\r\n")

    assert (answer.status, closed) == (200, True)


BODY = b'{"refresh_token":"x"}'
HOST = "POST /auth/refresh HTTP/1.1\r\nHost: ledger.test\r\nContent-Type: application/json\r\n"
SMUGGLED = b"GET /health/live HTTP/1.1\r\nHost: ledger.test\r\n\r\n"
FRAMINGS = {
    "length and chunks": HOST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": HOST + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": HOST + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
    "two lengths in one": HOST + "Content-Length: 2, 3\r\n\r\n{}}",
    "a signed length": HOST + "Content-Length: +2\r\n\r\n{}",
    "a negative length": HOST + "Content-Length: -2\r\n\r\n{}",
    "a length in hex": HOST + "Content-Length: 0x2\r\n\r\n{}",
    "a length with words": HOST + "Content-Length: 2 x\r\n\r\n{}",
    "an endless length": HOST + "Content-Length: 99999999999999999999\r\n\r\n{}",
    "chunks": HOST + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "another coding": HOST + "Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks and identity": HOST
    + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "identity, chunks": HOST + "Transfer-Encoding: identity, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "gzip, chunks": HOST + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a space before the colon": HOST + "Transfer-Encoding : chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a tab in the value": HOST + "Transfer-Encoding:\tchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a folded line": HOST + "Transfer-Encoding:\r\n chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "NUL in a name": HOST + "Content-Length\x00: 2\r\n\r\n{}",
    "a lone CR": HOST + "X: a\rContent-Length: 2\r\n\r\n{}",
    "no name": HOST + ": x\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP 2": "GET /health/live HTTP/2.0\r\nHost: ledger.test\r\n\r\n",
    "HTTP 1.9": "GET /health/live HTTP/1.9\r\nHost: ledger.test\r\n\r\n",
    "no version": "GET /health/live\r\n\r\n",
    "no request": "GARBAGE\r\n\r\n",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00",
    "a line before": "\x00\r\nGET /health/live HTTP/1.1\r\nHost: ledger.test\r\n\r\n",
}


async def test_attack_40_two_readers_of_one_request_could_not_see_two(wire: Wire) -> None:
    """Refused, and whatever follows on the connection is never taken for a request that was let through."""
    for name, text in FRAMINGS.items():
        found, closed = await wire.said(text.encode("latin-1") + SMUGGLED)
        statuses = [one.status for one in found]

        if statuses == [411, 200]:
            assert "chunks" in name or "tab" in name  # read to its end; what follows is a request of its own
        else:
            assert (len(statuses), closed) == (1, True), (name, statuses)
            assert statuses[0] in {400, 411}, (name, statuses)


async def test_attack_40_what_follows_a_refused_body_is_not_a_request(wire: Wire) -> None:
    """The announced body is longer than we read: its bytes must not be parsed as the next request."""
    for size in (400, 4000):
        found, _ = await wire.said(post("/auth/login", body=SMUGGLED * size))

        assert [413] == [one.status for one in found]


async def test_attack_40_requests_in_a_row_are_answered_each_once_and_in_order(wire: Wire) -> None:
    row = (
        get("/health/live")
        + post("/auth/refresh", body=BODY)
        + get("/nothing")
        + get("/v1/checkpoint", "Connection: close")
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    writer.write(row)
    async with asyncio.timeout(2):
        got = await reader.read()
    writer.close()

    assert [200, 401, 404, 200] == [one.status for one in answers(got)]


async def test_attack_14_a_long_head_is_refused_whoever_sends_it(wire: Wire) -> None:
    assert await wire.status(get("/auth/me", "Authorization: Bearer " + "x" * 20_000)) == 431
    assert await wire.status(get("/auth/me", *(f"X-{number}: x" for number in range(90)))) == 401
    for head in (
        get("/auth/me", "Cookie: " + "x" * 300_000),
        get("/auth/me", *(f"X-{number}: x" for number in range(300))),
    ):
        found, closed = await wire.said(head)
        assert [one.status for one in found] in ([431], []), len(head)
        assert closed
    assert await wire.status(get("/" + "x" * 5000)) == 414
    (alive,), _ = await wire.said(get("/health/live"))
    assert alive.status == 200


async def test_attack_39_an_announced_gigabyte_is_refused_before_it_is_sent(wire: Wire) -> None:
    for more in ([], ["Expect: 100-continue"]):
        found, _ = await wire.said(post("/auth/login", "Content-Length: 1073741824", *more, length=False))

        assert [413] == [one.status for one in found]


async def test_attack_39_a_body_that_never_comes_is_given_up(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "BODY_SECONDS", 0.3)
    found, _ = await wire.said(post("/auth/login", "Content-Length: 100", length=False) + b'{"username":')

    assert [(408, "request_timeout")] == [(one.status, json.loads(one.body)["code"]) for one in found]


async def test_a_client_that_leaves_half_way_hurts_nobody(wire: Wire) -> None:
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", wire.port)
        writer.write(post("/auth/login", "Content-Length: 100", length=False) + b'{"user')
        await writer.drain()
        writer.transport.abort()

    assert await wire.status(get("/health/ready")) == 200


async def test_a_client_that_leaves_after_asking_does_not_stop_the_commit(wire: Wire, service: app.Service) -> None:
    (first,), _ = await wire.said(post("/auth/login", body=LOGIN))
    told = json.loads(first.body)
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    writer.write(post("/auth/refresh", body=json.dumps({"refresh_token": told["refresh_token"]}).encode()))
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.transport.abort()
    del reader
    (again,), _ = await wire.said(
        post("/auth/refresh", body=json.dumps({"refresh_token": told["refresh_token"]}).encode())
    )

    assert again.status == 200  # a retry: the lost answer was a rotation


TARGETS = {
    "GET http://evil.test/auth/me HTTP/1.1": 401,
    "GET //evil.test/auth/me HTTP/1.1": 404,
    "CONNECT evil.test:443 HTTP/1.1": 404,
    "OPTIONS * HTTP/1.1": 404,
    "TRACE /auth/me HTTP/1.1": 405,
    "HEAD /auth/me HTTP/1.1": 405,
    "PROPFIND /auth/me HTTP/1.1": 405,
    "GET /auth/%ff HTTP/1.1": 404,
    "GET /auth/me%00 HTTP/1.1": 404,
    "GET /auth/me? HTTP/1.1": 401,
    "GET /auth/me#fragment HTTP/1.1": 401,
    "GET /auth/../auth/me HTTP/1.1": 404,
    "GET /auth/%2e%2e/auth/me HTTP/1.1": 404,
    "GET /auth%2fme HTTP/1.1": 401,
}


async def test_attack_32_whatever_the_target_names_it_is_read_as_a_path_of_ours(wire: Wire) -> None:
    for line, status in TARGETS.items():
        (answer,), _ = await wire.said(f"{line}\r\nHost: ledger.test\r\n\r\n".encode())

        assert answer.status == status, line
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "evil" not in answer.body.decode() + str(answer.headers)


async def test_attack_32_two_hosts_are_none(wire: Wire) -> None:
    assert await wire.status(b"GET /auth/me HTTP/1.1\r\nHost: ledger.test\r\nHost: evil.test\r\n\r\n") == 400


async def test_attack_14_bytes_that_are_no_text_are_refused_or_a_bad_token(wire: Wire) -> None:
    assert await wire.status(b"GET /auth/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n") == 401
    for bad in (b"a\x00b", b"a\x7fb", b"a\x1b[2J"):
        found, _ = await wire.said(b"GET /auth/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + bad + b"\r\n\r\n")
        assert [one.status for one in found] in ([400], [401]), bad


async def test_fifty_slow_connections_do_not_keep_others_waiting(wire: Wire) -> None:
    slow = [await asyncio.open_connection("127.0.0.1", wire.port) for _ in range(50)]
    for _, writer in slow:
        writer.write(b"GET /auth/me HTTP/1.1\r\nHost:")
    async with asyncio.timeout(1):
        assert await wire.status(get("/health/ready")) == 200
    for _, writer in slow:
        writer.transport.abort()
