"""Sign in, refresh, sign out: the routes under /auth that read or set refresh tokens."""

from typing import Any, Literal

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import FromQuery, JSONBody

from api import answers, cookies, dpop
from api.answers import CSRF_FAILED, NO_STORE, TokenAnswer
from api.description import taking
from api.door import Given
from api.presented import NO_TOKEN, UNKNOWN_CLIENT, in_cookie, is_foreign, known, noted, presented
from api.problems import documented
from api.visits import visit
from core.issued import Denied
from core.policy import WEB
from core.problem import Problem, invalid
from core.verdict import Answer
from core.visit import SignIn
from edge import note

CSRF = {"X-CSRF-Token": "Where the token comes in the cookie: what `csrf_token` said."}
MAX_TYPED = 1024
"""Characters of what people type: name, password, device."""

NOT_IN_COOKIE = invalid("A session that is bound to a key has its refresh token in the body: ask for mode body.")


class LoginRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Name and password of a user, and how the tokens are wanted."""

    username: str
    password: str
    client_id: str = WEB
    mode: Literal["cookie", "body"] = "cookie"
    device: str = ""

    def __repr__(self) -> str:
        return f"LoginRequest(client_id={self.client_id!r}, mode={self.mode!r})"


class RefreshRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A refresh token, or nothing where it comes in the cookie."""

    refresh_token: str | None = None
    client_id: str = WEB

    def __repr__(self) -> str:
        return f"RefreshRequest(client_id={self.client_id!r})"


class CsrfAnswer(msgspec.Struct):
    """What a page sends back in `X-CSRF-Token`."""

    csrf_token: str

    def __repr__(self) -> str:
        return "CsrfAnswer()"


@post(
    "/login",
    status_code=200,
    responses=documented(400, 401, 403, 429, 503),
    operation_class=taking(headers=dpop.HEADER),
)
async def login(request: Request[Any, Any, Any], data: JSONBody[LoginRequest], door: Given) -> Response[TokenAnswer]:
    """Sign in with name and password; the answer holds an access token, and a refresh token in cookies or body.

    With a `DPoP` proof and mode `body` the session is bound to its key, and refreshed at /oauth/token (RFC 9449).
    """
    if not known(data.client_id, door):
        return answers.said(UNKNOWN_CLIENT)
    if max(len(data.username), len(data.password), len(data.device)) > MAX_TYPED:
        return answers.said(invalid(f"username, password and device have at most {MAX_TYPED} characters."))
    proof = dpop.at_token_route(request, door)
    if isinstance(proof, Problem):
        return answers.said(proof)
    replaces = None
    if data.mode == "cookie":
        if proof is not None:
            return answers.said(NOT_IN_COOKIE)
        if is_foreign(request, data.client_id, door):
            return answers.said(CSRF_FAILED)
        found = in_cookie(request, data.client_id, door)
        replaces = None if isinstance(found, Problem) else found
    command = SignIn(data.username, data.password, data.client_id, data.mode, data.device, replaces, proof)
    issued = await door.families.sign_in(command, visit(request))
    nonce = dpop.fresh(request, door)
    if isinstance(issued, Denied):
        return answers.denied(request, issued, nonce)
    return answers.tokens(request, issued, nonce)


@post("/refresh", status_code=200, responses=documented(400, 401, 403, 429, 503), operation_class=taking(headers=CSRF))
async def refresh(
    request: Request[Any, Any, Any], data: JSONBody[RefreshRequest], door: Given
) -> Response[TokenAnswer]:
    """Use a refresh token; it is used up, and its successor is in the answer."""
    found = presented(request, data.refresh_token, data.client_id, door)
    if isinstance(found, Problem):
        return answers.said(found)
    issued = await door.families.refresh(found.token, found.client, found.carriage, visit(request))
    return answers.denied(request, issued) if isinstance(issued, Denied) else answers.tokens(request, issued)


@get("/csrf", responses=documented(400, 401, 403))
async def csrf(request: Request[Any, Any, Any], door: Given, client_id: FromQuery[str] = WEB) -> Response[CsrfAnswer]:
    """The CSRF token for the cookie, for a page on another host of the same site. Uses nothing up."""
    found = in_cookie(request, client_id, door)
    if isinstance(found, Problem):
        return answers.said(found)
    noted(request, found, client_id)
    return Response(CsrfAnswer(door.families.issuer.csrf_token(found.family)), headers=dict(NO_STORE))


@post("/logout", status_code=204, responses=documented(400, 401, 403, 503), operation_class=taking(headers=CSRF))
async def logout(request: Request[Any, Any, Any], data: JSONBody[RefreshRequest], door: Given) -> Response[None]:
    """End the session of the token. Any genuine token of it will do, an old one too."""
    found = presented(request, data.refresh_token, data.client_id, door)
    if isinstance(found, Problem):
        return _not_signed_out(found, data)
    return _ended(request, data, await door.families.sign_out(found.token, visit(request)))


@post("/logout-all", status_code=204, responses=documented(400, 401, 403, 503), operation_class=taking(headers=CSRF))
async def logout_all(request: Request[Any, Any, Any], data: JSONBody[RefreshRequest], door: Given) -> Response[None]:
    """End all sessions of the user, on all devices."""
    found = presented(request, data.refresh_token, data.client_id, door)
    if isinstance(found, Problem):
        return _not_signed_out(found, data)
    return _ended(request, data, await door.families.sign_out_everywhere(found.token, visit(request)))


def _ended(request: Request[Any, Any, Any], data: RefreshRequest, answer: Answer) -> Response[None]:
    """The same for every token of ours: that one is of no session is for the log."""
    note(request.scope, verdict=answer.verdict.value)
    return _signed_out(data)


def _not_signed_out(refusal: Problem, data: RefreshRequest) -> Response[None]:
    """Signing out is idempotent: who sends no token that is in use here is signed out already."""
    return _signed_out(data) if refusal is NO_TOKEN else answers.said(refusal)


def _signed_out(data: RefreshRequest) -> Response[None]:
    """204. Without a token in the body it was about the cookies, whatever they held: they go."""
    if data.refresh_token is not None:
        return Response(None, status_code=204, headers=dict(NO_STORE))
    headers = NO_STORE | {"Clear-Site-Data": '"cache", "storage"'}
    return Response(None, status_code=204, headers=headers, cookies=cookies.cleared(data.client_id))


router = Router("/auth", route_handlers=[login, refresh, csrf, logout, logout_all])
