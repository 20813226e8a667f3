"""Cursors: a place in the log as an opaque text, good for one origin of the log. Pure; reads no log."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import Enum, auto
from hashlib import sha256
from typing import Final

LENGTH: Final = 20
_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{20}")
_NAME: Final = 8
_PLACE: Final = 7
"""Bytes of the position, which begins at -1: before the first event."""


class Unread(Enum):
    """Why a cursor leads nowhere."""

    MALFORMED = auto()
    FORMER = auto()
    """It is of an older origin: the log went on from a copy, and what stood at this position may be something else."""


def text(origin: str, position: int) -> str:
    """Behind the event of this position; -1 is the beginning."""
    return urlsafe_b64encode(_name(origin) + (position + 1).to_bytes(_PLACE)).decode()


def read(given: str, origin: str, size: int) -> int | Unread:
    """The position, of a log of this origin and size. One beyond the log was given by a log that this is not."""
    if not _TEXT.fullmatch(given):
        return Unread.MALFORMED
    data = urlsafe_b64decode(given)
    position = int.from_bytes(data[_NAME:]) - 1
    return position if data[:_NAME] == _name(origin) and position < size else Unread.FORMER


def _name(origin: str) -> bytes:
    return sha256(origin.encode()).digest()[:_NAME]
