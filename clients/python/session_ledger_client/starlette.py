"""For Starlette and FastAPI: a dependency, or callable, that gives the claims of a request."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from session_ledger_client.aio import AsyncVerifier
from session_ledger_client.asgi import claims_of
from session_ledger_client.bearer import refusal
from session_ledger_client.claims import Claims
from session_ledger_client.errors import SessionLedgerError


class Session:
    """`Depends(Session(verifier, "orders:read"))` gives Claims, or answers 401, 403 or 503.

    In Starlette call it: `claims = await session(request)`.
    """

    def __init__(self, verifier: AsyncVerifier, needed: str = "") -> None:
        self._verifier = verifier
        self._needed = needed

    async def __call__(self, request: HTTPConnection) -> Claims:
        """Raises Starlette's HTTPException."""
        try:
            return await claims_of(request.scope, self._verifier, self._needed)
        except SessionLedgerError as error:
            said = refusal(error)
            headers: dict[str, Any] = {name: value for name, value in said.headers.items() if name != "Content-Type"}
            raise HTTPException(said.status, said.detail, headers) from None
