"""My sign-in: what somebody has beside the password, adding, taking away, recovery codes. Never of anybody else."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath

from core import totp
from core.enrolling import Enrolled, Offer
from core.enrolment import MAX_NAME, Outcome
from core.reason import cleaned_note
from dashboard import answers, asked, cookie, qr, telling, way
from dashboard.danger import is_fresh
from dashboard.door import VIEWER, Door, Given, GivenStaff, Staff
from dashboard.gate import visit_of, wants
from events.factor import PASSKEY, TOTP, Factor

MINE = wants(VIEWER, before_enrolment=True)
WRONG_CODE = "This code does not fit. Wait for the next one; if none fits, the clock of the device may be wrong."
WRONG_PASSKEY = "The browser's answer does not belong to this page, or it came too late. Try again."
SAID = {
    "password": "Your password is changed. All other sessions of yours have ended.",
    "removed": "It is taken away: nobody signs in with it any more.",
    "last": "Your role asks for a second factor and this is the only one. Add another first.",
    "exists": "You have one of this kind already. Take it away first if you want another.",
    "full": "You have as many second factors as there may be. Take one away first.",
    "unknown": "It is not there any more.",
}
"""Above the page, by code of the URL."""


@get("/me", opt=MINE)
async def mine(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """What there is."""
    second, must = staff.subject.second, door.enrolling.must_enrol(staff.subject)
    if answers.wants_json(request):
        told = [_as_json(one) for one in second.held]
        return answers.json(
            {"factors": told, "recovery_codes_left": second.left, "must_add_one": must, "session": staff.family_id}
        )
    page = door.pages.render(
        "me.html",
        staff=staff,
        second=second,
        must=must,
        said=SAID.get(request.query_params.get("done", ""), ""),
        has_totp=bool(second.of_kind(TOTP)),
        passkeys=door.factors.site.takes_passkeys,
        now=door.now(),
    )
    return answers.html(page)


@get("/me/totp", opt=MINE)
async def offer(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """A new secret to scan. Its twin shows none: a secret is made for a person who looks at it."""
    fresh = is_fresh(staff, door.now())
    if answers.wants_json(request):
        return answers.json({"fresh": fresh, "has_one": bool(staff.subject.second.of_kind(TOTP))})
    if not fresh:
        return answers.see_other(way.to_prove("/dashboard/me/totp"))
    if staff.subject.second.of_kind(TOTP):
        return answers.see_other(f"{way.MINE}?done=exists")
    return answers.html(_offer_page(door, staff, door.enrolling.offer(staff.session), "", ""))


@post("/me/totp", opt=MINE, status_code=303)
async def add(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Add it, once a code proves that the app has it."""
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove("/dashboard/me/totp"))
    fields = await request.form()
    name, code = named(asked.text(fields, "name")), asked.text(fields, "code")
    found = door.enrolling.opened(staff.session, asked.text(fields, "offer"))
    if found is None:
        return answers.see_other("/dashboard/me/totp")
    done = await door.enrolling.add_totp(staff.session, found, code, name, visit_of(request))
    if done is None:
        return answers.html(_offer_page(door, staff, found, name, WRONG_CODE), 422)
    return _went_on(request, door, staff, done)


@get("/me/passkey", opt=MINE)
async def to_make(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """What a browser makes a passkey of."""
    fresh, able = is_fresh(staff, door.now()), door.factors.site.takes_passkeys
    if answers.wants_json(request):
        return answers.json({"fresh": fresh, "can_be": able, "there_are": len(staff.subject.second.of_kind(PASSKEY))})
    if not able:
        return answers.see_other(way.MINE)
    if not fresh:
        return answers.see_other(way.to_prove("/dashboard/me/passkey"))
    return answers.html(_passkey_page(request, door, staff, "", ""))


@post("/me/passkey", opt=MINE, status_code=303)
async def make(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Add the passkey that the browser made for this page."""
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove("/dashboard/me/passkey"))
    fields = await request.form()
    name, step, credential = (asked.text(fields, one) for one in ("name", "step", "credential"))
    done = await door.enrolling.add_passkey(staff.session, step, credential, named(name), visit_of(request))
    if done is None:
        return answers.html(_passkey_page(request, door, staff, named(name), WRONG_PASSKEY), 422)
    return _went_on(request, door, staff, done)


@post("/me/codes", opt=MINE, status_code=303)
async def codes(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """New recovery codes, shown in this answer and never again."""
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(way.MINE))
    written = await door.enrolling.make_codes(staff.session, visit_of(request))
    return answers.html(_codes_page(door, staff, written)) if written else answers.see_other(way.MINE)


@post("/me/factors/{named:str}/remove", opt=MINE, status_code=303)
async def remove(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, named: FromPath[str]
) -> Response[Any]:
    """Take one away."""
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(way.MINE))
    outcome = await door.enrolling.remove(staff.session, named, visit_of(request))
    return answers.see_other(f"{way.MINE}?done={'removed' if outcome is Outcome.DONE else outcome}")


def named(typed: str) -> str:
    """A name as it is kept."""
    return cleaned_note(typed)[:MAX_NAME]


def _went_on(request: Request[Any, Any, Any], door: Door, staff: Staff, done: Enrolled) -> Response[Any]:
    """The session goes on as another; recovery codes are shown where they were made with it."""
    if done.issued is None:
        return answers.see_other(f"{way.MINE}?done={done.outcome}")
    cookie.keep(request.scope, done.issued.refresh_token)
    if not done.codes:
        return answers.see_other(way.MINE)
    now = staff._replace(family=done.issued.family, csrf=done.issued.csrf_token)
    return answers.html(_codes_page(door, now, done.codes))


def _passkey_page(request: Request[Any, Any, Any], door: Door, staff: Staff, name: str, wrong: str) -> bytes:
    step, options = door.enrolling.to_add(staff.session, visit_of(request))
    return door.pages.render("passkey.html", staff=staff, step=step, options=options, name=name, wrong=wrong)


def _codes_page(door: Door, staff: Staff, written: tuple[str, ...]) -> bytes:
    return door.pages.render("recovery_codes.html", staff=staff, codes=written)


def _offer_page(door: Door, staff: Staff, found: Offer, name: str, wrong: str) -> bytes:
    return door.pages.render(
        "totp.html",
        staff=staff,
        qr=qr.svg(totp.uri(found.secret, staff.name, door.factors.site.host)),
        secret=totp.spelled(found.secret),
        offer=found.sealed,
        name=name,
        wrong=wrong,
    )


def _as_json(one: Factor) -> dict[str, Any]:
    return {
        "factor": one.id,
        "kind": one.kind,
        "name": one.name or None,
        "added_at": telling.iso(one.added_at),
        "used_at": telling.iso(one.used_at) if one.used_at else None,
    }
