"""How a refresh token came: in the cookie, with origin and CSRF proof, or in the body. Reads no database."""

from typing import Any, NamedTuple

from litestar import Request

from api import cookies
from api.answers import CSRF_FAILED, REFUSALS
from api.door import Door
from core import origin
from core.cookie import values
from core.policy import DASHBOARD, WEB
from core.problem import Problem
from core.token import Token
from core.verdict import Verdict
from edge import note
from events import family, ids

UNKNOWN_CLIENT = Problem(400, "unknown_client", "There is no client of this client_id for this route.")
BOTH_WAYS = Problem(400, "invalid_request", "Send the refresh token in the cookie or in the body, not in both.")
NO_TOKEN = REFUSALS[Verdict.UNKNOWN]
AMBIGUOUS = Problem(401, "token_unknown", "The cookie of the refresh token comes more than once: none of them counts.")


class Presented(NamedTuple):
    """A genuine refresh token and how it came."""

    token: Token
    client: str
    carriage: str


def known(client: str, door: Door) -> bool:
    """Whether /auth serves this client: a public one of our own. The dashboard serves its families itself."""
    state = door.clients.get(client)
    return state is not None and client != DASHBOARD and not state.confidential and bool(state.first_party)


def presented(request: Request[Any, Any, Any], in_body: str | None, client: str, door: Door) -> Presented | Problem:
    """The token and how it came, or the refusal. Garbage ends here."""
    if not known(client, door):
        return UNKNOWN_CLIENT
    if in_body is not None:
        if values(request.scope["headers"], cookies.refresh_name(client)):
            return BOTH_WAYS
        token = door.families.read_token(in_body)
        if token is None:
            return NO_TOKEN
        noted(request, token, client)
        return Presented(token, client, "body")
    found = in_cookie(request, client, door)
    if isinstance(found, Problem):
        return found
    noted(request, found, client)
    given = request.headers.getall("x-csrf-token", [])
    if len(given) != 1 or not door.families.issuer.csrf_matches(found.family, given[0]):
        note(request.scope, reason=origin.CSRF_TOKEN)
        return CSRF_FAILED
    return Presented(found, client, "cookie")


def noted(request: Request[Any, Any, Any], token: Token, client: str) -> None:
    """Into the request's log line: whose genuine token it is, and the client that we know it came from."""
    note(request.scope, family=ids.to_text(family.PREFIX, token.family), client=client)


def in_cookie(request: Request[Any, Any, Any], client: str, door: Door) -> Token | Problem:
    """The token in the client's cookie, from a page that may send it."""
    if not known(client, door):
        return UNKNOWN_CLIENT
    if is_foreign(request, client, door):
        return CSRF_FAILED
    sent = values(request.scope["headers"], cookies.refresh_name(client))
    if len(sent) > 1:
        return AMBIGUOUS
    return (door.families.read_token(sent[0]) if sent else None) or NO_TOKEN


def is_foreign(request: Request[Any, Any, Any], client: str, door: Door) -> bool:
    """Whether the request does not come from a page that may use this client's cookies; the log hears why."""
    state = door.clients.get(client)
    allowed = frozenset(state.origins.split()) if state else frozenset()
    if client == WEB:
        allowed |= door.web_origins
    sites, origins = (request.headers.getall(name, []) for name in ("sec-fetch-site", "origin"))
    reason = origin.judge(sites, origins, door.own_origin, allowed)
    if reason is not None:
        note(request.scope, reason=reason)
    return reason is not None
