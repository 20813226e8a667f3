"""Access tokens (RFC 9068): making and strict verification. Knows no family: whether it lives is asked elsewhere.

A token's text identifies nothing: an ES256 signature (r, s) is as valid as (r, n - s), so whatever denies, counts or
caches does so by `jti` or `sid`.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, TypeVar

import jwt
import msgspec

from core.compact import MAX_TIME, TOKEN, json_object
from core.jwk import THUMBPRINT
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
TYPES: Final = ("at+jwt", "application/at+jwt")
"""We write the first. Both spellings of RFC 9068 §4 are read, in exactly this case: nobody else writes our tokens."""

_KID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_JTI: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_CLIENT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_WORDS: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
"""RFC 6749 §3.3."""
_HEADER: Final = frozenset({"typ", "alg", "kid"})
_JWS: Final = jwt.PyJWS(options={"enforce_minimum_key_length": True})


class Refusal(StrEnum):
    """Why a token was not accepted. For our log and counters; outside, each of them is `invalid_token`."""

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
    ENDED = "ended"
    """Genuine and in time, but what it stands for works no more: `verify` knows nothing of that."""


class Confirmation(msgspec.Struct, frozen=True):
    """Whom the token is good for besides its text (RFC 7800): who holds the key of this thumbprint (RFC 9449 §6.1)."""

    jkt: str


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
    acr: str = ""
    amr: tuple[str, ...] = ()
    """How the person proved who they are (RFC 9068 §2.2.1): only where a backend did it and says so."""
    cnf: Confirmation | None = None


class ClientClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the access token of a client says that acts for itself (RFC 9068 §2.2): it has no family, so no `sid`."""

    iss: str
    sub: str
    """The client, as in `client_id`; no client can be called as a user is."""
    aud: str
    exp: int
    iat: int
    jti: str
    client_id: str
    scope: str = ""
    nbf: int = 0
    cnf: Confirmation | None = None


Claims = TypeVar("Claims", bound=AccessClaims | ClientClaims)


def confirmed(jkt: str) -> Confirmation | None:
    """The claim `cnf` of a token that is bound to a key; none for one that is not."""
    return Confirmation(jkt) if jkt else None


_encode = msgspec.json.Encoder().encode


def mint(key: SigningKey, claims: AccessClaims | ClientClaims) -> str:
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
    """The claims of a user's token that is ours, valid and meant for `audience` at `now` (seconds). Never raises."""
    return _checked(token, ring, _claims_of, issuer, audience, now, leeway, max_ttl)


def verify_client(
    token: str, ring: KeyRing, *, issuer: str, audience: str, now: float, leeway: float = LEEWAY
) -> ClientClaims | Refusal:
    """As `verify`, for a token that a client holds for itself; a user's is none."""
    return _checked(token, ring, _client_claims_of, issuer, audience, now, leeway, MAX_TTL)


def verify_any(
    token: str, ring: KeyRing, *, issuer: str, now: float, leeway: float = LEEWAY
) -> AccessClaims | ClientClaims | Refusal:
    """As `verify`, for a token of either kind, whomever it is for: the caller looks at `aud`."""
    return _checked(token, ring, _any_claims_of, issuer, None, now, leeway, MAX_TTL)


def _checked(
    token: str,
    ring: KeyRing,
    read: Callable[[dict[str, Any] | None], Claims | None],
    issuer: str,
    audience: str | None,
    now: float,
    leeway: float,
    max_ttl: int,
) -> Claims | Refusal:
    found = _verified(token, ring, now)
    if isinstance(found, Refusal):
        return found
    claims = read(found)
    if claims is None:
        return Refusal.CLAIMS
    return _unfit(claims, issuer, audience, now, leeway, max_ttl) or claims


def _verified(token: str, ring: KeyRing, now: float) -> dict[str, Any] | Refusal | None:
    """What a key of ours has signed."""
    # A limit before anything else: parsing 20 MB takes seconds.
    segments = TOKEN.fullmatch(token) if len(token) <= MAX_LENGTH else None
    if segments is None:
        return Refusal.MALFORMED
    key = _key_of(json_object(segments[1]), ring, now)
    if isinstance(key, Refusal):
        return key
    try:
        _JWS.decode_complete(token, key.key, algorithms=[key.algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        return Refusal.SIGNATURE
    return json_object(segments[2])


def _unfit(
    claims: AccessClaims | ClientClaims,
    issuer: str,
    audience: str | None,
    now: float,
    leeway: float,
    max_ttl: int,
) -> Refusal | None:
    if claims.iss != issuer:
        return Refusal.ISSUER
    if audience is not None and claims.aud != audience:
        return Refusal.AUDIENCE
    return _untimely(claims, now, leeway, max_ttl)


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
    typed = _typed(claims, AccessClaims)
    if typed is None:
        return None
    # `auth_time` is the ledger's clock and may be ahead of `iat`, so the two are not compared.
    ids = from_text(SUBJECT, typed.sub) and from_text(FAMILY, typed.sid)
    words = all(_WORDS.fullmatch(role) for role in typed.roles if role)
    return typed if ids and words and 0 <= typed.auth_time <= MAX_TIME else None


def _client_claims_of(claims: dict[str, Any] | None) -> ClientClaims | None:
    if claims is None or claims.keys() & {"sid", "auth_time", "roles"}:
        return None
    typed = _typed(claims, ClientClaims)
    return typed if typed is not None and typed.sub == typed.client_id else None


def _any_claims_of(claims: dict[str, Any] | None) -> AccessClaims | ClientClaims | None:
    return _claims_of(claims) if claims and "sid" in claims else _client_claims_of(claims)


def _typed(claims: dict[str, Any] | None, kind: type[Claims]) -> Claims | None:
    if claims is None:
        return None
    try:
        # strict: "123", 1.0 and true are no integers.
        typed = msgspec.convert(claims, kind, strict=True)
    except msgspec.ValidationError:
        return None
    times = all(0 <= time <= MAX_TIME for time in (typed.exp, typed.iat, typed.nbf))
    names = _JTI.fullmatch(typed.jti) and _CLIENT.fullmatch(typed.client_id)
    scope = not typed.scope or _WORDS.fullmatch(typed.scope)
    bound = typed.cnf is None or THUMBPRINT.fullmatch(typed.cnf.jkt)
    return typed if times and names and scope and bound else None


def _untimely(claims: AccessClaims | ClientClaims, now: float, leeway: float, max_ttl: int) -> Refusal | None:
    if not 0 < claims.exp - claims.iat <= max_ttl:
        return Refusal.LIFETIME
    if max(claims.iat, claims.nbf) > now + leeway:
        return Refusal.NOT_YET
    return Refusal.EXPIRED if now >= claims.exp + leeway else None
