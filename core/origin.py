"""Which page may use the cookies, and the CSRF token of a family. Pure; the doors read the headers and answer."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

NO_PROOF = "no_proof"
REPEATED = "repeated_header"
CROSS_SITE = "cross_site"
FOREIGN_ORIGIN = "foreign_origin"
UNKNOWN_SITE = "unknown_site"
CSRF_TOKEN = "csrf_token"  # noqa: S105 - a reason, as the others
"""What came from a page that may send it, but without the token of its family: no answer of `judge`."""

_LABEL = b"session-ledger csrf 1\x00"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def judge(sites: Sequence[str], origins: Sequence[str], own: str, allowed: frozenset[str]) -> str | None:
    """None where the request may use the cookies, else the reason why not (answered with 403).

    `sites` and `origins` are all values of Sec-Fetch-Site and Origin that came; `own` is the origin of PUBLIC_URL,
    never of the Host header; `allowed` are the client's origins. The rule does not depend on the method:

    | Sec-Fetch-Site | may pass |
    |---|---|
    | `same-origin` | with Origin `own`, or without one (browsers send none with GET). Another Origin says that our name was rebound to a stranger's page |
    | `same-site` | with exactly an Origin in `allowed` |
    | `cross-site` | never |
    | `none` (the person, not a page) | with Origin `own` only: no browser sends an unsafe request with cookies this way for a page |
    | absent (browsers before 2023) | with Origin `own` or in `allowed` |

    `null` is never in a list, so it never passes. Neither header: 403, as a caller without a browser uses body mode.
    """  # noqa: E501  (a table row is one line)
    if len(sites) > 1 or len(origins) > 1:
        return REPEATED
    origin = origins[0] if origins else None
    if not sites:
        return NO_PROOF if origin is None else _foreign(origin, allowed | {own})
    match sites[0]:
        case "same-origin":
            return None if origin is None else _foreign(origin, frozenset({own}))
        case "same-site":
            return _foreign(origin, allowed)
        case "cross-site":
            return CROSS_SITE
        case "none":
            return NO_PROOF if origin is None else _foreign(origin, frozenset({own}))
        case _:
            return UNKNOWN_SITE


def origin_of(url: str) -> str:
    """The origin of an http(s) URL as browsers write it: lower case, no default port, no path (RFC 6454 §6.2).

    Raises ValueError for anything else.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise ValueError("not an http or https URL with a host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname.encode("idna").decode()
    port = "" if parts.port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def csrf_token(key: bytes, family: bytes) -> str:
    """The token that a page must send back: base64url HMAC-SHA-256 of the family's id, 43 characters.

    It lives as long as its family and changes with it, so a token from before a sign-in is worth nothing after it.
    """
    return urlsafe_b64encode(hmac.digest(key, _LABEL + family, "sha256"))[:43].decode()


def csrf_matches(keys: Iterable[bytes], family: bytes, given: str) -> bool:
    """Whether `given` is the family's token under any key. Constant time; no text makes it raise."""
    offered = given.encode("utf-8", "surrogatepass")
    matches = [hmac.compare_digest(csrf_token(key, family).encode(), offered) for key in keys]
    return any(matches)


def _foreign(origin: str | None, accepted: frozenset[str]) -> str | None:
    return None if origin != "null" and origin in accepted else FOREIGN_ORIGIN
