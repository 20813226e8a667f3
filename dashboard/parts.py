"""Parts of the audit log that its page asks for by script: counted values, and how many are new. Reads only."""

from typing import Any

from litestar import Response, get

from dashboard import answers, searching
from dashboard.door import VIEWER, Given, GivenStaff
from dashboard.events import TOO_SLOW, Asking, mistaken
from dashboard.facets import facets as counted
from dashboard.gate import ONLY_LOOKS, is_fragment, wants
from events.budget import TooSlow
from events.filters import Mistake


@get("/events/facets", opt=wants(VIEWER) | ONLY_LOOKS)
async def values(request: Asking, door: Given, staff: GivenStaff) -> Response[Any]:
    """Types, clients and actors of what matches, each a filter."""
    asked = searching.asked(request.query_params)
    if isinstance(asked.query, Mistake):
        return mistaken(request, door, staff, asked, asked.query)
    found = await counted(door, asked.query, door.now(), asked.as_of)
    if isinstance(found, TooSlow):
        return answers.refused(request, door, TOO_SLOW)
    if answers.wants_json(request):
        return answers.json({"values": found.values, "of": str(found.of)})
    if not is_fragment(request):
        return answers.see_other(searching.link(asked.query, facets=1))
    return answers.html(door.pages.render("facets.html", facets=found))


@get("/events/head", opt=wants(VIEWER) | ONLY_LOOKS)
async def head(request: Asking, door: Given, staff: GivenStaff) -> Response[Any]:
    """How many newer ones match by now; 204 where there are none."""
    asked = searching.asked(request.query_params)
    if isinstance(asked.query, Mistake):
        return mistaken(request, door, staff, asked, asked.query)
    found = await door.search.count(asked.query, door.now(), after=-1 if asked.after is None else asked.after)
    if isinstance(found, TooSlow):
        return answers.refused(request, door, TOO_SLOW)
    if answers.wants_json(request):
        return answers.json({"new": found.number, "capped": found.capped})
    if not found.number:
        return Response(b"", status_code=204, headers={"Vary": answers.VARY})
    return answers.html(door.pages.render("pill.html", count=found, place=searching.link(asked.query)))
