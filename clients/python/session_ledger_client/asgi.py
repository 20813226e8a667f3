"""For any ASGI application: a middleware that lets nothing in without a good access token."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import quote

from session_ledger_client.aio import AsyncVerifier
from session_ledger_client.bearer import presented, refusal
from session_ledger_client.claims import Claims
from session_ledger_client.dpop import Request
from session_ledger_client.errors import SessionLedgerError

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
CLAIMS = "session_ledger"
"""Where the claims stand in the ASGI scope."""


async def claims_of(scope: Scope, verifier: AsyncVerifier, needed: str = "") -> Claims:
    """Of the request's token. Raises SessionLedgerError."""
    given = presented(_values(scope, b"authorization"))
    path = scope.get("raw_path") or quote(scope["path"]).encode()
    request = Request(given.scheme, scope.get("method", "GET"), path.decode("latin-1"), _values(scope, b"dpop"))
    claims = await verifier.verify(given.token, request)
    claims.require(needed)
    return claims


def _values(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == wanted]


class SessionLedgerMiddleware:
    """Answers 401, 403 and 503 itself; what passes has `scope["session_ledger"]`: its Claims.

    `needed` are the scopes that every request needs. `open_paths` are exact paths that anybody may ask. WebSockets are
    refused before they are accepted.
    """

    def __init__(
        self, app: App, verifier: AsyncVerifier, *, needed: str = "", open_paths: frozenset[str] = frozenset()
    ) -> None:
        self.app = app
        self.verifier = verifier
        self.needed = needed
        self.open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in self.open_paths:
            await self.app(scope, receive, send)
            return
        try:
            claims = await claims_of(scope, self.verifier, self.needed)
        except SessionLedgerError as error:
            await _refuse(scope["type"], error, send)
            return
        await self.app({**scope, CLAIMS: claims}, receive, send)


async def _refuse(kind: str, error: SessionLedgerError, send: Send) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    said = refusal(error)
    headers = [(name.lower().encode(), value.encode()) for name, value in said.headers.items()]
    await send({"type": "http.response.start", "status": said.status, "headers": headers})
    await send({"type": "http.response.body", "body": said.body})
