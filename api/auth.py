"""Sign in, refresh, sign out: the routes under /auth that read or set refresh tokens."""

from typing import Any, Literal, NamedTuple

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import FromQuery, JSONBody

from api import answers, cookies
from api.answers import CSRF_FAILED, NO_STORE, REFUSALS, TokenAnswer
from api.door import Door, Given
from api.visits import visit
from core import origin
from core.families import Denied, SignIn
from core.policy import DASHBOARD, WEB
from core.problem import Problem
from core.token import Token
from core.verdict import Verdict

MAX_TYPED = 1024
"""Characters of what people type: name, password, device."""


class LoginRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Name and password of a user, and how the tokens are wanted."""

    username: str
    password: str
    client_id: str = WEB
    mode: Literal["cookie", "body"] = "cookie"
    device: str = ""


class RefreshRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A refresh token, or nothing where it comes in the cookie."""

    refresh_token: str | None = None
    client_id: str = WEB


class CsrfAnswer(msgspec.Struct):
    """What a page sends back in `X-CSRF-Token`."""

    csrf_token: str


class Presented(NamedTuple):
    """A genuine refresh token and how it came."""

    token: Token
    client: str
    carriage: str


@post("/login", status_code=200)
async def login(
    request: Request[Any, Any, Any], data: JSONBody[LoginRequest], door: Given
) -> Response[TokenAnswer] | Response[Any]:
    """Sign in with name and password; the answer holds an access token, and a refresh token in cookies or body."""
    client = door.clients.get(data.client_id)
    if client is None or data.client_id == DASHBOARD:
        return answers.said(Problem(400, "unknown_client", "There is no client of this client_id for this route."))
    if max(len(data.username), len(data.password), len(data.device)) > MAX_TYPED:
        return answers.said(
            Problem(400, "invalid_request", f"username, password and device have at most {MAX_TYPED} characters.")
        )
    replaces = None
    if data.mode == "cookie":
        if _foreign(request, data.client_id, door):
            return answers.said(CSRF_FAILED)
        sent = cookies.values(request.scope["headers"], cookies.refresh_name(data.client_id))
        replaces = door.families.read_token(sent[0]) if len(sent) == 1 else None
    command = SignIn(data.username, data.password, data.client_id, data.mode, data.device, replaces)
    issued = await door.families.sign_in(command, visit(request))
    return answers.denied(request, issued) if isinstance(issued, Denied) else answers.tokens(request, issued)


@post("/refresh", status_code=200)
async def refresh(
    request: Request[Any, Any, Any], data: JSONBody[RefreshRequest], door: Given
) -> Response[TokenAnswer] | Response[Any]:
    """Use a refresh token; it is used up, and its successor is in the answer."""
    presented = _presented(request, data, door)
    if isinstance(presented, Response):
        return presented
    issued = await door.families.refresh(presented.token, presented.client, presented.carriage, visit(request))
    if isinstance(issued, Denied):
        return answers.denied(request, issued)
    return answers.tokens(request, issued)


@get("/csrf")
async def csrf(
    request: Request[Any, Any, Any], door: Given, client_id: FromQuery[str] = WEB
) -> Response[CsrfAnswer] | Response[Any]:
    """The CSRF token for the cookie, for a page on another host of the same site. Uses nothing up."""
    if _foreign(request, client_id, door):
        return answers.said(CSRF_FAILED)
    token = _cookie_token(request, client_id, door)
    if token is None:
        return answers.said(REFUSALS[Verdict.UNKNOWN])
    return Response(CsrfAnswer(door.families.csrf_token(token.family)), headers=dict(NO_STORE))


@post("/logout", status_code=204)
async def logout(request: Request[Any, Any, Any], data: JSONBody[RefreshRequest], door: Given) -> Response[None]:
    """End the session of the token. Any genuine token of it will do, an old one too."""
    presented = _presented(request, data, door)
    if isinstance(presented, Response):
        return _already_out(presented, data)
    await door.families.sign_out(presented.token, visit(request))
    return _out(data.client_id, presented.carriage)


@post("/logout-all", status_code=204)
async def logout_all(request: Request[Any, Any, Any], data: JSONBody[RefreshRequest], door: Given) -> Response[None]:
    """End all sessions of the user, on all devices."""
    presented = _presented(request, data, door)
    if isinstance(presented, Response):
        return _already_out(presented, data)
    await door.families.sign_out_everywhere(presented.token, visit(request))
    return _out(data.client_id, presented.carriage)


def _presented(request: Request[Any, Any, Any], data: RefreshRequest, door: Door) -> Presented | Response[Any]:
    """The token and how it came, or the refusal. Garbage ends here, before any database."""
    in_cookie = cookies.values(request.scope["headers"], cookies.refresh_name(data.client_id))
    if data.refresh_token is not None:
        if in_cookie:
            return answers.said(
                Problem(400, "invalid_request", "Send the refresh token in the cookie or in the body, not in both.")
            )
        token = door.families.read_token(data.refresh_token)
        return answers.said(REFUSALS[Verdict.UNKNOWN]) if token is None else Presented(token, data.client_id, "body")
    if _foreign(request, data.client_id, door):
        return answers.said(CSRF_FAILED)
    token = _cookie_token(request, data.client_id, door)
    if token is None:
        return answers.said(REFUSALS[Verdict.UNKNOWN])
    given = request.headers.getall("x-csrf-token", [])
    if len(given) != 1 or not door.families.csrf_matches(token.family, given[0]):
        return answers.said(CSRF_FAILED)
    return Presented(token, data.client_id, "cookie")


def _cookie_token(request: Request[Any, Any, Any], client: str, door: Door) -> Token | None:
    """The token in the client's cookie; two cookies of the name are none."""
    sent = cookies.values(request.scope["headers"], cookies.refresh_name(client))
    return door.families.read_token(sent[0]) if len(sent) == 1 else None


def _foreign(request: Request[Any, Any, Any], client: str, door: Door) -> bool:
    state = door.clients.get(client)
    allowed = frozenset(state.origins.split()) if state else frozenset()
    if client == WEB:
        allowed |= door.web_origins
    headers = request.headers
    return (
        origin.judge(headers.getall("sec-fetch-site", []), headers.getall("origin", []), door.own_origin, allowed)
        is not None
    )


def _already_out(refusal: Response[Any], data: RefreshRequest) -> Response[Any]:
    """Signing out is idempotent: a token that is not in use here is as good as signed out."""
    return _out(data.client_id, "body") if refusal.status_code == 401 else refusal


def _out(client: str, carriage: str) -> Response[Any]:
    headers = dict(NO_STORE)
    if carriage == "cookie":
        headers["Clear-Site-Data"] = '"cache", "storage"'
    kept = cookies.cleared(client) if carriage == "cookie" else []
    return Response(None, status_code=204, headers=headers, cookies=kept)


router = Router("/auth", route_handlers=[login, refresh, csrf, logout, logout_all])
