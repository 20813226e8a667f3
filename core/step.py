"""What a browser holds between two steps of a sign-in: signed, short-lived, good for nothing by itself. Pure.

It begins no session and opens no page. It says that the password of this subject was right a moment ago (or, for a
passkey alone, nothing), and the factor that is given with it is what counts. Once carried through it is used up: its
fingerprint is in the subject's state.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from enum import IntEnum
from hashlib import sha256
from typing import Final, NamedTuple

LIFETIME: Final = 5 * 60
"""Seconds."""
NONCE_BYTES: Final = 16
NOBODY: Final = bytes(16)
_MAC_BYTES: Final = 32
_TAG_BYTES: Final = 8
_SIGNED: Final = 1 + 1 + 16 + 4 + 8 + NONCE_BYTES + _TAG_BYTES
_PREFIX: Final = "sls_"
_TEXT: Final = re.compile(r"sls_[A-Za-z0-9_=-]{116}")
_CHALLENGE: Final = b"session-ledger challenge 1\x00"

StepKey = Callable[[int], bytes | None]
"""The key of a master key number, None where the number is unknown."""


class Purpose(IntEnum):
    """What it is a step of."""

    SECOND = 1
    """Signing in: the password of subject `whose` was right."""
    ALONE = 2
    """Signing in with a passkey alone: nobody is known yet."""
    AGAIN = 3
    """Confirming in the session `whose`."""
    ADDING = 4
    """Adding a passkey in the session `whose`."""


class Step(NamedTuple):
    """What a genuine one says."""

    purpose: Purpose
    key: int
    """Number of the master key."""
    whose: bytes
    version: int
    """Of the password that was right."""
    at: int
    """When it began, seconds."""
    nonce: bytes
    device: bytes
    """Tag of the browser that it was given to."""

    def __repr__(self) -> str:
        return f"Step(purpose={self.purpose.name})"

    @property
    def ceremony(self) -> str:
        """Its fingerprint, that the subject's state holds once it is used up."""
        return urlsafe_b64encode(sha256(self.nonce).digest())[:22].decode()


def mint(step: Step, key: bytes) -> str:
    """Its text."""
    signed = _signed(step)
    return _PREFIX + urlsafe_b64encode(signed + hmac.digest(key, signed, "sha256")).decode()


def read(text: str, purpose: Purpose, key: StepKey, now: float) -> Step | None:
    """The step, if we made it for this purpose within its lifetime. `now` in seconds."""
    if not _TEXT.fullmatch(text):
        return None
    try:
        raw = urlsafe_b64decode(text[len(_PREFIX) :])
    except ValueError:
        return None
    signed, mac = raw[:_SIGNED], raw[_SIGNED:]
    known = key(signed[1]) if len(mac) == _MAC_BYTES else None
    if known is None or not hmac.compare_digest(mac, hmac.digest(known, signed, "sha256")) or signed[0] != purpose:
        return None
    found = Step(
        purpose,
        signed[1],
        signed[2:18],
        int.from_bytes(signed[18:22]),
        int.from_bytes(signed[22:30]),
        signed[30:46],
        signed[46:54],
    )
    return found if 0 <= now - found.at + 1 <= LIFETIME else None


def challenge(step: Step, key: bytes) -> bytes:
    """What an authenticator is to sign for this step: 32 bytes that nobody else can name beforehand."""
    return hmac.digest(key, _CHALLENGE + _signed(step), "sha256")


def _signed(step: Step) -> bytes:
    numbers = step.version.to_bytes(4) + step.at.to_bytes(8)
    return bytes((step.purpose, step.key)) + step.whose + numbers + step.nonce + step.device
