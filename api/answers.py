"""From verdicts to answers: one table for refusals, one shape for tokens. Decides nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.datastructures import Cookie

from api import cookies
from api.problems import problem
from core.issued import Denied, Issued
from core.policy import SECOND
from core.problem import Problem
from core.verdict import Verdict
from edge import note
from events import family, ids

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def moment(at: int) -> datetime:
    """Ledger time (microseconds) as answers say it."""
    return datetime.fromtimestamp(at / SECOND, UTC)


class TokenAnswer(msgspec.Struct):
    """Tokens of a family that lives. `expires_in` is in seconds."""

    access_token: str
    expires_in: int
    family_id: str
    token_type: str = "Bearer"  # noqa: S105 - the scheme, no secret
    """`DPoP` where the tokens are bound to a key (RFC 9449 §5)."""
    refresh_token: str | msgspec.UnsetType = msgspec.UNSET
    csrf_token: str | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return f"TokenAnswer(family_id={self.family_id!r})"


INVALID_PROOF = Problem(
    400, "invalid_dpop_proof", "The DPoP proof is missing, was used before, or is not one for this request."
)
REFUSALS = {
    Verdict.UNKNOWN: Problem(401, "token_unknown", "This is not a refresh token that is in use here. Sign in."),
    Verdict.EXPIRED: Problem(401, "session_expired", "The session reached its end. Sign in."),
    Verdict.REVOKED: Problem(401, "session_revoked", "The session was ended. Sign in."),
    Verdict.REUSED: Problem(
        401, "token_reused", "This refresh token was used before; the session was ended for safety. Sign in."
    ),
    Verdict.REFUSED: Problem(401, "refresh_refused", "This session cannot be refreshed this way. Sign in."),
    Verdict.AHEAD: Problem(401, "refresh_refused", "This session cannot be refreshed this way. Sign in."),
    Verdict.INVALID: Problem(401, "invalid_credentials", "The name or the password is wrong."),
    Verdict.BLOCKED: Problem(401, "invalid_credentials", "The name or the password is wrong."),
    Verdict.FACTOR: Problem(
        403, "second_factor_needed", "This account has a second factor: change its password in the dashboard."
    ),
    Verdict.PROOF: INVALID_PROOF,
    Verdict.THROTTLED: Problem(429, "rate_limited", "Too many tries. Wait for as long as Retry-After says."),
}
CSRF_FAILED = Problem(403, "csrf_failed", "The request does not prove that it comes from a page that may send it.")
INVALID_TOKEN = Problem(401, "invalid_token", "The access token is missing, expired or not valid here.")


def said(refusal: Problem, headers: dict[str, str] | None = None) -> Response[Any]:
    """A refusal as the answer; every 401 names the scheme (RFC 9110 §15.5.2)."""
    scheme = {"WWW-Authenticate": "Bearer"} if refusal.status == HTTPStatus.UNAUTHORIZED else {}
    return problem(refusal.status, refusal.code, refusal.detail, {**scheme, **refusal.headers, **(headers or {})})


def denied(
    request: Request[Any, Any, Any], verdict: Denied, more: Mapping[str, str] = MappingProxyType({})
) -> Response[Any]:
    """The answer to a verdict without tokens. It clears no cookie: a retry may still be right."""
    note(request.scope, verdict=verdict.verdict.value)
    if verdict.family is not None:
        note(request.scope, family=ids.to_text(family.PREFIX, verdict.family))
    headers = {"Retry-After": str(verdict.retry_after)} if verdict.retry_after else {}
    return said(REFUSALS[verdict.verdict], {**headers, **more})


def scheme_of(jkt: str) -> str:
    """`token_type` of an access token that is bound to a key, or to none."""
    return "DPoP" if jkt else "Bearer"


def tokens(
    request: Request[Any, Any, Any], issued: Issued, headers: Mapping[str, str] = MappingProxyType({})
) -> Response[TokenAnswer]:
    """Tokens in the body, and the refresh token in cookies where the family is carried so."""
    state, answer = issued.family, issued.answer
    family_id = ids.to_text(family.PREFIX, state.id)
    note(request.scope, verdict=answer.verdict.value, family=family_id)
    told = TokenAnswer(
        access_token=issued.access_token,
        expires_in=answer.expires_at - answer.issued_at,
        family_id=family_id,
        token_type=scheme_of(answer.jkt),
    )
    kept: list[Cookie] = []
    if state.carriage == "cookie":
        told.csrf_token = issued.csrf_token
        max_age = max(0, state.ends_at // SECOND - answer.issued_at)
        kept = cookies.kept(state.client, issued.refresh_token, issued.csrf_token, max_age)
    else:
        told.refresh_token = issued.refresh_token
    return Response(told, status_code=200, headers={**NO_STORE, **headers}, cookies=kept)
