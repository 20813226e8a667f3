"""The access token of a request: its scheme, and the proof of the key that it is bound to (RFC 6750 §2.1, RFC 9449 §7).

A token that is bound to a key is good with its proof only, and under the scheme that says so: whoever only has its text
must not get in by calling it a bearer's.
"""

from typing import Any, Final, NamedTuple

from litestar.connection import ASGIConnection

from api import dpop
from api.answers import INVALID_TOKEN
from api.door import Door
from core.access import AccessClaims, ClientClaims
from core.dpop import Flaw
from core.grants import Backend
from core.issued import Absent, Present
from core.problem import Problem
from edge import note

SCHEMES: Final = frozenset({"bearer", "dpop"})
REALM: Final = 'realm="session-ledger"'


class Credentials(NamedTuple):
    """What stands in the Authorization header."""

    scheme: str
    """In lower case."""
    token: str

    def __repr__(self) -> str:
        return f"Credentials({self.scheme!r})"


class Place(NamedTuple):
    """Of which request the proof has to be."""

    method: str
    url: str


def credentials(connection: ASGIConnection[Any, Any, Any, Any]) -> Credentials | None:
    """The token of the one Authorization header, None where there is not exactly one of these schemes."""
    sent = connection.headers.getall("authorization", [])
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    return Credentials(scheme.lower(), token) if scheme.lower() in SCHEMES and token else None


def noted(connection: ASGIConnection[Any, Any, Any, Any], found: Present | Backend | Absent) -> None:
    """Into the request's log line: whose token it is where it is genuine, and why it was refused where it was."""
    claims = found.claims
    if claims is not None:
        note(connection.scope, client=claims.client_id)
    if isinstance(claims, AccessClaims):
        note(connection.scope, family=claims.sid)
    if isinstance(found, Absent):
        note(connection.scope, reason=found.why.value)


def unbound(
    connection: ASGIConnection[Any, Any, Any, Any],
    door: Door,
    given: Credentials,
    claims: AccessClaims | ClientClaims,
    place: Place | None = None,
) -> Flaw | None:
    """Why a good token does not count as it came; None where it does. `place` is the request's own, unless given."""
    flaw = _flaw(connection, door, given, claims, place)
    if flaw is not None:
        note(connection.scope, proof=flaw.value)
    return flaw


def _flaw(
    connection: ASGIConnection[Any, Any, Any, Any],
    door: Door,
    given: Credentials,
    claims: AccessClaims | ClientClaims,
    place: Place | None,
) -> Flaw | None:
    if claims.cnf is None:
        return Flaw.BINDING if given.scheme == "dpop" else None
    text = dpop.sent(connection)
    if given.scheme != "dpop" or text is None:
        return Flaw.BINDING
    at = place or Place(str(connection.scope.get("method", "")), dpop.public_url(connection, door))
    return door.proofs.of_token(text, at.method, at.url, given.token, claims.cnf.jkt)


def refusal(connection: ASGIConnection[Any, Any, Any, Any], flaw: Flaw | None = None, realm: str = "") -> Problem:
    """401, with the challenge of the scheme that was used; without an error where no token was sent (RFC 6750 §3.1)."""
    sent = connection.headers.get("authorization")
    if sent is None:
        said = f"{_bearer(realm)}, {dpop.challenge()}"
    elif sent[:5].lower() == "dpop ":
        said = dpop.challenge("invalid_token" if flaw in {None, Flaw.BINDING} else "invalid_dpop_proof")
    else:
        said = _bearer(realm, 'error="invalid_token"') + (f", {dpop.challenge()}" if flaw else "")
    return Problem(401, INVALID_TOKEN.code, INVALID_TOKEN.detail, {"WWW-Authenticate": said})


def _bearer(*parts: str) -> str:
    return f"Bearer {', '.join(filter(None, parts))}".rstrip()
