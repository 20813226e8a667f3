"""Signed compact JWTs, read as strictly as they are written: where our library is lenient, this is not. Pure.

A JSON object in UTF-8 without BOM, no member twice, no fractions; three segments, each the one base64url text of its
bytes. Verifies nothing: what a text says here nobody has vouched for yet.
"""

import json
import re
from base64 import urlsafe_b64decode
from typing import Any, Final, NamedTuple, TypeGuard

_SEGMENT: Final = r"(?=[^.])((?:[A-Za-z0-9_-]{4})*+(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?)"
"""The one base64url text of some bytes: right length, no bits left over in the last character (RFC 4648 §3.5)."""
TOKEN: Final = re.compile(rf"{_SEGMENT}\.{_SEGMENT}\.{_SEGMENT}")
VALUE: Final = re.compile(_SEGMENT)
MAX_TIME: Final = 253_402_300_799
"""The last second of the year 9999."""


class Compact(NamedTuple):
    """A JWT taken apart."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    """What the signature is of."""
    signature: bytes


def opened(text: str, most: int) -> Compact | None:
    """The parts of a signed JWT (RFC 7515 §7.1) of at most so many characters, None for anything else."""
    # A limit before anything else: parsing 20 MB takes seconds.
    segments = TOKEN.fullmatch(text) if len(text) <= most else None
    if segments is None:
        return None
    header, claims = json_object(segments[1]), json_object(segments[2])
    if header is None or claims is None:
        return None
    return Compact(header, claims, text[: segments.end(2)].encode(), decoded(segments[3]))


def json_object(segment: str) -> dict[str, Any] | None:
    """A JSON object in UTF-8 without BOM, no member twice, no fractions, no NaN; else None."""
    try:
        found = _DECODER.decode(decoded(segment).decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def decoded(segment: str) -> bytes:
    """The bytes of a base64url text without padding."""
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def is_time(value: object) -> TypeGuard[int]:
    """Whether this is a whole number of seconds since the epoch (strictly: "1", 1.0 and true are none)."""
    return type(value) is int and 0 <= value <= MAX_TIME


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        msg = "a member is there twice"
        raise ValueError(msg)
    return members


def _refuse(_text: str) -> Any:
    msg = "numbers are whole"
    raise ValueError(msg)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_float=_refuse, parse_constant=_refuse)
