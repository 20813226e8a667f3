"""Webhooks for programs: set up, look, change, rotate, replay, ping. Each client reaches its own, an operator all."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from api import answers
from api.answers import NO_STORE
from api.backend import GivenBackend, require_scope
from api.door import Door, Given
from api.problems import documented
from api.visits import visit
from core import secevent
from core.grants import Backend
from core.problem import Problem, invalid
from core.webhook import Plan
from core.webhooks import DAY, BadWebhook
from events import deliveries, ids
from events.deliveries import Delivery, Tally
from events.webhook import ALL, CLIENT, PREFIX, SET, Webhook

NOT_FOUND = Problem(404, "webhook_not_found", "You have no webhook of this id.")
NO_LETTER = Problem(404, "dead_letter_not_found", "There is no such dead letter.")
NO_CLIENT = Problem(404, "client_not_found", "You have no client of this id.")


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A webhook to set up. Without `filter` it is sent every event that you may see."""

    url: str
    format: Literal["standard-webhooks", "set"] = "standard-webhooks"
    filter: str = ""
    signals: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Of `set`: `session-revoked`, `credential-change`; both unless named."""
    authorization: str = ""
    """Of `set`: what is sent along in the header of this name (RFC 8935 §3)."""
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    """Whose it is: your own, or for an operator that of another client."""


class WebhookChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to change; the rest stays."""

    url: str | msgspec.UnsetType = msgspec.UNSET
    filter: str | msgspec.UnsetType = msgspec.UNSET
    signals: list[str] | msgspec.UnsetType = msgspec.UNSET
    authorization: str | msgspec.UnsetType = msgspec.UNSET
    status: Literal["enabled", "disabled", "paused"] | msgspec.UnsetType = msgspec.UNSET


class SecretRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`keep`: seconds for which the secret before signs, too."""

    keep: int = DAY


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    """Which dead letter to send again; all of them unless named."""

    position: int | None = None


class WebhookShown(msgspec.Struct, kw_only=True):
    """A webhook and how it fares."""

    webhook_id: str
    client_id: str | None
    """None for one of the operators of the service."""
    status: str
    reason: str | None
    """Why it is disabled."""
    format: str
    method: str
    url: str | None
    filter: str
    signals: list[str]
    registered_at: datetime
    secret_at: datetime | None
    secret_before_until: datetime | None
    waiting: int
    """Events that failed, or wait behind one that did."""
    dead: int
    """Events that were given up."""


class Webhooks(msgspec.Struct):
    """Those that the caller can see, the oldest first."""

    webhooks: list[WebhookShown]


class Secret(msgspec.Struct):
    """A secret, told this once."""

    webhook_id: str
    secret: str | None
    """None for security event tokens, which are signed by the keys of the service."""

    def __repr__(self) -> str:
        return f"Secret(webhook_id={self.webhook_id!r})"


class DeliveryShown(msgspec.Struct, kw_only=True):
    """What became of one event."""

    position: int
    status: str
    tries: int
    reason: str | None
    answer: int | None
    """HTTP status of the last try."""
    at: datetime | None
    due: datetime | None


class Deliveries(msgspec.Struct):
    """The newest first."""

    deliveries: list[DeliveryShown]


READ, WRITE = require_scope("webhooks:read"), require_scope("webhooks:write")


@get("/", guards=[READ], responses=documented(401, 403, 503))
async def webhooks(door: Given, backend: GivenBackend) -> Response[Webhooks]:
    """All webhooks for an operator, its own for everybody else."""
    tallies = await door.deliveries.tallies()
    found = [one for one in await door.webhooks.all() if backend.reaches(one.client)]
    return Response(Webhooks([_shown(one, tallies) for one in found]), headers=dict(NO_STORE))


@post("/", guards=[WRITE], responses=documented(400, 401, 403, 404, 503))
async def register(
    request: Request[Any, Any, Any], data: JSONBody[NewWebhook], door: Given, backend: GivenBackend
) -> Response[Secret]:
    """Set one up; the answer alone holds its secret. It is told of what happens from now on."""
    owner = backend.client.client if data.client_id is msgspec.UNSET else data.client_id
    if not backend.reaches(owner) or door.clients.get(owner) is None:
        return answers.said(NO_CLIENT)
    kinds = _kinds(data.signals, secevent.URIS if data.format == SET else ())
    plan = Plan(data.format, url=data.url, query=data.filter, signals=kinds)
    try:
        made = await door.webhooks.register(owner, backend.actor, plan, visit(request).origin, data.authorization)
    except BadWebhook as wrong:
        return answers.said(_flawed(wrong))
    return Response(Secret(_name(made.webhook), made.secret or None), status_code=201, headers=dict(NO_STORE))


@get("/{webhook_id:str}", guards=[READ], responses=documented(401, 403, 404, 503))
async def webhook(webhook_id: FromPath[str], door: Given, backend: GivenBackend) -> Response[WebhookShown]:
    """One of them, and how it fares."""
    state = await _reached(door, backend, webhook_id)
    if state is None:
        return answers.said(NOT_FOUND)
    return Response(_shown(state, await door.deliveries.tallies()), headers=dict(NO_STORE))


@patch("/{webhook_id:str}", guards=[WRITE], responses=documented(400, 401, 403, 404, 503))
async def change(
    request: Request[Any, Any, Any],
    webhook_id: FromPath[str],
    data: JSONBody[WebhookChange],
    door: Given,
    backend: GivenBackend,
) -> Response[WebhookShown]:
    """Change what is named, or switch it off and on. Disabled or paused, what happens waits; see docs/webhooks.md."""
    state = await _reached(door, backend, webhook_id)
    if state is None:
        return answers.said(NOT_FOUND)
    origin, actor = visit(request).origin, backend.actor
    given = {"url": data.url, "query": data.filter, "signals": _kinds(data.signals, msgspec.UNSET)}
    changes = {name: value for name, value in given.items() if isinstance(value, str)}
    header = None if data.authorization is msgspec.UNSET else data.authorization
    try:
        if changes or header is not None:
            await door.webhooks.update(state, actor, changes, origin, header)
    except BadWebhook as wrong:
        return answers.said(_flawed(wrong))
    if data.status == "enabled":
        await door.webhooks.enable(state.id, actor, origin)
    elif data.status is not msgspec.UNSET:
        await door.webhooks.disable(state.id, actor, CLIENT if data.status == "disabled" else data.status, origin)
    state = await door.webhooks.get(state.id) or state
    return Response(_shown(state, await door.deliveries.tallies()), headers=dict(NO_STORE))


@delete("/{webhook_id:str}", guards=[WRITE], status_code=204, responses=documented(401, 403, 404, 503))
async def remove(
    request: Request[Any, Any, Any], webhook_id: FromPath[str], door: Given, backend: GivenBackend
) -> Response[None]:
    """End it for good."""
    state = await _reached(door, backend, webhook_id)
    if state is None:
        return answers.said(NOT_FOUND)
    await door.webhooks.remove(state.id, backend.actor, visit(request).origin)
    return Response(None, status_code=204, headers=dict(NO_STORE))


@post("/{webhook_id:str}/secrets", guards=[WRITE], responses=documented(400, 401, 403, 404, 503))
async def secrets(
    request: Request[Any, Any, Any],
    webhook_id: FromPath[str],
    data: JSONBody[SecretRequest],
    door: Given,
    backend: GivenBackend,
) -> Response[Secret]:
    """Make another secret; the one before signs, too, for `keep` seconds."""
    state = await _reached(door, backend, webhook_id)
    if state is None:
        return answers.said(NOT_FOUND)
    try:
        made = await door.webhooks.rotate_secret(state, backend.actor, data.keep, visit(request).origin)
    except BadWebhook as wrong:
        return answers.said(_flawed(wrong))
    return Response(Secret(webhook_id, made.secret), status_code=201, headers=dict(NO_STORE))


@get("/{webhook_id:str}/deliveries", guards=[READ], responses=documented(400, 401, 403, 404, 503))
async def delivered(
    webhook_id: FromPath[str], door: Given, backend: GivenBackend, only: FromQuery[str] = deliveries.DEAD
) -> Response[Deliveries]:
    """The newest hundred of one kind, `only`: `dead` (unless named), `waiting` or `delivered`."""
    hook = await _reached(door, backend, webhook_id)
    if hook is None:
        return answers.said(NOT_FOUND)
    if only not in deliveries.STATUSES:
        return answers.said(invalid(f"`only` is one of {', '.join(deliveries.STATUSES)}."))
    found = await door.deliveries.of(hook.id, only, 100)
    return Response(Deliveries([_row(one) for one in found]), headers=dict(NO_STORE))


@post("/{webhook_id:str}/replay", guards=[WRITE], status_code=202, responses=documented(400, 401, 403, 404, 503))
async def replay(
    request: Request[Any, Any, Any],
    webhook_id: FromPath[str],
    data: JSONBody[Replay],
    door: Given,
    backend: GivenBackend,
) -> Response[None]:
    """Send a dead letter again, or all of them, under the same id."""
    state = await _reached(door, backend, webhook_id)
    if state is None:
        return answers.said(NOT_FOUND)
    if not await door.deliveries.has_dead(state.id, data.position):
        return answers.said(NO_LETTER)
    position = ALL if data.position is None else data.position
    await door.webhooks.replay(state.id, backend.actor, position, visit(request).origin)
    return Response(None, status_code=202, headers=dict(NO_STORE))


@post("/{webhook_id:str}/ping", guards=[WRITE], status_code=202, responses=documented(401, 403, 404, 503))
async def ping(
    request: Request[Any, Any, Any], webhook_id: FromPath[str], door: Given, backend: GivenBackend
) -> Response[None]:
    """Send a test, as everything else is sent; `deliveries` tells what became of it."""
    state = await _reached(door, backend, webhook_id)
    if state is None:
        return answers.said(NOT_FOUND)
    await door.webhooks.ping(state.id, backend.actor, origin=visit(request).origin)
    return Response(None, status_code=202, headers=dict(NO_STORE))


async def _reached(door: Door, backend: Backend, name: str) -> Webhook | None:
    stream = ids.from_text(PREFIX, name)
    state = await door.webhooks.get(stream) if stream else None
    return state if state is not None and backend.reaches(state.client) else None


def _kinds(named: list[str] | msgspec.UnsetType, otherwise: Any) -> Any:
    """Words as the log keeps them; one with a space in it is none that there is."""
    if isinstance(named, msgspec.UnsetType):
        return otherwise if isinstance(otherwise, msgspec.UnsetType) else " ".join(otherwise)
    return " ".join(dict.fromkeys(word if len(word.split()) == 1 else "?" for word in named))


def _flawed(wrong: BadWebhook) -> Problem:
    field = {"query": "filter"}.get(wrong.flaw.field, wrong.flaw.field)
    return invalid(f"{field}: {wrong.flaw.text}")


def _shown(state: Webhook, tallies: Mapping[bytes, Tally]) -> WebhookShown:
    tally = tallies.get(state.id, Tally())
    return WebhookShown(
        webhook_id=_name(state.id),
        client_id=state.client or None,
        status=state.status,
        reason=state.reason or None,
        format=state.format,
        method=state.method,
        url=state.url or None,
        filter=state.query,
        signals=state.signals.split(),
        registered_at=answers.moment(state.registered_at),
        secret_at=_when(state.secret_at),
        secret_before_until=_when(state.before_until),
        waiting=tally.waiting,
        dead=tally.dead,
    )


def _row(one: Delivery) -> DeliveryShown:
    return DeliveryShown(
        position=one.position,
        status=one.status,
        tries=one.tries,
        reason=one.reason or None,
        answer=one.answer or None,
        at=_when(one.at),
        due=_when(one.due),
    )


def _name(stream: bytes) -> str:
    return ids.to_text(PREFIX, stream)


def _when(at: int) -> datetime | None:
    return answers.moment(at) if at else None


router = Router(
    "/v1/webhooks",
    route_handlers=[webhooks, register, webhook, change, remove, secrets, delivered, replay, ping],
)
