"""The second step of signing in, and signing in by passkey alone. What the browser holds meanwhile opens nothing."""

from typing import Any

from litestar import Request, get, post
from litestar.params import FromQuery
from msgspec import Raw

from core.factors import Typed
from core.issued import Denied
from core.step import LIFETIME, Purpose
from core.verdict import Verdict
from core.visit import Visit
from dashboard import answers, asked, cookie, way
from dashboard.answers import Page
from dashboard.door import Door, Given
from dashboard.gate import CSRF_FIELD, PUBLIC, Forged, SignInNeeded, visit_of
from events.factor import TOTP
from events.subject import Subject

MAX_TYPED = 64
"""Characters of a code."""
WRONG = "This code does not fit, or it was used before. Wait for the next one, then try again."


@get("/sign-in/second", opt=PUBLIC)
async def form(request: Request[Any, Any, Any], door: Given, next: FromQuery[str] = "") -> answers.Answer:  # noqa: A002
    """Ask for it; its twin says what can be given. Whoever did not give the right password lately begins anew."""
    held = cookie.sent(request.scope["headers"], cookie.STEP)
    owner = await door.factors.expected(held, visit_of(request))
    if owner is None:
        if answers.wants_json(request):
            raise SignInNeeded("again")
        return _anew(request)
    if answers.wants_json(request):
        kinds = sorted({one.kind for one in owner.second.held}) + (["recovery"] if owner.second.left else [])
        return answers.json({"kinds": kinds})
    return answers.html(_page(door, owner, held, way.back(next), "", visit_of(request)))


@post("/sign-in/second", opt=PUBLIC, status_code=303)
async def prove(request: Request[Any, Any, Any], door: Given) -> Page:
    """Begin the family. The form came from our own page, and from the one that this step was begun for."""
    fields, visit = await request.form(), visit_of(request)
    held, goal = cookie.sent(request.scope["headers"], cookie.STEP), way.back(asked.text(fields, "next"))
    owner = await door.factors.expected(held, visit)
    if owner is None:
        return _anew(request)
    if not door.factors.steps.csrf_matches(held, asked.text(fields, CSRF_FIELD)):
        raise Forged(extra={"code": "csrf_failed"})
    typed = Typed(asked.text(fields, "code"), asked.text(fields, "credential"))
    if not (typed.code or typed.credential) or len(typed.code) > MAX_TYPED:
        return answers.html(_page(door, owner, held, goal, WRONG, visit), 422)
    replaces = door.families.read_token(cookie.sent(request.scope["headers"]))
    issued = await door.factors.second(held, typed, visit, replaces)
    if not isinstance(issued, Denied):
        cookie.clear(request.scope, cookie.STEP)
        cookie.keep(request.scope, issued.refresh_token)
        return answers.see_other(goal)
    if issued.verdict in {Verdict.STALE, Verdict.INVALID}:
        return _anew(request)
    if issued.verdict is Verdict.THROTTLED:
        said = f"Too many wrong codes. Wait {answers.seconds(issued.retry_after)}, then try again."
        page = _page(door, owner, held, goal, said, visit)
        return answers.html(page, 429, {"Retry-After": str(issued.retry_after)})
    return answers.html(_page(door, owner, held, goal, WRONG, visit), 422)


@post("/sign-in/challenge", opt=PUBLIC, status_code=200)
async def challenge(request: Request[Any, Any, Any], door: Given) -> answers.Answer:
    """What a script asks passkeys for at the sign-in page, and the cookie that it is bound to; nobody is known yet."""
    asked_for, options = door.factors.to_sign_alone(visit_of(request))
    cookie.keep_for(request.scope, asked_for.step, cookie.STEP, LIFETIME)
    return answers.json(Raw(options.encode()))


@post("/sign-in/passkey", opt=PUBLIC, status_code=303)
async def alone(request: Request[Any, Any, Any], door: Given) -> Page:
    """Begin the family of whoever the passkey belongs to, if it knows its owner: a password is not needed then."""
    fields, visit, headers = await request.form(), visit_of(request), request.scope["headers"]
    goal, held = way.back(asked.text(fields, "next")), cookie.sent(headers, cookie.STEP)
    replaces = door.families.read_token(cookie.sent(headers))
    issued = await door.factors.alone(held, asked.text(fields, "credential"), visit, replaces)
    cookie.clear(request.scope, cookie.STEP)
    if not isinstance(issued, Denied):
        cookie.keep(request.scope, issued.refresh_token)
        return answers.see_other(goal)
    why = {Verdict.STALE: "again", Verdict.THROTTLED: "wait"}.get(issued.verdict, "passkey")
    return answers.see_other(way.to_sign_in(why, goal))


def _anew(request: Request[Any, Any, Any]) -> Page:
    cookie.clear(request.scope, cookie.STEP)
    return answers.see_other(f"{way.SIGN_IN}?why=again")


def _page(door: Door, owner: Subject, held: str, goal: str, wrong: str, visit: Visit) -> bytes:
    return door.pages.render(
        "second.html",
        owner=owner,
        options=door.factors.to_sign(owner, held, Purpose.SECOND, visit),
        csrf=door.factors.steps.csrf_token(held),
        next=goal,
        wrong=wrong,
        by_code=bool(owner.second.of_kind(TOTP)),
    )
