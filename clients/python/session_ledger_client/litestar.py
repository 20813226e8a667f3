"""For Litestar: an authentication middleware, and a guard for scopes."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import ASGIApp

from session_ledger_client.aio import AsyncVerifier
from session_ledger_client.asgi import claims_of
from session_ledger_client.bearer import refusal
from session_ledger_client.claims import Claims
from session_ledger_client.errors import InsufficientScope, SessionLedgerError

Connection = ASGIConnection[Any, Any, Any, Any]


class SessionLedgerAuth(AbstractAuthenticationMiddleware):
    """`DefineMiddleware(SessionLedgerAuth, verifier=verifier)`: `request.user` is the subject, `request.auth` Claims.

    Routes that anybody may ask say `exclude_from_auth=True`.
    """

    def __init__(self, app: ASGIApp, verifier: AsyncVerifier, **options: Any) -> None:
        super().__init__(app, exclude_from_auth_key="exclude_from_auth", **options)
        self._verifier = verifier

    async def authenticate_request(self, connection: Connection) -> AuthenticationResult:
        """Raises Litestar's HTTPException with 401 or 503."""
        try:
            claims = await claims_of(connection.scope, self._verifier)  # type: ignore[arg-type]
        except SessionLedgerError as error:
            raise _refused(error) from None
        return AuthenticationResult(user=claims.subject, auth=claims)


def needs(scope: str) -> Any:
    """A guard: `guards=[needs("orders:read")]`."""

    def guard(connection: Connection, _handler: BaseRouteHandler) -> None:
        claims = connection.scope.get("auth")
        if not isinstance(claims, Claims):
            raise _refused(InsufficientScope(scope))
        try:
            claims.require(scope)
        except InsufficientScope as error:
            raise _refused(error) from None

    return guard


def _refused(error: SessionLedgerError) -> HTTPException:
    said = refusal(error)
    headers = {name: value for name, value in said.headers.items() if name != "Content-Type"}
    return HTTPException(status_code=said.status, detail=said.detail, headers=headers)
