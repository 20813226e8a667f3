"""Identifiers: 16-byte stream ids and their public text. Pure; random bytes and time are given."""

import base64
import hashlib
import re

RESERVED = b"\x00"
"""First byte of every stream id. It will name the ledger, should one head ever be too narrow (design §3)."""

RANDOM_BYTES = 9
_TEXT = re.compile(r"[a-z]{2,3}_[a-z2-7]{26}")


def new_id(at: int, random: bytes) -> bytes:
    """A stream id: reserved byte, 6 bytes of milliseconds, 9 random bytes (72 bits).

    `at` is in microseconds since the epoch, `random` is exactly `RANDOM_BYTES` long.
    """
    if len(random) != RANDOM_BYTES:
        msg = f"an id takes {RANDOM_BYTES} random bytes, not {len(random)}"
        raise ValueError(msg)
    return RESERVED + (at // 1000).to_bytes(6, "big") + random


def named_id(kind: str, name: str) -> bytes:
    """The stream id of a thing that people name themselves (a client): two of one name are one stream."""
    return RESERVED + hashlib.sha256(f"{kind}:{name}".encode()).digest()[:15]


def to_text(prefix: str, stream: bytes) -> str:
    """`fam_…`: prefix and 26 characters of lower-case base32 (RFC 4648 §6, no padding)."""
    return f"{prefix}_{base64.b32encode(stream)[:26].decode().lower()}"


def from_text(prefix: str, text: str) -> bytes | None:
    """The stream id written as `text`, or None. Exactly one text is accepted for each id."""
    if not text.startswith(f"{prefix}_") or not _TEXT.fullmatch(text):
        return None
    stream = base64.b32decode(text[len(prefix) + 1 :].upper() + "======")
    return stream if to_text(prefix, stream) == text else None


def parse(prefix: str, text: str) -> bytes:
    """As `from_text`, for text that we wrote ourselves. Raises ValueError where it is not an id."""
    stream = from_text(prefix, text)
    if stream is None:
        msg = f"not an id with the prefix {prefix}_"
        raise ValueError(msg)
    return stream
