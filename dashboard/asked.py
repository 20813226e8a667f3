"""Reading posted forms: ids that may stand in them several times, and positions. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from litestar.datastructures import FormMultiDict
from litestar.exceptions import ValidationException

from core.reason import STAFF_REASONS
from dashboard.forms import Revocation, revocation
from events import action, family, ids

Fields = FormMultiDict
REPEATED: Final = frozenset({"family", "role"})
"""The boxes that are ticked: all other fields come once."""


def text(fields: Fields, name: str) -> str:
    """One field; empty where it is missing or a file."""
    found = fields.get(name, "")
    return found if isinstance(found, str) else ""


def texts(fields: Fields, name: str) -> list[str]:
    """A field that may stand there several times, or once with spaces in it."""
    found = (one for one in fields.getall(name, []) if isinstance(one, str))
    return [word for one in found for word in one.split()]


def reasons(fields: Fields, known: Mapping[str, str] = STAFF_REASONS) -> Revocation:
    """Reason, ticket and note."""
    return revocation({name: text(fields, name) for name in ("reason", "ticket", "note")}, known)


def families(named: Iterable[str]) -> tuple[bytes, ...]:
    """Each once, in order. Raises ValidationException for what is no id of a family."""
    found = [ids.from_text(family.PREFIX, one) for one in named]
    known = tuple(dict.fromkeys(one for one in found if one))
    if None in found:
        raise ValidationException
    return known


def action_id(fields: Fields) -> bytes:
    """The id that the preview made. Raises ValidationException."""
    stream = ids.from_text(action.PREFIX, text(fields, "action"))
    if stream is None:
        raise ValidationException
    return stream
