"""How a repeated request finds what the first one began: ids and nonces derived from its key, nothing stored. Pure."""

import hmac
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from core.token import NONCE_BYTES
from events import ids

KEY: Final = re.compile(r"[!-~]{1,255}")
"""What an `Idempotency-Key` may be."""
WINDOW: Final = 600_000_000
"""Microseconds. A derived id begins with the time like any other, cut to this, so that ids still tell the order."""
MEMORY: Final = 86_400_000_000
"""How long a key is remembered, microseconds."""


class Asked(NamedTuple):
    """A request that may come again."""

    client: str
    """Who asks: two may use the same key."""
    key: str
    body: bytes
    """All that was asked for, always in the same form."""

    def __repr__(self) -> str:
        return f"Asked(client={self.client!r})"


class Place(NamedTuple):
    """A family that the request may have begun, under one of the master keys."""

    family: bytes
    nonce: bytes
    """Another body leads to another one, so a key that is used for something else is noticed."""
    number: int

    def __repr__(self) -> str:
        return f"Place(family={self.family.hex()})"


def place(secret: bytes, number: int, asked: Asked, at: int) -> Place:
    """Where the request begins its family at this time (microseconds), under the master key's secret for this."""
    random = _mac(secret, b"family", asked, b"")[: ids.RANDOM_BYTES]
    nonce = _mac(secret, b"nonce", asked, asked.body)[:NONCE_BYTES]
    return Place(ids.new_id(at - at % WINDOW, random), nonce, number)


def places(secret: bytes, number: int, asked: Asked, at: int) -> Iterator[Place]:
    """Where it may have begun it within MEMORY, the newest first; one window ahead, for clocks that differ."""
    newest = place(secret, number, asked, at + WINDOW)
    for back in range(MEMORY // WINDOW + 2):
        started = at + WINDOW - back * WINDOW
        yield newest._replace(family=ids.new_id(started - started % WINDOW, newest.family[-ids.RANDOM_BYTES :]))


def _mac(secret: bytes, use: bytes, asked: Asked, body: bytes) -> bytes:
    """Neither a client's name nor a key has a zero byte in it, so the parts cannot run into each other."""
    return hmac.digest(secret, b"\x00".join((use, asked.client.encode(), asked.key.encode(), body)), "sha256")
