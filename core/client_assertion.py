"""How a client proves itself by a key of its own: `private_key_jwt` (RFC 7523 §3, OpenID Connect Core §9). Pure.

The audience is this service's issuer and nothing else: an assertion that names an endpoint would be as good for whoever
made the client believe that the endpoint is his (draft-ietf-oauth-rfc7523bis, FAPI 2.0 §5.3.2.1).
"""

import json
from functools import lru_cache
from typing import Any, Final

from core import compact, jwk
from core.compact import is_time
from core.dpop import MAX_JTI, mark
from core.jwk import PublicKey
from events.client import Client
from events.decision import Use

TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_LENGTH: Final = 4096
ASSERTION_TTL: Final = 300
"""Seconds until `exp` at most: for so long we remember what was used."""
LEEWAY: Final = 5
"""Seconds by which the clocks of two machines may differ."""
MAX_KEYS: Final = 4
"""The one in use, the next one, and room for two that are on their way out."""

_TYPES: Final = ("JWT", "client-authentication+jwt")
_HEADER: Final = frozenset({"alg", "kid", "typ"})
_SECOND: Final = 1_000_000


def check(text: str, client: Client, audience: str, now: float) -> Use | None:
    """What must be new for this assertion to prove the client now (seconds); None where it proves nothing."""
    found = compact.opened(text, MAX_LENGTH)
    if found is None or not _is_signed(found, client.keys):
        return None
    claims = found.claims
    if not (claims.get("iss") == claims.get("sub") == client.client and claims.get("aud") == audience):
        return None
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI or not _is_timely(claims, now):
        return None
    return Use(mark("assertion", client.client, jti), (int(claims["exp"]) + 2 * LEEWAY) * _SECOND)


def subject_of(text: str) -> str | None:
    """Which client an assertion speaks of (RFC 7521 §4.2): nobody has checked anything yet."""
    found = compact.opened(text, MAX_LENGTH)
    named = found.claims.get("sub") if found else None
    return named if isinstance(named, str) else None


def written(jwks: object) -> str | None:
    """A set of public keys in the one form in which it is kept; None where one of them cannot be used.

    Takes a JWK set (RFC 7517 §5), or its JSON as text. Of each key only what says which it is remains.
    """
    found = _parsed(jwks) if isinstance(jwks, str) else jwks
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_KEYS:
        return None
    kept = [_kept(one) for one in listed]
    if any(one is None for one in kept):
        return None
    kids = [one["kid"] for one in kept if one]
    return json.dumps({"keys": kept}, sort_keys=True, separators=(",", ":")) if len(set(kids)) == len(kids) else None


def stored(jwks: object) -> str:
    """What somebody gave as a client's keys, as its policy holds it: nothing for nothing.

    What cannot be used becomes a text that no check of a policy takes.
    """
    return (written(jwks) or "?") if jwks else ""


@lru_cache(maxsize=256)
def read(keys: str) -> tuple[PublicKey, ...]:
    """The keys of a set as `written` gives it; none for the empty text."""
    found = (jwk.read(one) for one in json.loads(keys)["keys"]) if keys else ()
    return tuple(key for key in found if key is not None)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _kept(given: Any) -> dict[str, str] | None:
    key = jwk.read(given)
    if key is None or given.get("use", "sig") != "sig":
        return None
    kept: dict[str, str] = json.loads(key.public)
    if "alg" in given:
        kept["alg"] = given["alg"]
    return kept | {"kid": key.kid or key.thumbprint}


def _is_signed(found: compact.Compact, keys: str) -> bool:
    header = found.header
    if not header.keys() <= _HEADER or header.get("typ", "JWT") not in _TYPES:
        return False
    meant = [key for key in read(keys) if header.get("kid", key.kid) == key.kid]
    return any(jwk.verifies(key, header.get("alg"), found.signed, found.signature) for key in meant)


def _is_timely(claims: dict[str, Any], now: float) -> bool:
    """Living, and not for long: `exp` must be there; `iat` and `nbf` hold where they are."""
    exp = claims.get("exp")
    if not is_time(exp) or not now - LEEWAY < exp <= now + ASSERTION_TTL + LEEWAY:
        return False
    return all(is_time(claims[name]) and claims[name] <= now + LEEWAY for name in ("iat", "nbf") if name in claims)
