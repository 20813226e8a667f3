"""Headers: the caps on those that come in, and those that every answer carries. Pure; reads no meaning into them."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from core.problem import Problem, invalid

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

MAX_COUNT: Final = 100
MAX_ONE: Final = 8 * 1024
MAX_TOGETHER: Final = 16 * 1024
"""Bytes. An access token has about 700; a browser with all its hints sends about 3,000."""

SINGLE: Final = frozenset(
    b"authorization content-encoding content-length content-type dpop host idempotency-key last-event-id origin"
    b" sec-fetch-site transfer-encoding user-agent x-csrf-token".split()
)
"""Two of these would let two readers of one request see different ones."""

API: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "server": "session-ledger",  # granian writes its own name where there is none
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
PAGE: Final = API | {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    # Not `no-referrer`: under that, browsers send our own forms with `Origin: null` (Fetch §3.2), which nobody trusts.
    "referrer-policy": "same-origin",
    "x-robots-tag": "noindex",
}
HSTS: Final = {"strict-transport-security": "max-age=63072000; includeSubDomains"}

_PREFLIGHT: Final = {
    "access-control-allow-methods": "GET, POST, DELETE",
    "access-control-allow-headers": "Authorization, Content-Type, DPoP, X-CSRF-Token",
    "access-control-max-age": "600",
}


def collected(headers: Headers) -> tuple[dict[bytes, bytes], Problem | None]:
    """The headers by name, lists joined with commas, and what is wrong with them as a whole.

    ASGI servers give names in lower case (ASGI 3, HTTP connection scope).
    """
    fields: dict[bytes, bytes] = {}
    if len(headers) > MAX_COUNT:
        return fields, _too_large(f"There are more than {MAX_COUNT} header fields.")
    flaw: Problem | None = None
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
        if len(value) > MAX_ONE:
            flaw = _too_large(f"A header field is longer than {MAX_ONE} bytes.")
        elif name not in fields:
            fields[name] = value
        elif name in SINGLE:
            flaw = invalid(f"The header field {name.decode()} comes more than once.")
        else:
            fields[name] += b"," + value
    return fields, _too_large(
        f"The header fields are longer than {MAX_TOGETHER} bytes."
    ) if size > MAX_TOGETHER else flaw


def api_headers(*, https: bool) -> dict[str, str]:
    """What every answer of the API carries, unless its route says otherwise."""
    return API | HSTS if https else API


def page_headers(*, https: bool) -> dict[str, str]:
    """What every answer of the dashboard carries, unless its route says otherwise."""
    if not https:
        return PAGE  # On http (localhost) `upgrade-insecure-requests` would send browsers to a port without TLS.
    return PAGE | HSTS | {"content-security-policy": f"{PAGE['content-security-policy']}; upgrade-insecure-requests"}


def shared(origin: str, *, asks: bool) -> dict[str, str]:
    """What lets a page of `origin` read an answer; `asks` where its browser only asks first (Fetch standard §3.2.3).

    Reading is all that this allows. Whether the request may use the cookies is judged at each route.
    """
    may = {
        "access-control-allow-origin": origin,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "Date, DPoP-Nonce, Retry-After, WWW-Authenticate, X-Request-Id",
    }
    return may | _PREFLIGHT if asks else may


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """As ASGI sends them."""
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _too_large(detail: str) -> Problem:
    return Problem(431, "headers_too_large", detail)
