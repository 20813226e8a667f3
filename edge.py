"""What every request passes at whichever door: address, id, caps, headers, one log line. Knows no rule of a route."""

import asyncio
import contextlib
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog

from core import header, journal, problem
from core.address import Network, client_address, network_of
from core.body import SHAPES, Shape, form_flaw
from core.presence import Presence, clean_agent
from core.problem import CUT, INTERNAL, NOT_FOUND, UNAVAILABLE, Problem, invalid

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Page: TypeAlias = Callable[[int, str, str], bytes]
"""Makes an HTML page of status, code and detail."""
Observe: TypeAlias = Callable[[str, str, int, float, Mapping[str, str | int]], None]
"""Told of each request: method, route template, status, seconds, and what the route noted."""

MAX_URL: Final = 2 * 1024
BODY_SECONDS: Final = 10.0
"""How long a body may take to arrive."""

SHARED: Final = ("/auth/", "/oauth/token")
"""What pages of allowed origins may read; the keys are for everybody, the rest for nobody but our own pages."""

UNREAD: Final = "/v1/verify/"
"""Behind it stands the request that a gateway holds: its query has the form that its application likes."""

ANYWHERE: Final = "/health/"
"""Answered under any name: what watches us often knows an address alone."""

_PORT: Final = re.compile(r":[0-9]*$")
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS: Final = _WITHOUT_BODY | {"POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"}


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """`public_url` alone says whether we are reached by https; `hosts` empty takes any Host, as none is ever used.

    `repeatable` names the form and query fields that may come more than once (a list of ticked boxes).
    `unavailable` are the exceptions that mean 503: nothing was decided, try again.
    """

    public_url: str
    trusted: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    shapes: tuple[Shape, ...] = SHAPES
    repeatable: frozenset[str] = frozenset()
    unavailable: tuple[type[Exception], ...] = ()
    page: Page | None = None
    shares: Callable[[str], bool] = lambda _origin: False
    """Whether pages of another origin may read what is under /auth: those of the same site that clients name."""
    observe: Observe = lambda *_: None


@dataclass(frozen=True, slots=True)
class Passage:
    """What the edge knows of a request. `arrived` is `time.monotonic()`: a retry's leeway is measured to it."""

    address: str
    network: str
    agent: str
    request_id: str
    arrived: float
    path: str
    """As it came; the router may cut the scope's. Never logged: a path may hold anything."""

    @property
    def presence(self) -> Presence:
        return Presence(self.address, self.agent)


def passage_of(scope: Mapping[str, Any]) -> Passage:
    passage: Passage = scope["state"]["passage"]
    return passage


def note(scope: Mapping[str, Any], **fields: str | int) -> None:
    """Add to the request's log line; what is not in `core.journal.REQUEST_FIELDS` is dropped."""
    scope["state"]["log"].update(fields)


def rendered(refusal: Problem, scope: Mapping[str, Any]) -> tuple[str, bytes]:
    """Media type and body of a refusal: a page for browsers at the dashboard, else as `core.problem.rendered`."""
    passage, page = passage_of(scope), scope["state"]["page"]
    if page and _at_dashboard(passage.path) and _accepts_html(scope):
        return "text/html", page(refusal.status, refusal.code, refusal.detail)
    return problem.rendered(refusal, passage.path, passage.request_id)


class Edge:
    """The ASGI application that stands before Litestar's. Answers what cannot be right by itself; never raises."""

    def __init__(self, app: Callable[[Any, Any, Any], Awaitable[None]], config: EdgeConfig) -> None:
        self.app = app
        self.config = config
        self.log = structlog.get_logger()
        https = config.public_url.startswith("https://")
        self.under_way: set[_Exchange] = set()
        self.api_headers = header.encoded(header.api_headers(https=https))
        self.page_headers = header.encoded(header.page_headers(https=https))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            await self.app(scope, receive, send)

    def cut(self) -> None:
        """Answer 503 to whatever has no answer yet: the service stops, and waits no longer."""
        for exchange in tuple(self.under_way):
            exchange.cut()


class _Gone(Exception):
    """The client went away while it was still sending."""


class _Exchange:
    """One request and its answer."""

    __slots__ = (
        "body",
        "edge",
        "fields",
        "is_cut",
        "noted",
        "passage",
        "receive_more",
        "scope",
        "send_on",
        "status",
        "task",
    )

    def __init__(self, edge: Edge, scope: Scope, receive: Receive, send: Send) -> None:
        self.edge = edge
        self.scope = scope
        self.receive_more = receive
        self.send_on = send
        self.status = 0
        self.body: bytes | None = None
        self.is_cut = False
        self.task = asyncio.current_task()

    async def run(self) -> None:
        arrived = time.monotonic()
        self.fields, refusal = header.collected(list(self.scope["headers"]))
        self.passage = self._passage(arrived)
        self.noted: dict[str, str | int] = {}
        ours = {"passage": self.passage, "log": self.noted, "page": self.edge.config.page}
        self.scope["state"] = {**(self.scope.get("state") or {}), **ours}
        self.edge.under_way.add(self)
        try:
            if refusal := refusal or self._target_flaw() or await self._body_flaw():
                await self._refuse(refusal)
            else:
                await self.edge.app(self.scope, self._receive, self._send)
        except _Gone:
            pass  # There is nobody to answer.
        except asyncio.CancelledError:
            if not self.is_cut:
                raise
            await self._refuse(CUT)
        except Exception as error:  # noqa: BLE001 - the last resort (ASVS 16.5.4): logged without its message, answered
            await self._failed(error)
        finally:
            self.edge.under_way.discard(self)
            self._write_line()

    def cut(self) -> None:
        """Refuse instead of going on, unless an answer has begun. What was given to the ledger is committed, or not."""
        if not self.status and self.task is not None:
            self.is_cut = self.task.cancel()

    def _passage(self, arrived: float) -> Passage:
        peer = self.scope.get("client")
        forwarded = self.fields.get(b"x-forwarded-for", b"").decode("latin-1")
        address = client_address(peer[0] if peer else "", forwarded, self.edge.config.trusted)
        agent = clean_agent(self.fields.get(b"user-agent", b""))
        path = self.scope["path"]
        return Passage(address, network_of(address), agent, _request_id(), arrived, path)

    def _target_flaw(self) -> Problem | None:
        scope, config = self.scope, self.edge.config
        path, query = scope["path"], scope["query_string"]
        if len(scope.get("raw_path") or path.encode()) + len(query) > MAX_URL:
            return Problem(414, "url_too_long", f"The URL is longer than {MAX_URL} bytes.")
        if not path.startswith("/"):
            return NOT_FOUND  # CONNECT, and `OPTIONS *`: about no address of ours
        if "//" in path and not path.startswith(UNREAD):
            # The router would fold the slashes, and the rules that go by prefix would have seen another path.
            return NOT_FOUND
        if query and not path.startswith(UNREAD) and (flaw := form_flaw(query, config.repeatable)):
            return invalid(f"Query: {flaw}.")
        if config.hosts and not path.startswith(ANYWHERE) and _name(self.fields.get(b"host", b"")) not in config.hosts:
            return Problem(421, "misdirected", "This service is not reached under that name.")
        return None

    async def _body_flaw(self) -> Problem | None:
        """Read the body whole, within its cap, and check its shape; the application gets what was read."""
        if self.scope["method"] in _WITHOUT_BODY:
            return None
        config, path = self.edge.config, self.scope["path"]
        shape = next(shape for shape in config.shapes if path.startswith(shape.prefix))
        if refusal := shape.announced(self.fields):
            return refusal
        try:
            async with asyncio.timeout(BODY_SECONDS):
                self.body = await self._read(shape.limit)
        except TimeoutError:
            return Problem(408, "request_timeout", f"The body did not arrive within {BODY_SECONDS:.0f} seconds.")
        return shape.too_large() if self.body is None else shape.arrived(self.body, self.fields, config.repeatable)

    async def _read(self, limit: int) -> bytes | None:
        """The body, or None where it is longer than `limit`, whatever was announced."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive_more()
            if message["type"] != "http.request":
                raise _Gone
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                return None
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def _receive(self) -> Message:
        """The body that was read, once; then whatever the server has to say (that the client left)."""
        body, self.body = self.body, None
        if body is None:
            return await self.receive_more()
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message: Message) -> None:
        """Add to the head of the answer what the route did not set itself."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = list(message["headers"])
            present = {name.lower() for name, _ in given}
            defaults = self.edge.page_headers if _at_dashboard(self.passage.path) else self.edge.api_headers
            given += [default for default in defaults if default[0] not in present]
            given.append((b"x-request-id", self.passage.request_id.encode()))
            message["headers"] = given + self._sharing()
        await self.send_on(message)

    def _sharing(self) -> list[tuple[bytes, bytes]]:
        """On refusals, too: a page that cannot read a 503 would not know that it may try again."""
        if not self.passage.path.startswith(SHARED):
            return []
        origin, varies = self.fields.get(b"origin", b"").decode("latin-1"), [(b"vary", b"Origin")]
        if not origin or not self.edge.config.shares(origin):
            return varies
        asks = self.scope["method"] == "OPTIONS" and b"access-control-request-method" in self.fields
        return varies + header.encoded(header.shared(origin, asks=asks))

    async def _refuse(self, refusal: Problem) -> None:
        self.noted["code"] = refusal.code
        media, body = rendered(refusal, self.scope)
        kind = f"{media}; charset=utf-8" if media.startswith("text/") else media
        headers = header.encoded({"content-type": kind, "content-length": str(len(body)), **refusal.headers})
        await self._send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if self.scope["method"] == "HEAD" else body})

    async def _failed(self, error: Exception) -> None:
        """Answer, unless an answer has begun: that one the server breaks off, so that it cannot look whole."""
        unavailable = isinstance(error, self.edge.config.unavailable)
        if not unavailable:
            with contextlib.suppress(OSError, ValueError):
                self.edge.log.error("failure", request_id=self.passage.request_id, **journal.failure(error))
        if not self.status:
            await self._refuse(UNAVAILABLE if unavailable else INTERNAL)

    def _write_line(self) -> None:
        """One line. A log that cannot be written (full disk, closed pipe) must not cost the answer."""
        route, method = self.scope.get("path_template", ""), self.scope["method"]
        method = method if method in _METHODS else "OTHER"
        status, seconds = self.status or 499, time.monotonic() - self.passage.arrived
        self.edge.config.observe(method, route, status, seconds, self.noted)
        level = "error" if self.status >= 500 else "debug" if route.startswith("/health") else "info"
        with contextlib.suppress(OSError, ValueError):
            getattr(self.edge.log, level)(
                "request",
                method=method,
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
                request_id=self.passage.request_id,
                network=self.passage.network,
                **journal.request_fields(self.noted),
            )


def _request_id() -> str:
    """16 characters: milliseconds since the epoch, so that the log's index of them grows at one end, and chance."""
    return urlsafe_b64encode((time.time_ns() // 1_000_000).to_bytes(6) + secrets.token_bytes(6)).decode()


def _name(host: bytes) -> str:
    return _PORT.sub("", host.decode("latin-1").lower())


def _at_dashboard(path: str) -> bool:
    return path == "/dashboard" or path.startswith("/dashboard/")


def _accepts_html(scope: Mapping[str, Any]) -> bool:
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])
