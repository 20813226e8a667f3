"""Access tokens (RFC 9068): making and strict verification. Knows no family: whether it lives is asked elsewhere.

A token's text identifies nothing: an ES256 signature (r, s) is as valid as (r, n - s), so whatever denies, counts or
caches does so by `jti` or `sid`.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import StrEnum
from typing import Any, Final

import jwt
import msgspec

from core.ring import KeyRing, SigningKey, VerifyKey
from events.family import PREFIX as FAMILY
from events.ids import from_text
from events.subject import PREFIX as SUBJECT

MAX_LENGTH: Final = 8192
"""Characters of a token at most; longer ones end before anything is decoded."""
MAX_TTL: Final = 3600
"""Seconds from `iat` to `exp` at most (RFC 6750 §5.3)."""
LEEWAY: Final = 5
"""Seconds by which the clocks of two machines may differ."""
MAX_TIME: Final = 253_402_300_799
"""The last second of the year 9999."""
TYPES: Final = ("at+jwt", "application/at+jwt")
"""We write the first. Both spellings of RFC 9068 §4 are read, in exactly this case: nobody else writes our tokens."""

_SEGMENT: Final = r"(?=[^.])((?:[A-Za-z0-9_-]{4})*+(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?)"
"""The one base64url text of some bytes: right length, no bits left over in the last character (RFC 4648 §3.5)."""
_TOKEN: Final = re.compile(rf"{_SEGMENT}\.{_SEGMENT}\.{_SEGMENT}")
_KID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_JTI: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_CLIENT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_WORDS: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
"""RFC 6749 §3.3."""
_HEADER: Final = frozenset({"typ", "alg", "kid"})
_JWS: Final = jwt.PyJWS(options={"enforce_minimum_key_length": True})


class Refusal(StrEnum):
    """Why a token was not accepted. For our counters; outside, each of them is `invalid_token`."""

    MALFORMED = "malformed"
    HEADER = "header"
    TYPE = "type"
    KEY = "key"
    ALGORITHM = "algorithm"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    NOT_YET = "not_yet"
    LIFETIME = "lifetime"


class AccessClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an access token says. Times are seconds since the epoch."""

    iss: str
    sub: str
    aud: str
    exp: int
    iat: int
    jti: str
    client_id: str
    sid: str
    """The family."""
    auth_time: int
    scope: str = ""
    """Separated by spaces; an empty one is left out (RFC 6749 §3.3 knows none)."""
    nbf: int = 0
    """We write none; where there is one, it holds (RFC 7519 §4.1.5)."""
    roles: tuple[str, ...] = ()


_encode = msgspec.json.Encoder().encode


def mint(key: SigningKey, claims: AccessClaims) -> str:
    """The signed token. Checks nothing: the claims are ours.

    PyJWT signs, but the segments are put together here: `jwt.encode` serialises and checks the same header for every
    token, which makes it a third slower than this, on the hottest path there is.
    """
    signed = key.head + urlsafe_b64encode(_encode(claims)).rstrip(b"=")
    return (signed + b"." + urlsafe_b64encode(key.sign(signed)).rstrip(b"=")).decode()


def verify(
    token: str,
    ring: KeyRing,
    *,
    issuer: str,
    audience: str,
    now: float,
    leeway: float = LEEWAY,
    max_ttl: int = MAX_TTL,
) -> AccessClaims | Refusal:
    """The claims of a token that is ours, valid and meant for `audience` at `now` (seconds). Never raises."""
    # A limit before anything else: parsing 20 MB takes seconds.
    segments = _TOKEN.fullmatch(token) if len(token) <= MAX_LENGTH else None
    if segments is None:
        return Refusal.MALFORMED
    key = _key_of(_json(segments[1]), ring, now)
    if isinstance(key, Refusal):
        return key
    try:
        _JWS.decode_complete(token, key.key, algorithms=[key.algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        return Refusal.SIGNATURE
    claims = _claims_of(_json(segments[2]))
    if claims is None:
        return Refusal.CLAIMS
    if claims.iss != issuer:
        return Refusal.ISSUER
    if claims.aud != audience:
        return Refusal.AUDIENCE
    return _untimely(claims, now, leeway, max_ttl) or claims


def _key_of(header: dict[str, Any] | None, ring: KeyRing, now: float) -> VerifyKey | Refusal:
    """The key that the header names, out of our ring only. Any other member (crit, jwk, jku, x5u, zip …) refuses."""
    if header is None or header.keys() != _HEADER:
        return Refusal.HEADER
    if header["typ"] not in TYPES:
        return Refusal.TYPE
    kid = header["kid"]
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        return Refusal.KEY
    key = ring.verifying.get(kid)
    if key is None or now >= key.until:
        return Refusal.KEY
    return key if header["alg"] == key.algorithm else Refusal.ALGORITHM


def _claims_of(claims: dict[str, Any] | None) -> AccessClaims | None:
    """The claims, if all are there and each has its type and shape. Claims that we do not write are not looked at."""
    if claims is None:
        return None
    try:
        # strict: "123", 1.0 and true are no integers.
        typed = msgspec.convert(claims, AccessClaims, strict=True)
    except msgspec.ValidationError:
        return None
    # `auth_time` is the ledger's clock and may be ahead of `iat`, so the two are not compared.
    times = all(0 <= time <= MAX_TIME for time in (typed.exp, typed.iat, typed.auth_time, typed.nbf))
    names = _JTI.fullmatch(typed.jti) and _CLIENT.fullmatch(typed.client_id)
    ids = from_text(SUBJECT, typed.sub) and from_text(FAMILY, typed.sid)
    words = all(_WORDS.fullmatch(text) for text in (typed.scope, *typed.roles) if text)
    return typed if times and names and ids and words else None


def _untimely(claims: AccessClaims, now: float, leeway: float, max_ttl: int) -> Refusal | None:
    if not 0 < claims.exp - claims.iat <= max_ttl:
        return Refusal.LIFETIME
    if max(claims.iat, claims.nbf) > now + leeway:
        return Refusal.NOT_YET
    return Refusal.EXPIRED if now >= claims.exp + leeway else None


def _json(segment: str) -> dict[str, Any] | None:
    """A JSON object in UTF-8 without BOM, no member twice, no fractions, no NaN; else None."""
    try:
        found = _DECODER.decode(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)).decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        msg = "a member is there twice"
        raise ValueError(msg)
    return members


def _refuse(_text: str) -> Any:
    msg = "numbers are whole"
    raise ValueError(msg)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_float=_refuse, parse_constant=_refuse)
