"""For gateways that ask before they pass a request on: is this access token good, and whose is it? Reads only.

It answers 200 without a body, because not all of them take another 2xx; what they pass on stands in headers.
"""

from typing import Annotated, Any, Final, TypeAlias

from litestar import Request, Response, Router, route
from litestar.enums import HttpMethod
from litestar.params import FromQuery, QueryParameter

from api import account, answers
from api.answers import NO_STORE
from api.credentials import Place
from api.description import OF_USER
from api.door import Given
from api.problems import documented
from core import scope as scopes
from core.access import AccessClaims
from core.issued import Present
from core.problem import Problem, invalid
from edge import passage_of

PATH: Final = "/v1/verify"
METHODS: Final = [
    HttpMethod.GET,
    HttpMethod.HEAD,
    HttpMethod.POST,
    HttpMethod.PUT,
    HttpMethod.PATCH,
    HttpMethod.DELETE,
    HttpMethod.OPTIONS,
]
"""Some gateways ask with the method of the request that they hold, and with its path behind ours."""


Needed: TypeAlias = Annotated[str, QueryParameter(name="scope")]
NO_SCOPE: Final = invalid("`scope` is a list of scopes separated by spaces.")


@route(
    "/",
    http_method=METHODS,
    status_code=200,
    media_type="text/plain",
    responses=documented(400, 401, 403, 503),
    security=OF_USER,
)
async def verify(
    request: Request[Any, Any, Any],
    door: Given,
    needed: Needed = "",
    audience: FromQuery[str] = "",
    origin: FromQuery[str] = "",
) -> Response[bytes]:
    """200 and who it is, as committed just now; 401 for a token that is not good, 403 where it lacks a `scope`.

    `audience` is what the token must be for, unless it is this service's own. `origin` is how the public reaches the
    application, for tokens that are bound to a key: with it, X-Forwarded-Method and X-Forwarded-Uri say which request
    the proof must be of. All of these are the gateway's to say.
    """
    if passage_of(request.scope).path != PATH:
        needed = audience = ""  # a request for the root of its application, put behind our path by a gateway
    if not all(scopes.WORD.fullmatch(word) for word in needed.split(" ") if word):
        return answers.said(NO_SCOPE)
    found = await account.who(request, door, audience, _held(request, origin) if origin else None)
    return found if isinstance(found, Response) else _lacking(found.claims, needed) or _said(found)


@route(
    "/{rest:path}",
    http_method=METHODS,
    status_code=200,
    media_type="text/plain",
    responses=documented(401, 503),
    security=OF_USER,
)
async def verify_for(request: Request[Any, Any, Any], door: Given) -> Response[bytes]:
    """The same, behind whose path a gateway puts path and query of the request that it holds.

    Those are its client's words, so nothing of them is read.
    """
    found = await account.who(request, door)
    return found if isinstance(found, Response) else _said(found)


def _held(request: Request[Any, Any, Any], origin: str) -> Place:
    """The request that the gateway holds, by the headers that it sets."""
    uri = request.headers.get("x-forwarded-uri", "")
    return Place(request.headers.get("x-forwarded-method", ""), origin.rstrip("/") + uri.partition("?")[0])


def _lacking(claims: AccessClaims, needed: str) -> Response[Any] | None:
    if scopes.words(needed) <= scopes.words(claims.scope):
        return None
    challenge = f'Bearer error="insufficient_scope", scope="{" ".join(sorted(scopes.words(needed)))}"'
    refusal = Problem(403, "insufficient_scope", "The access token does not allow this.")
    return answers.said(refusal, {"WWW-Authenticate": challenge})


def _said(found: Present) -> Response[bytes]:
    """What the gateway passes on. Roles are those of now, not of when the token was made."""
    claims = found.claims
    told = {
        "X-Session-Subject": claims.sub,
        "X-Session-Family": claims.sid,
        "X-Session-Client": claims.client_id,
        "X-Session-Scope": claims.scope,
        "X-Session-Roles": found.subject.roles,
        "X-Session-Expires": str(claims.exp),
    }
    return Response(b"", headers=NO_STORE | told, media_type="text/plain")


router = Router(PATH, route_handlers=[verify, verify_for])
