"""Password hashes that other software made: which are taken, and whether a password is theirs. Pure, and slow."""

import hmac
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from hashlib import scrypt, sha256
from typing import Final, NamedTuple

import argon2
import bcrypt

MAX_MEMORY: Final = 256 * 1024 * 1024
"""Bytes that checking one password may take."""
MAX_PASSES: Final = 16
MAX_BCRYPT_COST: Final = 15
"""About two seconds."""
BCRYPT_BYTES: Final = 72
"""bcrypt never looked at more of a password, whoever called it; its library now says so instead."""
MAX_LENGTH: Final = 512

_ARGON2: Final = re.compile(
    r"\$argon2(id|i|d)\$v=19\$m=([1-9]\d{0,8}),t=([1-9]\d{0,3}),p=([1-9]\d{0,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,86}"
)
_BCRYPT: Final = re.compile(r"(sha256\$)?\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_SCRYPT: Final = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{1,86})\$([A-Za-z0-9+/]{22,171})"
)
_SCRYPT_DJANGO: Final = re.compile(
    r"scrypt\$([^$]{1,86})\$(\d{1,8})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9+/]{22,172}={0,2})"
)
_SCRYPT_WERKZEUG: Final = re.compile(r"scrypt:(\d{1,8}):(\d{1,2}):(\d{1,2})\$([^$]{1,86})\$([0-9a-f]{32,256})")


class _Scrypt(NamedTuple):
    n: int
    r: int
    p: int
    salt: bytes
    expected: bytes

    def bearable(self) -> bool:
        """RFC 7914 §2: N is a power of two above 1; and it costs what can be borne."""
        power = self.n > 1 and not self.n & (self.n - 1)
        return power and 1 <= self.p <= MAX_PASSES and self.r >= 1 and 128 * self.n * self.r <= MAX_MEMORY


def taken(text: str) -> str | None:
    """The hash as it is kept, or None for one that is not known here or costs too much to check.

    argon2 (PHC), bcrypt ($2a$, $2b$, $2y$), scrypt as passlib, Django and Werkzeug write it; with Django's prefixes.
    """
    if len(text) > MAX_LENGTH:
        return None
    kept = _without_prefix(text)
    return kept if _is_argon2(kept) or _is_bcrypt(kept) or _scrypt_of(kept) is not None else None


def is_foreign(kept: str) -> bool:
    """Whether this is a kept hash of a kind that we do not make."""
    return kept.startswith(("$2", "sha256$$2", "$scrypt$", "scrypt$", "scrypt:", "$argon2i$", "$argon2d$"))


def matches(kept: str, password: bytes) -> bool:
    """Whether a kept hash of a foreign kind is that of this password."""
    check = next((check for start, check in _CHECKS.items() if kept.startswith(start)), None)
    return check is not None and check(kept, password)


def _without_prefix(text: str) -> str:
    if text.startswith("argon2$argon2"):
        return text.removeprefix("argon2")
    if text.startswith("bcrypt_sha256$$2"):
        return text.removeprefix("bcrypt_")
    return text.removeprefix("bcrypt$") if text.startswith("bcrypt$$2") else text


def _is_argon2(kept: str) -> bool:
    found = _ARGON2.fullmatch(kept)
    if found is None:
        return False
    memory, passes, lanes = (int(number) for number in found.groups()[1:])
    return memory * 1024 <= MAX_MEMORY and passes <= MAX_PASSES and lanes <= MAX_PASSES and memory >= 8 * lanes


def _is_bcrypt(kept: str) -> bool:
    found = _BCRYPT.fullmatch(kept)
    return found is not None and 4 <= int(found[2]) <= MAX_BCRYPT_COST


def _scrypt_of(kept: str) -> _Scrypt | None:
    try:
        parsed = _scrypt_parsed(kept)
    except ValueError:
        return None
    return parsed if parsed is not None and parsed.bearable() else None


def _scrypt_parsed(kept: str) -> _Scrypt | None:
    if found := _SCRYPT.fullmatch(kept):
        n = 1 << int(found[1])
        return _Scrypt(n, int(found[2]), int(found[3]), _unpadded(found[4]), _unpadded(found[5]))
    if found := _SCRYPT_DJANGO.fullmatch(kept):
        expected = b64decode(found[5], validate=True)
        return _Scrypt(int(found[2]), int(found[3]), int(found[4]), found[1].encode(), expected)
    if found := _SCRYPT_WERKZEUG.fullmatch(kept):
        return _Scrypt(int(found[1]), int(found[2]), int(found[3]), found[4].encode(), bytes.fromhex(found[5]))
    return None


def _unpadded(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)


def _argon2(kept: str, password: bytes) -> bool:
    try:
        return argon2.PasswordHasher().verify(kept, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def _bcrypt(kept: str, password: bytes) -> bool:
    hashed = sha256(password).hexdigest().encode() if kept.startswith("sha256$") else password[:BCRYPT_BYTES]
    try:
        return bcrypt.checkpw(hashed, kept.removeprefix("sha256$").encode())
    except ValueError:
        return False


def _scrypt(kept: str, password: bytes) -> bool:
    parsed = _scrypt_of(kept)
    if parsed is None:
        return False
    n, r, p, salt, expected = parsed
    length = len(expected)
    return hmac.compare_digest(
        expected, scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=2 * MAX_MEMORY, dklen=length)
    )


_CHECKS: Final[Mapping[str, Callable[[str, bytes], bool]]] = {
    "$argon2": _argon2,
    "$2": _bcrypt,
    "sha256$$2": _bcrypt,
    "$scrypt$": _scrypt,
    "scrypt": _scrypt,
}
