"""The cookie of staff: one name, one way to read, set and clear it."""

from collections.abc import Iterable

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from core.cookie import values

NAME = "__Host-dashboard"
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict"
_STATE = "dashboard_cookie"


def sent(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The one cookie that came; of two, none is believed."""
    found = values(headers, NAME)
    return found[0] if len(found) == 1 else ""


def keep(scope: Scope, token: str) -> None:
    """Set the cookie with this answer, whatever the answer will be. It ends with the browser: no Max-Age."""
    scope["state"][_STATE] = f"{NAME}={token}; {_ATTRIBUTES}".encode()


def clear(scope: Scope) -> None:
    """Take the cookie away with this answer."""
    scope["state"][_STATE] = f"{NAME}=; {_ATTRIBUTES}; Max-Age=0".encode()


class CarryCookie(ASGIMiddleware):
    """Puts the cookie onto the answer, refusals too: one that got lost would make the next request a reuse."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def carrying(message: Message) -> None:
            if message["type"] == "http.response.start" and _STATE in scope["state"]:
                message["headers"] = [*message["headers"], (b"set-cookie", scope["state"][_STATE])]
            await send(message)

        await next_app(scope, receive, carrying)
