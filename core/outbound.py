"""Requests to addresses that others named: only to checked addresses, no redirects, bounded in time and size."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpcore
import msgspec

from core import backoff, secevent, target
from core.names import Names
from core.target import Barred, Reach

CONNECT_SECONDS: Final = 5.0
SECONDS: Final = 15.0
"""For a whole request, whatever comes how slowly."""
MOST_READ: Final = 16 * 1024
"""Bytes of an answer that are read; the connection is closed where there are more."""
CONNECTIONS: Final = 64
AGENT: Final = "session-ledger"

BARRED: Final = "address_barred"
UNRESOLVED: Final = "name_unresolved"
UNREACHED: Final = "connection_failed"
UNTRUSTED: Final = "tls_failed"
SLOW: Final = "timed_out"
BROKEN: Final = "protocol_error"
REDIRECTED: Final = "redirected"

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Numeric addresses of a host. Raises OSError."""


class Answered(NamedTuple):
    """What a request came to."""

    status: int
    """0 where no answer came."""
    reason: str = ""
    """Why it failed, as a code of ours or of RFC 8935; empty where it did not."""
    wait: int = 0
    """Seconds that the receiver asks to be left alone."""

    @property
    def well(self) -> bool:
        return not self.reason


class _Stopped(Exception):
    """Why no connection was made, as a code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _Guarded(httpcore.AsyncNetworkBackend):
    """Resolves a name once, checks every address, and connects to one that was checked: no second look-up between.

    The name stays in the request: TLS is verified for it, whatever address it leads to.
    """

    def __init__(self, reach: Reach, resolve: Resolve) -> None:
        self._reach = reach
        self._resolve = resolve
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failed: Exception = _Stopped(UNRESOLVED)
        for address in await self.checked(host, port):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def checked(self, host: str, port: int) -> list[str]:
        """All addresses of the host. One that is barred bars them all: who answers so has no good reason to."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                found = await self._resolve(host, port)
        except (OSError, UnicodeError, TimeoutError):
            raise _Stopped(UNRESOLVED) from None
        if not all(target.is_open(address, self._reach.networks) for address in found):
            raise _Stopped(BARRED)
        return found


@cache
def _trust() -> ssl.SSLContext:
    """Whom the system trusts; reading all of its certificates takes 50 ms."""
    return ssl.create_default_context()


class Outbound:
    """Posts. One for a process; `close` ends its connections."""

    def __init__(self, reach: Reach, resolve: Resolve | None = None, trust: ssl.SSLContext | None = None) -> None:
        self.reach = reach
        self._guarded = _Guarded(reach, resolve or Names())
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust or _trust(),
            max_connections=CONNECTIONS,
            max_keepalive_connections=0,  # an answer that nobody waited for is never taken for that to the next request
            network_backend=self._guarded,
        )

    async def check(self, url: str) -> None:
        """Raises Barred where nothing would be sent to this URL. A name that is not known yet is no reason."""
        found = target.target(url, self.reach)
        try:
            await self._guarded.checked(found.host, found.port)
        except _Stopped as stopped:
            if stopped.code == BARRED:
                raise Barred(
                    "The name leads to an address that is not on the internet; no setting allows it."
                ) from None

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> Answered:
        """Send it once. Never raises but for being cancelled."""
        try:
            target.target(url, self.reach)
            async with asyncio.timeout(SECONDS):
                return await self._post(url, headers, content)
        except Barred:
            return Answered(0, BARRED)
        except _Stopped as stopped:
            return Answered(0, stopped.code)
        except (TimeoutError, httpcore.TimeoutException):
            return Answered(0, SLOW)
        except httpcore.ConnectError as error:
            tls = isinstance(error.__cause__, ssl.SSLError) or isinstance(error.__context__, ssl.SSLError)
            return Answered(0, UNTRUSTED if tls else UNREACHED)
        except (httpcore.NetworkError, OSError):
            return Answered(0, UNREACHED)
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol):
            return Answered(0, BROKEN)

    async def close(self) -> None:
        """Give up all connections."""
        await self._pool.aclose()

    async def _post(self, url: str, headers: Mapping[str, str], content: bytes) -> Answered:
        sent = [("host", urlsplit(url).netloc), ("user-agent", AGENT), *headers.items()]
        limits = {"connect": CONNECT_SECONDS, "read": SECONDS, "write": SECONDS, "pool": SECONDS}
        async with self._pool.stream(
            "POST", url, headers=sent, content=content, extensions={"timeout": limits}
        ) as answer:
            given = {name.lower(): value for name, value in answer.headers}
            read = await _read(answer)
            wait = backoff.asked(given.get(b"retry-after", b"").decode("latin-1"), time.time())
            return _judged(answer.status, read, wait)


async def _read(answer: httpcore.Response) -> bytes:
    """The beginning of the answer; leaving the rest closes the connection."""
    found = b""
    async for chunk in answer.aiter_stream():
        found += chunk
        if len(found) > MOST_READ:
            break
    return found[:MOST_READ]


def _judged(status: int, body: bytes, wait: int) -> Answered:
    if 200 <= status < 300:
        return Answered(status)
    if 300 <= status < 400:
        return Answered(status, REDIRECTED, wait)
    return Answered(status, _told(body) if status == 400 else f"http_{status}", wait)


class _Error(msgspec.Struct):
    err: str = ""


def _told(body: bytes) -> str:
    """What a receiver of tokens has against one (RFC 8935 §2.3), if it is a known code; nothing else is kept of it."""
    try:
        code = msgspec.json.decode(body, type=_Error).err
    except (msgspec.MsgspecError, UnicodeDecodeError):
        code = ""
    return code if code in secevent.ERRORS else "http_400"
