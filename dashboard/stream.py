"""The live tail: rows of new events as they are committed, for as long as the session that looks at them lives.

A stream ends by itself after `SECONDS`; the page asks again and goes on behind the last event that it has.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from litestar import Request, Response, get
from litestar.response import Stream

from dashboard import answers, rows, searching
from dashboard.door import VIEWER, Door, Given, GivenStaff, Staff
from dashboard.events import mistaken
from dashboard.gate import ONLY_LOOKS, wants
from events.budget import TooSlow
from events.filters import Mistake, Query

SECONDS: Final = 18.0
PING: Final = 15.0
MOST: Final = 4
"""Streams of one person at a time."""
CROWDED: Final = b"<strong>Not live:</strong> too many of your pages are live already. Close one, then reload this one."
AT_ONCE: Final = 50
"""Events of one message; the next ones come with the next look."""


@get("/events/stream", opt=wants(VIEWER) | ONLY_LOOKS)
async def stream(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """New events that match, behind the one that the page has last (`Last-Event-ID`, else `after`)."""
    asked = searching.asked(request.query_params)
    if isinstance(asked.query, Mistake):
        return mistaken(request, door, staff, asked, asked.query)
    if door.tails.open[staff.subject.id] >= MOST:
        return answers.html(CROWDED, 429, {"Retry-After": "20"})
    last = request.headers.get("last-event-id", "")
    after = int(last) if last.isdecimal() and len(last) < 16 else asked.after
    if after is None:
        after = (await door.history.head()).size - 1
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Stream(_told(door, staff, asked.query, after), media_type="text/event-stream", headers=headers)


async def _told(door: Door, staff: Staff, query: Query, after: int) -> AsyncIterator[bytes]:
    person, begun = staff.subject.id, asyncio.get_running_loop().time()
    spoken = begun
    door.tails.open[person] += 1
    try:
        yield f"retry: 500\nid: {after}\n\n".encode()
        while await door.tails.pause() and (now := asyncio.get_running_loop().time()) - begun < SECONDS:
            if not await _may_look(door, staff):
                yield b"event: ended\ndata:\n\n"
                return
            size = (await door.history.head()).size
            if size > after + 1:
                found = await door.search.tail(query, door.now(), after, AT_ONCE)
                if isinstance(found, TooSlow):
                    return
                after = found[-1].position if len(found) == AT_ONCE else size - 1
                if found:
                    yield await _message(door, await rows.rows_of(found[::-1], door.subject_reader), after)
                    spoken = now
            if now - spoken >= PING:
                yield b": still here\n\n"
                spoken = now
    finally:
        door.tails.left(person)


async def _may_look(door: Door, staff: Staff) -> bool:
    """Whether the session still lives and may still read. It may have rotated since: that is no reason to end."""
    held = await door.family_reader.get(staff.family.id)
    if held is None or held.subject is None:
        return False
    state = held.family
    alive = state.living and door.now() < min(state.idle_until, state.ends_at)
    return alive and staff._replace(subject=held.subject).may(VIEWER)


async def _message(door: Door, shown: list[rows.Row], position: int) -> bytes:
    page = door.pages.render("event_rows.html", rows=shown, older=None, day=shown[0].day).decode()
    data = "".join(f"data: {line}\n" for line in page.splitlines() if line)
    return f"id: {position}\n{data}\n".encode()
