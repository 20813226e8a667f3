"""A message as Standard Webhooks says: its id, its body, its signature. Pure; secrets are given.

Source: the specification of Standard Webhooks, version 1.
"""

import hmac
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from events import ids

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how one begins
SECRET_BYTES: Final = 32
MEDIA: Final = "application/json"


def secret_text(secret: bytes) -> str:
    """A secret as its receiver is told it, once."""
    return SECRET_PREFIX + b64encode(secret).decode()


def id_of(origin: str, position: int) -> str:
    """The same for every try and every receiver of one event, and of no other event of any log."""
    return ids.to_text("msg", sha256(f"{origin}\n{position}".encode()).digest()[:16])


def body(kind: str, at: str, event: str) -> bytes:
    """What is sent: type and time beside the event, which is JSON already, as `/v1/events` gives it."""
    return f'{{"type":"{kind}","timestamp":"{at}","data":{event}}}'.encode()


def headers(name: str, sent: int, content: bytes, secrets: Iterable[bytes]) -> dict[str, str]:
    """What goes with a body: a signature for each secret that is good now. `sent` is seconds since the epoch."""
    signed = f"{name}.{sent}.".encode() + content
    signatures = (b64encode(hmac.new(secret, signed, sha256).digest()).decode() for secret in secrets)
    return {
        "content-type": MEDIA,
        "webhook-id": name,
        "webhook-timestamp": str(sent),
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }
