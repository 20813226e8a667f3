"""The revocation feed: what must be refused before `exp`, as snapshot, long poll and stream. Reads only."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import FromQuery, JSONBody

from api import answers, streams
from api.answers import NO_STORE
from api.backend import GivenBackend, require_scope
from api.description import LAST, taking
from api.door import Door, Given
from api.problems import documented
from api.streams import Breath
from core.grants import Backend
from core.problem import Problem, invalid
from events.cursor import Unread
from events.revocations import Entry, Slice

GONE = Problem(
    410, "cursor_gone", "The ledger went on from a copy, and this cursor is of before. Begin anew, without a cursor."
)
NO_CURSOR = invalid("This is not a cursor of this service.")
UNREAD = {Unread.FORMER: GONE, Unread.MALFORMED: NO_CURSOR}


class Revoked(msgspec.Struct):
    """One thing to refuse. Exactly one of `sid`, `kid` and `client_id` is there, as `kind` says."""

    kind: Literal["session", "key", "client"]
    """`session`: tokens with this `sid`. `key`: tokens signed by this `kid`. `client`: tokens of this client whose
    `sub` is the client itself and which were issued up to `at`."""
    at: datetime
    reason: str
    until: datetime
    """By then the last such token has expired: the entry can be forgotten."""
    sid: str | msgspec.UnsetType = msgspec.UNSET
    kid: str | msgspec.UnsetType = msgspec.UNSET
    client_id: str | msgspec.UnsetType = msgspec.UNSET


class RevocationsAnswer(msgspec.Struct):
    """Revocations in order. Who has applied these, and what came before, refuses all that was revoked at `as_of`."""

    revocations: list[Revoked]
    cursor: str
    """Where to go on: `after`."""
    more: bool
    """Whether to ask again at once."""
    as_of: datetime | None
    """When the service looked; nothing while there is more."""
    issued_before: datetime | None
    """Tokens issued before this are refused, all of them: the ledger lost what happened to their sessions."""


class Acknowledgement(msgspec.Struct, forbid_unknown_fields=True):
    """Up to where a verifier refuses what was revoked."""

    verifier: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:/-]{1,64}$(?!\n)")]
    """A name of its own for each process, such as `orders/host-3/4711`; no personal data."""
    cursor: str


@get("/", responses=documented(400, 401, 403, 410, 429, 503))
async def revocations(
    door: Given,
    backend: GivenBackend,
    after: FromQuery[str | None] = None,
    wait: FromQuery[int] = 0,
) -> Response[RevocationsAnswer]:
    """What to refuse: all of it, or what came after a cursor, waiting up to `wait` (at most 20) seconds for it."""
    if door.streams.is_full(backend.client.client):
        return answers.said(streams.CROWDED, dict(streams.CROWDED.headers))
    with door.streams.one_more(backend.client.client):
        found = await door.revocations.after(after, only(backend), min(max(wait, 0), streams.LONGEST_WAIT))
    if isinstance(found, Unread):
        return answers.said(UNREAD[found])
    return Response(_told(found, door), headers=dict(NO_STORE))


@get(
    "/stream",
    responses=documented(400, 401, 403, 410, 429, 503),
    media_type="text/event-stream",
    operation_class=taking(headers=LAST),
)
async def stream(
    request: Request[Any, Any, Any], door: Given, backend: GivenBackend, after: FromQuery[str | None] = None
) -> Response[Any]:
    """The same as server-sent events, each with its cursor as id. Ends within 20 s; go on with `Last-Event-ID`."""
    if door.streams.is_full(backend.client.client):
        return answers.said(streams.CROWDED, dict(streams.CROWDED.headers))
    first = await door.revocations.after(request.headers.get("last-event-id") or after, only(backend))
    if isinstance(first, Unread):
        return answers.said(UNREAD[first])
    return streams.stream(_streamed(door, backend, first))


@post("/ack", status_code=204, responses=documented(400, 401, 403, 410, 503))
async def acknowledge(data: JSONBody[Acknowledgement], door: Given, backend: GivenBackend) -> Response[None]:
    """A verifier says how far it is, at least every 30 s; the receipt of a kill shows who has caught up."""
    unread = await door.revocations.acknowledged(backend.client.client, data.verifier, data.cursor)
    return answers.said(UNREAD[unread]) if unread else Response(None, status_code=204, headers=dict(NO_STORE))


async def _streamed(door: Door, backend: Backend, found: Slice) -> AsyncIterator[bytes]:
    with door.streams.one_more(backend.client.client) as room:
        if not room:
            yield streams.FULL
            return
        breath = Breath()
        yield b"retry: 500\n" + _message(door, found)
        while not breath.over and not door.stopping.is_set():
            wait = 0 if found.more else breath.left
            following = await door.revocations.after(found.cursor, only(backend), wait)
            if isinstance(following, Unread):
                return
            found = following
            if found.entries or breath.silent:
                yield _message(door, found)
                breath.spoke()


def only(backend: Backend) -> str | None:
    """The client whose families and events it may see; None for an operator, who sees all."""
    return None if backend.client.operator else backend.client.client


def _message(door: Door, found: Slice) -> bytes:
    """Without entries it is a ping that says how fresh the reader's knowledge is."""
    return streams.event(found.cursor, msgspec.json.encode(_told(found, door)))


def _told(found: Slice, door: Door) -> RevocationsAnswer:
    return RevocationsAnswer(
        [_revoked(one) for one in found.entries],
        found.cursor,
        found.more,
        None if found.more else answers.moment(door.now()),
        datetime.fromtimestamp(found.issued_before, UTC) if found.issued_before else None,
    )


def _revoked(entry: Entry) -> Revoked:
    told = Revoked(_KINDS[entry.kind], answers.moment(entry.at), entry.reason, datetime.fromtimestamp(entry.until, UTC))
    setattr(told, {"session": "sid", "key": "kid", "client": "client_id"}[entry.kind], entry.name)
    return told


_KINDS: dict[str, Literal["session", "key", "client"]] = {"session": "session", "key": "key", "client": "client"}


router = Router(
    "/v1/revocations",
    route_handlers=[revocations, stream, acknowledge],
    guards=[require_scope("revocations:read")],
)
