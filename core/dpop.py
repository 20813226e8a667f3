"""Proofs that a request comes from who holds a key (DPoP, RFC 9449): the checks of §4.3, and the nonce of §8. Pure.

A proof is a JWT that its sender made for one request: it names method and URL, and the access token where one goes with
it. Whatever is not exactly so refuses it. That it was not used before is asked elsewhere, by `Proof.use`.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, NamedTuple

from core import compact, jwk, url
from core.compact import VALUE, decoded, is_time
from core.jwk import ALGORITHMS
from events.decision import Use

MAX_LENGTH: Final = 4096
"""Characters of a proof at most; one with a key of RSA, the longest that we take, has about 1,700."""
TYPE: Final = "dpop+jwt"
WINDOW: Final = 60
"""Seconds by which a proof may be old, or its sender's clock be ahead of ours."""
NONCE_PERIOD: Final = 300
"""Seconds after which there is another nonce; the one before counts for as long again."""
MAX_JTI: Final = 256

_HEADER: Final = frozenset({"typ", "alg", "jwk"})
_ALSO: Final = frozenset({"kid"})
_SECOND: Final = 1_000_000


class Flaw(StrEnum):
    """Why a proof was not taken."""

    MALFORMED = "malformed"
    HEADER = "header"
    TYPE = "type"
    ALGORITHM = "algorithm"
    KEY = "key"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    METHOD = "method"
    URL = "url"
    NONCE = "nonce"
    """It lacks the server's nonce, or has an old one: the sender gets another and may try again (RFC 9449 §8)."""
    TIME = "time"
    TOKEN = "token"  # noqa: S105 - the access token is not the one that the proof is for
    BINDING = "binding"
    """The key is not the one that the access token is bound to."""
    REPLAYED = "replayed"


class Asked(NamedTuple):
    """The request that a proof came with."""

    method: str
    url: str
    """As the public reaches it, whatever proxies made of it."""
    now: float
    """Seconds since the epoch."""
    token: str = ""
    """The access token that came with it."""
    is_nonce: Callable[[str], bool] | None = None
    """Whether a text is a nonce of ours that still counts; None where none is demanded."""


class Proof(NamedTuple):
    """A proof that is right, but for whether it came before."""

    jkt: str
    """Thumbprint of the key (RFC 7638)."""
    use: Use
    """What must be new."""


def check(text: str, asked: Asked) -> Proof | Flaw:
    """What RFC 9449 §4.3 demands, but for a replay. Never raises."""
    found = compact.opened(text, MAX_LENGTH)
    if found is None:
        return Flaw.MALFORMED
    key = _key_of(found.header)
    if isinstance(key, Flaw):
        return key
    if not jwk.verifies(key, found.header["alg"], found.signed, found.signature):
        return Flaw.SIGNATURE
    flaw = _unfit(found.claims, asked)
    if flaw is not None:
        return flaw
    until = (found.claims["iat"] + 2 * WINDOW) * _SECOND
    return Proof(key.thumbprint, Use(mark("dpop", key.thumbprint, found.claims["jti"]), until))


def mark(kind: str, whose: str, jti: str) -> bytes:
    """What stands for an identifier that its owner uses once: a hash, so that nothing of it is kept."""
    return sha256(f"{kind}\x00{whose}\x00{jti}".encode("utf-8", "surrogatepass")).digest()


def token_hash(token: str) -> str:
    """`ath`: base64url SHA-256 of the access token's text (RFC 9449 §4.2)."""
    return urlsafe_b64encode(sha256(token.encode()).digest())[:43].decode()


def nonce(key: bytes, now: float) -> str:
    """The nonce of this period, 22 characters. Whoever has the key knows which are his; nobody stores one."""
    return _nonce_of(key, int(now) // NONCE_PERIOD)


def is_nonce(keys: Iterable[bytes], text: str, now: float) -> bool:
    """Whether one of the keys made this nonce, in this period or the one before: or the next, by another's clock."""
    if len(text) != 22 or not VALUE.fullmatch(text):
        return False
    period = int.from_bytes(decoded(text)[:4])
    near = -1 <= period - int(now) // NONCE_PERIOD <= 1
    return near and any(hmac.compare_digest(_nonce_of(key, period), text) for key in keys)


def _nonce_of(key: bytes, period: int) -> str:
    stated = period.to_bytes(4)
    return urlsafe_b64encode(stated + hmac.digest(key, stated, "sha256")[:12])[:22].decode()


def _key_of(header: dict[str, Any]) -> jwk.PublicKey | Flaw:
    if not _HEADER <= header.keys() <= _HEADER | _ALSO:
        return Flaw.HEADER
    if header["typ"] != TYPE:
        return Flaw.TYPE
    if header["alg"] not in ALGORITHMS:
        return Flaw.ALGORITHM
    return jwk.read(header["jwk"]) or Flaw.KEY


def _unfit(claims: dict[str, Any], asked: Asked) -> Flaw | None:
    jti, htm, htu, iat = (claims.get(name) for name in ("jti", "htm", "htu", "iat"))
    if not (isinstance(jti, str) and 0 < len(jti) <= MAX_JTI and isinstance(htu, str)):
        return Flaw.CLAIMS
    if not is_time(iat):
        return Flaw.CLAIMS
    if htm != asked.method:
        return Flaw.METHOD
    same = url.normal(htu)
    if same is None or same != url.normal(asked.url):
        return Flaw.URL
    if asked.is_nonce is not None and not _has_nonce(claims, asked.is_nonce):
        return Flaw.NONCE
    if not asked.now - WINDOW <= iat <= asked.now + WINDOW:
        return Flaw.TIME
    return Flaw.TOKEN if asked.token and claims.get("ath") != token_hash(asked.token) else None


def _has_nonce(claims: dict[str, Any], known: Callable[[str], bool]) -> bool:
    given = claims.get("nonce")
    return isinstance(given, str) and known(given)
