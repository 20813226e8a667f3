"""One family: its story, what of it still works, and the way to end it. Reads only."""

from typing import Any, Final, NamedTuple

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from dashboard import answers, rows, story, telling, way
from dashboard.door import RESPONDER, VIEWER, Door, Given, GivenStaff, Staff
from dashboard.gate import wants
from dashboard.rows import Names, Row
from events import family, ids, subject
from events.families import Held

SHOWN: Final = 100
"""Events of a story on one page: of a longer one its first and its last, and any stretch that `after` asks for."""


class Told(NamedTuple):
    """A family with everything that its page shows."""

    held: Held
    public_id: str
    subject: str
    ended_by: str
    rows: list[Row]
    reuse: story.Reuse | None


@get("/families/{family_id:str}", opt=wants(VIEWER))
async def show(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, family_id: FromPath[str]
) -> Response[Any]:
    """The story of a family."""
    told = await _told(door, family_id, way.whole(request.query_params.get("after", "")))
    if answers.wants_json(request):
        return answers.json(_as_json(told, door.now()))
    return answers.html(_page(door, staff, told))


async def _told(door: Door, family_id: str, after: int | None = None) -> Told:
    """Read the family and its events: the end, or those behind a version. Raises NotFoundException, and Unavailable."""
    stream = ids.from_text(family.PREFIX, family_id)
    held = await door.family_reader.get(stream) if stream else None
    if held is None or stream is None:
        raise NotFoundException
    if after is None:
        events = await door.history.tail_of_stream(stream, SHOWN)
    else:
        events = await door.history.of_stream(stream, after, SHOWN)
    if events and events[0].version > 1:
        events = [*await door.history.of_stream(stream, 0, 1), *events]
    generation = story.presented(events)
    replaced = await door.history.rotation(stream, generation + 1) if generation else None
    names = await Names.of(events, door.subject_reader)
    told = [rows.row_of(event, names) for event in events]
    state = held.family
    return Told(
        held,
        family_id,
        held.subject.name if held.subject else telling.short(ids.to_text(subject.PREFIX, state.subject)),
        names.actor(state.ended_by) or "the user",
        told,
        story.reuse(told, replaced),
    )


def _page(door: Door, staff: Staff, told: Told) -> bytes:
    state = told.held.family
    return door.pages.render(
        "family.html",
        staff=staff,
        told=told,
        state=state,
        status=story.status(state),
        steps=story.folded(story.steps(told.rows)),
        later=told.rows[-1].event.version if told.rows and told.rows[-1].event.version < state.version else None,
        reuse=told.reuse,
        usable=story.usable(state, door.now()),
        may_revoke=state.living and staff.may(RESPONDER),
        own=state.id == staff.family.id,
        now=door.now(),
    )


def _as_json(told: Told, now: int) -> dict[str, Any]:
    state, usable = told.held.family, story.usable(told.held.family, now)
    return {
        "family": told.public_id,
        "status": state.status,
        "subject": ids.to_text(subject.PREFIX, state.subject),
        "subject_name": told.subject,
        "client": state.client,
        "generation": state.generation,
        "carriage": state.carriage,
        "started_at": telling.iso(state.started_at),
        "last_used_at": telling.iso(state.rotated_at),
        "ends_at": telling.iso(min(state.idle_until, state.ends_at)),
        "reuse_detected_at": telling.iso(state.reused_at) if state.reused_at else None,
        "ended_at": telling.iso(state.ended_at) if state.ended_at else None,
        "ended_by": state.ended_by or None,
        "ended_reason": state.ended_reason or None,
        "refresh_usable": usable.refresh,
        "access_usable_until": telling.iso(usable.access_until) if usable.access else None,
        "events": [rows.as_json(row) for row in told.rows],
    }
