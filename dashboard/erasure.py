"""Erasing somebody: what would go and what stays, and the one POST that does it. Decides through core."""

from typing import Any, Final, NamedTuple

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from core.erasure import Erasure
from core.reason import ERASURE_REASONS
from dashboard import answers, asked, danger, forms, telling, way
from dashboard.actions import who
from dashboard.door import ADMIN, Door, Given, GivenStaff, Staff
from dashboard.forms import Revocation
from dashboard.gate import visit_of, wants
from dashboard.kills import actor_of, after
from events import action, ids, subject
from events.erasures import Known
from events.family import Family
from events.subject import Subject

PATIENCE: Final = 2.0
"""Seconds that the way to the receipt waits for the last row; the receipt goes on watching."""


class Seen(NamedTuple):
    """Somebody as the preview shows them."""

    subject: Subject
    public_id: str
    known: Known
    living: list[Family]
    position: int

    @property
    def access_until(self) -> int:
        """Until when access tokens can be alive elsewhere, microseconds."""
        return max((one.access_until for one in self.living), default=0) * telling.SECOND


class Erased(NamedTuple):
    """When somebody was erased, by whom, and with which receipt."""

    at: int
    position: int
    actor: str
    reason: str
    action: str


@get("/subjects/{subject_id:str}/erase", opt=wants(ADMIN))
async def preview(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, subject_id: FromPath[str]
) -> Response[Any]:
    """What would go, and what stays. That somebody looked is an event."""
    seen = await _seen(door, subject_id)
    await door.watching.previewed(staff.family, subject_id, visit_of(request).origin)
    if answers.wants_json(request):
        return answers.json(_as_json(seen))
    return answers.html(_page(door, staff, seen, forms.EMPTY))


@post("/subjects/{subject_id:str}/erase", opt=wants(ADMIN), status_code=303)
async def erase(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, subject_id: FromPath[str]
) -> Response[Any]:
    """Erase whom the name was typed of; to the receipt. Twice is once."""
    seen, fields = await _seen(door, subject_id), await request.form()
    given = asked.reasons(fields, ERASURE_REASONS)._replace(note="")
    if not danger.is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"/dashboard/subjects/{subject_id}/erase"))
    stream = asked.action_id(fields)
    if seen.subject.erased:
        return await _receipt(request, door, staff, seen)
    if asked.text(fields, "name").strip() != seen.subject.name:
        given = given._replace(flaws={**given.flaws, "name": "Type the name as it stands here."})
    if given.flaws:
        return answers.html(_page(door, staff, seen, given), 422)
    position = way.whole(asked.text(fields, "position")) or 0
    command = Erasure(stream, seen.subject.id, actor_of(staff), given.reason, given.ticket, position)
    await door.erasures.erase(seen.subject, command, visit_of(request).origin)
    await door.actions.carried_out(stream, PATIENCE)
    return await _receipt(request, door, staff, seen)


async def _receipt(request: Request[Any, Any, Any], door: Door, staff: Staff, seen: Seen) -> Response[Any]:
    """That of the erasure, whoever confirmed it first."""
    erased = await door.erasures.reader.erased(seen.subject.id)
    stream = ids.from_text(action.PREFIX, erased.action) if erased else None
    if stream is None:
        return answers.see_other(f"/dashboard/subjects/{seen.public_id}")
    return await after(request, door, staff, stream)


async def told_of(door: Door, owner: Subject) -> Erased | None:
    """When and by whom; None for somebody who was not erased."""
    found = await door.erasures.reader.erased(owner.id) if owner.erased else None
    if found is None:
        return None
    stream = ids.from_text(subject.PREFIX, found.actor.partition(":")[2])
    names = await door.subject_reader.names(frozenset({stream} if stream else ()))
    return Erased(found.at, found.position, who(found.actor, names), telling.reason(found.reason), found.action)


def as_json(erased: Erased) -> dict[str, Any]:
    """For programs."""
    return {
        "at": telling.iso(erased.at),
        "position": erased.position,
        "actor": erased.actor,
        "reason": erased.reason,
        "action": erased.action or None,
    }


async def _seen(door: Door, subject_id: str) -> Seen:
    stream = ids.from_text(subject.PREFIX, subject_id)
    owner = await door.subject_reader.get(stream) if stream else None
    if owner is None:
        raise NotFoundException
    size = (await door.history.head()).size
    families = await door.family_reader.of_subject(owner.id)
    known = await door.erasures.known(owner)
    return Seen(owner, subject_id, known, [one for one in families if one.living], size)


def _page(door: Door, staff: Staff, seen: Seen, given: Revocation) -> bytes:
    return door.pages.render(
        "erase.html",
        staff=staff,
        seen=seen,
        owner=seen.subject,
        action=ids.to_text(action.PREFIX, door.actions.new_id()),
        asked=given,
        reasons=ERASURE_REASONS,
        fresh=danger.is_fresh(staff, door.now()),
        own=seen.subject.id == staff.subject.id,
        now=door.now(),
    )


def _as_json(seen: Seen) -> dict[str, Any]:
    return {
        "subject": seen.public_id,
        "status": seen.subject.status,
        "position": seen.position,
        "living": [telling.family_id(one.id) for one in seen.living],
        "events_kept": seen.known.events,
        "contexts": seen.known.contexts,
        "accounts": seen.known.accounts,
        "texts": len(seen.known.texts),
    }
