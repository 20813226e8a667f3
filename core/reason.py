"""Why staff end a family: the codes they choose from, what a ticket looks like, and how a note is kept. Pure."""

import re
from typing import Final

STAFF_REASONS: Final = {
    "stolen_token": "Stolen token or device",
    "suspicious": "Suspicious activity",
    "lost_device": "Lost device",
    "user_request": "The user asked for it",
    "left": "The user left the organisation",
    "maintenance": "Maintenance or test",
}
"""Code, as events hold it, and the words for people."""
ERASURE_REASONS: Final = {
    "user_request": "The user asked for it",
    "left": "The user left the organisation",
    "retention": "The account is not needed any more",
    "maintenance": "Maintenance or test",
}
"""The same, of those who erase a user."""
KEY_REASONS: Final = {
    "compromised": "Somebody else may hold the key",
    "suspicious": "Suspicious activity",
    "left": "Somebody who could read it left the organisation",
    "maintenance": "Maintenance or test",
}
"""The same, of those who revoke a signing key."""

TICKET: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")
MAX_NOTE: Final = 500
"""Characters."""


def cleaned_note(text: str) -> str:
    """A note as it is kept: one space for each run of whitespace, nothing unprintable (controls, bidi), cut."""
    words = ("".join(c for c in word if c.isprintable()) for word in text.split())
    return " ".join(word for word in words if word)[:MAX_NOTE]
