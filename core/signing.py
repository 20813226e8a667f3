"""Signed tokens that are no access tokens: the same keys, another type, so that none is taken for the other."""

from base64 import urlsafe_b64encode
from typing import Any

import msgspec

from core.keys import KeyUnavailable
from core.ring import SigningKey

_encode = msgspec.json.Encoder().encode


def signed(key: SigningKey, kind: str, claims: dict[str, Any]) -> str:
    """A JWS in compact form with `typ` (RFC 8725 §3.11). Raises KeyUnavailable where nobody could verify it."""
    if key.algorithm.startswith("HS"):
        raise KeyUnavailable("tokens for others take a public key: set LEDGER_SIGNING_ALGORITHM to another than HS256")
    header = _encode({"alg": key.algorithm, "kid": key.kid, "typ": kind})
    body = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in (header, _encode(claims)))
    return f"{body.decode()}.{urlsafe_b64encode(key.sign(body)).rstrip(b'=').decode()}"
