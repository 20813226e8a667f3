"""Which passwords are good enough to set. Pure; the list of common ones is handed in. Hashes nothing."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

MIN_LENGTH: Final = 15
"""Code points, for a password that is the only factor (NIST SP 800-63B-4 §3.1.1.2, ASVS 6.2.1)."""
MAX_LENGTH: Final = 256
MAX_BYTES: Final = 1024
OWN: Final = 8
"""Code points that must be left beside names that everybody can guess."""
CONTEXT_WORDS: Final = ("session", "ledger", "dashboard", "console", "password", "passphrase", "admin", "staff", "auth")
"""ASVS 6.1.2: words of this product. The organisation's name and the host are added by configuration."""


class Reason(StrEnum):
    """Stable codes of what is wrong with a password."""

    NOT_TEXT = "password_not_text"
    TOO_SHORT = "password_too_short"
    TOO_LONG = "password_too_long"
    COMMON = "password_common"
    REPEATED = "password_repeated"
    GUESSABLE = "password_guessable"


class Weakness(NamedTuple):
    """Why a password was not taken, with a sentence for the person who typed it."""

    reason: Reason
    text: str


class Banned(NamedTuple):
    """What no password may be (`common`, folded) or consist of (`words`, folded)."""

    common: frozenset[str]
    words: tuple[str, ...] = CONTEXT_WORDS


_TEXTS: Final = {
    Reason.NOT_TEXT: "This password contains something that is not text.",
    Reason.TOO_SHORT: f"Use at least {MIN_LENGTH} characters. Four or five random words are easy to remember.",
    Reason.TOO_LONG: f"Use at most {MAX_LENGTH} characters.",
    Reason.COMMON: "This password is one of the first that are tried. Choose one that nobody else has.",
    Reason.REPEATED: "This password repeats itself. Choose one without repetition.",
    Reason.GUESSABLE: "This password is little more than a name that is easy to guess. Add words of your own.",
}
_LOOK_ALIKE: Final = str.maketrans("0134578@$!", "oieastbasi")
_JOINTS: Final = re.compile(r"[\W_]+")


def normalise(password: str) -> bytes | None:
    """The bytes that are hashed: NFC in UTF-8, otherwise exactly as received; None for what cannot be a password.

    NFC is the one exception from "as received" (NIST SP 800-63B-4 §3.1.1.2): keyboards differ in how they write é.
    """
    if len(password) > MAX_BYTES:
        return None
    try:
        data = unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        return None
    return data if len(data) <= MAX_BYTES else None


def fold(text: str) -> str:
    """Text as compared with lists: NFC, without case."""
    return unicodedata.normalize("NFC", text).casefold()


def check(password: str, *, name: str, banned: Banned) -> Weakness | None:
    """What is wrong with a new password of the user `name`; None if it may be set. No rules of composition."""
    reason = next(_found(password, name, banned), None)
    return None if reason is None else Weakness(reason, _TEXTS[reason])


def _found(password: str, name: str, banned: Banned) -> Iterator[Reason]:
    if len(password) > MAX_BYTES:
        yield Reason.TOO_LONG
    if any("\ud800" <= character <= "\udfff" for character in password[:MAX_BYTES]):
        yield Reason.NOT_TEXT
    length = len(unicodedata.normalize("NFC", password))
    if length < MIN_LENGTH:
        yield Reason.TOO_SHORT
    if length > MAX_LENGTH or normalise(password) is None:
        yield Reason.TOO_LONG
    folded = fold(password)
    if folded in banned.common:
        yield Reason.COMMON
    if _repeats(folded):
        yield Reason.REPEATED
    words = (*_parts(name), *map(fold, banned.words))
    if _guessable(folded, words) or _guessable(folded.translate(_LOOK_ALIKE), words):
        yield Reason.GUESSABLE


def _repeats(text: str) -> bool:
    """Whether the text is one piece, written at least twice; the last time may be cut."""
    return any(text[size:] == text[:-size] for size in range(1, len(text) // 2 + 1))


def _parts(name: str) -> Iterator[str]:
    """A login name, what stands before its @, their parts, and each of these backwards."""
    folded = fold(name)
    local = folded.partition("@")[0]
    for whole in dict.fromkeys((folded, local, *_JOINTS.split(local))):
        yield from (_JOINTS.sub("", whole), _JOINTS.sub("", whole)[::-1])


def _guessable(folded: str, words: Iterable[str]) -> bool:
    """Whether a known word is in it, and too little beside: `session-ledger-2026`, `alice.alice.99`."""
    rest = joined = _JOINTS.sub("", folded)
    for word in sorted({_JOINTS.sub("", w) for w in words}, key=len, reverse=True):
        if len(word) >= 3:
            rest = rest.replace(word, "\0")
    return rest != joined and len(rest.replace("\0", "")) < OWN
