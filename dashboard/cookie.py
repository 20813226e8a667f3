"""The cookies of staff, the session and the way to it: one way to read, set and clear them."""

from collections.abc import Iterable

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from core.cookie import values

NAME = "__Host-dashboard"
STEP = "__Host-dashboard-step"
"""Between two steps of a sign-in; see `core.step`."""
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict"
_STATE = "dashboard_cookies"


def sent(headers: Iterable[tuple[bytes, bytes]], name: str = NAME) -> str:
    """The one cookie of that name that came; of two, none is believed."""
    found = values(headers, name)
    return found[0] if len(found) == 1 else ""


def keep(scope: Scope, token: str, name: str = NAME) -> None:
    """Set the cookie with this answer, whatever the answer will be. It ends with the browser: no Max-Age."""
    _set(scope, name, f"{name}={token}; {_ATTRIBUTES}")


def keep_for(scope: Scope, text: str, name: str, seconds: int) -> None:
    """The same for a cookie that ends sooner than the browser."""
    _set(scope, name, f"{name}={text}; {_ATTRIBUTES}; Max-Age={seconds}")


def clear(scope: Scope, name: str = NAME) -> None:
    """Take the cookie away with this answer."""
    _set(scope, name, f"{name}=; {_ATTRIBUTES}; Max-Age=0")


def _set(scope: Scope, name: str, text: str) -> None:
    scope["state"].setdefault(_STATE, {})[name] = text.encode()


class CarryCookie(ASGIMiddleware):
    """Puts the cookies onto the answer, refusals too: one that got lost would make the next request a reuse."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def carrying(message: Message) -> None:
            if message["type"] == "http.response.start" and _STATE in scope["state"]:
                set_now = [(b"set-cookie", text) for text in scope["state"][_STATE].values()]
                message["headers"] = [*message["headers"], *set_now]
            await send(message)

        await next_app(scope, receive, carrying)
