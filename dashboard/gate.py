"""Who may pass: every route says whom it wants, and one that says nothing lets nobody in. Judges by core's rules."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, PermissionDeniedException, TooManyRequestsException
from litestar.handlers import BaseRouteHandler

from core import origin
from core.issued import Denied
from core.policy import DASHBOARD
from core.token import Token
from core.verdict import Verdict
from core.visit import Visit
from dashboard import cookie
from dashboard.door import Door, Staff
from edge import note, passage_of
from events import family, ids, subject

PUBLIC: Final = {"public": True}
"""`opt` of the few routes that everybody reaches: sign-in and static files."""
ROTATE_AFTER: Final = 5 * 60 * 1_000_000
"""Microseconds. A younger token is only looked at."""
CSRF_FIELD: Final = "csrf"
ONLY_LOOKS: Final = {"only_looks": True}
"""`opt` of routes that a page asks again and again by itself: they never use the cookie up, whoever asks."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_WHY: Final = {Verdict.EXPIRED: "expired", Verdict.REUSED: "reused"}

Connection = ASGIConnection[Any, Any, Any, Any]


def wants(role: str, *, before_enrolment: bool = False) -> dict[str, str | bool]:
    """`opt` of a route for staff with this role or a higher one.

    `before_enrolment` is for the few that somebody reaches whose role asks for a second factor that is not there yet.
    """
    return {"role": role, "before_enrolment": before_enrolment}


class SignInNeeded(Exception):
    """Nobody is signed in here (any more); `why` is a code of the sign-in page."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class EnrolFirst(Exception):
    """The role asks for a second factor, and there is none: nothing else can be done before."""


class Forged(HTTPException):
    """A POST that does not prove that it comes from a page of ours."""

    status_code = 403


def visit_of(connection: Connection) -> Visit:
    """What the use cases are told of a request."""
    passage = passage_of(connection.scope)
    return Visit(passage.presence, passage.request_id, passage.arrived)


def is_fragment(connection: Connection) -> bool:
    """Whether a script on a page of ours asks for a part of it. Going back in the history wants the whole page."""
    headers = connection.headers
    return headers.get("hx-request") == "true" and headers.get("hx-history-restore-request") != "true"


def gate(door_now: Callable[[], Door]) -> Callable[[Connection, BaseRouteHandler], Awaitable[None]]:
    """The one guard of all routes of this door."""

    async def pass_through(connection: Connection, handler: BaseRouteHandler) -> None:
        door = door_now()
        changes = connection.scope.get("method") not in _SAFE
        if changes and _foreign(connection, door):
            raise Forged(extra={"code": "csrf_failed"})
        if handler.opt.get("public"):
            return
        role = handler.opt.get("role")
        if role is None:
            raise PermissionDeniedException
        looks = not changes and (is_fragment(connection) or bool(handler.opt.get("only_looks")))
        staff = await _admitted(connection, door, only_looks=looks)
        connection.scope["state"]["page"] = partial(door.pages.error, staff=staff)
        if changes and not await _carries_token(connection, door, staff):
            note(connection.scope, reason=origin.CSRF_TOKEN)
            raise Forged(extra={"code": "csrf_failed"})
        if door.enrolling.must_enrol(staff.subject) and not handler.opt.get("before_enrolment"):
            raise EnrolFirst
        if not staff.may(role):
            raise PermissionDeniedException
        connection.scope["state"]["staff"] = staff

    return pass_through


def _foreign(connection: Connection, door: Door) -> bool:
    """Same-origin only: not even another host of the same site may post here. The log hears why."""
    headers = connection.headers
    sites, origins = headers.getall("sec-fetch-site", []), headers.getall("origin", [])
    reason = origin.judge(sites, origins, door.own_origin, frozenset())
    if reason is not None:
        note(connection.scope, reason=reason)
    return reason is not None


async def _carries_token(connection: Connection, door: Door, staff: Staff) -> bool:
    assert isinstance(connection, Request)  # noqa: S101 - guards of HTTP routes are given the request
    given = (await connection.form()).get(CSRF_FIELD)
    return isinstance(given, str) and door.families.issuer.csrf_matches(staff.family.id, given)


async def _admitted(connection: Connection, door: Door, *, only_looks: bool) -> Staff:
    """Look at the cookie; use it up only where it is old, or where the ledger must have the last word.

    What a page asks for by itself says nothing about whether somebody is there, so it moves no limit. A used token
    that came back is recorded all the same.
    """
    presented = door.families.read_token(cookie.sent(connection.scope["headers"]))
    if presented is None:
        raise SignInNeeded("needed")
    visit = visit_of(connection)
    look = await door.families.look(presented, DASHBOARD, "cookie", visit)
    seen = None
    if look.verdict is Verdict.CURRENT and look.family and look.owner:
        seen = _staff(connection, door, look.family, look.owner, presented)
        if only_looks or not _due(look.family, presented, door.now()):
            return seen
    elif only_looks and look.verdict is not Verdict.REUSED:
        _note_denied(connection, presented, look.verdict)
        raise SignInNeeded(_WHY.get(look.verdict, "ended"))
    issued = await door.families.refresh(presented, DASHBOARD, "cookie", visit)
    if isinstance(issued, Denied):
        _note_denied(connection, presented, issued.verdict)
        return _turned_away(issued, seen)
    cookie.keep(connection.scope, issued.refresh_token)
    owner = await door.subject_reader.get(issued.family.subject)
    if owner is None:
        raise SignInNeeded("ended")
    return _staff(connection, door, issued.family, owner, door.families.read_token(issued.refresh_token) or presented)


def _note_denied(connection: Connection, presented: Token, verdict: Verdict) -> None:
    said = ids.to_text(family.PREFIX, presented.family)
    note(connection.scope, verdict=verdict.value, family=said, client=DASHBOARD)


def _turned_away(denied: Denied, seen: Staff | None) -> Staff:
    """Throttling costs nobody a page who may see it without a new token."""
    if denied.verdict is not Verdict.THROTTLED:
        raise SignInNeeded(_WHY.get(denied.verdict, "ended"))
    if seen is None:
        raise TooManyRequestsException(headers={"Retry-After": str(denied.retry_after)})
    return seen


def _due(state: family.Family, presented: Token, now: int) -> bool:
    """Old enough, or used up by a request whose answer this browser may have missed: then it gets the successor."""
    return now - state.rotated_at > ROTATE_AFTER or presented.generation < state.generation


def _staff(connection: Connection, door: Door, state: family.Family, owner: subject.Subject, token: Token) -> Staff:
    actor = f"staff:{ids.to_text(subject.PREFIX, owner.id)}"
    note(connection.scope, actor=actor, client=DASHBOARD)
    return Staff(owner, state, token, door.families.issuer.csrf_token(state.id))
