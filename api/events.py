"""The audit log for programs: pages and a stream of what matches a query, as JSON, NDJSON or CSV. Reads only."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, Response, Router, get
from litestar.params import FromQuery, QueryParameter

from api import answers, streams
from api.answers import NO_STORE
from api.backend import GivenBackend, require_scope
from api.description import LAST, taking
from api.door import Door, Given
from api.problems import documented
from api.revocations import UNREAD, only
from api.streams import Breath
from core.grants import Backend
from core.problem import Problem, invalid
from events import cursor, export
from events.budget import TooSlow
from events.cursor import Unread
from events.export import Format
from events.filters import Mistake, Query, parse
from events.history import Event
from events.revocations import Place
from events.search import Page

MOST: Final = 1_000
"""Events of one page."""
START: Final = "start"
"""Stands for the cursor before the first event."""
AT_ONCE: Final = 200
PAUSE: Final = 0.5
"""Seconds between two searches of one stream."""
TOO_SLOW: Final = Problem(
    503, "too_slow", "This search was stopped because it took too long. Ask for less time, or name a family or user."
)
BOTH: Final = invalid("Give `after` or `before`, not both.")
Named = Literal["", "json", "ndjson", "csv"]
assert {*export.FORMATS, ""} == set(Named.__args__)  # type: ignore[attr-defined]  # noqa: S101
MEDIA: Final = {form.media_type.partition(";")[0]: form for form in export.FORMATS.values()}


@get(
    "/",
    responses=documented(400, 401, 403, 410, 422, 503),
    operation_class=taking(also=[media for media in MEDIA if media != "application/json"]),
)
async def events(
    request: Request[Any, Any, Any],
    door: Given,
    backend: GivenBackend,
    q: FromQuery[str] = "",
    after: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST)] = 100,
    format: FromQuery[Named] = "",  # noqa: A002 - the name that callers write
) -> Response[Any]:
    """What matches, newest first, or before a cursor; with `after` (or `start`) what came behind it, oldest first.

    `after` in the answer is where the newer ones go on, always; `before` leads to older ones, where there are any.
    NDJSON and CSV carry both in a `Link` header.
    """
    form = _format(request, format)
    if after and before:
        return answers.said(BOTH)
    query, place = parse(q), await door.revocations.place()
    at = _position(after or before, place)
    if isinstance(query, Mistake):
        return answers.said(Problem(422, "bad_filter", f"At character {query.position + 1}: {query.told()}"))
    if isinstance(at, Unread):
        return answers.said(UNREAD[at])
    if after and at is not None:
        found = await _newer(door, backend, query, at, limit, place)
    else:
        found = await door.search.page(query, door.now(), before=at, limit=limit, client=only(backend))
    if isinstance(found, TooSlow):
        return answers.said(TOO_SLOW, {"Retry-After": "5"})
    if before and at is not None and not found.events:
        found = found._replace(newer=at - 1)
    return _answered(form, found, place)


@get(
    "/stream",
    responses=documented(400, 401, 403, 410, 422, 429, 503),
    media_type="text/event-stream",
    operation_class=taking(headers=LAST),
)
async def stream(
    request: Request[Any, Any, Any],
    door: Given,
    backend: GivenBackend,
    q: FromQuery[str] = "",
    after: FromQuery[str | None] = None,
) -> Response[Any]:
    """New events that match, behind `Last-Event-ID`, else `after`, else from now on. Ends within 20 s; come again."""
    if door.streams.is_full(backend.client.client):
        return answers.said(streams.CROWDED, dict(streams.CROWDED.headers))
    query, place = parse(q), await door.revocations.place()
    at = _position(request.headers.get("last-event-id") or after, place)
    if isinstance(query, Mistake):
        return answers.said(Problem(422, "bad_filter", f"At character {query.position + 1}: {query.told()}"))
    if isinstance(at, Unread):
        return answers.said(UNREAD[at])
    return streams.stream(_streamed(door, backend, query, place.size - 1 if at is None else at, place.origin))


async def _streamed(door: Door, backend: Backend, query: Query, after: int, origin: str) -> AsyncIterator[bytes]:
    with door.streams.one_more(backend.client.client) as room:
        if not room:
            yield streams.FULL
            return
        breath = Breath()
        yield streams.begun(cursor.text(origin, after))
        while not breath.over and not door.stopping.is_set():
            if await door.growth.beyond(after, breath.left):
                size = (await door.revocations.place()).size
                found = await door.search.tail(query, door.now(), after, AT_ONCE, only(backend))
                if isinstance(found, TooSlow):
                    return
                for one in found:
                    yield streams.event(cursor.text(origin, one.position), _encoded(one))
                    breath.spoke()
                last = found[-1].position if found else -1
                after = last if len(found) == AT_ONCE else max(last, size - 1)
                await asyncio.sleep(0 if len(found) == AT_ONCE else PAUSE)
            if breath.silent:
                yield streams.begun(cursor.text(origin, after)) + streams.PINGED
                breath.spoke()


async def _newer(door: Door, backend: Backend, query: Query, after: int, limit: int, place: Place) -> Page | TooSlow:
    found = await door.search.tail(query, door.now(), after, limit, only(backend))
    if isinstance(found, TooSlow):
        return found
    last = found[-1].position if found else after
    newer = last if len(found) == limit else max(last, place.size - 1)
    return Page(query, added=False, events=found, older=None, newer=newer, size=place.size)


def _answered(form: Format, found: Page, place: Place) -> Response[Any]:
    newest = found.events[0].position if found.events else -1
    behind = cursor.text(place.origin, max(newest, found.size - 1) if found.newer is None else found.newer)
    ahead = None if found.older is None else cursor.text(place.origin, found.older)
    if form is export.JSON:
        told = {
            "events": [msgspec.Raw(_encoded(one)) for one in found.events],
            "query": found.query.text(),
            "bound_added": found.added,
            "after": behind,
            "before": ahead,
        }
        return Response(told, headers=dict(NO_STORE))
    links = [f'<?after={behind}>; rel="prev"', *([f'<?before={ahead}>; rel="next"'] if ahead else [])]
    text = form.opening + form.chunk(map(export.row, found.events), True) + form.closing
    return Response(text.encode(), headers=NO_STORE | {"Link": ", ".join(links)}, media_type=form.media_type)


def _format(request: Request[Any, Any, Any], named: Named) -> Format:
    """As the query says, else the first of the accepted media types that there is."""
    if named:
        return export.FORMATS[named]
    accepted = (one.partition(";")[0].strip() for one in request.headers.get("accept", "").split(","))
    return next((MEDIA[one] for one in accepted if one in MEDIA), export.JSON)


def _position(given: str | None, place: Place) -> int | Unread | None:
    if given == START:
        return -1
    return cursor.read(given, place.origin, place.size) if given else None


def _encoded(event: Event) -> bytes:
    return export.as_json(export.row(event)).encode()


router = Router("/v1/events", route_handlers=[events, stream], guards=[require_scope("events:read")])
