"""One family: its picture, its story, what of it still works, and how far it reaches. Reads only."""

import json
from typing import Any, Final, NamedTuple

from litestar import Request, Response, get
from litestar.params import FromPath

from dashboard import answers, lineage, rows, story, telling, way
from dashboard.blast import Blast, blast
from dashboard.door import RESPONDER, VIEWER, Door, Given, GivenStaff, Staff
from dashboard.gate import wants
from dashboard.missing import nothing, said
from dashboard.moves import Move, moves
from dashboard.rows import Names, Row
from dashboard.story import Run, Step
from events import catalogue, family, ids, subject
from events.families import Held
from events.family import Family
from events.history import Event

SHOWN: Final = 60
"""Events of a story on one page: of a longer one its first and its last, and any stretch that `after` asks for."""
RAW: Final = 25
"""Of these, as JSON on the page; its twin has them all."""
VIEWS: Final = {"timeline": "Timeline", "table": "Table", "json": "JSON"}


class Told(NamedTuple):
    """A family with everything that its page shows."""

    held: Held
    public_id: str
    subject: str
    subject_id: str
    ended_by: str
    rows: list[Row]
    reuse: story.Reuse | None
    as_of: int | None
    """Position up to which it is told, None for now."""
    now: int
    moves: dict[int, Move]
    """What changed at which position."""

    @property
    def state(self) -> Family:
        return self.held.family

    @property
    def parts(self) -> list[Step | Run]:
        return story.folded(story.steps(self.rows))


@get("/families/{family_id:str}", opt=wants(VIEWER))
async def show(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, family_id: FromPath[str]
) -> Response[Any]:
    """The story of a family, now or up to a position."""
    asked = request.query_params
    told = await _told(door, family_id, way.whole(asked.get("after", "")), way.whole(asked.get("as_of", "")))
    if answers.wants_json(request):
        return answers.json(_as_json(told))
    view = asked.get("view", "timeline")
    held = way.whole(asked.get("held", ""))
    return answers.html(await _page(door, staff, told, view if view in VIEWS else "timeline", held))


async def _told(door: Door, family_id: str, after: int | None, as_of: int | None) -> Told:
    """Read the family and its events: the end, or those behind a version. Raises NotFoundException, and Unavailable."""
    stream = ids.from_text(family.PREFIX, family_id)
    held = await door.family_reader.get(stream) if stream else None
    if held is None or stream is None:
        raise nothing("family", family.PREFIX, family_id)
    now = door.now()
    if as_of is not None:
        held, now = await _then(door, held, as_of)
    state = held.family
    start = max(0, state.version - SHOWN) if after is None else after
    events = [e for e in await door.history.of_stream(stream, start, SHOWN) if e.version <= state.version]
    if events and events[0].version > 1:
        events = [*await door.history.of_stream(stream, 0, 1), *events]
    generation = story.presented(events)
    replaced = await door.history.rotation(stream, generation + 1) if generation else None
    names = await Names.of(events, door.subject_reader)
    told = [rows.row_of(event, names) for event in events]
    whose = ids.to_text(subject.PREFIX, state.subject)
    return Told(
        held,
        family_id,
        held.subject.name if held.subject else telling.short(whose),
        whose,
        names.actor(state.ended_by) or "the user",
        told,
        story.reuse(told, replaced),
        as_of,
        now,
        moves(told, door.geography.country_of),
    )


async def _then(door: Door, held: Held, as_of: int) -> tuple[Held, int]:
    """The family as a log that ends with this position had it, and the time of that."""
    stream = held.family.id
    last = await door.pivots.version_at(stream, as_of + 1)
    newest = await door.history.before(as_of + 1, 1)
    if not last or not newest:
        raise said(f"At #{as_of} there was no such family.")
    state: Family | None = None
    while state is None or state.version < last:
        for event in await door.history.of_stream(stream, state.version if state else 0, 500):
            if event.version <= last:
                state = _next(state, event)
    return Held(state, held.subject), newest[0].at


def _next(state: Family | None, event: Event) -> Family:
    found = catalogue.apply(state, event.stream, event.at, event.fact, event.account)
    assert isinstance(found, Family)  # noqa: S101 - a stream is of one noun
    return found


async def _page(door: Door, staff: Staff, told: Told, view: str, held: int | None) -> bytes:
    state, now = told.state, told.now
    of_subject = await door.family_reader.of_subject(state.subject)
    others = [one for one in of_subject if one.living and one.id != state.id]
    events = [row.event for row in told.rows]
    reach: Blast | None = await blast(door, events)
    parts, head = told.parts, await door.history.head()
    return door.pages.render(
        "family.html",
        staff=staff,
        told=told,
        state=state,
        status=story.status(state),
        steps=parts,
        picture=lineage.picture(parts, told.moves),
        later=events[-1].version if events and events[-1].version < state.version else None,
        reuse=told.reuse,
        usable=story.usable(state, now),
        blast=reach,
        others=len(others),
        view=view,
        most_raw=RAW,
        views=VIEWS,
        raw=_pretty(told) if view == "json" else "",
        held=held if held is not None and held <= state.generation else None,
        may_revoke=staff.may(RESPONDER) and (state.living or bool(others)),
        own=state.id == staff.family.id,
        moment=head.size - 1 if told.as_of is None else told.as_of,
        now=now,
    )


def _pretty(told: Told) -> str:
    """The events as recorded, oldest first."""
    events = []
    for row in told.rows[-RAW:]:
        one = rows.as_json(row)
        one["body"] = json.loads(row.event.body)
        events.append(one)
    return json.dumps(events, indent=2, ensure_ascii=False)


def _as_json(told: Told) -> dict[str, Any]:
    state, usable = told.state, story.usable(told.state, told.now)
    return {
        "family": told.public_id,
        "as_of": told.as_of,
        "status": state.status,
        "subject": told.subject_id,
        "subject_name": told.subject,
        "client": state.client,
        "generation": state.generation,
        "carriage": state.carriage,
        "dpop_jkt": state.jkt or None,
        "started_at": telling.iso(state.started_at),
        "last_used_at": telling.iso(state.rotated_at),
        "ends_at": telling.iso(min(state.idle_until, state.ends_at)),
        "reuse_detected_at": telling.iso(state.reused_at) if state.reused_at else None,
        "ended_at": telling.iso(state.ended_at) if state.ended_at else None,
        "ended_by": state.ended_by or None,
        "ended_reason": state.ended_reason or None,
        "context_changes": state.changed.split(),
        "moves": [move.as_json() for move in told.moves.values()],
        "refresh_usable": usable.refresh,
        "access_usable_until": telling.iso(usable.access_until) if usable.access else None,
        "events": [rows.as_json(row) for row in told.rows],
    }
