"""Public keys that others hold (RFC 7517): which may be, what they are called, and what they have signed. Pure.

Asymmetric signatures only (RFC 8725 §3.1): ECDSA on P-256, Ed25519, and RSA, which is there for those that know nothing
else. A key that also holds a private or symmetric member is refused, whatever else is right with it.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from re import compile as pattern
from typing import Any, Final, NamedTuple

from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

from core.compact import VALUE, decoded

ALGORITHMS: Final = ("ES256", "EdDSA", "Ed25519", "PS256", "RS256")
"""`Ed25519` is the name that RFC 9864 gives to what most call `EdDSA`."""
THUMBPRINT: Final = pattern(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
"""SHA-256 in base64url (RFC 7638)."""
PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
RSA_BITS: Final = (2048, 4096)
"""At least, and at most: a longer one costs us more to verify than its holder to send."""

_MEMBERS: Final = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
"""In the order of RFC 7638 §3.2."""
_CURVES: Final = {"EC": "P-256", "OKP": "Ed25519"}
_ALGORITHMS_OF: Final = {"EC": ("ES256",), "OKP": ("EdDSA", "Ed25519"), "RSA": ("PS256", "RS256")}
_BYTES_OF_POINT: Final = 32
_EXPONENT: Final = "AQAB"
_IMPLEMENTED: Final = get_default_algorithms()


class PublicKey(NamedTuple):
    """A key that verifies."""

    public: str
    """Its required members as JSON, sorted and without spaces: equal for equal keys."""
    key: Any
    algorithms: tuple[str, ...]
    """What it may have signed with."""
    kid: str

    @property
    def thumbprint(self) -> str:
        """RFC 7638 with SHA-256, 43 characters of base64url."""
        return urlsafe_b64encode(sha256(self.public.encode()).digest())[:43].decode()


def read(jwk: object) -> PublicKey | None:
    """The key of a JWK with public members only, None for one that cannot be used here. Never raises.

    Members that say nothing of the key itself are not looked at (RFC 7517 §4), but for `alg`, which must fit.
    """
    if not isinstance(jwk, Mapping) or jwk.keys() & PRIVATE:
        return None
    kind, kid = jwk.get("kty"), jwk.get("kid", "")
    if not isinstance(kind, str) or kind not in _MEMBERS or not isinstance(kid, str):
        return None
    members = _MEMBERS[kind]
    if not _sound(jwk, members):
        return None
    algorithms = tuple(one for one in _ALGORITHMS_OF[kind] if jwk.get("alg", one) == one)
    public = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"))
    try:
        key = _IMPLEMENTED[_ALGORITHMS_OF[kind][0]].from_jwk(public)
    except (PyJWTError, ValueError, TypeError):
        return None  # a point that is not on the curve
    return PublicKey(public, key, algorithms, kid) if algorithms else None


def verifies(key: PublicKey, algorithm: object, signed: bytes, signature: bytes) -> bool:
    """Whether the signature is one of this key by this algorithm. Never raises."""
    if algorithm not in key.algorithms or not isinstance(algorithm, str):
        return False
    implemented = _IMPLEMENTED["EdDSA" if algorithm == "Ed25519" else algorithm]
    try:
        return bool(implemented.verify(signed, key.key, signature))
    except (PyJWTError, ValueError, TypeError):
        return False


def _sound(jwk: Mapping[str, Any], members: tuple[str, ...]) -> bool:
    """Whether each member is there, the one text of its bytes, and of a size that the key may have."""
    given = [jwk.get(name) for name in members if name not in {"kty", "crv"}]
    values = [one for one in given if isinstance(one, str) and len(one) < 1024 and VALUE.fullmatch(one)]
    if len(values) != len(given):
        return False
    if jwk["kty"] == "RSA":
        modulus = decoded(jwk["n"])
        bits = int.from_bytes(modulus).bit_length()
        return jwk["e"] == _EXPONENT and modulus[0] != 0 and RSA_BITS[0] <= bits <= RSA_BITS[1]
    return jwk.get("crv") == _CURVES[jwk["kty"]] and all(len(decoded(one)) == _BYTES_OF_POINT for one in values)
