"""Who may use a route under /v1: a backend with an access token of its own that has the route's scope (RFC 6750)."""

from typing import Any, TypeAlias

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import SkipValidation

from api.credentials import REALM, credentials, noted, refusal, unbound
from api.door import Door
from api.problems import Refused
from core.grants import Backend
from core.issued import Absent
from core.problem import Problem
from core.scope import SERVICE


class require_scope:  # noqa: N801 - used as a function: guards=[require_scope("events:read")]
    """A guard: a client's own access token for our audience, with this scope, of a client that works.

    401 where there is no such token, 403 where it lacks the scope. A route gets the client as `backend: GivenBackend`.
    It waits for nothing; a guard that is no coroutine would be run in a thread.
    """

    def __init__(self, scope: str) -> None:
        if scope not in SERVICE:
            msg = f"there is no scope {scope}"
            raise ValueError(msg)
        self.scope = scope

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _route: BaseRouteHandler) -> None:
        door: Door = connection.app.state.door
        backend = proved(connection, door)
        if isinstance(backend, Problem):
            raise Refused(backend)
        if self.scope not in backend.scopes:
            raise _too_little(self.scope)
        connection.scope["state"]["backend"] = backend


def proved(connection: ASGIConnection[Any, Any, Any, Any], door: Door) -> Backend | Problem:
    """The client whose own token this is, with the proof of the key that it may be bound to; else the 401."""
    given = credentials(connection)
    if given is None:
        return refusal(connection, realm=REALM)
    backend = door.grants.backend(given.token)
    noted(connection, backend)
    if isinstance(backend, Absent):
        return refusal(connection, realm=REALM)
    flaw = unbound(connection, door, given, backend.claims)
    return backend if flaw is None else refusal(connection, flaw, REALM)


def backend_of(request: Request[Any, Any, Any]) -> Backend:
    """Whom the guard let in, as a dependency of routes."""
    backend: Backend = request.scope["state"]["backend"]
    return backend


def _too_little(scope: str) -> Refused:
    challenge = f'Bearer {REALM}, error="insufficient_scope", scope="{scope}"'
    return Refused(
        Problem(403, "insufficient_scope", f"This takes the scope {scope}.", {"WWW-Authenticate": challenge})
    )


GivenBackend: TypeAlias = NamedDependency[SkipValidation[Backend]]
