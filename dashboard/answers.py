"""The shapes of this door's answers: a page, its JSON twin, a way to go on. Decides nothing."""

from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException

from core import problem
from core.problem import Problem
from dashboard import cookie, missing, way
from dashboard.door import Door
from dashboard.gate import SignInNeeded, is_fragment
from edge import note, passage_of

Page = Response[bytes]
Answer = Response[Any]
"""A page or its twin."""
VARY: Final = "Accept, HX-Request, HX-Target, HX-History-Restore-Request"
"""What decides between a page, a part of it and its twin, all at one address."""


def html(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Page:
    """A page; the edge adds the headers that all of them carry."""
    return Response(content, status_code=status, media_type="text/html", headers={"Vary": VARY} | (headers or {}))


def see_other(place: str) -> Page:
    """303: whatever was posted is not posted again (RFC 9700 §4.12)."""
    return Response(b"", status_code=303, media_type="text/html", headers={"Location": place})


def wants_json(request: Request[Any, Any, Any]) -> bool:
    """Whether the JSON twin is asked for; a browser never sends this Accept by itself."""
    accept = request.headers.get("accept", "")
    return request.query_params.get("format") == "json" or ("application/json" in accept and "text/html" not in accept)


def for_programs(request: Request[Any, Any, Any]) -> bool:
    """Whether a page would be read by nobody."""
    return wants_json(request) or "text/html" not in request.headers.get("accept", "")


def json(content: object) -> Response[object]:
    """The JSON twin of a page."""
    return Response(content, media_type="application/json", headers={"Vary": "Accept"})


def seconds(count: int) -> str:
    """So long, for people."""
    return f"{count} seconds" if count < 120 else f"{-(-count // 60)} minutes"


TOO_SLOW: Final = Problem(
    503, "too_slow", "This was stopped because it took too long. Ask for less, or try again.", {"Retry-After": "2"}
)
"""What the twin of a page says whose numbers could not be read in time."""


def refused(request: Request[Any, Any, Any], door: Door, refusal: Problem) -> Response[bytes]:
    """A refusal as a page, or as a problem where the twin was asked for."""
    note(request.scope, code=refusal.code)
    passage = passage_of(request.scope)
    if for_programs(request):
        media, body = problem.rendered(refusal, passage.path, passage.request_id)
        return Response(body, status_code=refusal.status, media_type=media, headers=dict(refusal.headers))
    made = request.scope["state"]["page"] or door.pages.error  # the gate's own, with the frame of whom it knows
    page = made(refusal.status, refusal.code, refusal.detail)
    return html(page, refusal.status, dict(refusal.headers))


def sign_in_first(request: Request[Any, Any, Any], door: Door, needed: SignInNeeded) -> Response[bytes]:
    """Nobody is signed in: say so to programs, show browsers the way.

    A link clicked in a chat arrives without the Strict cookie. Such a request gets a page that asks again from here,
    so that the cookie comes along; it cannot go round, because the second request is not cross-site any more.
    """
    if is_fragment(request):
        place = way.to_sign_in(needed.why, _page_of(request, door))
        return Response(b"", status_code=401, media_type="text/html", headers={"HX-Redirect": place, "Vary": VARY})
    if wants_json(request):
        challenge = {"WWW-Authenticate": "Cookie"}
        return refused(request, door, Problem(401, "sign_in_needed", "Sign in to the dashboard first.", challenge))
    query = request.scope["query_string"].decode("latin-1")
    path = passage_of(request.scope).path
    here = f"{path}?{query}" if query else path
    if request.method == "POST":
        here = path.rpartition("/")[0]
    crossing = request.headers.get("sec-fetch-site") == "cross-site"
    if request.method == "GET" and crossing and not cookie.sent(request.scope["headers"]) and way.back(here) == here:
        return html(door.pages.render("again.html", here=here))
    return see_other(way.to_sign_in(needed.why, here))


def enrol_first(request: Request[Any, Any, Any], door: Door) -> Response[bytes]:
    """A second factor has to be added first: say so to programs, show browsers the way."""
    if is_fragment(request):
        return Response(b"", status_code=403, media_type="text/html", headers={"HX-Redirect": way.MINE, "Vary": VARY})
    if wants_json(request):
        return refused(
            request, door, Problem(403, "second_factor_needed", "Add a second factor to this account first.")
        )
    return see_other(way.MINE)


def _page_of(request: Request[Any, Any, Any], door: Door) -> str:
    """The page whose part was asked for, as its script says; `way.back` judges it."""
    return request.headers.get("hx-current-url", "").removeprefix(door.own_origin)


def explained(error: HTTPException) -> Problem:
    """What staff are told about a refusal of the framework or the gate."""
    known = {
        403: Problem(403, "forbidden", "Your role does not allow this. Ask an admin if you need it."),
        404: problem.NOT_FOUND,
        405: Problem(405, "method_not_allowed", "This address does not take this method."),
        429: Problem(429, "rate_limited", "Too many tries in a short time. Wait a moment, then try again."),
    }.get(error.status_code, problem.invalid("The request is not what this address takes."))
    if isinstance(error.extra, dict) and missing.SAID in error.extra:
        known = Problem(404, known.code, error.extra[missing.SAID])
    if isinstance(error.extra, dict) and error.extra.get("code") == "csrf_failed":
        known = Problem(403, "csrf_failed", "This form was not sent from the page it belongs to, or that page is old.")
    return Problem(error.status_code, known.code, known.detail, dict(error.headers or {}))
