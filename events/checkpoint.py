"""A checkpoint, the signed statement of how long the log was and what it held: a C2SP signed note. Pure.

Where the last one is kept, and that none contradicts another, is in `checkpoints.py`.
"""

import base64
import binascii
import re
from contextlib import suppress
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_NOTE = 16 * 1024
"""Characters of a note that is read at all; ours have about 300."""
ED25519 = b"\x01"
_NAME = r"([^\s+\x00-\x20\x7f-\x9f\ud800-\udfff]+)"
_BODY = re.compile(_NAME + r"\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n")
_SIGNATURE = re.compile(r"\u2014 " + _NAME + r" ([A-Za-z0-9+/]+={0,2})")


class Checkpoint(NamedTuple):
    """At this size the log of this name had this root."""

    origin: str
    """Name of the log, and of its key: no spaces, no `+`."""
    size: int
    root: bytes


def public_of(seed: bytes) -> bytes:
    """The 32-byte Ed25519 public key of a 32-byte seed (RFC 8032 §5.1.5)."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def key_id(origin: str, public: bytes) -> bytes:
    """The four bytes that name a key in a signature line (C2SP signed-note)."""
    return sha256(origin.encode() + b"\n" + ED25519 + public).digest()[:4]


def vkey(origin: str, public: bytes) -> str:
    """The verifier key, as auditors take it: `name+hexkeyid+base64(0x01 ‖ public key)`."""
    return f"{origin}+{key_id(origin, public).hex()}+{_base64(ED25519 + public)}"


def sign(checkpoint: Checkpoint, seed: bytes) -> str:
    """The signed note. Raises ValueError for a checkpoint that could not be read back."""
    body = f"{checkpoint.origin}\n{checkpoint.size}\n{_base64(checkpoint.root)}\n"
    if not _BODY.fullmatch(body):
        msg = f"not a checkpoint: {checkpoint!r}"
        raise ValueError(msg)
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(body.encode())
    named = key_id(checkpoint.origin, public_of(seed)) + signature
    return f"{body}\n\u2014 {checkpoint.origin} {_base64(named)}\n"


def verify(text: str, public: bytes) -> Checkpoint | None:
    """What the note states, if this key signed it; else None. Never raises, whatever the text is.

    Signatures by other keys are ignored, so that a second algorithm can be added; a line that is no signature,
    a wrong signature in the name of our key, or an extension line makes the whole note invalid.
    """
    body, separator, lines = text[: MAX_NOTE + 1].partition("\n\n")
    body += "\n"
    found = _BODY.fullmatch(body)
    if not found or not separator or len(text) > MAX_NOTE or not lines.endswith("\n"):
        return None
    root = _unbase64(found[3])
    if root is None or not _signed(body, lines[:-1].split("\n"), found[1], public):
        return None
    return Checkpoint(found[1], int(found[2]), root)


def _signed(body: str, lines: list[str], origin: str, public: bytes) -> bool:
    ours = 0
    for line in lines:
        found = _SIGNATURE.fullmatch(line)
        raw = _unbase64(found[2]) if found else None
        if found is None or raw is None or len(raw) <= 4:
            return False
        if found[1] != origin or raw[:4] != key_id(origin, public):
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], body.encode())
        except (InvalidSignature, ValueError):
            return False
        ours += 1
    return ours == 1


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str) -> bytes | None:
    """Strict: exactly one text for each value."""
    with suppress(binascii.Error):
        data = base64.b64decode(text, validate=True)
        if _base64(data) == text:
            return data
    return None
