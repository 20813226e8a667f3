"""Signing keys: the ring as it stands; rotate, and revoke with preview and receipt. Admins, with a fresh password."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from core.action import Confirmed
from core.key import Verdict
from core.reason import KEY_REASONS
from dashboard import answers, asked, forms, masters, telling, way
from dashboard.danger import is_fresh
from dashboard.door import ADMIN, VIEWER, Door, Given, GivenStaff, Staff
from dashboard.forms import Revocation
from dashboard.gate import visit_of, wants
from dashboard.kills import actor_of
from events import action, ids
from events.key import ACTIVE, NEXT, REVOKED, Key

PLACE = "/dashboard/keys"
WORDS = {
    Verdict.ROTATED: "The next key signs now; the one before verifies until its last token has expired.",
    Verdict.PUBLISHED: "A next key was published. It can sign as soon as verifiers had time to fetch it.",
    Verdict.EARLY: "The next key was published too short a time ago: verifiers may not know it yet.",
    Verdict.UNCHANGED: "Nothing changed: that was done before.",
    Verdict.STALE: "Somebody else changed the keys at the same moment. Look again.",
}


@get("/keys", opt=wants(VIEWER))
async def keys(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """The ring, newest first."""
    await door.keys.refresh()
    found = sorted(door.keys.states, key=lambda one: (one.created_at, one.id), reverse=True)
    receipts = await _receipts(door)
    place, lines = await masters.told(door)
    if answers.wants_json(request):
        ring = [_as_json(one) | {"action": receipts.get(one.id)} for one in found]
        return answers.json({"keys": ring, "master_keys": [masters.as_json(one) for one in lines]})
    done = request.query_params.get("done", "")
    told = [*WORDS.items(), *masters.WORDS.items()]
    notice = next((words for verdict, words in told if verdict.value == done), "")
    values: dict[str, Any] = {"found": found, "receipts": receipts, "notice": notice, "lines": lines, "place": place}
    values["waiting"] = {one.numbers[0] for one in place.processes}
    return answers.html(_page(door, staff, "keys.html", failing=door.failing(), **values))


@post("/keys/rotate", opt=wants(ADMIN), status_code=303)
async def rotate(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Let the next key sign."""
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(PLACE))
    verdict = await door.keys.rotate(f"staff:{staff.subject_id}", visit_of(request).origin)
    return answers.see_other(f"{PLACE}?done={verdict.value}")


@get("/keys/{kid:str}/revoke", opt=wants(ADMIN))
async def preview(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, kid: FromPath[str]) -> Response[Any]:
    """What revoking this key would break. That somebody looked is an event."""
    state = _named(door, kid)
    if state.status == REVOKED:
        return answers.see_other(f"{PLACE}?done={Verdict.UNCHANGED.value}")
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"{PLACE}/{kid}/revoke"))
    await door.watching.previewed(staff.family, kid, visit_of(request).origin)
    if answers.wants_json(request):
        following = _following(door, state)
        return answers.json({"key": _as_json(state), "following": following.key if following else None})
    return answers.html(await _preview(door, staff, state, forms.EMPTY))


@post("/keys/{kid:str}/revoke", opt=wants(ADMIN), status_code=303)
async def revoke(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, kid: FromPath[str]) -> Response[Any]:
    """Refuse everything that this key signed, now; to the receipt. Twice is once."""
    state, fields = _named(door, kid), await request.form()
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"{PLACE}/{kid}/revoke"))
    given = asked.reasons(fields, KEY_REASONS)
    if given.flaws:
        return answers.html(await _preview(door, staff, state, given), 422)
    stream, position = asked.action_id(fields), way.whole(asked.text(fields, "position")) or 0
    confirmed = Confirmed(stream, actor_of(staff), given.reason, given.ticket, given.note, position)
    verdict = await door.keys.revoke_as(confirmed, kid, visit_of(request).origin)
    if verdict in {Verdict.REVOKED, Verdict.REPEATED}:
        return answers.see_other(f"/dashboard/actions/{ids.to_text(action.PREFIX, stream)}")
    return answers.see_other(f"{PLACE}?done={verdict.value}")


def _named(door: Door, kid: str) -> Key:
    state = next((one for one in door.keys.states if one.key == kid), None)
    if state is None:
        raise NotFoundException
    return state


def _following(door: Door, state: Key) -> Key | None:
    """What signs after it."""
    return next((one for one in door.keys.states if one.status == NEXT and one.id != state.id), None)


async def _receipts(door: Door) -> dict[bytes, str]:
    """By key, the action that revoked it."""
    found = await door.actions.reader.revoked_keys()
    return {one.key: ids.to_text(action.PREFIX, one.action) for one in found if one.action}


async def _preview(door: Door, staff: Staff, state: Key, given: Revocation) -> bytes:
    return _page(
        door,
        staff,
        "key_revoke.html",
        state=state,
        following=_following(door, state),
        asked=given,
        reasons=KEY_REASONS,
        action=ids.to_text(action.PREFIX, door.actions.new_id()),
        position=(await door.history.head()).size,
    )


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
