"""Killing families of one user: the preview, which ends nothing, and the one POST that does. Decides through core."""

from typing import Any, Final, NamedTuple

from litestar import Request, Response, get, post
from litestar.params import FromPath

from core.action import Confirmed, Kill, Outcome
from core.problem import Problem
from core.reason import STAFF_REASONS
from dashboard import answers, asked, cookie, danger, forms, rows, telling, way
from dashboard.door import RESPONDER, Door, Given, GivenStaff, Staff
from dashboard.forms import Revocation
from dashboard.gate import visit_of, wants
from dashboard.missing import nothing
from events import action, family, ids, subject
from events.families import Held
from events.family import Family

SCOPES: Final = ("family", "these", "everything")
MOVED: Final = Problem(
    409,
    "another_subject",
    "This would end families of somebody who was not shown. Nothing was ended: open the preview again.",
)
GROWN: Final = Problem(
    409,
    "more_by_now",
    "More families live by now than could be ended without another look. Nothing was ended: open the preview again.",
)
REFUSED: Final = {Outcome.CONFLICT: MOVED, Outcome.MORE: GROWN}
SHOWN: Final = 200
"""Families of one user that a preview lists."""


class Preview(NamedTuple):
    """What a kill would end, as of the position."""

    held: Held
    public_id: str
    name: str
    others: list[Family]
    """Other living families of the user, newest first."""
    position: int

    @property
    def living(self) -> list[Family]:
        this = self.held.family
        return [*([this] if this.living else []), *self.others]


@get("/families/{family_id:str}/kill", opt=wants(RESPONDER))
async def preview(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, family_id: FromPath[str]
) -> Response[Any]:
    """What would stop now, what later, and what would live on. That somebody looked is an event."""
    seen = await _seen(door, family_id)
    await door.watching.previewed(staff.family, family_id, visit_of(request).origin)
    if answers.wants_json(request):
        return answers.json(_as_json(seen))
    scope = request.query_params.get("scope", "")
    return answers.html(_page(door, staff, seen, forms.EMPTY, scope if scope in SCOPES else "family"))


@post("/families/{family_id:str}/kill", opt=wants(RESPONDER), status_code=303)
async def kill(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, family_id: FromPath[str]
) -> Response[Any]:
    """End what was confirmed, however often it rotated since it was shown; to the receipt. Twice is once."""
    seen, fields = await _seen(door, family_id), await request.form()
    scope, given = asked.text(fields, "scope"), asked.reasons(fields)
    if scope not in SCOPES:
        given = given._replace(flaws={**given.flaws, "scope": "Choose what to end."})
    shown = _shown(fields, family_id, scope)
    # What the form says was shown is its sender's word; what lives is not.
    count = max(len(shown), len(seen.living)) if scope == "everything" else len(shown)
    hurdles = danger.hurdles(staff, count, door.now())
    if hurdles.role:
        return answers.refused(request, door, too_many(count))
    if hurdles.password:
        return answers.see_other(way.to_prove(f"/dashboard/families/{family_id}/kill"))
    if hurdles.large and not danger.typed_right(asked.text(fields, "number"), count):
        given = given._replace(flaws={**given.flaws, "number": f"Type the number of families: {count}."})
    if given.flaws:
        return answers.html(_page(door, staff, seen, given, scope if scope in SCOPES else "family"), 422)
    stream = asked.action_id(fields)
    confirmed = Confirmed(
        stream, actor_of(staff), given.reason, given.ticket, given.note, way.whole(asked.text(fields, "position")) or 0
    )
    most = None if hurdles.large else danger.FEW
    command = Kill(confirmed, seen.held.family.subject, shown, everything=scope == "everything", most=most)
    outcome = await door.actions.kill(command, visit_of(request).origin)
    if outcome in REFUSED:
        return answers.refused(request, door, REFUSED[outcome])
    if outcome in {Outcome.UNKNOWN, Outcome.ERASED}:
        raise nothing("family", family.PREFIX, family_id)
    return await after(request, door, staff, stream)


def _shown(fields: asked.Fields, family_id: str, scope: str) -> tuple[bytes, ...]:
    """What the confirmation names: of this user, those that lived when the preview was shown."""
    lived = asked.texts(fields, "shown")
    if scope == "everything":
        return asked.families(lived)
    this = [family_id] if scope == "family" or family_id in lived else []
    return asked.families([*this, *(asked.texts(fields, "family") if scope == "these" else [])])


async def after(request: Request[Any, Any, Any], door: Door, staff: Staff, stream: bytes) -> Response[Any]:
    """To the receipt; who ended the own session has to sign in first."""
    place = f"/dashboard/actions/{ids.to_text(action.PREFIX, stream)}"
    own = await door.family_reader.get(staff.family.id)
    if own is not None and own.family.living:
        return answers.see_other(place)
    cookie.clear(request.scope)
    return answers.see_other(way.to_sign_in("own", place))


def actor_of(staff: Staff) -> str:
    """As events name this person."""
    return f"{rows.STAFF}{ids.to_text(subject.PREFIX, staff.subject.id)}"


def too_many(count: int) -> Problem:
    """The limit of responders."""
    return Problem(403, "too_many", f"{count} families in one action take an admin; a responder ends {danger.FEW}.")


async def _seen(door: Door, family_id: str) -> Preview:
    stream = ids.from_text(family.PREFIX, family_id)
    size = (await door.history.head()).size
    held = await door.family_reader.get(stream) if stream else None
    if held is None:
        raise nothing("family", family.PREFIX, family_id)
    all_of_it = await door.family_reader.of_subject(held.family.subject, SHOWN)
    others = [one for one in all_of_it if one.living and one.id != stream]
    name = held.subject.name if held.subject else telling.short(ids.to_text(subject.PREFIX, held.family.subject))
    return Preview(held, family_id, name, others, size)


def _page(door: Door, staff: Staff, seen: Preview, given: Revocation, scope: str) -> bytes:
    now, state = door.now(), seen.held.family
    if not state.living and scope == "family":
        scope = "everything"
    return door.pages.render(
        "kill.html",
        staff=staff,
        seen=seen,
        state=state,
        asked=given,
        scope=scope,
        reasons=STAFF_REASONS,
        action=ids.to_text(action.PREFIX, door.actions.new_id()),
        hurdles=danger.hurdles(staff, len(seen.living), now),
        own=staff.family.id,
        shown=" ".join(ids.to_text(family.PREFIX, one.id) for one in seen.living),
        access_until=max(one.access_until for one in (state, *seen.others)) * telling.SECOND,
        fam=lambda one: ids.to_text(family.PREFIX, one.id),
        sub=ids.to_text(subject.PREFIX, state.subject),
        now=now,
    )


def _as_json(seen: Preview) -> dict[str, Any]:
    return {
        "family": seen.public_id,
        "subject": ids.to_text(subject.PREFIX, seen.held.family.subject),
        "subject_name": seen.name,
        "position": seen.position,
        "living": [
            {
                "family": ids.to_text(family.PREFIX, one.id),
                "client": one.client,
                "generation": one.generation,
                "access_usable_until": telling.iso(one.access_until * telling.SECOND),
            }
            for one in seen.living
        ],
    }
