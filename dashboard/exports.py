"""Taking events out: exactly one query as of one position, as a file. That somebody did is written down first."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response, post
from litestar.response import Stream

from core.problem import Problem
from dashboard import answers, asked, searching, way
from dashboard.door import RESPONDER, Door, Given, GivenStaff
from dashboard.gate import visit_of, wants
from events import export as files
from events import ids, subject
from events.filters import Mistake, parse
from events.history import Event
from events.search import bounded

UNKNOWN: Final = Problem(422, "bad_format", f"The format is one of {', '.join(files.FORMATS)}.")


@post("/events/export", opt=wants(RESPONDER), status_code=200)
async def export(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Everything that matches below the position, oldest first, whatever is committed meanwhile.

    A POST, because it is recorded: no link that somebody follows makes an export in their name. What breaks off
    midway is broken off, so that it cannot look whole.
    """
    fields = await request.form()
    query, form = parse(asked.text(fields, "q")), files.FORMATS.get(asked.text(fields, "format"))
    if isinstance(query, Mistake):
        return answers.refused(request, door, Problem(422, "bad_filter", query.told()))
    if form is None:
        return answers.refused(request, door, UNKNOWN)
    size = (await door.history.head()).size
    as_of = min(size, way.whole(asked.text(fields, "as_of")) or size)
    now = door.now()
    taken = searching.pinned(bounded(query), now)
    await door.watching.exported(staff.family, taken.text(), form.name, as_of, visit_of(request).origin)
    pages = door.search.export(taken, now, as_of)
    headers = {
        "Content-Disposition": f'attachment; filename="events-as-of-{as_of}.{form.name}"',
        "Vary": answers.VARY,
    }
    return Stream(files.rendered(form, pages, _names(door)), media_type=form.media_type, headers=headers)


def _names(door: Door) -> Any:
    async def names(events: list[Event]) -> Mapping[bytes, str]:
        texts = {getattr(event.fact, "subject", "") for event in events}
        known = (ids.from_text(subject.PREFIX, text) for text in texts if text)
        return await door.subject_reader.names(frozenset(stream for stream in known if stream))

    return names
