"""My password: changing the own one, with a fresh sign-in. All sessions end with it but the own, which goes on anew."""

from typing import Any

from litestar import Request, Response, get, post

from core.issued import Denied
from core.password import MIN_LENGTH
from core.passwords import Busy
from core.subjects import WeakPassword
from dashboard import answers, asked, cookie, way
from dashboard.danger import is_fresh
from dashboard.door import VIEWER, Door, Given, GivenStaff, Staff
from dashboard.gate import visit_of, wants
from dashboard.sign_in import MAX_TYPED

PLACE = "/dashboard/me/password"


@get("/me/password", opt=wants(VIEWER))
async def form(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Ask for the new one, once whoever asks has shown who they are."""
    fresh = is_fresh(staff, door.now())
    if answers.wants_json(request):
        return answers.json({"fresh": fresh, "least_characters": MIN_LENGTH})
    return answers.html(_page(door, staff, "")) if fresh else answers.see_other(way.to_prove(PLACE))


@post("/me/password", opt=wants(VIEWER), status_code=303)
async def change(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Change it."""
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(PLACE))
    fields = await request.form()
    new, again = asked.text(fields, "new"), asked.text(fields, "again")
    if new != again or len(new) > MAX_TYPED:
        return answers.html(_page(door, staff, "The two are not the same."), 422)
    try:
        done = await door.enrolling.change_password(
            staff.session, door.subjects.checked(new, staff.name), visit_of(request)
        )
    except WeakPassword as error:
        return answers.html(_page(door, staff, str(error)), 422)
    except Busy:
        return answers.html(_page(door, staff, "Many people sign in now. Try again in a moment."), 503)
    if isinstance(done, Denied):
        return answers.html(_page(door, staff, "This session or the password changed meanwhile. Try again."), 409)
    cookie.keep(request.scope, done.refresh_token)
    return answers.see_other(f"{way.MINE}?done=password")


def _page(door: Door, staff: Staff, wrong: str) -> bytes:
    return door.pages.render("own_password.html", staff=staff, wrong=wrong, least=MIN_LENGTH)
