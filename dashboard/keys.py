"""Signing keys: the ring as it stands; rotate, and revoke with a preview. Dangerous: admins, with a fresh password."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from core.key import Verdict
from dashboard import answers, asked, telling
from dashboard.danger import is_fresh
from dashboard.door import ADMIN, VIEWER, Door, Given, GivenStaff, Staff
from dashboard.gate import visit_of, wants
from events.key import ACTIVE, NEXT, REVOKED, Key

PLACE = "/dashboard/keys"
WORDS = {
    Verdict.ROTATED: "The next key signs now; the one before verifies until its last token has expired.",
    Verdict.PUBLISHED: "A next key was published. It can sign as soon as verifiers had time to fetch it.",
    Verdict.EARLY: "The next key was published too short a time ago: verifiers may not know it yet.",
    Verdict.REVOKED: "The key is revoked: what it signed is refused here from now on.",
    Verdict.UNCHANGED: "Nothing changed: that was done before.",
    Verdict.STALE: "Somebody else changed the keys at the same moment. Look again.",
}


@get("/keys", opt=wants(VIEWER))
async def keys(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """The ring, newest first."""
    await door.keys.refresh()
    found = sorted(door.keys.states, key=lambda one: (one.created_at, one.id), reverse=True)
    if answers.wants_json(request):
        return answers.json({"keys": [_as_json(one) for one in found]})
    done = request.query_params.get("done", "")
    notice = next((words for verdict, words in WORDS.items() if verdict.value == done), "")
    return answers.html(_page(door, staff, "keys.html", found=found, notice=notice))


@post("/keys/rotate", opt=wants(ADMIN), status_code=303)
async def rotate(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Let the next key sign."""
    if not is_fresh(staff, door.now()):
        return _prove(PLACE)
    verdict = await door.keys.rotate(f"staff:{staff.subject_id}", visit_of(request).origin)
    return answers.see_other(f"{PLACE}?done={verdict.value}")


@get("/keys/{kid:str}/revoke", opt=wants(ADMIN))
async def preview(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, kid: FromPath[str]) -> Response[Any]:
    """What revoking this key would break."""
    state = _named(door, kid)
    if not is_fresh(staff, door.now()):
        return _prove(f"{PLACE}/{kid}/revoke")
    following = next((one for one in door.keys.states if one.status == NEXT and one.id != state.id), None)
    if answers.wants_json(request):
        return answers.json({"key": _as_json(state), "following": following.key if following else None})
    return answers.html(_page(door, staff, "key_revoke.html", state=state, following=following))


@post("/keys/{kid:str}/revoke", opt=wants(ADMIN), status_code=303)
async def revoke(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, kid: FromPath[str]) -> Response[Any]:
    """Refuse everything that this key signed, now."""
    state = _named(door, kid)
    if not is_fresh(staff, door.now()):
        return _prove(f"{PLACE}/{kid}/revoke")
    note = asked.reasons(await request.form()).note
    actor = f"staff:{staff.subject_id}"
    verdict = await door.keys.revoke(state.key, "compromised", actor, note=note, origin=visit_of(request).origin)
    return answers.see_other(f"{PLACE}?done={verdict.value}")


def _prove(goal: str) -> answers.Page:
    return answers.see_other(f"/dashboard/re-authenticate?next={goal}")


def _named(door: Door, kid: str) -> Key:
    state = next((one for one in door.keys.states if one.key == kid and one.status != REVOKED), None)
    if state is None:
        raise NotFoundException
    return state


def _page(door: Door, staff: Staff, template: str, **values: Any) -> bytes:
    return door.pages.render(template, staff=staff, now=door.now(), active=ACTIVE, next=NEXT, revoked=REVOKED, **values)


def _as_json(state: Key) -> dict[str, Any]:
    return {
        "kid": state.key,
        "status": state.status,
        "algorithm": state.algorithm,
        "created_at": telling.iso(state.created_at),
        "activated_at": telling.iso(state.activated_at) if state.activated_at else None,
        "gone_at": telling.iso(state.retire_at) if state.retire_at else None,
    }
