"""What a request body may look like before anybody reads a meaning into it: strict JSON, strict forms. Pure."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from core.problem import Problem, invalid

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

MAX_DEPTH: Final = 8
"""Objects and arrays inside each other. No route needs more than three."""
MAX_FIELDS: Final = 256
"""The preview of a kill has a box for each of up to 200 families of one user."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What bodies under a path prefix may be: a media type, and so many bytes at most."""

    prefix: str
    media: str
    limit: int

    def announced(self, fields: Mapping[bytes, bytes]) -> Problem | None:
        """What the headers alone say against the body."""
        if b"transfer-encoding" in fields:
            # A server that sees both framings has to drop one, and another reader may have dropped the other.
            return Problem(411, "length_required", "The body must come with its Content-Length.")
        length = fields.get(b"content-length", b"0")
        if not length.isdigit():
            return invalid("Content-Length is no number.")
        if len(length) > 18 or int(length) > self.limit:
            return self.too_large()
        if fields.get(b"content-encoding", b"identity") != b"identity":
            return _unsupported("The body must not be compressed.")
        media = fields.get(b"content-type")
        if media is not None and not is_media_type(media.decode("latin-1"), self.media):
            return _unsupported(f"The body must be {self.media}.")
        return None

    def arrived(self, body: bytes, fields: Mapping[bytes, bytes], repeatable: Collection[str]) -> Problem | None:
        """What the bytes say against themselves. No body is always fine here; a route may want one."""
        if not body:
            return None
        if b"content-type" not in fields:
            return _unsupported(f"The body must be {self.media}.")
        flaw = json_flaw(body) if self.media == JSON else form_flaw(body, repeatable)
        return invalid(f"Body: {flaw}.") if flaw else None

    def too_large(self) -> Problem:
        return Problem(413, "body_too_large", f"The body is longer than {self.limit} bytes.")


SHAPES: Final = (
    Shape("/auth/", JSON, 16 * 1024),
    Shape("/oauth/", FORM, 16 * 1024),
    Shape("/dashboard", FORM, 64 * 1024),
    Shape("/", JSON, 64 * 1024),
)
"""The first prefix that fits holds; the last fits everything."""


class _Flaw(ValueError):
    """Its message is ours and echoes nothing of the body."""


def is_media_type(header: str, wanted: str) -> bool:
    """Whether a Content-Type is exactly `wanted`, or that in UTF-8 (ASVS 4.1.1, 3.5.2)."""
    if header == wanted:
        return True
    kind, _, parameter = header.lower().partition(";")
    return kind.strip() == wanted and parameter.strip().replace('"', "") in {"", "charset=utf-8"}


def json_flaw(body: bytes) -> str | None:
    """Why these bytes are not acceptable JSON, as a sentence for the caller; None where they are.

    Stricter than RFC 8259, as RFC 7493 (I-JSON): UTF-8 without a byte order mark, every member name once, finite
    numbers, no lone surrogates, and at most `MAX_DEPTH` deep.
    """
    try:
        text = body.decode()
        # A count is an upper bound of the depth, and nearly always enough to know.
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _too_deep(body):
            return f"it nests deeper than {MAX_DEPTH} levels"
        value = _DECODER.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except _Flaw as flaw:
        return str(flaw)
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair"
    except UnicodeDecodeError:
        return "it is not UTF-8"
    except (ValueError, RecursionError):
        return "it is not JSON"
    return None


def form_flaw(encoded: bytes, repeatable: Collection[str] = ()) -> str | None:
    """Why these bytes are no acceptable form or query: UTF-8, each field once (RFC 6749 §3.2), not too many."""
    try:
        fields = parse_qsl(encoded.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        return "a field is not UTF-8"
    except ValueError:
        return f"there are more than {MAX_FIELDS} fields"
    names = [name for name, _ in fields if name not in repeatable]
    return None if len(names) == len(set(names)) else "a field comes more than once"


def _unsupported(detail: str) -> Problem:
    return Problem(415, "unsupported_media_type", detail)


def _too_deep(body: bytes) -> bool:
    """Whether brackets outside strings nest deeper than `MAX_DEPTH`. No recursion and no loop over the bytes."""
    outside = b"".join(body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    brackets = outside.translate(_SQUARE, _OTHERS)
    if brackets.count(b"[") != brackets.count(b"]"):
        raise _Flaw("it is not JSON")
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Flaw("a member comes more than once")
    return members


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _no_number(digits)
    return number


def _no_number(_: str) -> NoReturn:
    raise _Flaw("a number is not finite")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_number, parse_float=_finite)

_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_OTHERS: Final = bytes(set(range(256)) - set(b"[]{}"))
