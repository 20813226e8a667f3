"""What is said where there is no such thing: its kind, and its id where it has the form of one. Pure."""

from litestar.exceptions import NotFoundException

from events import ids

SAID = "said"


def nothing(kind: str, prefix: str, public_id: str) -> NotFoundException:
    """To raise. Only what can be an id is repeated."""
    named = public_id if ids.from_text(prefix, public_id) else "of this id"
    return said(f"There is no {kind} {named}.")


def said(sentence: str) -> NotFoundException:
    """To raise with words of our own."""
    return NotFoundException(extra={SAID: sentence})
