"""The audit log: what happened, newest first, asked by filters. Pages, parts of them and twins; reads only."""

from typing import Any, Final

from litestar import Request, Response, get

from core.problem import Problem
from dashboard import answers, bars, facets, rows, searching
from dashboard.door import RESPONDER, VIEWER, Door, Given, GivenStaff, Staff
from dashboard.family_list import bad_filter
from dashboard.gate import is_fragment, wants
from dashboard.searching import Asked
from events.budget import TooSlow
from events.fields import EVENTS
from events.filters import Mistake, Query
from events.search import Page
from events.tallies import Facets

PAGE_SIZE: Final = 34
"""At about 1,150 bytes a row, with bars and facets, a page stays under 64 KiB."""
BARS: Final = 48
LONG: Final = 100
"""Characters of a query that stands in the link of every bar; for a longer one there are half as many bars."""
TOO_SLOW: Final = Problem(
    503,
    "too_slow",
    "This search was stopped because it took too long. Ask for less time (at:1h), or for a user, family, address,"
    " client or type.",
)
Asking = Request[Any, Any, Any]


@get("/events", opt=wants(VIEWER))
async def events(request: Asking, door: Given, staff: GivenStaff) -> Response[Any]:
    """What matches, before a position; without one, the newest."""
    asked = searching.asked(request.query_params)
    if asked.around is not None:
        return await _around(request, door, staff, asked.around)
    if isinstance(asked.query, Mistake):
        return mistaken(request, door, staff, asked, asked.query)
    if moved := searching.narrowed(asked.query, request.query_params):
        return answers.see_other(searching.link(moved, as_of=asked.as_of))
    found = await _found(door, asked, asked.query, counted=not is_fragment(request))
    if isinstance(found, TooSlow):
        return too_slow(request, door, staff, asked)
    shown = await rows.rows_of(found.events, door.subject_reader)
    if answers.wants_json(request):
        return answers.json(_as_json(found, shown) | {"unknown_users": await _unknown(door, asked.query)})
    if is_fragment(request):
        older = found.older and searching.link(asked.query, before=found.older, as_of=asked.as_of)
        return answers.html(door.pages.render("event_rows.html", rows=shown, older=older, day=asked.day))
    return answers.html(await _page(door, staff, asked, found, shown))


def mistaken(request: Asking, door: Door, staff: Staff, asked: Asked, wrong: Mistake) -> Response[Any]:
    """What cannot be read, where it is, and what may have been meant."""
    refusal = bad_filter(wrong)
    if answers.wants_json(request) or is_fragment(request):
        return answers.refused(request, door, refusal)
    corrected = searching.corrected(wrong)
    page = door.pages.render("events.html", **_frame(staff, asked), wrong=wrong, corrected=corrected, found=None)
    return answers.html(page, 422)


def too_slow(request: Asking, door: Door, staff: Staff, asked: Asked) -> Response[Any]:
    """The search was stopped; with what to narrow."""
    assert isinstance(asked.query, Query)  # noqa: S101 - a mistake is never searched
    if answers.wants_json(request) or is_fragment(request):
        return answers.refused(request, door, TOO_SLOW)
    narrower = searching.windows(asked.query)
    page = door.pages.render("events.html", **_frame(staff, asked), wrong=None, found=None, narrower=narrower)
    return answers.html(page, 503)


async def _found(door: Door, asked: Asked, query: Query, *, counted: bool) -> Page | TooSlow:
    return await door.search.page(
        query,
        door.now(),
        before=asked.before,
        after=asked.after,
        as_of=asked.as_of,
        limit=PAGE_SIZE,
        counted=counted,
    )


async def _page(door: Door, staff: Staff, asked: Asked, found: Page, shown: list[rows.Row]) -> bytes:
    query, as_of, now = found.query, asked.as_of, door.now()
    typed = "" if isinstance(asked.query, Mistake) else asked.query
    count = BARS if len(query.text()) < LONG else BARS // 2
    drawn = None if asked.live else await door.search.histogram(query, now, bars=count, as_of=as_of)
    counted = await facets.facets(door, query, now, as_of) if asked.facets else None
    kept = searching.pinned(query, now)
    return door.pages.render(
        "events.html",
        **_frame(staff, asked),
        wrong=None,
        found=found,
        rows=shown,
        text=query.text(),
        chips=searching.chips(query),
        windows=searching.windows(query),
        bars=bars.bars(query, drawn) if drawn and not isinstance(drawn, TooSlow) else None,
        facets=counted if isinstance(counted, Facets) else None,
        older=found.older and searching.link(typed, before=found.older, as_of=as_of),
        newer=found.newer and searching.link(typed, after=found.newer, as_of=as_of),
        newest=searching.link(typed, as_of=as_of),
        begun=bool(shown) and shown[-1].event.position == 0,
        kept=kept.text(),
        permalink=searching.link(kept, as_of=found.size),
        may_export=staff.may(RESPONDER),
        unknown=await _unknown(door, query),
    )


async def _unknown(door: Door, query: Query) -> list[str]:
    """A mistyped name would read as somebody who did nothing."""
    return await door.subject_reader.unknown(query.logins)


def _frame(staff: Staff, asked: Asked) -> dict[str, Any]:
    query = "" if isinstance(asked.query, Mistake) else asked.query
    return {
        "staff": staff,
        "asked": asked,
        "link": lambda **more: searching.link(query, **more),
        "to": searching.link,
        "presets": searching.PRESETS,
        "suggestions": EVENTS.suggestions(),
        "whole": searching.WHOLE,
    }


async def _around(request: Asking, door: Door, staff: Staff, position: int) -> Response[Any]:
    """The log before and after a moment, whatever was searched for."""
    found = await door.search.around(position)
    if isinstance(found, TooSlow):
        return answers.refused(request, door, TOO_SLOW)
    shown = await rows.rows_of(found, door.subject_reader)
    if answers.wants_json(request):
        return answers.json({"around": position, "events": [rows.as_json(row) for row in shown]})
    page = door.pages.render("around.html", staff=staff, rows=shown, position=position)
    return answers.html(page)


def _as_json(found: Page, shown: list[rows.Row]) -> dict[str, Any]:
    total = found.total
    return {
        "query": found.query.text(),
        "bound_added": found.added,
        "total": {"number": total.number, "capped": total.capped} if total else None,
        "size": found.size,
        "events": [rows.as_json(row) for row in shown],
        "before": found.older,
        "after": found.newer,
    }
