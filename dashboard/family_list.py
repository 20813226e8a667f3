"""Families by filters, ended ones too: which of them live, which are odd, and which to end together. Reads only."""

from typing import Any, Final

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException

from core.problem import Problem
from dashboard import answers, danger, searching, story, telling
from dashboard.door import RESPONDER, VIEWER, Door, Given, GivenStaff
from dashboard.gate import wants
from events import family, ids, subject
from events.budget import TooSlow
from events.family_search import FamilyPage, Row
from events.fields import FAMILIES
from events.filters import Mistake, Query, parse
from events.values import Is

PAGE_SIZE: Final = 50
PRESETS: Final = (
    ("Living", "is:living"),
    ("Suspicious", "is:suspicious"),
    ("Reuse, 7 days", "has:reuse ended:7d"),
    ("Another country", "has:country_change"),
    ("Ended by staff", "by:staff:*"),
    ("Never refreshed", "is:living gen:1"),
    ("Older than 30 days", "is:living age:>30d"),
)


NONE: Final = {
    "ticked": "Nothing was ticked. Tick the families that are to end, or take all that match.",
    "all": "Nothing that matches lives.",
}
"""Why there is nothing to revoke."""


@get("/families", opt=wants(VIEWER))
async def listed(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """The latest begun that match, or those before one."""
    text = request.query_params.get("q", "")
    query, cursor = parse(text, FAMILIES), request.query_params.get("before", "")
    before = ids.from_text(family.PREFIX, cursor) if cursor else None
    if cursor and before is None:
        raise NotFoundException
    found = None if isinstance(query, Mistake) else await _found(door, query, before)
    unknown = [] if isinstance(query, Mistake) else await door.subject_reader.unknown(query.logins)
    if answers.wants_json(request):
        return _twin(request, door, query, found, unknown)
    page = door.pages.render(
        "families.html",
        staff=staff,
        text=text,
        mistake=query if isinstance(query, Mistake) else None,
        corrected=searching.corrected(query, FAMILIES) if isinstance(query, Mistake) else "",
        query=None if isinstance(query, Mistake) else query,
        only_living=not isinstance(query, Mistake) and _only_living(query),
        slow=isinstance(found, TooSlow),
        unknown=unknown,
        page=found if isinstance(found, FamilyPage) else None,
        older=_older(found),
        presets=PRESETS,
        may_kill=staff.may(RESPONDER),
        unselected=NONE.get(request.query_params.get("none", ""), ""),
        before=cursor,
        few=danger.FEW,
        fam=lambda one: ids.to_text(family.PREFIX, one.id),
        sub=lambda one: ids.to_text(subject.PREFIX, one.subject),
        status=story.status,
        hints=FAMILIES.suggestions(),
        own=staff.family.id,
        now=door.now(),
    )
    return answers.html(page, 422 if isinstance(query, Mistake) else 200)


def bad_filter(wrong: Mistake) -> Problem:
    """What cannot be read, where it is, and what may have been meant."""
    return Problem(422, "bad_filter", f"At character {wrong.position + 1}: {wrong.told()}")


def living(query: Query) -> Query:
    """What of a query can be ended."""
    return query if query.term("is") else query.with_("is", "living")


def _only_living(query: Query) -> bool:
    states = query.term("is")
    return states is not None and all(value.meaning == Is("living") for value in states.values)


async def _found(door: Door, query: Query, before: bytes | None) -> FamilyPage | TooSlow:
    return await door.family_search.page(query, door.now(), before=before, limit=PAGE_SIZE, counted=True)


def _older(found: FamilyPage | TooSlow | None) -> str:
    return ids.to_text(family.PREFIX, found.older) if isinstance(found, FamilyPage) and found.older else ""


def _twin(
    request: Request[Any, Any, Any],
    door: Door,
    query: Query | Mistake,
    found: FamilyPage | TooSlow | None,
    unknown: list[str],
) -> Response[Any]:
    if isinstance(query, Mistake):
        return answers.refused(request, door, bad_filter(query))
    if not isinstance(found, FamilyPage):
        return answers.refused(request, door, answers.TOO_SLOW)
    return answers.json(
        {
            "q": query.text(),
            "matching": str(found.total) if found.total else None,
            "families": [as_json(row) for row in found.rows],
            "before": _older(found) or None,
            "unknown_users": unknown,
        }
    )


def as_json(row: Row) -> dict[str, Any]:
    """One family for machines."""
    state = row.family
    return {
        "family": ids.to_text(family.PREFIX, state.id),
        "status": state.status,
        "subject": ids.to_text(subject.PREFIX, state.subject),
        "subject_name": row.name or None,
        "client": state.client,
        "generation": state.generation,
        "started_at": telling.iso(state.started_at),
        "last_used_at": telling.iso(state.rotated_at),
        "ended_at": telling.iso(state.ended_at) if state.ended_at else None,
        "ended_by": state.ended_by or None,
        "ended_reason": state.ended_reason or None,
        "context_changes": state.changed.split(),
    }
