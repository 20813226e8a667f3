"""How a client proves itself by a key of its own instead of a secret: `private_key_jwt` (RFC 7523 §2.2)."""

import secrets
import time
from typing import Final, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SECONDS: Final = 60
"""How long an assertion counts. It has no `iat`, so clocks may differ by nearly as much."""


class Signer(NamedTuple):
    """A private key, and what it signs with."""

    key: Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey
    algorithm: str

    def __repr__(self) -> str:
        return f"Signer({self.algorithm})"

    def proof(self, client_id: str, issuer: str) -> dict[str, str]:
        """What a form says instead of a secret. It counts once, and at this ledger only."""
        claims = {"iss": client_id, "sub": client_id, "aud": issuer, "jti": secrets.token_urlsafe(16)}
        text = jwt.encode(claims | {"exp": int(time.time()) + _SECONDS}, self.key, self.algorithm)
        return {"client_assertion_type": TYPE, "client_assertion": text}


def signer(pem: str) -> Signer:
    """Raises ValueError where this is no key that a ledger takes: Ed25519, P-256, or RSA of 2048 to 4096 bits."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    match key:
        case Ed25519PrivateKey():
            return Signer(key, "EdDSA")
        case EllipticCurvePrivateKey() if isinstance(key.curve, SECP256R1):
            return Signer(key, "ES256")
        case RSAPrivateKey() if 2048 <= key.key_size <= 4096:
            return Signer(key, "PS256")
    raise ValueError("client_key is a private key in PEM without a password: Ed25519, P-256, or RSA from 2048 bits")
