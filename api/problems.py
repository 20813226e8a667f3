"""Refusals of the API as problem details, and the framework's own errors in the same shape. Decides nothing."""

import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NoReturn

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse

from core.problem import NOT_FOUND, PROBLEM_JSON, Problem, invalid
from edge import note, rendered

_KNOWN: Mapping[int, Problem] = {
    401: Problem(401, "invalid_token", "The access token is missing, expired or not valid here."),
    403: Problem(403, "forbidden", "This is not allowed to you."),
    404: NOT_FOUND,
    405: Problem(405, "method_not_allowed", "This address does not take this method. Allow names those it takes."),
    413: Problem(413, "body_too_large", "The body is too long."),
    429: Problem(429, "rate_limited", "Too many tries. Wait for as long as Retry-After says."),
}
_SAFE_KEY = re.compile(r"[a-z_][a-z0-9_.\[\]]{0,63}")
_SAFE_MESSAGES = ("Expected `", "Object missing required field `")
"""How messages begin that quote our own names only; others quote what came in."""
_MAX_FLAWS = 5


class ProblemDetails(msgspec.Struct):
    """The body of every refusal (RFC 9457), as the description of the API shows it; `core.problem` writes it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


def documented(*statuses: int) -> dict[int, ResponseSpec]:
    """What a route says of its refusals in the description of the API."""
    return {
        status: ResponseSpec(
            ProblemDetails, description=HTTPStatus(status).phrase, media_type=PROBLEM_JSON, generate_examples=False
        )
        for status in statuses
    }


class ProblemResponse(Response[Any]):
    """Rendered when it is sent, because its body names the request and its shape depends on the route."""

    def __init__(self, refusal: Problem) -> None:
        super().__init__(None, status_code=refusal.status, headers=dict(refusal.headers))
        self.refusal = refusal

    def to_asgi_response(self, app: None, request: Request[Any, Any, Any], **rest: Any) -> ASGIResponse:  # type: ignore[override]
        """As Litestar calls it; also notes the code for the request's log line."""
        note(request.scope, code=self.refusal.code)
        self.media_type, self.content = rendered(self.refusal, request.scope)
        return super().to_asgi_response(app, request, **rest)


class Refused(HTTPException):
    """A refusal that a guard raises, before the route is reached."""

    def __init__(self, refusal: Problem) -> None:
        super().__init__(status_code=refusal.status)
        self.refusal = refusal


def problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> ProblemResponse:
    """A refusal as the answer of a route. `code` is stable; `detail` must not echo what came in."""
    return ProblemResponse(Problem(status, code, detail, headers or {}))


def exception_handlers() -> dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]]:
    """What Litestar is given. What is not the caller's fault goes on to the edge, which logs it and answers."""
    return {HTTPException: _refused, Exception: _passed_on}


def _refused(_request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise error
    if isinstance(error, Refused):
        return ProblemResponse(error.refusal)
    known = _KNOWN.get(error.status_code) or _described(error)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return problem(error.status_code, known.code, known.detail, headers)


def _passed_on(_request: Request[Any, Any, Any], error: Exception) -> NoReturn:
    raise error


def _described(error: HTTPException) -> Problem:
    """Which field is wrong and how, but never with what."""
    flaws = list(_flaws(error.extra)) if isinstance(error, ValidationException) else []
    return invalid(" ".join(flaws[:_MAX_FLAWS]) or "The request is not what this address takes.")


def flaw_of(told: str) -> str:
    """What msgspec says is wrong with a body, in the same words."""
    message, _, place = told.partition(" - at `$.")
    return f"{_said_key(place.rstrip('`') or 'data')}: {_said_message(message)}."


def _flaws(extra: object) -> Iterable[str]:
    for flaw in extra if isinstance(extra, list) else []:
        key, message = str(flaw.get("key", "")), str(flaw.get("message", ""))
        yield f"{_said_key(key)}: {_said_message(message)}."


def _said_key(key: str) -> str:
    """Litestar calls the body as a whole `data`."""
    return "body" if key == "data" or not _SAFE_KEY.fullmatch(key) else key


def _said_message(message: str) -> str:
    if message.startswith(_SAFE_MESSAGES):
        return message[0].lower() + message[1:]
    if message.startswith("Object contains unknown field"):
        return "there is a field that this address does not know"
    if message.startswith("Invalid enum value"):
        return "it is not one of the values that are allowed"
    return "it is missing or not valid"
