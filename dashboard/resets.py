"""Taking away all second factors of somebody who lost them: admins, with a reason and a fresh sign-in."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from core.policy import DASHBOARD
from core.reason import STAFF_REASONS
from dashboard import answers, asked, danger, forms, telling, way
from dashboard.door import ADMIN, Door, Given, GivenStaff, Staff
from dashboard.forms import Revocation
from dashboard.gate import visit_of, wants
from events import ids, subject
from events.subject import Subject


@get("/subjects/{subject_id:str}/factors", opt=wants(ADMIN))
async def preview(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, subject_id: FromPath[str]
) -> Response[Any]:
    """What a reset would do."""
    owner = await _owner(door, subject_id)
    await door.watching.previewed(staff.family, subject_id, visit_of(request).origin)
    if answers.wants_json(request):
        second = owner.second
        kinds = [one.kind for one in second.held]
        return answers.json({"subject": subject_id, "factors": kinds, "recovery_codes_left": second.left})
    return answers.html(await _page(door, staff, owner, forms.EMPTY))


@post("/subjects/{subject_id:str}/factors", opt=wants(ADMIN), status_code=303)
async def reset(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, subject_id: FromPath[str]
) -> Response[Any]:
    """All of them, the recovery codes and every session at the dashboard end in one commit. Twice is once."""
    owner = await _owner(door, subject_id)
    if owner.id == staff.subject.id:
        raise NotFoundException
    if not danger.is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"/dashboard/subjects/{subject_id}/factors"))
    given = asked.reasons(await request.form())
    if given.flaws:
        return answers.html(await _page(door, staff, owner, given), 422)
    actor = f"staff:{staff.subject_id}"
    await door.enrolling.reset(owner, actor, given.reason, visit_of(request), ticket=given.ticket, note=given.note)
    return answers.see_other(f"/dashboard/subjects/{subject_id}")


async def _owner(door: Door, subject_id: str) -> Subject:
    stream = ids.from_text(subject.PREFIX, subject_id)
    found = await door.subject_reader.get(stream) if stream else None
    if found is None:
        raise NotFoundException
    return found


async def _page(door: Door, staff: Staff, owner: Subject, given: Revocation) -> bytes:
    families = await door.family_reader.of_subject(owner.id)
    return door.pages.render(
        "reset.html",
        staff=staff,
        owner=owner,
        told=telling.factors(owner.second),
        sessions=sum(one.living and one.client == DASHBOARD for one in families),
        required=door.enrolling.must_enrol(owner) or bool(owner.role_set & door.enrolling.required),
        public_id=ids.to_text(subject.PREFIX, owner.id),
        position=(await door.history.head()).size,
        asked=given,
        reasons=STAFF_REASONS,
        fresh=danger.is_fresh(staff, door.now()),
        own=owner.id == staff.subject.id,
    )
