"""Key pairs of the four signing algorithms: making, storing, loading. Knows neither ring nor ledger."""

import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from typing import Any, Final, NamedTuple, TypeAlias

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import Algorithm, get_default_algorithms

PrivateKey: TypeAlias = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | bytes

EDDSA: Final = "EdDSA"
HS256: Final = "HS256"
ALGORITHMS: Final = (EDDSA, "ES256", "RS256", HS256)
"""EdDSA is the default. RS256 and HS256 are for applications that know nothing else; HS256 has no public half."""

_RSA_BITS: Final = 3072
_MEMBERS: Final = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}
"""The public members, in the order of RFC 7638 §3.2."""


class Pair(NamedTuple):
    """A new signing key, before it is wrapped."""

    kid: str
    """RFC 7638 thumbprint; random for HS256, where a thumbprint would be a hash of the secret."""
    algorithm: str
    public: str
    """The public JWK as compact JSON with sorted members; empty for HS256."""
    private: bytes

    def __repr__(self) -> str:
        return f"Pair(kid={self.kid!r}, algorithm={self.algorithm!r})"


def generate(algorithm: str) -> Pair:
    """A new key. RS256 takes up to seconds: call it off the event loop. Raises ValueError for another algorithm."""
    if algorithm == HS256:
        return Pair(secrets.token_urlsafe(24), algorithm, "", secrets.token_bytes(32))
    key = _new(algorithm)
    public = _jwk(algorithm, key)
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(thumbprint(public), algorithm, public, private)


def thumbprint(public: str) -> str:
    """RFC 7638: base64url SHA-256 of the required members, in order, without spaces; exactly what we store."""
    return urlsafe_b64encode(hashlib.sha256(public.encode()).digest()).rstrip(b"=").decode()


def load_private(algorithm: str, private: bytes) -> PrivateKey:
    """The signing key that `generate` stored."""
    if algorithm == HS256:
        return private
    key = serialization.load_der_private_key(private, password=None)
    if isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        return key
    msg = f"the stored key is not one for {algorithm}"
    raise ValueError(msg)


def load_public(algorithm: str, public: str) -> Any:
    """The verifying key of a public JWK."""
    return signer(algorithm).from_jwk(public)


def signer(algorithm: str) -> Algorithm:
    """PyJWT's implementation. Raises ValueError for an algorithm that is not one of ours."""
    if algorithm not in ALGORITHMS:
        msg = f"{algorithm} is not one of {', '.join(ALGORITHMS)}"
        raise ValueError(msg)
    return get_default_algorithms()[algorithm]


def _new(algorithm: str) -> ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    match algorithm:
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "RS256":
            return rsa.generate_private_key(65537, _RSA_BITS)
        case _:
            msg = f"{algorithm} is not one of {', '.join(ALGORITHMS)}"
            raise ValueError(msg)


def _jwk(algorithm: str, key: Any) -> str:
    full: dict[str, Any] = signer(algorithm).to_jwk(key.public_key(), as_dict=True)
    return json.dumps({name: full[name] for name in _MEMBERS[full["kty"]]}, separators=(",", ":"))
