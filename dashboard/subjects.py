"""One person: everything that happened over all families, the families themselves, the places; disabling."""

from typing import Any, Final, NamedTuple

from litestar import Request, Response, get, post
from litestar.params import FromPath

from core.action import Confirmed, Outcome
from core.reason import STAFF_REASONS
from dashboard import answers, asked, danger, erasure, forms, rows, story, telling, way
from dashboard.door import ADMIN, RESPONDER, VIEWER, Door, Given, GivenStaff, Staff
from dashboard.erasure import Erased
from dashboard.forms import Revocation
from dashboard.gate import visit_of, wants
from dashboard.kills import actor_of, after
from dashboard.missing import nothing
from dashboard.rows import Row
from events import action, family, ids, subject
from events.budget import TooSlow
from events.family import Family
from events.pivots import Place
from events.subject import Subject

PAGE_SIZE: Final = 40
CARDS: Final = 12
"""Families shown as cards: the living ones first; the others are in the list of families."""
PLACES: Final = 12


class Told(NamedTuple):
    """Somebody with everything that the page shows."""

    subject: Subject
    public_id: str
    rows: list[Row]
    older: int | None
    living: list[Family]
    ended: list[Family]
    places: list[Place]
    erased: Erased | None
    """When and by whom, of somebody who was erased."""

    @property
    def cards(self) -> list[Family]:
        return [*self.living, *self.ended][:CARDS]

    @property
    def name(self) -> str:
        return self.subject.name or telling.short(self.public_id)


@get("/subjects/{subject_id:str}", opt=wants(VIEWER))
async def show(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, subject_id: FromPath[str]
) -> Response[Any]:
    """Everything about somebody, newest first."""
    told = await _told(door, subject_id, way.whole(request.query_params.get("before", "")))
    if answers.wants_json(request):
        return answers.json(_as_json(told))
    page = door.pages.render(
        "subject.html",
        staff=staff,
        told=told,
        fam=lambda one: ids.to_text(family.PREFIX, one.id),
        status=story.status,
        may_kill=staff.may(RESPONDER) and not told.subject.erased,
        may_change=staff.may(ADMIN) and not told.subject.erased,
        blocked=told.subject.blocked_until > door.now(),
        now=door.now(),
    )
    return answers.html(page)


@get("/subjects/{subject_id:str}/switch", opt=wants(ADMIN))
async def preview(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, subject_id: FromPath[str]
) -> Response[Any]:
    """What disabling or enabling would do."""
    owner = await _owner(door, subject_id)
    await door.watching.previewed(staff.family, subject_id, visit_of(request).origin)
    if answers.wants_json(request):
        families = await door.family_reader.of_subject(owner.id)
        living = [telling.family_id(one.id) for one in families if one.living]
        return answers.json({"subject": subject_id, "status": owner.status, "living": living})
    return answers.html(await _switch_page(door, staff, owner, forms.EMPTY))


@post("/subjects/{subject_id:str}/switch", opt=wants(ADMIN), status_code=303)
async def switch(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, subject_id: FromPath[str]
) -> Response[Any]:
    """Disable, which ends all families in the same commit, or enable; to the receipt. Twice is once."""
    owner, fields = await _owner(door, subject_id), await request.form()
    given, enabled = asked.reasons(fields), asked.text(fields, "to") == "enabled"
    if not danger.is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"/dashboard/subjects/{subject_id}/switch"))
    if given.flaws:
        return answers.html(await _switch_page(door, staff, owner, given), 422)
    stream = asked.action_id(fields)
    position = way.whole(asked.text(fields, "position")) or 0
    confirmed = Confirmed(stream, actor_of(staff), given.reason, given.ticket, given.note, position)
    outcome = await door.actions.set_enabled(confirmed, owner.id, visit_of(request).origin, enabled=enabled)
    if outcome in {Outcome.UNCHANGED, Outcome.ERASED}:
        return answers.see_other(f"/dashboard/subjects/{subject_id}")
    return await after(request, door, staff, stream)


async def _owner(door: Door, subject_id: str) -> Subject:
    stream = ids.from_text(subject.PREFIX, subject_id)
    found = await door.subject_reader.get(stream) if stream else None
    if found is None:
        raise nothing("user", subject.PREFIX, subject_id)
    return found


async def _told(door: Door, subject_id: str, before: int | None) -> Told:
    owner = await _owner(door, subject_id)
    events = await door.pivots.of_subject(owner.id, before, PAGE_SIZE + 1)
    shown = await rows.rows_of(events[:PAGE_SIZE], door.subject_reader)
    families = await door.family_reader.of_subject(owner.id)
    places = await door.pivots.places_of(owner.id, PLACES)
    return Told(
        owner,
        subject_id,
        shown,
        shown[-1].event.position if len(events) > PAGE_SIZE else None,
        [one for one in families if one.living],
        [one for one in families if not one.living],
        [] if isinstance(places, TooSlow) else places,
        await erasure.told_of(door, owner),
    )


async def _switch_page(door: Door, staff: Staff, owner: Subject, given: Revocation) -> bytes:
    families = await door.family_reader.of_subject(owner.id)
    living = [one for one in families if one.living]
    return door.pages.render(
        "switch.html",
        staff=staff,
        owner=owner,
        public_id=ids.to_text(subject.PREFIX, owner.id),
        living=living,
        access_until=max((one.access_until for one in living), default=0) * telling.SECOND,
        action=ids.to_text(action.PREFIX, door.actions.new_id()),
        position=(await door.history.head()).size,
        asked=given,
        reasons=STAFF_REASONS,
        fresh=danger.is_fresh(staff, door.now()),
        own=owner.id == staff.subject.id,
        now=door.now(),
    )


def _as_json(told: Told) -> dict[str, Any]:
    owner = told.subject
    return {
        "subject": told.public_id,
        "name": owner.name or None,
        "status": owner.status,
        "erased": erasure.as_json(told.erased) if told.erased else None,
        "roles": sorted(owner.role_set),
        "registered_at": telling.iso(owner.registered_at),
        "failed_sign_ins_in_a_row": owner.failures,
        "second_factors": [one.kind for one in owner.second.held],
        "families": [
            {
                "family": ids.to_text(family.PREFIX, one.id),
                "status": one.status,
                "client": one.client,
                "started_at": telling.iso(one.started_at),
                "last_used_at": telling.iso(one.rotated_at),
            }
            for one in (*told.living, *told.ended)
        ],
        "places": [
            {
                "ip": place.context.ip or None,
                "user_agent": place.context.agent or None,
                "times": place.times,
                "first_at": telling.iso(place.first_at),
                "last_at": telling.iso(place.last_at),
            }
            for place in told.places
        ],
        "events": [rows.as_json(row) for row in told.rows],
        "before": told.older,
    }
