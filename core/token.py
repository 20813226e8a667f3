"""The refresh token: opaque to clients, verified without a database, its successor derived and never stored. Pure."""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

PREFIX = "slr_"
PATTERN = re.compile(r"slr_[A-Za-z0-9_-]{92}")
"""For secret scanners, and for `fullmatch` before anything is decoded."""
LENGTH = 96
"""Characters, with the prefix."""
NONCE_BYTES = 16
_SIGNED = 1 + 16 + NONCE_BYTES + 4
_MAC_BYTES = 32
MAX_GENERATION = 2**32 - 1

MacKey = Callable[[int], bytes | None]
"""The refresh MAC key of a master key number, None where the number is unknown."""


class Token(NamedTuple):
    """What a genuine token says. That its MAC was right is implied; no other way makes one from text."""

    key: int
    family: bytes
    nonce: bytes
    generation: int

    def __repr__(self) -> str:
        return f"Token(key={self.key}, family={self.family.hex()}, generation={self.generation})"

    @property
    def nonce_hash(self) -> str:
        """What the family's state holds of the nonce: base64url SHA-256."""
        return hash_nonce(self.nonce)


def hash_nonce(nonce: bytes) -> str:
    """base64url SHA-256, 43 characters."""
    return urlsafe_b64encode(sha256(nonce).digest())[:43].decode()


def mint(token: Token, mac_key: bytes) -> str:
    """The text of a token: `slr_` and 92 base64url characters (69 bytes: 37 signed, 32 of HMAC-SHA-256)."""
    signed = token.key.to_bytes(1) + token.family + token.nonce + token.generation.to_bytes(4)
    return PREFIX + urlsafe_b64encode(signed + hmac.digest(mac_key, signed, "sha256")).decode()


def read(text: str, mac_key: MacKey) -> Token | None:
    """The token, if `text` is one that we made. Garbage ends here, before any database."""
    if not PATTERN.fullmatch(text):
        return None
    raw = urlsafe_b64decode(text[len(PREFIX) :])
    signed, mac = raw[:_SIGNED], raw[_SIGNED:]
    key = mac_key(signed[0])
    if key is None or len(mac) != _MAC_BYTES or not hmac.compare_digest(mac, hmac.digest(key, signed, "sha256")):
        return None
    return Token(signed[0], signed[1:17], signed[17:33], int.from_bytes(signed[33:37]))
