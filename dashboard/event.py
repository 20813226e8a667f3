"""One event: exactly what was recorded, its place in the tree, and what stands around it. Reads only."""

import json
from typing import Any, NamedTuple

from litestar import Request, Response, get
from litestar.params import FromPath

from dashboard import answers, rows, searching, telling, way
from dashboard.door import VIEWER, Door, Given, GivenStaff
from dashboard.gate import wants
from dashboard.missing import said
from dashboard.rows import Row
from events import action, family, ids
from events.budget import TooSlow
from events.catalogue import ACTION, NOUN_OF
from events.history import Event, Sealed


class Around(NamedTuple):
    """The events beside one; where reading took too long, none."""

    previous: Row | None
    following: Row | None
    request: list[Row]


@get("/events/{position:int}", opt=wants(VIEWER))
async def show(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, position: FromPath[int]
) -> Response[Any]:
    """The event at a position of the log."""
    found = await door.history.at((position,)) if position <= way.FARTHEST else []
    sealed = await door.history.sealed(position) if found else None
    if sealed is None:
        raise said(f"There is no event of this number: the log ends with #{(await door.history.head()).size - 1}.")
    (row,) = await rows.rows_of(found, door.subject_reader)
    around = await _around(door, found[0])
    if answers.wants_json(request):
        return answers.json(_as_json(row, sealed, around))
    size = (await door.history.head()).size
    page = door.pages.render(
        "event.html",
        staff=staff,
        row=row,
        event=found[0],
        sealed=sealed,
        around=around,
        size=size,
        body=json.dumps(json.loads(found[0].body), indent=2, ensure_ascii=False),
        after=await _after(door, found[0]),
        values=_values(row),
        action=_action(found[0]),
        noun=NOUN_OF[type(found[0].fact)].name,
        since=telling.span(found[0].at - around.previous.event.at) if around.previous else "",
        to=searching.link,
        now=door.now(),
    )
    return answers.html(page)


async def _around(door: Door, event: Event) -> Around:
    beside = await door.search.neighbours(event)
    if isinstance(beside, TooSlow):
        return Around(None, None, [])
    sides = (beside.previous, beside.following)
    near = await rows.rows_of(await door.history.at(one for one in sides if one is not None), door.subject_reader)
    known: dict[int | None, Row] = {row.event.position: row for row in near}
    together = await rows.rows_of(beside.request, door.subject_reader)
    return Around(known.get(beside.previous), known.get(beside.following), together)


async def _after(door: Door, event: Event) -> str:
    """Of a reuse: how long after its replacement the token came back. Empty where that is not known."""
    if not isinstance(event.fact, family.TokenReuseDetected):
        return ""
    replaced = await door.history.rotation(event.stream, event.fact.generation + 1)
    return telling.span(event.at - replaced.at) if replaced else ""


def _values(row: Row) -> list[tuple[str, str]]:
    """What of the event can be asked for."""
    event = row.event
    fact = event.fact
    found = {
        "type": fact.TYPE,
        "user": row.user,
        "family": row.family,
        "client": row.client,
        "actor": fact.actor,
        "ip": event.context.ip,
        "request": fact.request,
        "jti": getattr(fact, "jti", ""),
        "reason": getattr(fact, "reason", ""),
        "ticket": getattr(fact, "ticket", ""),
    }
    return [(key, value) for key, value in found.items() if value]


def _action(event: Event) -> str:
    """`act_…` of what staff did at once, where this is a part of it."""
    if NOUN_OF[type(event.fact)] is ACTION:
        return ids.to_text(action.PREFIX, event.stream)
    return getattr(event.fact, "action", "")


def _as_json(row: Row, sealed: Sealed, around: Around) -> dict[str, Any]:
    return rows.as_json(row) | {
        "stream": row.event.stream.hex(),
        "request": row.event.fact.request or None,
        "leaf": sealed.leaf.hex(),
        "leaf_fits": sealed.fits,
        "previous_in_stream": around.previous.event.position if around.previous else None,
        "next_in_stream": around.following.event.position if around.following else None,
        "same_request": [one.event.position for one in around.request],
    }
