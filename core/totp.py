"""One-time codes by time (RFC 6238): which time step a code belongs to, and how an app is told the secret. Pure."""

import hmac
from base64 import b32encode
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from events import ids
from events.subject import PREFIX

PERIOD: Final = 30
"""Seconds of a time step."""
DIGITS: Final = 6
SECRET_BYTES: Final = 20
"""160 bits (RFC 4226 §4, R6). SHA-1, six digits and 30 seconds are what every app takes."""
DRIFT: Final = 1
"""Steps before and behind the current one that are taken: clocks differ and people type (RFC 6238 §5.2)."""
ISSUER: Final = "Session Ledger"


def step_of(code: str, secret: bytes, now: float) -> int | None:
    """The time step whose code this is, near `now` in seconds; None where there is none. Looks at each of them."""
    current, given = int(now) // PERIOD, code.encode("utf-8", "surrogatepass")
    steps = range(max(0, current - DRIFT), current + DRIFT + 1)
    hotp = HOTP(secret, DIGITS, SHA1())  # noqa: S303 - HMAC-SHA-1, as RFC 6238 has it
    fitting = [step for step in steps if hmac.compare_digest(hotp.generate(step), given)]
    return fitting[-1] if fitting else None


def uri(secret: bytes, account: str, host: str) -> str:
    """What the QR code holds; `host` tells the ledgers of one person apart in the app."""
    made = TOTP(secret, DIGITS, SHA1(), PERIOD)  # noqa: S303 - as above
    return made.get_provisioning_uri(account, f"{ISSUER} {host}")


def spelled(secret: bytes) -> str:
    """The secret for people who type it: base32 in groups of four."""
    text = b32encode(secret).decode()
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def place(owner: bytes, named: str) -> str:
    """What the wrapped secret of an app is bound to: whose it is, and its own name."""
    return f"totp {ids.to_text(PREFIX, owner)} {named}"
