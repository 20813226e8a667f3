"""The Authorization header, and what to answer to a token that is not accepted (RFC 6750 §3). Knows no framework."""

import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from session_ledger_client.dpop import ALGORITHMS
from session_ledger_client.errors import InsufficientScope, InvalidToken, SessionLedgerError

_ALGORITHMS: Final = f'algs="{" ".join(ALGORITHMS)}"'
_CHALLENGES: Final = {
    "missing": "Bearer",
    "binding": f'DPoP error="invalid_token", {_ALGORITHMS}',
    "proof": f'DPoP error="invalid_dpop_proof", {_ALGORITHMS}',
}


class Refusal(NamedTuple):
    """An answer: a status, headers, and problem details (RFC 9457) as body."""

    status: int
    headers: Mapping[str, str]
    code: str
    detail: str

    @property
    def body(self) -> bytes:
        return json.dumps({"status": self.status, "code": self.code, "detail": self.detail}).encode()


class Presented(NamedTuple):
    """A token, and how it was presented."""

    scheme: str
    token: str

    def __repr__(self) -> str:
        return f"Presented({self.scheme!r})"


def presented(values: Sequence[str]) -> Presented:
    """The token of the one Authorization header, with its scheme.

    Raises InvalidToken: `missing` where none was sent, `malformed` for more than one and for another scheme than Bearer
    and DPoP (RFC 6750, RFC 9449 §7.1).
    """
    if not values:
        raise InvalidToken("missing")
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() not in {"bearer", "dpop"} or not token:
        raise InvalidToken("malformed")
    return Presented(scheme.lower(), token)


def refusal(error: SessionLedgerError) -> Refusal:
    """The answer. Why a token is not valid stands in the log, not here."""
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    if isinstance(error, InvalidToken):
        missing = error.reason == "missing"
        challenge = _CHALLENGES.get(error.reason, 'Bearer error="invalid_token"')
        detail = "Send an access token." if missing else "The access token is expired or not valid here."
        return Refusal(401, headers | {"WWW-Authenticate": challenge}, "invalid_token", detail)
    if isinstance(error, InsufficientScope):
        challenge = f'Bearer error="insufficient_scope", scope="{error.needed}"'
        detail = "The access token does not allow this."
        return Refusal(403, headers | {"WWW-Authenticate": challenge}, "insufficient_scope", detail)
    return Refusal(503, headers | {"Retry-After": "2"}, "unavailable", "Try again in a moment.")
