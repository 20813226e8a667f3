"""What people typed into a form, checked: the reason for ending a family. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from core.reason import MAX_NOTE, STAFF_REASONS, TICKET, cleaned_note


class Revocation(NamedTuple):
    """Reason, ticket and note as typed, and what is wrong with each field (empty where all is well)."""

    reason: str
    ticket: str
    note: str
    flaws: Mapping[str, str]


EMPTY = Revocation("", "", "", {})


def revocation(fields: Mapping[str, str], reasons: Mapping[str, str] = STAFF_REASONS) -> Revocation:
    """Read the form; whatever is wrong is said in words beside its field."""
    reason, ticket = fields.get("reason", ""), fields.get("ticket", "").strip()
    typed = fields.get("note", "")
    flaws = {}
    if reason not in reasons:
        flaws["reason"] = "Choose a reason."
    if ticket and not TICKET.fullmatch(ticket):
        flaws["ticket"] = "Letters, digits, dot, dash and underscore only, 32 at most."
    if len(typed) > MAX_NOTE:
        flaws["note"] = f"At most {MAX_NOTE} characters."
    return Revocation(reason, ticket, cleaned_note(typed), flaws)
