"""Identifiers: 16-byte stream ids and their public text. Pure; random bytes and time are given."""

import hashlib
import re
from functools import lru_cache
from itertools import product

RESERVED = b"\x00"
"""First byte of every stream id. It will name the ledger, should one head ever be too narrow (design §3)."""

RANDOM_BYTES = 9
_TEXT = re.compile(r"([a-z]{2,3})_([a-z2-7]{26})")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(first + second for first, second in product(_ALPHABET, repeat=2))
"""Two characters for each number of ten bits: five times as fast as the standard library's base32."""
_PLACES = range(120, -1, -10)
_DIGITS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
"""To the alphabet of `int(…, 32)`, which is five times as fast as the decoder."""


def new_id(at: int, random: bytes) -> bytes:
    """A stream id: reserved byte, 6 bytes of milliseconds, 9 random bytes (72 bits).

    `at` is in microseconds since the epoch, `random` is exactly `RANDOM_BYTES` long.
    """
    if len(random) != RANDOM_BYTES:
        msg = f"an id takes {RANDOM_BYTES} random bytes, not {len(random)}"
        raise ValueError(msg)
    return RESERVED + (at // 1000).to_bytes(6, "big") + random


@lru_cache(maxsize=1024)
def named_id(kind: str, name: str) -> bytes:
    """The stream id of a thing that people name themselves (a client): two of one name are one stream."""
    return RESERVED + hashlib.sha256(f"{kind}:{name}".encode()).digest()[:15]


@lru_cache(maxsize=65_536)
def to_text(prefix: str, stream: bytes) -> str:
    """`fam_…`: prefix and 26 characters of lower-case base32 (RFC 4648 §6, no padding)."""
    bits = int.from_bytes(stream) << 2
    return f"{prefix}_{''.join([_PAIRS[bits >> place & 1023] for place in _PLACES])}"


def from_text(prefix: str, text: str) -> bytes | None:
    """The stream id written as `text`, or None. Exactly one text is accepted for each id."""
    found = _TEXT.fullmatch(text)
    if found is None or found[1] != prefix:
        return None
    number = int(found[2].translate(_DIGITS), 32)
    return None if number & 0b11 else (number >> 2).to_bytes(16)


@lru_cache(maxsize=65_536)
def parse(prefix: str, text: str) -> bytes:
    """As `from_text`, for text that we wrote ourselves. Raises ValueError where it is not an id."""
    stream = from_text(prefix, text)
    if stream is None:
        msg = f"not an id with the prefix {prefix}_"
        raise ValueError(msg)
    return stream
