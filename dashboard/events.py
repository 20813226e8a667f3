"""The audit log: what happened, newest first. A page and its JSON twin; reads only."""

from typing import Any, Final

from litestar import Request, Response, get

from dashboard import answers, rows
from dashboard.door import VIEWER, Given, GivenStaff
from dashboard.gate import wants
from dashboard.way import whole

PAGE_SIZE: Final = 50
"""At about 830 bytes a row a page stays under 64 KiB."""


@get("/events", opt=wants(VIEWER))
async def events(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Events before a position; without one, the newest."""
    before = whole(request.query_params.get("before", ""))
    found = await door.history.before(before, PAGE_SIZE + 1)
    shown = await rows.rows_of(found[:PAGE_SIZE], door.subject_reader)
    older = shown[-1].event.position if len(found) > PAGE_SIZE else None
    if answers.wants_json(request):
        return answers.json({"events": [rows.as_json(row) for row in shown], "before": older})
    head = await door.history.head()
    page = door.pages.render(
        "events.html", staff=staff, rows=shown, older=older, before=before, size=head.size, now=door.now()
    )
    return answers.html(page)
