"""Shared signals (SSF 1.0): the one stream of a client, its status, its verification, and polling (RFC 8936)."""

from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from api import answers, streams
from api.answers import NO_STORE
from api.backend import GivenBackend, require_scope
from api.door import Door, Given
from api.problems import ProblemResponse, documented
from api.visits import visit
from core import secevent
from core.grants import Backend
from core.polling import MOST, Ask
from core.problem import NOT_FOUND as NOTHING
from core.problem import Problem, invalid
from core.webhook import Outcome, Plan
from core.webhooks import BadWebhook
from events import ids
from events.webhook import CLIENT, PAUSED, POLL, PREFIX, PUSH, SET, Webhook

PUSHED: Final = "urn:ietf:rfc:8935"
POLLED: Final = "urn:ietf:rfc:8936"
AT: Final = "/v1/ssf"
INTERVAL: Final = 60
"""Seconds between two verifications that a receiver may ask for."""
MAX_SETTLED: Final = 1_000
"""Tokens that one request acknowledges, or does not take: ten answers full of them."""
NOT_FOUND = Problem(404, "stream_not_found", "You have no stream of this id.")
EXISTS = Problem(409, "stream_exists", "You have a stream already: a client has one.")
NOT_POLLED = Problem(409, "stream_is_pushed", "The tokens of this stream are pushed, not polled.")
TOO_SOON = Problem(
    429, "rate_limited", f"A verification can be asked for every {INTERVAL} seconds.", {"Retry-After": str(INTERVAL)}
)
READ, MANAGE = require_scope("ssf.read"), require_scope("ssf.manage")


class Delivery(msgspec.Struct, omit_defaults=True):
    """How tokens come: pushed to `endpoint_url` (RFC 8935), or fetched from one that we name (RFC 8936)."""

    method: str
    endpoint_url: str = ""
    authorization_header: str = ""
    """What a push carries in `Authorization`; never told again."""

    def __repr__(self) -> str:
        return f"Delivery({self.method!r})"


class StreamRequest(msgspec.Struct, kw_only=True):
    """What a receiver says of its stream. What only we say must be as we say it, where it is repeated."""

    stream_id: str | msgspec.UnsetType = msgspec.UNSET
    iss: str | msgspec.UnsetType = msgspec.UNSET
    aud: str | list[str] | msgspec.UnsetType = msgspec.UNSET
    events_requested: list[str] | msgspec.UnsetType = msgspec.UNSET
    """URIs; those that we do not know are not delivered."""
    delivery: Delivery | msgspec.UnsetType = msgspec.UNSET


class Stream(msgspec.Struct, kw_only=True):
    """A stream as it is (SSF 1.0 §8.1.1)."""

    stream_id: str
    iss: str
    aud: str
    events_supported: list[str]
    events_requested: list[str]
    events_delivered: list[str]
    delivery: Delivery
    min_verification_interval: int = INTERVAL


class Status(msgspec.Struct, kw_only=True):
    """`enabled`; `paused`, which keeps what happens for later; `disabled`, which does not."""

    stream_id: str
    status: str


class Verify(msgspec.Struct):
    """`state` comes back in the token."""

    stream_id: str
    state: Annotated[str, msgspec.Meta(max_length=1024)] = ""


class Failure(msgspec.Struct):
    """Why a token was not taken. `description` is not kept."""

    err: str
    description: str = ""


class Poll(msgspec.Struct, kw_only=True, rename="camel"):
    """RFC 8936 §2.2."""

    max_events: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET
    return_immediately: bool = False
    ack: Annotated[list[str], msgspec.Meta(max_length=MAX_SETTLED)] = msgspec.field(default_factory=list)
    set_errs: Annotated[dict[str, Failure], msgspec.Meta(max_length=MAX_SETTLED)] = msgspec.field(default_factory=dict)


class Polled(msgspec.Struct, kw_only=True, rename="camel"):
    """Tokens by `jti`. They come again until they are acknowledged."""

    sets: dict[str, str]
    more_available: bool

    def __repr__(self) -> str:
        return f"Polled({len(self.sets)} sets)"


@get(["/.well-known/ssf-configuration", "/.well-known/ssf-configuration/{rest:path}"], include_in_schema=False)
async def configuration(door: Given, rest: FromPath[str] = "") -> Response[Any]:
    """Where everything is (SSF 1.0 §7). An issuer's path stands behind the well-known part."""
    if rest.rstrip("/") != urlsplit(door.grants.terms.issuer).path.rstrip("/"):
        return ProblemResponse(NOTHING)
    headers = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}
    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    at = f"{door.own_origin}{AT}"
    told = {
        "spec_version": "1_0",
        "issuer": door.grants.terms.issuer,
        "jwks_uri": f"{door.own_origin}/.well-known/jwks.json",
        "delivery_methods_supported": [PUSHED, POLLED],
        "configuration_endpoint": f"{at}/streams",
        "status_endpoint": f"{at}/status",
        "verification_endpoint": f"{at}/verification",
        "critical_subject_members": ["user", "session"],
        "default_subjects": "ALL",
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
    }
    return Response(told, headers=headers, media_type="application/json")


@get("/streams", guards=[READ], responses=documented(401, 403, 404, 503))
async def read(
    door: Given, backend: GivenBackend, stream_id: FromQuery[str | None] = None
) -> Response[Stream | list[Stream]]:
    """The stream of this id, or a list of the one that there is."""
    state = await door.webhooks.stream_of(backend.client.client)
    if stream_id is None:
        return Response([_shown(door, state)] if state else [], headers=dict(NO_STORE))
    if state is None or _name(state) != stream_id:
        return answers.said(NOT_FOUND)
    return Response(_shown(door, state), headers=dict(NO_STORE))


@post("/streams", guards=[MANAGE], responses=documented(400, 401, 403, 409, 503))
async def create(
    request: Request[Any, Any, Any], data: JSONBody[StreamRequest], door: Given, backend: GivenBackend
) -> Response[Stream]:
    """Begin it. Tokens are polled unless a place is named that they are pushed to."""
    delivery = Delivery(POLLED) if isinstance(data.delivery, msgspec.UnsetType) else data.delivery
    asked = list(secevent.URIS.values()) if isinstance(data.events_requested, msgspec.UnsetType) else None
    wrong = _unknown(delivery)
    if wrong is not None:
        return answers.said(wrong)
    plan = Plan(SET, **_changes(delivery), signals=_signals(asked or _listed(data.events_requested)))
    owner, actor = backend.client.client, backend.actor
    try:
        made = await door.webhooks.open_stream(owner, actor, plan, visit(request).origin, delivery.authorization_header)
    except BadWebhook as flaw:
        return answers.said(invalid(f"{flaw.flaw.field}: {flaw.flaw.text}"))
    state = await door.webhooks.get(made.webhook)
    if made.outcome is not Outcome.DONE or state is None:
        return answers.said(EXISTS)
    return Response(_shown(door, state), status_code=201, headers=dict(NO_STORE))


@patch("/streams", guards=[MANAGE], responses=documented(400, 401, 403, 404, 503))
async def change(
    request: Request[Any, Any, Any], data: JSONBody[StreamRequest], door: Given, backend: GivenBackend
) -> Response[Stream]:
    """Change what is named."""
    return await _update(request, data, door, backend)


@put("/streams", guards=[MANAGE], responses=documented(400, 401, 403, 404, 503))
async def replace(
    request: Request[Any, Any, Any], data: JSONBody[StreamRequest], door: Given, backend: GivenBackend
) -> Response[Stream]:
    """Say all of it anew: what is not named is as at the beginning."""
    if isinstance(data.delivery, msgspec.UnsetType):
        data.delivery = Delivery(POLLED)
    if isinstance(data.events_requested, msgspec.UnsetType):
        data.events_requested = list(secevent.URIS.values())
    return await _update(request, data, door, backend)


@delete("/streams", guards=[MANAGE], status_code=204, responses=documented(400, 401, 403, 404, 503))
async def remove(
    request: Request[Any, Any, Any], door: Given, backend: GivenBackend, stream_id: FromQuery[str]
) -> Response[None]:
    """End it for good; another one may be begun."""
    state = await _named(door, backend, stream_id)
    if state is None:
        return answers.said(NOT_FOUND)
    await door.webhooks.remove(state.id, backend.actor, visit(request).origin)
    return Response(None, status_code=204, headers=dict(NO_STORE))


@get("/status", guards=[READ], responses=documented(400, 401, 403, 404, 503))
async def status(door: Given, backend: GivenBackend, stream_id: FromQuery[str]) -> Response[Status]:
    """Whether tokens come."""
    state = await _named(door, backend, stream_id)
    return answers.said(NOT_FOUND) if state is None else Response(_status(state), headers=dict(NO_STORE))


@post("/status", guards=[MANAGE], status_code=200, responses=documented(400, 401, 403, 404, 503))
async def set_status(
    request: Request[Any, Any, Any], data: JSONBody[Status], door: Given, backend: GivenBackend
) -> Response[Status]:
    """Let tokens come, hold them back, or want none."""
    state = await _named(door, backend, data.stream_id)
    if state is None:
        return answers.said(NOT_FOUND)
    origin = visit(request).origin
    if data.status == "enabled":
        await door.webhooks.enable(state.id, backend.actor, origin)
    elif data.status in {"paused", "disabled"}:
        await door.webhooks.disable(state.id, backend.actor, PAUSED if data.status == PAUSED else CLIENT, origin)
    else:
        return answers.said(invalid("`status` is enabled, paused or disabled."))
    return Response(_status(await door.webhooks.get(state.id) or state), headers=dict(NO_STORE))


@post("/verification", guards=[MANAGE], status_code=204, responses=documented(400, 401, 403, 404, 429, 503))
async def verify(
    request: Request[Any, Any, Any], data: JSONBody[Verify], door: Given, backend: GivenBackend
) -> Response[None]:
    """Ask for a token that proves that the stream works; it comes as all others do."""
    state = await _named(door, backend, data.stream_id)
    if state is None:
        return answers.said(NOT_FOUND)
    if door.now() - await door.webhooks.reader.pinged_at(state.id) < INTERVAL * 1_000_000:
        return answers.said(TOO_SOON, dict(TOO_SOON.headers))
    await door.webhooks.ping(state.id, backend.actor, data.state, visit(request).origin)
    return Response(None, status_code=204, headers=dict(NO_STORE))


@post("/poll", guards=[READ], status_code=200, responses=documented(400, 401, 403, 404, 409, 429, 503))
async def poll(data: JSONBody[Poll], door: Given, backend: GivenBackend) -> Response[Polled]:
    """Acknowledge tokens and get the next ones; without `returnImmediately` it waits up to 20 s for one.

    Of those that wait for one stream, a newer one makes the oldest answer sooner.
    """
    with door.streams.one_more(backend.client.client) as room:
        if not room:
            return answers.said(streams.CROWDED, dict(streams.CROWDED.headers))
        return await _polled(data, door, backend)


async def _polled(data: Poll, door: Door, backend: Backend) -> Response[Polled]:
    state = await door.polling.stream_of(backend.client.client)
    if state is None:
        return answers.said(NOT_FOUND)
    if state.method != POLL:
        return answers.said(NOT_POLLED)
    most = MOST if isinstance(data.max_events, msgspec.UnsetType) else min(data.max_events, MOST)
    errors = {name: failure.err for name, failure in data.set_errs.items()}
    found = await door.polling.poll(state.id, Ask(most, data.return_immediately, frozenset(data.ack), errors))
    return Response(Polled(sets=found.tokens, more_available=found.more), headers=dict(NO_STORE))


async def _update(
    request: Request[Any, Any, Any], data: StreamRequest, door: Door, backend: Backend
) -> Response[Stream]:
    state = await _named(door, backend, data.stream_id) if isinstance(data.stream_id, str) else None
    if state is None:
        return answers.said(NOT_FOUND)
    wrong = _contradicted(door, state, data)
    if wrong is not None:
        return answers.said(wrong)
    changes: dict[str, str] = {}
    header = None
    if not isinstance(data.delivery, msgspec.UnsetType):
        changes |= _changes(data.delivery)
        header = data.delivery.authorization_header
    if not isinstance(data.events_requested, msgspec.UnsetType):
        changes["signals"] = _signals(data.events_requested)
    try:
        await door.webhooks.update(state, backend.actor, changes, visit(request).origin, header)
    except BadWebhook as flaw:
        return answers.said(invalid(f"{flaw.flaw.field}: {flaw.flaw.text}"))
    return Response(_shown(door, await door.webhooks.get(state.id) or state), headers=dict(NO_STORE))


def _contradicted(door: Door, state: Webhook, data: StreamRequest) -> Problem | None:
    """What only the transmitter says must be what it says, where a receiver repeats it (SSF 1.0 §8.1.1.3)."""
    if not isinstance(data.iss, msgspec.UnsetType) and data.iss != door.grants.terms.issuer:
        return invalid("`iss` is not that of this service.")
    audience = door.poster.audience(state)
    if not isinstance(data.aud, msgspec.UnsetType) and data.aud not in (audience, [audience]):
        return invalid("`aud` is not that of this stream.")
    return None if isinstance(data.delivery, msgspec.UnsetType) else _unknown(data.delivery)


def _unknown(delivery: Delivery) -> Problem | None:
    if delivery.method not in {PUSHED, POLLED}:
        return invalid(f"`method` is {PUSHED} or {POLLED}.")
    return None


def _changes(delivery: Delivery) -> dict[str, str]:
    """As a plan has it. Who polls does so where we say, whatever was repeated."""
    pushed = delivery.method == PUSHED
    return {"method": PUSH if pushed else POLL, "url": delivery.endpoint_url if pushed else ""}


def _signals(asked: list[str]) -> str:
    return " ".join(name for name, uri in secevent.URIS.items() if uri in asked)


def _listed(asked: list[str] | msgspec.UnsetType) -> list[str]:
    return [] if isinstance(asked, msgspec.UnsetType) else asked


async def _named(door: Door, backend: Backend, name: str) -> Webhook | None:
    """The caller's own stream, if it is called so."""
    state = await door.webhooks.stream_of(backend.client.client)
    return state if state is not None and _name(state) == name else None


def _shown(door: Door, state: Webhook) -> Stream:
    kinds = [secevent.URIS[name] for name in state.signals.split() if name in secevent.URIS]
    polled = Delivery(POLLED, f"{door.own_origin}{AT}/poll")
    return Stream(
        stream_id=_name(state),
        iss=door.grants.terms.issuer,
        aud=door.poster.audience(state),
        events_supported=list(secevent.URIS.values()),
        events_requested=kinds,
        events_delivered=kinds,
        delivery=Delivery(PUSHED, state.url) if state.method == PUSH else polled,
    )


def _status(state: Webhook) -> Status:
    return Status(stream_id=_name(state), status=state.status)


def _name(state: Webhook) -> str:
    return ids.to_text(PREFIX, state.id)


well_known = Router("/", route_handlers=[configuration])
router = Router(AT, route_handlers=[read, create, change, replace, remove, status, set_status, verify, poll])
