"""Master keys: which one signs and what stands under each; and the emergency brake, with preview and receipt.

Admins, with a fresh password and the number of families typed. Whoever stands under the key that leaked is signed out,
staff too.
"""

from typing import Any

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from core.action import Confirmed
from core.master_revocation import Outcome
from core.reason import KEY_REASONS
from core.retirement import Line, Place, lines
from dashboard import answers, asked, danger, forms, telling, way
from dashboard.danger import hurdles, is_fresh
from dashboard.door import ADMIN, Door, Given, GivenStaff, Staff
from dashboard.forms import Revocation
from dashboard.gate import visit_of, wants
from dashboard.kills import actor_of
from events import action, ids
from events.families import Reach

PLACE = "/dashboard/keys"
WORDS = {
    Outcome.SIGNS: "That master key signs: put a new one in front of it first, and wait until that one signs.",
    Outcome.UNCHANGED: "That master key is revoked already.",
}


@get("/keys/master/{number:int}/revoke", opt=wants(ADMIN))
async def preview(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, number: FromPath[int]
) -> Response[Any]:
    """Whom it would sign out. That somebody looked is an event."""
    place = await door.retirement.place(door.now())
    hindrance = _hindrance(place, number)
    if hindrance is not None:
        return answers.see_other(f"{PLACE}?done={hindrance.value}")
    if not is_fresh(staff, door.now()):
        return _prove(number)
    await door.watching.previewed(staff.family, f"master key {number}", visit_of(request).origin)
    reach = await door.retirement.reach_of(number)
    if answers.wants_json(request):
        return answers.json({"master_key": number} | _reach(reach))
    return answers.html(await _preview(door, staff, number, reach, forms.EMPTY))


@post("/keys/master/{number:int}/revoke", opt=wants(ADMIN), status_code=303)
async def revoke(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, number: FromPath[int]
) -> Response[Any]:
    """Refuse every refresh token under this key, now; its families are ended behind the answer. Twice is once."""
    fields = await request.form()
    _hindrance(await door.retirement.place(door.now()), number)
    if not is_fresh(staff, door.now()):
        return _prove(number)
    reach = await door.retirement.reach_of(number)
    given = asked.reasons(fields, KEY_REASONS)
    # Nobody begins under it any more, so what was shown is not less than what is left.
    shown = max(way.whole(asked.text(fields, "families")) or 0, reach.families)
    if hurdles(staff, shown, door.now()).large and not danger.typed_right(asked.text(fields, "number"), shown):
        given = given._replace(flaws={**given.flaws, "number": f"Type the number of families: {reach.families:,}."})
    if given.flaws:
        return answers.html(await _preview(door, staff, number, reach, given), 422)
    stream, position = asked.action_id(fields), way.whole(asked.text(fields, "position")) or 0
    confirmed = Confirmed(stream, actor_of(staff), given.reason, given.ticket, given.note, position)
    outcome = await door.retirement.revoke(confirmed, number, shown, door.now(), visit_of(request).origin)
    if outcome in {Outcome.REVOKED, Outcome.REPEATED}:
        door.actions.carry_out_behind(stream)
        return answers.see_other(f"/dashboard/actions/{ids.to_text(action.PREFIX, stream)}")
    return answers.see_other(f"{PLACE}?done={outcome.value}")


async def told(door: Door) -> tuple[Place, tuple[Line, ...]]:
    """All master keys of the ledger, with the families as last counted. Raises Unavailable."""
    place = await door.retirement.place(door.now())
    return place, lines(place, door.standing(), door.keys.states, door.now())


def as_json(line: Line) -> dict[str, Any]:
    """For programs."""
    return {
        "number": line.number,
        "signs": line.signs,
        "revoked": line.revoked,
        "known_by": line.known_by,
        "families": line.families,
        "signing_keys": line.signing_keys,
        "secrets": line.secrets,
        "may_go_at": None if line.free_at is None else telling.iso(line.free_at),
    }


def _hindrance(place: Place, number: int) -> Outcome | None:
    """Why it cannot be revoked. Raises NotFoundException for one that the ledger does not know."""
    if number not in place.numbers:
        raise NotFoundException
    if number in place.revoked:
        return Outcome.UNCHANGED
    signs = number == place.signing.number or any(number == one.signs for one in place.processes)
    return Outcome.SIGNS if signs else None


def _prove(number: int) -> answers.Page:
    return answers.see_other(way.to_prove(f"{PLACE}/master/{number}/revoke"))


async def _preview(door: Door, staff: Staff, number: int, reach: Reach, given: Revocation) -> bytes:
    return door.pages.render(
        "master_revoke.html",
        staff=staff,
        now=door.now(),
        number=number,
        reach=reach,
        wrapped=sum(one.wrapped_by == number for one in door.keys.states),
        hurdles=hurdles(staff, reach.families, door.now()),
        own=staff.family.key == number,
        asked=given,
        reasons=KEY_REASONS,
        action=ids.to_text(action.PREFIX, door.actions.new_id()),
        position=(await door.history.head()).size,
    )


def _reach(reach: Reach) -> dict[str, Any]:
    return {"families": reach.families, "subjects": reach.subjects, "dashboard_sessions": reach.staff}
