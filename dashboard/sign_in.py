"""Signing in and out: the two forms that begin and end a family of the client `dashboard`."""

from typing import Any, Final

from litestar import Request, get, post
from litestar.params import FromQuery

from core.factors import Asked
from core.issued import Denied
from core.passwords import Busy
from core.policy import DASHBOARD
from core.step import LIFETIME
from core.verdict import Verdict
from core.visit import SignIn
from dashboard import answers, cookie, way
from dashboard.answers import Page
from dashboard.door import ANYONE, Given, GivenStaff
from dashboard.gate import PUBLIC, visit_of, wants

MAX_TYPED: Final = 1024
"""Characters of what people type."""
WHY: Final = {
    "expired": "Your session ended because it was not used for a while. Sign in to go on.",
    "ended": "Your session was ended. Sign in to go on.",
    "reused": "A used copy of your session came back, so the session was ended. If that was not you, tell your admin.",
    "signed-out": "You are signed out.",
    "passkey": "This passkey opens nothing here. Use one that knows you by PIN or finger, or your name and password.",
    "wait": "Too many tries. Wait a few minutes, then try again.",
    "again": "That took too long, or was done before. Sign in once more.",
    "own": "You ended your own session. Sign in to go on.",
}
"""What the page says above the form, by code: no text ever comes from the URL. Others (`needed`) say nothing."""
WRONG: Final = "The name or the password is wrong, or this account has no access here."


@get("/sign-in", opt=PUBLIC)
async def form(door: Given, why: FromQuery[str] = "", next: FromQuery[str] = "") -> Page:  # noqa: A002
    """The form, and why it is shown."""
    return answers.html(_page(door, WHY.get(why, ""), "", way.back(next), ""))


@post("/sign-in", opt=PUBLIC, status_code=303)
async def sign_in(request: Request[Any, Any, Any], door: Given) -> Page:
    """Begin a family. The gate has seen that the form came from our own page.

    There is no session yet that a CSRF token could be bound to, so the origin rule stands alone here. A session that
    came with the form ends: what somebody planted beforehand is worth nothing afterwards.
    """
    fields = await request.form()
    name, password = str(fields.get("name", "")), str(fields.get("password", ""))
    goal = way.back(str(fields.get("next", "")))
    if not name or not password or max(len(name), len(password)) > MAX_TYPED:
        return _again(door, WRONG, goal, name)
    replaces = door.families.read_token(cookie.sent(request.scope["headers"]))
    command = SignIn(name, password, DASHBOARD, "cookie", replaces=replaces)
    try:
        issued = await door.factors.sign_in(command, visit_of(request))
    except Busy:
        return _again(door, "Many people are signing in. Try again in a moment.", goal, name, 503, wait=1)
    if isinstance(issued, Asked):
        cookie.keep_for(request.scope, issued.step, cookie.STEP, LIFETIME)
        return answers.see_other(way.to_second(goal))
    if not isinstance(issued, Denied):
        cookie.keep(request.scope, issued.refresh_token)
        return answers.see_other(goal)
    if issued.verdict is Verdict.THROTTLED:
        said = f"Too many tries. Wait {answers.seconds(issued.retry_after)}, then try again."
        return _again(door, said, goal, name, 429, wait=issued.retry_after)
    return _again(door, WRONG, goal, name)


@post("/sign-out", opt=wants(ANYONE, before_enrolment=True), status_code=303)
async def sign_out(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Page:
    """End this family; the pages that the browser kept are not shown again."""
    await door.families.sign_out(staff.token, visit_of(request))
    cookie.clear(request.scope)
    answer = answers.see_other(f"{way.SIGN_IN}?why=signed-out")
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


def _again(door: Given, wrong: str, goal: str, name: str, status: int = 422, wait: int = 0) -> Page:
    """The form once more. Unknown name, wrong password, no role, blocked: one answer for all of them."""
    return answers.html(
        _page(door, "", wrong, goal, name[:MAX_TYPED]), status, {"Retry-After": str(wait)} if wait else {}
    )


def _page(door: Given, said: str, wrong: str, goal: str, name: str) -> bytes:
    able = door.factors.site.takes_passkeys
    return door.pages.render("sign_in.html", said=said, wrong=wrong, next=goal, name=name, passkeys=able)
