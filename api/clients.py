"""Clients for programs that manage them: look, register, change, make secrets. Nobody gives away more than it has."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from litestar import Request, Response, Router, get, patch, post
from litestar.params import FromPath, JSONBody

from api import answers
from api.answers import NO_STORE
from api.backend import GivenBackend, require_scope
from api.door import Door, Given
from api.problems import documented
from api.visits import visit
from core import client_assertion
from core.client import Outcome
from core.clients import DAY, BadPolicy
from core.grants import Backend
from core.policy import DASHBOARD
from core.problem import Problem, invalid
from core.scope import SERVICE, words
from events.client import Client, ClientRegistered

NOT_FOUND = Problem(404, "client_not_found", "You have no client of this id.")
EXISTS = Problem(409, "client_exists", "There is a client of this id already.")
ONLY_OPERATORS = Problem(403, "operator_needed", "Only an operator registers and changes clients.")
TOO_MUCH = Problem(403, "scope_exceeded", "The client would have, or has, a scope of this service that you lack.")
NO_SECRET = Problem(409, "public_client", "A public client has no secret.")

Reaction = Literal["observe", "require_login", "revoke"]


class Policy(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What can be said of a client. Lifetimes are seconds; 0 follows the settings, as does a `leeway` of -1."""

    scopes: list[str] | msgspec.UnsetType = msgspec.UNSET
    audiences: list[str] | msgspec.UnsetType = msgspec.UNSET
    origins: list[str] | msgspec.UnsetType = msgspec.UNSET
    access_ttl: int | msgspec.UnsetType = msgspec.UNSET
    idle_ttl: int | msgspec.UnsetType = msgspec.UNSET
    absolute_ttl: int | msgspec.UnsetType = msgspec.UNSET
    leeway: int | msgspec.UnsetType = msgspec.UNSET
    family_limit: int | msgspec.UnsetType = msgspec.UNSET
    on_device_change: Reaction | msgspec.UnsetType = msgspec.UNSET
    on_network_change: Reaction | msgspec.UnsetType = msgspec.UNSET
    on_country_change: Reaction | msgspec.UnsetType = msgspec.UNSET
    first_party: bool | msgspec.UnsetType = msgspec.UNSET
    dpop: Literal["optional", "required"] | msgspec.UnsetType = msgspec.UNSET
    """Whether its tokens must be bound to a key (RFC 9449)."""
    jwks: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    """The public keys that it proves itself by, a JWK set (RFC 7517 §5); null takes them away."""
    keys_only: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether its secrets no longer count."""


class NewClient(Policy, forbid_unknown_fields=True, kw_only=True):
    """A client to register. An operator is made by the command line or the dashboard only."""

    client_id: str
    type: Literal["public", "confidential"]


class ClientChange(Policy, forbid_unknown_fields=True, kw_only=True):
    """What is to change; the rest stays."""

    status: Literal["enabled", "disabled"] | msgspec.UnsetType = msgspec.UNSET


class SecretRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`keep`: seconds for which the secret before is good."""

    keep: int = DAY


class ClientShown(msgspec.Struct, kw_only=True):
    """A client and its policy."""

    client_id: str
    status: str
    type: str
    first_party: bool
    operator: bool
    scopes: list[str]
    audiences: list[str]
    origins: list[str]
    access_ttl: int
    idle_ttl: int
    absolute_ttl: int
    leeway: int
    family_limit: int
    on_device_change: str
    on_network_change: str
    dpop: str
    jwks: dict[str, Any] | None
    keys_only: bool
    on_country_change: str
    registered_at: datetime
    secret_at: datetime | None
    """When its newest secret was made."""


class Clients(msgspec.Struct):
    """Those that the caller can see, by id."""

    clients: list[ClientShown]


class Secret(msgspec.Struct):
    """A secret, told this once."""

    client_id: str
    client_secret: str | None
    """None for a public client."""

    def __repr__(self) -> str:
        return f"Secret(client_id={self.client_id!r})"


@get("/", guards=[require_scope("clients:read")], responses=documented(401, 403, 503))
async def clients(door: Given, backend: GivenBackend) -> Response[Clients]:
    """All clients for an operator, itself for everybody else."""
    found = [one for one in door.clients.all() if backend.reaches(one.client)]
    return Response(Clients([_shown(one) for one in found]), headers=dict(NO_STORE))


@get("/{client_id:str}", guards=[require_scope("clients:read")], responses=documented(401, 403, 404, 503))
async def client(client_id: FromPath[str], door: Given, backend: GivenBackend) -> Response[ClientShown]:
    """One client with its policy."""
    state = _reached(door, backend, client_id)
    return answers.said(NOT_FOUND) if state is None else Response(_shown(state), headers=dict(NO_STORE))


@post("/", guards=[require_scope("clients:write")], responses=documented(400, 401, 403, 409, 503))
async def register(
    request: Request[Any, Any, Any], data: JSONBody[NewClient], door: Given, backend: GivenBackend
) -> Response[Secret]:
    """Register a client; the answer alone holds the secret of a confidential one."""
    policy = _fields(data)
    if not backend.client.operator:
        return answers.said(ONLY_OPERATORS)
    if _exceeds(backend, policy.get("scopes", "")):
        return answers.said(TOO_MUCH)
    fact = ClientRegistered(actor=backend.actor, client=data.client_id, type=data.type, **policy)
    try:
        made = await door.clients.register(fact, visit(request).origin)
    except BadPolicy as wrong:
        return answers.said(_flawed(wrong))
    if made.outcome is not Outcome.DONE:
        return answers.said(EXISTS)
    return Response(Secret(data.client_id, made.secret or None), status_code=201, headers=dict(NO_STORE))


@patch("/{client_id:str}", guards=[require_scope("clients:write")], responses=documented(400, 401, 403, 404, 503))
async def change(
    request: Request[Any, Any, Any],
    client_id: FromPath[str],
    data: JSONBody[ClientChange],
    door: Given,
    backend: GivenBackend,
) -> Response[ClientShown]:
    """Change what is named of a client's policy, or switch it off and on."""
    state = _reached(door, backend, client_id)
    if state is None:
        return answers.said(NOT_FOUND)
    if not backend.client.operator:
        return answers.said(ONLY_OPERATORS)
    policy = _fields(data)
    if _exceeds(backend, f"{state.scopes} {policy.get('scopes', '')}"):
        return answers.said(TOO_MUCH)
    origin = visit(request).origin
    try:
        await door.clients.update(client_id, backend.actor, policy, origin)
    except BadPolicy as wrong:
        return answers.said(_flawed(wrong))
    if data.status is not msgspec.UNSET:
        await door.clients.set_enabled(client_id, backend.actor, origin, enabled=data.status == "enabled")
    return Response(_shown(door.clients.get(client_id) or state), headers=dict(NO_STORE))


@post(
    "/{client_id:str}/secrets",
    guards=[require_scope("clients:write")],
    responses=documented(400, 401, 403, 404, 409, 503),
)
async def secrets(
    request: Request[Any, Any, Any],
    client_id: FromPath[str],
    data: JSONBody[SecretRequest],
    door: Given,
    backend: GivenBackend,
) -> Response[Secret]:
    """Give a client another secret: one's own, or for an operator that of a client which has no scope that it lacks."""
    state = _reached(door, backend, client_id)
    if state is None:
        return answers.said(NOT_FOUND)
    if state.client != backend.client.client and _exceeds(backend, state.scopes):
        return answers.said(TOO_MUCH)
    try:
        made = await door.clients.rotate_secret(client_id, backend.actor, data.keep, visit(request).origin)
    except BadPolicy as wrong:
        return answers.said(_flawed(wrong))
    if made.outcome is Outcome.PUBLIC:
        return answers.said(NO_SECRET)
    return Response(Secret(client_id, made.secret), status_code=201, headers=dict(NO_STORE))


def _reached(door: Door, backend: Backend, name: str) -> Client | None:
    """The client of this name, if the caller reaches it; nobody reaches the dashboard's from here."""
    return door.clients.get(name) if name != DASHBOARD and backend.reaches(name) else None


def _exceeds(backend: Backend, scopes: str) -> bool:
    """Whether there is a scope of our own routes among them that the caller does not hold itself."""
    return bool((words(scopes) & SERVICE.keys()) - backend.scopes)


def _fields(data: Policy) -> dict[str, Any]:
    """What was said, as the fields of a policy."""
    said = {name: getattr(data, name) for name in Policy.__struct_fields__}
    told = {name: value for name, value in said.items() if value is not msgspec.UNSET}
    keys = {"keys": client_assertion.stored(told.pop("jwks"))} if "jwks" in told else {}
    return {name: _as_stored(value) for name, value in told.items()} | keys


def _as_stored(value: Any) -> Any:
    if isinstance(value, list):
        # What holds a space is no scope, audience or origin: the mark lets no check take it for two.
        return " ".join(word if word and not word.split()[1:] else "\\" for word in value)
    return int(value) if isinstance(value, bool) else value


def _flawed(wrong: BadPolicy) -> Problem:
    return invalid(f"{wrong.flaw.field}: {wrong.flaw.text}")


def _shown(state: Client) -> ClientShown:
    lists = {name: getattr(state, name).split() for name in ("scopes", "audiences", "origins")}
    flags = {"first_party": bool(state.first_party), "operator": bool(state.operator)}
    flags["keys_only"] = bool(state.keys_only)
    policy = {name: value for name, value in state.policy.items() if name != "keys"}
    return ClientShown(
        client_id=state.client,
        status=state.status,
        registered_at=answers.moment(state.registered_at),
        secret_at=answers.moment(state.secret_at) if state.secret else None,
        jwks=msgspec.json.decode(state.keys) if state.keys else None,
        **{**policy, **lists, **flags},
    )


router = Router("/v1/clients", route_handlers=[clients, client, register, change, secrets])
