"""Which client speaks: by its key (RFC 7523 §2.2), its secret (RFC 6749 §2.3), or, where public, its name (§3.2.1)."""

import binascii
from base64 import b64decode
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote_plus

from litestar import Request

from api.door import Door
from core import client_assertion
from core.clients import proves
from core.policy import DASHBOARD
from core.problem import Problem, invalid
from edge import note, passage_of
from events.client import Client

METHODS = ("private_key_jwt", "client_secret_basic", "client_secret_post")
CHALLENGE = {"WWW-Authenticate": 'Basic realm="session-ledger", charset="UTF-8"', "Cache-Control": "no-store"}
INVALID_CLIENT = Problem(401, "invalid_client", "The client is unknown, or did not prove itself.", CHALLENGE)
TWO_METHODS = invalid("The client proves itself in two ways: use one.")
TOO_OFTEN = "Too many tries. Wait for as long as Retry-After says."


class Offered(NamedTuple):
    """What came as a proof."""

    client: str
    secret: str
    assertion: str = ""

    def __repr__(self) -> str:
        return f"Offered(client={self.client!r})"


async def fields(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The form's fields; an empty value counts as left out (RFC 6749 §3.2). The edge has refused repeated ones."""
    return dict(parse_qsl((await request.body()).decode()))


async def client_of(request: Request[Any, Any, Any], form: dict[str, str], door: Door) -> Client | Problem:
    """The client that sent this, proved where it is confidential; else the refusal, which is always the same."""
    offered = _offered(request, form)
    if isinstance(offered, Problem):
        return offered
    state, network = door.clients.get(offered.client), passage_of(request.scope).network
    if state is not None:
        # Proved or not. Any other name may be a secret that somebody put into the wrong field.
        note(request.scope, client=state.client)
    throttled = await door.limits.proof(network, offered.client)
    if throttled is not None:
        return Problem(429, "rate_limited", TOO_OFTEN, {"Retry-After": str(throttled.retry_after)})
    fits = await _fits(state, offered, door)
    if state is None or not fits or not state.enabled or state.client == DASHBOARD:
        await door.limits.proof_failed(network, offered.client)
        return INVALID_CLIENT
    return state


async def _fits(state: Client | None, offered: Offered, door: Door) -> bool:
    """Whether what came proves this client; an assertion is used up by that."""
    if offered.assertion:
        issuer = door.grants.terms.issuer
        return state is not None and state.enabled and await door.proofs.of_client(offered.assertion, state, issuer)
    shared = proves(state, offered.secret) and (state is None or not state.keys_only)
    return shared or (state is not None and not state.confidential and not offered.secret)


def _offered(request: Request[Any, Any, Any], form: dict[str, str]) -> Offered | Problem:
    header = request.headers.get("authorization")
    if "client_assertion" in form or "client_assertion_type" in form:
        return TWO_METHODS if header is not None or "client_secret" in form else _asserted(form)
    if header is None:
        return Offered(form["client_id"], form.get("client_secret", "")) if "client_id" in form else INVALID_CLIENT
    basic = _basic(header)
    if basic is None:
        return INVALID_CLIENT
    if "client_secret" in form or form.get("client_id", basic.client) != basic.client:
        return TWO_METHODS
    return basic


def _asserted(form: dict[str, str]) -> Offered | Problem:
    """RFC 7521 §4.2: `client_id` may be left out, and must be that of the assertion where it is not."""
    text = form.get("client_assertion", "")
    named = client_assertion.subject_of(text)
    if form.get("client_assertion_type") != client_assertion.TYPE or named is None:
        return INVALID_CLIENT
    return Offered(named, "", text) if form.get("client_id", named) == named else INVALID_CLIENT


def _basic(header: str) -> Offered | None:
    """RFC 6749 §2.3.1: both are form-encoded before they are joined."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
        found = Offered(unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict"))
    except (binascii.Error, ValueError):
        return None
    return found if colon else None
