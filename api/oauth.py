"""OAuth 2.0 for other software: token, revocation, introspection, metadata. Shapes only; what they mean is core's."""

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import FromPath

from api import dpop, proof
from api.answers import INVALID_PROOF, NO_STORE, scheme_of
from api.backend import proved
from api.description import OF_ASKING, OF_SECRET, one_of, taking
from api.door import Door, Given
from api.problems import ProblemResponse, documented
from api.visits import visit
from core import client_assertion
from core.access import AccessClaims, Refusal
from core.dpop import Proof
from core.grants import INTROSPECT, Machine, Worth
from core.issued import Denied, Issued
from core.jwk import ALGORITHMS
from core.problem import NOT_FOUND, Problem, invalid
from core.scope import SERVICE, WORD, Asked
from core.verdict import Verdict
from edge import note
from events import family, ids, subject
from events.client import Client

GRANTS: Final = ("refresh_token", "client_credentials")
BAD_SCOPE = Problem(400, "invalid_scope", "The scope is not one that this client has, or more than was granted.")
BAD_GRANT = Problem(400, "invalid_grant", "The refresh token is not valid.")
REFUSALS: Final = {
    Verdict.SCOPE: BAD_SCOPE,
    Verdict.TARGET: Problem(400, "invalid_target", "The resource is not one that this client may address."),
    Verdict.PROOF: INVALID_PROOF,
    Verdict.THROTTLED: Problem(429, "rate_limited", proof.TOO_OFTEN),
}
"""Every other verdict is one and the same `invalid_grant`: the reason stands in the log only (RFC 6749 §5.2)."""
WRONG_GRANT = Problem(400, "unsupported_grant_type", "This address takes refresh_token and client_credentials.")
NOT_FOR_PUBLIC = Problem(400, "unauthorized_client", "A public client has no token of its own.")
FOREIGN = Problem(400, "invalid_grant", "The token was issued to another client.")
INVALID_BEARER = Problem(
    401,
    "invalid_token",
    "The access token is missing, expired or not valid here.",
    {"WWW-Authenticate": 'Bearer realm="session-ledger", error="invalid_token"'},
)
INACTIVE: Final = b'{"active":false}'


class OAuthTokens(msgspec.Struct, omit_defaults=True):
    """The answer of the token endpoint (RFC 6749 §5.1)."""

    access_token: str
    expires_in: int
    token_type: str | msgspec.UnsetType = msgspec.UNSET
    refresh_token: str | msgspec.UnsetType = msgspec.UNSET
    scope: str | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return "OAuthTokens()"


class Introspection(msgspec.Struct, omit_defaults=True):
    """What a token is worth (RFC 7662 §2.2). Of one that is worth nothing here: `active` alone."""

    active: bool
    iss: str | msgspec.UnsetType = msgspec.UNSET
    sub: str | msgspec.UnsetType = msgspec.UNSET
    aud: str | msgspec.UnsetType = msgspec.UNSET
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    token_type: str | msgspec.UnsetType = msgspec.UNSET
    exp: int | msgspec.UnsetType = msgspec.UNSET
    iat: int | msgspec.UnsetType = msgspec.UNSET
    jti: str | msgspec.UnsetType = msgspec.UNSET
    scope: str | msgspec.UnsetType = msgspec.UNSET
    sid: str | msgspec.UnsetType = msgspec.UNSET
    auth_time: int | msgspec.UnsetType = msgspec.UNSET
    amr: list[str] | msgspec.UnsetType = msgspec.UNSET
    cnf: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    """`jkt`: the thumbprint of the key that it is bound to (RFC 9449 §6.2)."""


PROOF: Final = {
    "client_id": "Who asks, unless the header or the assertion says so.",
    "client_secret": "Its proof, likewise.",
    "client_assertion_type": f"For a client that proves itself by a key: {client_assertion.TYPE}",
    "client_assertion": "A JWT by that key (RFC 7523).",
}
ABOUT: Final = {"token": "A refresh or access token.", "token_type_hint": "Not needed: both kinds are looked for."}


@post(
    "/oauth/token",
    status_code=200,
    responses=documented(400, 401, 429, 503),
    security=OF_SECRET,
    operation_class=taking(
        PROOF
        | {
            "grant_type": one_of(GRANTS),
            "refresh_token": "For the grant of this name.",
            "scope": "Less than all, separated by spaces.",
            "resource": "The audience (RFC 8707).",
        },
        "grant_type",
        dpop.HEADER,
    ),
)
async def token(request: Request[Any, Any, Any], door: Given) -> Response[OAuthTokens]:
    """Refresh a family in the name of its client, or get a token for the client itself."""
    form = await proof.fields(request)
    grant = form.get("grant_type")
    if grant is None:
        return _refused(invalid("grant_type is missing."))
    if grant not in GRANTS:
        return _refused(WRONG_GRANT)
    client = await proof.client_of(request, form, door)
    if isinstance(client, Problem):
        return _refused(client)
    asked = Asked(form.get("scope", ""), form.get("resource", ""))
    if not all(WORD.fullmatch(word) for word in asked.scope.split(" ") if asked.scope):
        return _refused(BAD_SCOPE)
    key = dpop.at_token_route(request, door)
    if isinstance(key, Problem):
        return _refused(key)
    if grant == "client_credentials":
        found = await _for_client(door, client, asked, key)
    else:
        found = await _refreshed(request, door, client, form.get("refresh_token"), asked, key)
    nonce = dpop.fresh(request, door)
    return _refused(found, nonce) if isinstance(found, Problem) else _told(found, nonce)


async def _for_client(door: Door, client: Client, asked: Asked, key: Proof | None) -> OAuthTokens | Problem:
    if not client.confidential:
        return NOT_FOR_PUBLIC
    made = door.grants.token_for(client, asked, key.jkt if key else "")
    if not isinstance(made, Machine):
        return REFUSALS[made]
    if key is not None and not await door.proofs.spend(key.use):
        return INVALID_PROOF
    scheme = scheme_of(key.jkt if key else "")
    return OAuthTokens(made.access_token, made.expires_in, scheme, scope=made.scope or msgspec.UNSET)


async def _refreshed(
    request: Request[Any, Any, Any], door: Door, client: Client, text: str | None, asked: Asked, key: Proof | None
) -> OAuthTokens | Problem:
    if text is None:
        return invalid("refresh_token is missing.")
    presented = door.families.read_token(text)
    if presented is None:
        return BAD_GRANT
    issued = await door.families.refresh(presented, client.client, "body", visit(request), asked, key)
    verdict = issued.verdict if isinstance(issued, Denied) else issued.answer.verdict
    note(request.scope, family=ids.to_text(family.PREFIX, presented.family), verdict=verdict.value)
    if isinstance(issued, Denied):
        refusal = REFUSALS.get(issued.verdict, BAD_GRANT)
        return dpop.told(refusal, {"Retry-After": str(issued.retry_after)}) if issued.retry_after else refusal
    return _tokens(issued)


def _tokens(issued: Issued) -> OAuthTokens:
    answer = issued.answer
    ttl = answer.expires_at - answer.issued_at
    scope = answer.scope or msgspec.UNSET
    return OAuthTokens(issued.access_token, ttl, scheme_of(answer.jkt), issued.refresh_token, scope)


@post(
    "/oauth/revoke",
    status_code=200,
    media_type="text/plain",
    responses=documented(400, 401, 429, 503),
    security=OF_SECRET,
    operation_class=taking(PROOF | ABOUT, "token"),
)
async def revoke(request: Request[Any, Any, Any], door: Given) -> Response[bytes]:
    """End the family of a refresh or access token (RFC 7009). 200 too where there was nothing to end."""
    form = await proof.fields(request)
    client = await proof.client_of(request, form, door)
    if isinstance(client, Problem):
        return _refused(client)
    if "token" not in form:
        return _refused(invalid("token is missing."))
    found = await door.grants.revoke(form["token"], client, visit(request))
    if isinstance(found, Refusal):
        note(request.scope, reason=found.value)
    else:
        note(request.scope, verdict=found.value)
    if found is Verdict.REFUSED:
        return _refused(FOREIGN)
    return Response(b"", status_code=200, headers=dict(NO_STORE), media_type="text/plain")


@post(
    "/oauth/introspect",
    status_code=200,
    responses=documented(400, 401, 429, 503),
    security=OF_ASKING,
    operation_class=taking(PROOF | ABOUT, "token"),
)
async def introspect(request: Request[Any, Any, Any], door: Given) -> Response[Introspection]:
    """What a token is worth now (RFC 7662): to the client it was issued to, and to those it is meant for."""
    form = await proof.fields(request)
    caller = await _asking(request, form, door)
    if isinstance(caller, Problem):
        return _refused(caller)
    if "token" not in form:
        return _refused(invalid("token is missing."))
    worth = await door.grants.introspect(form["token"], caller)
    if isinstance(worth, Refusal):
        note(request.scope, reason=worth.value)
    told: Any = msgspec.json.encode(_worth(door, worth)) if isinstance(worth, Worth) else INACTIVE
    return Response(told, status_code=200, headers=dict(NO_STORE), media_type="application/json")


async def _asking(request: Request[Any, Any, Any], form: dict[str, str], door: Door) -> Client | Problem:
    """The client that asks: proved as at the token endpoint, or by a token of its own with the scope."""
    if request.headers.get("authorization", "").lower().startswith(("bearer ", "dpop ")):
        backend = proved(request, door)
        if isinstance(backend, Problem):
            return backend
        return backend.client if INTROSPECT in backend.scopes else INVALID_BEARER
    client = await proof.client_of(request, form, door)
    return client if isinstance(client, Problem) or client.confidential else proof.INVALID_CLIENT


def _worth(door: Door, worth: Worth) -> dict[str, Any]:
    """Minimal: no name, no address, no roles (RFC 7662 §5)."""
    held, claims = worth.held, worth.claims
    if claims is None:
        assert held is not None  # noqa: S101 - a refresh token is one of a family
        return _of_refresh_token(door, worth.expires_at, held.family)
    told: dict[str, Any] = {
        "active": True,
        "iss": claims.iss,
        "sub": claims.sub,
        "aud": claims.aud,
        "client_id": claims.client_id,
        "token_type": scheme_of(claims.cnf.jkt if claims.cnf else ""),
        "exp": claims.exp,
        "iat": claims.iat,
        "jti": claims.jti,
    }
    if claims.scope:
        told["scope"] = claims.scope
    if claims.cnf is not None:
        told["cnf"] = {"jkt": claims.cnf.jkt}
    if isinstance(claims, AccessClaims) and held is not None:
        told |= {"sid": claims.sid, "auth_time": claims.auth_time, "amr": held.family.amr.split()}
    return told


def _of_refresh_token(door: Door, expires_at: int, state: family.Family) -> dict[str, Any]:
    told = {
        "active": True,
        "iss": door.grants.terms.issuer,
        "sub": ids.to_text(subject.PREFIX, state.subject),
        "client_id": state.client,
        "exp": expires_at,
        "iat": state.rotated_at // 1_000_000,
        "sid": ids.to_text(family.PREFIX, state.id),
    }
    bound = {"cnf": {"jkt": state.jkt}} if state.jkt else {}
    return told | bound | ({"scope": state.scope} if state.scope else {})


@get(
    ["/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/{rest:path}"],
    responses=documented(404),
)
async def metadata(door: Given, rest: FromPath[str] = "") -> Response[dict[str, Any]]:
    """Where everything is (RFC 8414). An issuer's path stands behind the well-known part (§3)."""
    if rest.rstrip("/") != urlsplit(door.grants.terms.issuer).path.rstrip("/"):
        return ProblemResponse(NOT_FOUND)
    headers = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}
    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return Response(_metadata(door), headers=headers, media_type="application/json")


def _metadata(door: Door) -> dict[str, Any]:
    """Nothing of it comes from the request. Without an authorization endpoint there are no response types."""
    at, confidential = door.own_origin, list(proof.METHODS)
    return {
        "issuer": door.grants.terms.issuer,
        "token_endpoint": f"{at}/oauth/token",
        "jwks_uri": f"{at}/.well-known/jwks.json",
        "scopes_supported": list(SERVICE),
        "grant_types_supported": list(GRANTS),
        "token_endpoint_auth_methods_supported": [*confidential, "none"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint": f"{at}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": [*confidential, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "introspection_endpoint": f"{at}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": confidential,
        "introspection_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
    }


def _told(tokens: OAuthTokens, headers: dict[str, str]) -> Response[OAuthTokens]:
    return Response(tokens, status_code=200, headers={**NO_STORE, **headers})


def _refused(refusal: Problem, headers: dict[str, str] | None = None) -> ProblemResponse:
    """RFC 6749 §5.2, and never kept by anybody in between."""
    return ProblemResponse(
        Problem(refusal.status, refusal.code, refusal.detail, {**NO_STORE, **refusal.headers, **(headers or {})})
    )


router = Router("/", route_handlers=[token, revoke, introspect, metadata])
