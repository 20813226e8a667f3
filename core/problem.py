"""A refusal on the wire: RFC 9457 problem details, and RFC 6749 errors under /oauth/. Pure; decides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import msgspec

PROBLEM_JSON: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """`code` is stable and names the `type`; `detail` is for people and echoes nothing that came in."""

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)


INTERNAL: Final = Problem(500, "internal", "Something went wrong here. The request id finds it in the log.")
UNAVAILABLE: Final = Problem(503, "unavailable", "Nothing was decided. Try again in a moment.", {"retry-after": "1"})
CUT: Final = Problem(503, "unavailable", "The service is stopping. Try again in a moment.", {"retry-after": "1"})
NOT_FOUND: Final = Problem(404, "not_found", "There is nothing at this address.")

OAUTH: Final = "/oauth/"
OAUTH_ERRORS: Final = frozenset(
    "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope "
    "invalid_target unsupported_token_type invalid_token insufficient_scope rate_limited "
    "invalid_dpop_proof use_dpop_nonce".split()
)
"""Of RFC 6749 §5.2, RFC 6750 §3.1, RFC 7009 §2.2.1, RFC 8707 §2 and RFC 9449 §12.2; `rate_limited` is ours, and never
`invalid_grant`."""


def invalid(detail: str) -> Problem:
    """400: what came in is not what this route takes."""
    return Problem(400, "invalid_request", detail)


def rendered(problem: Problem, path: str, request_id: str) -> tuple[str, bytes]:
    """Media type and body of a problem, for the route at `path`."""
    if path.startswith(OAUTH):
        error = {"error": _oauth_error(problem), "error_description": problem.detail, "request_id": request_id}
        return "application/json", msgspec.json.encode(error)
    body = {
        "type": f"urn:session-ledger:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
    }
    return PROBLEM_JSON, msgspec.json.encode(body)


def _oauth_error(problem: Problem) -> str:
    """RFC 6749 §4.1.2.1 has words for 500 and 503; all other problems that are not its own are `invalid_request`."""
    if problem.status >= 500:
        return "temporarily_unavailable" if problem.status == 503 else "server_error"
    return problem.code if problem.code in OAUTH_ERRORS else "invalid_request"
