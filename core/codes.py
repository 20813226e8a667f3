"""Recovery codes: how they are written, read and stored. Pure; the random bytes are given."""

from base64 import b32encode, urlsafe_b64encode
from hashlib import sha256
from typing import Final

COUNT: Final = 10
BYTES: Final = 15
"""120 bits each: from 112 on a plain hash is enough (ASVS 6.5.2)."""
_GROUP: Final = 6
_LENGTH: Final = 24
_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")


def written(random15: bytes) -> str:
    """A code for people: `abcdef-ghijkl-mnopqr-stuvwx`."""
    text = b32encode(random15).decode().lower()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def hashed(typed: str) -> str | None:
    """base64url SHA-256 of a code as typed, however it is grouped; None for what is no code."""
    text = "".join(c for c in typed.lower() if c not in "- ")
    if len(text) != _LENGTH or not set(text) <= _ALPHABET:
        return None
    return urlsafe_b64encode(sha256(text.encode()).digest())[:43].decode()
