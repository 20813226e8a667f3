"""The load: each connection rotates its own chain over keep-alive HTTP/1.1 and checks each answer. Measures no server.

It must cost little, for it has one core and must never be what is measured: no HTTP library, one protocol object per
connection, requests put together by one concatenation.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import NamedTuple, cast

AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/147.0.0.0 Safari/537.36"
)
"""Of a real browser; most of them are about as long."""
TOKEN_LENGTH = 96
_BEFORE, _AFTER = b'{"refresh_token":"', b'"}'
_REFRESHED, _ACCESS = b'"refresh_token":"', b'"access_token":"'


class WrongAnswer(Exception):
    """The server answered something that a client could not go on with."""


class Load(NamedTuple):
    """What a run came to. Latencies in seconds, ascending."""

    seconds: float
    latencies: list[float]
    client_share: float
    """Of one core, for the load itself."""

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    def at(self, share: float) -> float:
        """The latency that this share of the answers did not exceed."""
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))]


def generation(token: bytes) -> int:
    """Of a refresh token's text: bytes 33 to 36 of what is encoded behind the prefix."""
    return int.from_bytes(urlsafe_b64decode(token[48:56])[:4])


def head(path: str, length: int, kind: str = "application/json") -> bytes:
    """The head of a POST of so many bytes."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"User-Agent: {AGENT}",
        "Accept: application/json",
        "Accept-Language: en-GB,en;q=0.9",
        f"Content-Type: {kind}",
        f"Content-Length: {length}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


class Connection(asyncio.Protocol, ABC):
    """One keep-alive connection: a request, its whole answer, the next request, until told to stop."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.ended: asyncio.Future[None]
        self._received = b""
        self._sent = 0.0
        self._until = 0.0
        self._transport: asyncio.Transport | None = None

    @property
    def open(self) -> bool:
        """Whether there is a connection."""
        return self._transport is not None

    def close(self) -> None:
        """End the connection, between two runs."""
        if self._transport is not None:
            self._until = 0.0
            self._transport.close()
            self._transport = None

    @abstractmethod
    def request(self) -> bytes:
        """The next request."""

    @abstractmethod
    def answered(self, answer: bytes) -> None:
        """Check a whole answer. Raises WrongAnswer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._write = self._transport.write

    def run(self, until: float) -> None:
        """Go on until this moment of `time.perf_counter()`; then `ended` is done."""
        self.latencies = []
        self.ended = asyncio.get_running_loop().create_future()
        self._until = until
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._write(self.request())

    def data_received(self, data: bytes) -> None:
        answer = self._received + data if self._received else data
        if not _whole(answer):
            self._received = answer
            return
        self._received = b""
        now = time.perf_counter()
        self.latencies.append(now - self._sent)
        try:
            self.answered(answer)
        except WrongAnswer as error:
            self.ended.set_exception(error)
            return
        if now < self._until:
            self._send()
        else:
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._until and not self.ended.done():
            self.ended.set_exception(WrongAnswer(f"the connection was closed: {exc}"))


def _whole(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    place = answer.find(b"content-length: ", 0, end)
    if place < 0:
        raise WrongAnswer(answer[:200].decode("latin-1"))
    return len(answer) >= end + 4 + int(answer[place + 16 : answer.index(b"\r\n", place)])


class Chain(Connection):
    """Rotates one family."""

    def __init__(self, token: bytes) -> None:
        super().__init__()
        self.token = token
        self._generation = generation(token)
        self._access = b""
        self._head = head("/auth/refresh", len(_BEFORE) + TOKEN_LENGTH + len(_AFTER)) + _BEFORE

    def request(self) -> bytes:
        return self._head + self.token + _AFTER

    def answered(self, answer: bytes) -> None:
        """200, the same family one generation on, another token and another access token."""
        place = answer.find(_REFRESHED) + len(_REFRESHED)
        token = answer[place : place + TOKEN_LENGTH]
        place = answer.find(_ACCESS) + len(_ACCESS)
        access = answer[place : answer.find(b'"', place)]
        good = answer.startswith(b"HTTP/1.1 200 ") and len(token) == TOKEN_LENGTH and token != self.token
        if not good or generation(token) != self._generation + 1 or not access or access == self._access:
            raise WrongAnswer(answer[:1000].decode("latin-1"))
        self.token, self._access = token, access
        self._generation += 1


class SignIns(Connection):
    """Signs the same person in again and again."""

    def __init__(self, name: str, password: str) -> None:
        super().__init__()
        body = f'{{"username":"{name}","password":"{password}","mode":"body"}}'.encode()
        self._request = head("/auth/login", len(body)) + body

    def request(self) -> bytes:
        return self._request

    def answered(self, answer: bytes) -> None:
        """Tokens, of a family that is one generation old."""
        place = answer.find(_REFRESHED) + len(_REFRESHED)
        if not answer.startswith(b"HTTP/1.1 200 ") or generation(answer[place : place + TOKEN_LENGTH]) != 1:
            raise WrongAnswer(answer[:1000].decode("latin-1"))


async def connect(port: int, *connections: Connection) -> None:
    """Open all of them."""
    loop = asyncio.get_running_loop()
    for one in connections:
        await loop.create_connection(lambda one=one: one, "127.0.0.1", port)  # type: ignore[misc]


async def drive(connections: Sequence[Connection], seconds: float) -> Load:
    """All of them at once for so long; each ends with an answer, none in the middle. Raises WrongAnswer."""
    began, used = time.perf_counter(), time.process_time()
    for one in connections:
        one.run(began + seconds)
    await asyncio.gather(*(one.ended for one in connections))
    took = time.perf_counter() - began
    latencies = sorted(latency for one in connections for latency in one.latencies)
    return Load(took, latencies, (time.process_time() - used) / took)
