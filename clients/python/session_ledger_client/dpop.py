"""Tokens that are bound to a key (RFC 9449): the proof that comes with them, and whether it came before. No I/O."""

import json
import re
import threading
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import get_default_algorithms

from session_ledger_client import token
from session_ledger_client.claims import Claims
from session_ledger_client.errors import InvalidToken

ALGORITHMS: Final = ("ES256", "EdDSA", "Ed25519", "PS256", "RS256")
"""`Ed25519` is the name that RFC 9864 gives to `EdDSA`."""
MAX_LENGTH: Final = 4096
WINDOW: Final = 60
"""Seconds by which a proof may be old, or its sender's clock be ahead of ours."""
MOST: Final = 65_536
"""Proofs that are remembered; the oldest go first."""

_MEMBERS: Final = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
_OF: Final = {"EC": ("ES256",), "OKP": ("EdDSA", "Ed25519"), "RSA": ("PS256", "RS256")}
_CURVES: Final = {"EC": "P-256", "OKP": "Ed25519"}
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_RSA_BITS: Final = (2048, 4096)
_PORTS: Final = {"http": 80, "https": 443}
_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{1,1024}")


class Request(NamedTuple):
    """What the request says that a token came with."""

    scheme: str
    """Of the Authorization header: `Bearer` or `DPoP`, in any case."""
    method: str
    path: str
    """As it was sent, percent-encoded, without a query."""
    proofs: Sequence[str] = ()
    """All `DPoP` headers."""


class Bindings:
    """Holds tokens against the proofs that came with them; may be shared by all threads of a process."""

    def __init__(self, origin: str) -> None:
        self._origin = origin.rstrip("/")
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, text: str, claims: Claims, request: Request | None, now: float) -> None:
        """Raises InvalidToken: `binding` where the token did not come as its kind must, `proof` for a bad proof."""
        asked = request or Request("bearer", "", "")
        proved = asked.scheme.lower() == "dpop"
        if claims.key_thumbprint is None:
            if proved:
                raise InvalidToken("binding")
            return
        if not proved or not self._origin or len(asked.proofs) != 1:
            raise InvalidToken("binding")
        jkt, jti, until = _read(asked.proofs[0], asked.method, self._origin + asked.path, text, now)
        if jkt != claims.key_thumbprint:
            raise InvalidToken("binding")
        self._take(sha256(f"{jkt}\x00{jti}".encode("utf-8", "surrogatepass")).digest(), until, now)

    def _take(self, value: bytes, until: float, now: float) -> None:
        with self._lock:
            while self._seen and next(iter(self._seen.values())) <= now:
                self._seen.popitem(last=False)
            if self._seen.get(value, 0) > now:
                raise InvalidToken("proof")
            self._seen[value] = until
            if len(self._seen) > MOST:
                self._seen.popitem(last=False)


def _read(proof: str, method: str, url: str, text: str, now: float) -> tuple[str, str, float]:
    """Thumbprint, identifier and end of a proof that is right (RFC 9449 §4.3). Raises InvalidToken."""
    try:
        parts = token.split(proof) if len(proof) <= MAX_LENGTH else None
        header, said = (token.members(part) for part in parts[:2]) if parts else ({}, {})
    except InvalidToken:
        raise InvalidToken("proof") from None
    public = _public(header)
    if parts is None or public is None or not _signed(parts, header, public):
        raise InvalidToken("proof")
    jti, iat, htu = said.get("jti"), said.get("iat"), said.get("htu")
    right = (
        isinstance(jti, str) and 0 < len(jti) <= 256,
        type(iat) is int and now - WINDOW <= iat <= now + WINDOW,
        said.get("htm") == method,
        isinstance(htu, str) and normal(htu) is not None and normal(htu) == normal(url),
        said.get("ath") == _hash(text),
    )
    if not all(right) or not isinstance(jti, str) or not isinstance(iat, int):
        raise InvalidToken("proof")
    return _hash(json.dumps(public, separators=(",", ":"), sort_keys=True)), jti, iat + 2.0 * WINDOW


def _public(header: Mapping[str, Any]) -> dict[str, str] | None:
    """The required members of the key that a header holds, if that is a key that we take and nothing private."""
    if not {"typ", "alg", "jwk"} <= header.keys() <= {"typ", "alg", "jwk", "kid"} or header["typ"] != "dpop+jwt":
        return None
    key = header["jwk"]
    kind = key.get("kty") if isinstance(key, dict) else None
    if not isinstance(kind, str) or kind not in _MEMBERS or _PRIVATE & key.keys():
        return None
    found = {name: key.get(name) for name in _MEMBERS[kind]}
    texts = all(isinstance(value, str) and _VALUE.fullmatch(value) for value in found.values())
    fits = header["alg"] in _OF[kind] and key.get("alg", header["alg"]) == header["alg"]
    return found if texts and fits and found.get("crv") == _CURVES.get(kind) else None


def _signed(parts: token.Segments, header: Mapping[str, Any], public: dict[str, str]) -> bool:
    algorithm = "EdDSA" if header["alg"] == "Ed25519" else header["alg"]
    how = get_default_algorithms()[algorithm]
    try:
        key = how.from_jwk(public)
        if isinstance(key, RSAPublicKey) and not _RSA_BITS[0] <= key.key_size <= _RSA_BITS[1]:
            return False
        return bool(how.verify(f"{parts.header}.{parts.payload}".encode(), key, token.decoded(parts.signature)))
    except (jwt.PyJWTError, ValueError, TypeError):
        return False


def normal(url: str) -> str | None:
    """Scheme, host, port and path in one form, without query and fragment (RFC 3986 §6.2); None for no http(s) URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not host or "@" in parts.netloc or not url.isascii():
        return None
    shown = "" if port in {None, _PORTS[scheme]} else f":{port}"
    return f"{scheme}://{host.lower()}{shown}{_ENCODED.sub(_decoded, parts.path) or '/'}"


def _decoded(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0].upper()


def _hash(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode()).digest())[:43].decode()
