"""The proof once more, before what cannot be undone: a new family takes over, signed in just now."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromQuery

from core.factors import Typed
from core.issued import Denied
from core.passwords import Busy
from core.step import Purpose
from core.verdict import Verdict
from dashboard import answers, asked, cookie, way
from dashboard.danger import is_fresh
from dashboard.door import VIEWER, Given, GivenStaff, Staff
from dashboard.gate import visit_of, wants
from dashboard.sign_in import MAX_TYPED

WRONG = "The password is wrong."
SAID = {
    Verdict.FACTOR: "The second factor does not fit, or the code was used before. Wait for the next one.",
    Verdict.STALE: "That took too long. Try again.",
}


@get("/re-authenticate", opt=wants(VIEWER, before_enrolment=True))
async def form(
    request: Request[Any, Any, Any],
    door: Given,
    staff: GivenStaff,
    next: FromQuery[str] = "",  # noqa: A002
) -> Response[Any]:
    """Ask for it, and say why; its twin says whether it would be asked for."""
    if answers.wants_json(request):
        return answers.json({"auth_time": staff.family.auth_time, "fresh": is_fresh(staff, door.now())})
    return answers.html(_page(request, door, staff, way.back(next), ""))


@post("/re-authenticate", opt=wants(VIEWER, before_enrolment=True), status_code=303)
async def prove(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Begin a family in place of this one and go on. The cookie changes, so a copy of the old one is worth nothing."""
    fields = await request.form()
    goal, password = way.back(asked.text(fields, "next")), asked.text(fields, "password")
    typed = Typed(asked.text(fields, "code"), asked.text(fields, "credential"))
    if not (password or typed.credential) or max(len(password), len(typed.code)) > MAX_TYPED:
        return answers.html(_page(request, door, staff, goal, WRONG), 422)
    try:
        issued = await door.factors.again(staff.session, password, typed, asked.text(fields, "step"), visit_of(request))
    except Busy:
        return answers.html(
            _page(request, door, staff, goal, "Many people are signing in. Try again in a moment."), 503
        )
    if not isinstance(issued, Denied):
        cookie.keep(request.scope, issued.refresh_token)
        return answers.see_other(goal)
    if issued.verdict is Verdict.THROTTLED:
        answer = answers.html(_page(request, door, staff, goal, "Too many tries. Wait a little, then try again."), 429)
        answer.headers["Retry-After"] = str(issued.retry_after)
        return answer
    return answers.html(_page(request, door, staff, goal, SAID.get(issued.verdict, WRONG)), 422)


def _page(request: Request[Any, Any, Any], door: Given, staff: Staff, goal: str, wrong: str) -> bytes:
    second, visit = staff.subject.second, visit_of(request)
    step = door.factors.steps.begun(staff.session, Purpose.AGAIN, visit)
    return door.pages.render(
        "prove.html",
        staff=staff,
        next=goal,
        wrong=wrong,
        second=bool(second.held),
        step=step,
        options=door.factors.to_sign(staff.subject, step, Purpose.AGAIN, visit),
    )
