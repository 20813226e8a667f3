"""Reading a token's text strictly, where JWT libraries are lenient. Pure; knows no key and no time.

Refused, though signed correctly: base64 that is not the one text of its bytes, members that come twice, UTF-16, numbers
with a fraction, header members beyond `typ`, `alg` and `kid`, a `typ` that is no access token's, an audience list.
"""

import json
import re
from base64 import urlsafe_b64decode
from typing import Any, Final, NamedTuple, NoReturn

from session_ledger_client.claims import Claims
from session_ledger_client.errors import InvalidToken

MAX_LENGTH: Final = 8192
"""Characters; longer ones end before anything is decoded."""
TYPES: Final = ("at+jwt", "application/at+jwt")
"""RFC 9068 §2.1: an access token, and neither an ID token nor a logout token."""

_SEGMENT: Final = r"(?=[^.])((?:[A-Za-z0-9_-]{4})*+(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?)"
_TOKEN: Final = re.compile(rf"{_SEGMENT}\.{_SEGMENT}\.{_SEGMENT}")
_KID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_HEADER: Final = frozenset({"typ", "alg", "kid"})
_MAX_TIME: Final = 253_402_300_799


class Header(NamedTuple):
    """What names the key."""

    kid: str
    algorithm: str


class Segments(NamedTuple):
    """A token's three parts, still encoded."""

    header: str
    payload: str
    signature: str


def split(token: str) -> Segments:
    """Raises InvalidToken where this has not the form of a signed token."""
    found = _TOKEN.fullmatch(token) if len(token) <= MAX_LENGTH else None
    if found is None:
        raise InvalidToken("malformed")
    return Segments(found[1], found[2], found[3])


def decoded(segment: str) -> bytes:
    """The bytes of one part."""
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def header(segment: str) -> Header:
    """Raises InvalidToken for every header that a Session Ledger does not write."""
    members = _object(segment)
    kid, algorithm = members.get("kid"), members.get("alg")
    if members.keys() != _HEADER or members["typ"] not in TYPES:
        raise InvalidToken("header")
    if not isinstance(algorithm, str) or not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise InvalidToken("header")
    return Header(kid, algorithm)


def claims(segment: str, kid: str) -> Claims:
    """All claims that must be there, each of its type. Raises InvalidToken."""
    members = _object(segment)
    subject, client_id, sid = _text(members, "sub"), _text(members, "client_id"), _text(members, "sid", optional=True)
    issued_at, roles = _time(members, "iat"), members.get("roles", [])
    _check(
        # a user's token without its session could never be revoked
        (sid or subject == client_id)
        # a ledger writes no token for later
        and (_time(members, "nbf") if "nbf" in members else 0) <= issued_at
        and type(roles) is list
        and all(type(role) is str for role in roles)
    )
    return Claims(
        subject=subject,
        client_id=client_id,
        session_id=sid or None,
        token_id=_text(members, "jti"),
        issuer=_text(members, "iss"),
        audience=_text(members, "aud"),
        issued_at=issued_at,
        expires_at=_time(members, "exp"),
        auth_time=_time(members, "auth_time") if "auth_time" in members else None,
        scopes=frozenset(_text(members, "scope", optional=True).split()),
        roles=tuple(roles),
        key_id=kid,
        key_thumbprint=_thumbprint(members),
    )


def members(segment: str) -> dict[str, Any]:
    """What a part says. Raises InvalidToken for what is not one strict JSON object."""
    return _object(segment)


def _thumbprint(members: dict[str, Any]) -> str | None:
    """Of the key that the token is bound to (RFC 9449 §6.1); another way of binding it is one that we cannot check."""
    if "cnf" not in members:
        return None
    bound = members["cnf"]
    jkt = bound.get("jkt") if isinstance(bound, dict) and bound.keys() == {"jkt"} else None
    if not isinstance(jkt, str) or not _THUMBPRINT.fullmatch(jkt):
        raise InvalidToken("claims")
    return jkt


def _text(members: dict[str, Any], name: str, *, optional: bool = False) -> str:
    value = members.get(name)
    if type(value) is str and value:
        return value
    _check(optional and value is None)
    return ""


def _time(members: dict[str, Any], name: str) -> int:
    """A whole number of seconds; `True` is none."""
    value = members.get(name)
    if type(value) is int and 0 <= value <= _MAX_TIME:
        return value
    raise InvalidToken("claims")


def _check(holds: object) -> None:
    if not holds:
        raise InvalidToken("claims")


def _object(segment: str) -> dict[str, Any]:
    try:
        found = _DECODER.decode(decoded(segment).decode("utf-8"))
    except (ValueError, RecursionError):
        raise InvalidToken("malformed") from None
    if not isinstance(found, dict):
        raise InvalidToken("malformed")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _refuse(_text: str) -> NoReturn:
    raise ValueError("numbers are whole")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_float=_refuse, parse_constant=_refuse)
