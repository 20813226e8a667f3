"""Proofs of keys at our routes (RFC 9449): where they stand in a request, and what is answered. Decides nothing."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection

from api.answers import INVALID_PROOF
from api.door import Door
from core.dpop import Flaw, Proof
from core.jwk import ALGORITHMS
from core.problem import Problem
from edge import note, passage_of

HEADER: Final = {"DPoP": "The proof of a key, for tokens that are bound to it (RFC 9449)."}
ALGS: Final = " ".join(ALGORITHMS)
NO_NONCE: Final = Problem(400, "use_dpop_nonce", "The proof must hold the nonce that DPoP-Nonce says.")


def challenge(error: str = "", more: str = "") -> str:
    """`WWW-Authenticate` of a route that takes bound tokens (RFC 9449 §7.1)."""
    said = f'error="{error}", ' if error else ""
    return f'DPoP {said}algs="{ALGS}"{more}'


def sent(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """The proof that came, None for none; the edge has refused two."""
    return connection.headers.get("dpop")


def fresh(request: Request[Any, Any, Any], door: Door) -> dict[str, str]:
    """The nonce for the next request: told to whoever sends proofs (RFC 9449 §8.2)."""
    return {"DPoP-Nonce": door.proofs.nonce()} if sent(request) is not None else {}


def at_token_route(request: Request[Any, Any, Any], door: Door) -> Proof | Problem | None:
    """The proof that came with a wish for tokens, or what is said of it; None where none came."""
    text = sent(request)
    if text is None:
        return None
    found = door.proofs.of_key(text, request.method, public_url(request, door))
    if not isinstance(found, Flaw):
        return found
    note(request.scope, proof=found.value)
    refusal = NO_NONCE if found is Flaw.NONCE else INVALID_PROOF
    return told(refusal, fresh(request, door))


def public_url(connection: ASGIConnection[Any, Any, Any, Any], door: Door) -> str:
    """The request's URL as the public reaches it: of what the request says of host and scheme nothing is believed."""
    return door.own_origin + passage_of(connection.scope).path


def told(refusal: Problem, headers: Mapping[str, str]) -> Problem:
    """The refusal with more headers."""
    return Problem(refusal.status, refusal.code, refusal.detail, {**refusal.headers, **headers})
