"""The registry of fields that can be asked for. Parser, help, suggestions, API and CLI are made from it. Pure.

A field that is not here does not exist; to add one, add its entry. Where it names a column of the table, or a field of
the facts, nothing else has to be written.
"""

import unicodedata
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final, NamedTuple

from events import catalogue, ids
from events.family import CONTEXT
from events.spans import ages, coming, numbers, times
from events.values import (
    Glob,
    Is,
    Login,
    Meaning,
    Reader,
    Span,
    Wrong,
    addresses,
    codes,
    exact,
    one_of,
    patterns,
    stream_ids,
    words,
)

JTI_LENGTH = 22
REQUEST_LENGTH = 16


class Field(NamedTuple):
    """One entry. Exactly one of `column`, `body`, `private` says where the value stands."""

    key: str
    meaning: str
    read: Reader
    examples: tuple[str, ...]
    column: str = ""
    """Of `events` or `families`."""
    also: str = ""
    """Another column that may hold it."""
    body: str = ""
    """A field of facts; only events whose fact has it can match."""
    private: str = ""
    """A field of the request's context, which expires."""
    indexed: bool = False
    """Whether it bounds a search by itself. Only exact values, sets and spans do; a pattern is a filter."""
    aliases: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    """What can be suggested."""


class FieldSet(NamedTuple):
    """The fields of one kind of thing, by key and alias."""

    name: str
    fields: tuple[Field, ...]
    by_name: Mapping[str, Field]

    def suggestions(self) -> tuple[str, ...]:
        """Terms to offer while somebody types: each known value, or the first example of a field."""
        return tuple(f"{field.key}:{value}" for field in self.fields for value in (field.values or field.examples[:1]))

    def nearest(self, key: str) -> str:
        """The field that a mistyped key may mean, or nothing."""
        return _nearest(key, self.by_name)


def _nearest(word: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(word, known, n=1, cutoff=0.7)
    return close[0] if close else ""


def field_set(name: str, *fields: Field) -> FieldSet:
    """Raises ValueError where two fields have one name."""
    by_name = {word: field for field in fields for word in (field.key, *field.aliases)}
    if len(by_name) != sum(1 + len(field.aliases) for field in fields):
        msg = f"two fields of {name} have one name"
        raise ValueError(msg)
    return FieldSet(name, fields, by_name)


OPS: Final = ("access", "create", "revoke", "fail", "admin")
_OP_OF_TYPE = {
    "token.issued": "access",
    "token.rotated": "access",
    "token.retried": "access",
    "token.refused": "fail",
    "token.reuse_detected": "fail",
    "family.context_changed": "access",
    "subject.login_succeeded": "access",
    "subject.login_failed": "fail",
    "subject.login_blocked": "fail",
    "subject.factor_asked": "access",
    "subject.factor_used": "access",
    "subject.recovery_code_used": "access",
    "subject.factor_failed": "fail",
    "dashboard.signed_in": "access",
    "dashboard.looked_up": "access",
    "dashboard.exported": "access",
    "dashboard.previewed": "access",
    "context.expired": "admin",
}
_OP_OF_ENDING = {
    "registered": "create",
    "created": "create",
    "revoked": "revoke",
    "expired": "revoke",
    "retired": "revoke",
    "disabled": "revoke",
    "erased": "revoke",
}


def op_of(type_: str) -> str:
    """What kind of thing happened: one of `OPS`."""
    return _OP_OF_TYPE.get(type_) or _OP_OF_ENDING.get(type_.rpartition(".")[2], "admin")


TYPES: Final[Mapping[str, int]] = {name: fact.CODE for name, fact in catalogue.BY_TYPE.items()}
_OPS: Mapping[str, tuple[int, ...]] = {
    op: tuple(sorted(code for name, code in TYPES.items() if op_of(name) == op)) for op in OPS
}


def types_with(field: str) -> tuple[int, ...]:
    """Codes of the facts that have a field."""
    return tuple(sorted(fact.CODE for fact in catalogue.FACTS if field in fact.__struct_fields__))


def folded(name: str) -> str:
    """A login name as it is compared: NFC and case-folded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def people(text: str, quoted: bool) -> Meaning | Wrong:
    """A subject's id, or a login name."""
    stream = ids.from_text("sub", text)
    if stream is not None:
        return Is(stream)
    read = exact(text, quoted)
    return read if isinstance(read, Wrong) else Login(folded(text))


def actors(text: str, quoted: bool) -> Meaning | Wrong:
    """Who caused it; `staff:` takes an id, a login name, or `*` for all of them."""
    kind, _, name = text.partition(":")
    if name == "*" and not quoted:
        return Span(f"{kind}:", f"{kind};")
    if kind == "staff" and name and ids.from_text("sub", name) is None:
        read = exact(name, quoted)
        return read if isinstance(read, Wrong) else Login(folded(name), "staff:")
    return exact(text, quoted)


def contexts(text: str, _quoted: bool) -> Meaning | Wrong:
    """What can change of a context; facts hold several in one text."""
    word = text.lower()
    return Glob(("", word, "")) if word in CONTEXT else Wrong("does not know this value", _nearest(word, _CONTEXT))


def _enum(known: Mapping[str, int | str | tuple[int, ...]]) -> Reader:
    return one_of(known, lambda word: _nearest(word, known))


_CONTEXT = dict.fromkeys(CONTEXT)
_FAMILY = f"fam_{'a' * 26}"
_USER = Field(
    "user",
    "Whose session it is: the login name of today, or the id",
    people,
    ("alice", f"sub_{'a' * 26}"),
    column="subject",
    indexed=True,
    aliases=("subject",),
)

EVENTS: Final = field_set(
    "events",
    Field(
        "type",
        "What happened",
        _enum(TYPES),
        ("token.reuse_detected", "token.*"),
        column="type",
        indexed=True,
        values=(*TYPES, *sorted({f"{name.partition('.')[0]}.*" for name in TYPES})),
    ),
    Field("op", "What kind of thing happened", _enum(_OPS), ("fail",), column="type", indexed=True, values=OPS),
    _USER,
    Field("family", "The session's events", stream_ids("fam"), (_FAMILY,), column="stream", indexed=True),
    Field("client", "The application", words, ("web", "mobile*"), column="client", indexed=True),
    Field(
        "actor",
        "Who caused it: `subject` is the user",
        actors,
        ("policy", "staff:alice", "client:*"),
        column="actor",
        indexed=True,
        values=("subject", "policy", "system", "cli", "staff:*", "client:*"),
    ),
    Field(
        "ip", "Where the request came from", addresses, ("203.0.113.7", "203.0.113.0/24"), private="ip", indexed=True
    ),
    Field("ua", "User agent, or a part of it", patterns, ("Firefox", "*Chrome/1*Windows*"), private="agent"),
    Field(
        "request",
        "Our id of the request",
        codes(REQUEST_LENGTH, "an id"),
        ("AAAAAAAAAAAAAAAA",),
        column="request",
        indexed=True,
    ),
    Field("jti", "Id of an access token", codes(JTI_LENGTH, "a jti"), ("A" * JTI_LENGTH,), column="jti", indexed=True),
    Field(
        "action",
        "What staff did at once: its own events and all that it did",
        stream_ids("act"),
        (f"act_{'a' * 26}",),
        column="action",
        also="stream",
        indexed=True,
    ),
    Field("reason", "Why: the code that the event gives", words, ("reuse", "user_*"), body="reason", indexed=True),
    Field("ticket", "Number of the incident", words, ("INC-4711",), body="ticket", indexed=True),
    Field(
        "changed",
        "What was other than at the use before, whether the client's policy let it be, refused it or ended the session",
        contexts,
        ("country",),
        body="changed",
        values=CONTEXT,
    ),
    Field("at", "When", times, ("24h", "2026-11-20", "2026-11-20T09:30Z..2h", ">=2026-11-01"), column="at"),
    Field(
        "position",
        "Place in the log",
        numbers,
        ("48213", "48000..48500"),
        column="position",
        indexed=True,
        aliases=("seq",),
    ),
)

_STATES: Mapping[str, str] = {
    "living": "living",
    "active": "living",
    "revoked": "revoked",
    "expired": "expired",
    "ended": "ended",
    "suspicious": "suspicious",
}
_MARKS: Mapping[str, str] = {
    "reuse": "reuse",
    "refusals": "refusals",
    "device": "device",
    "device_change": "device_change",
    "network_change": "network_change",
    "country_change": "country_change",
}

FAMILIES: Final = field_set(
    "families",
    Field(
        "is",
        "State; `suspicious` is where a token was used twice or a rule ended it",
        _enum(_STATES),
        ("living", "suspicious"),
        column="status",
        values=tuple(_STATES),
    ),
    Field(
        "has",
        "`reuse`: a used token came again; `refusals`: a genuine token was refused; `device`: it has a name; "
        "`device_change` and its like: its token came from another one than before, whether that was let be or not",
        _enum(_MARKS),
        ("reuse",),
        column="reused_at",
        values=tuple(_MARKS),
    ),
    _USER._replace(indexed=False),
    Field("family", "The session itself", stream_ids("fam"), (_FAMILY,), column="id"),
    Field("client", "The application", words, ("web", "mobile*"), column="client"),
    Field("reason", "Why it ended", words, ("reuse", "user_*"), column="ended_reason"),
    Field("by", "Who ended it", actors, ("policy", "staff:alice"), column="ended_by"),
    Field("gen", "How often it rotated, from 1", numbers, (">100", "1"), column="generation"),
    Field("age", "How long ago it began", ages, (">30d", "7d..30d"), column="started_at"),
    Field("started", "When it began", times, ("24h", "2026-11-20"), column="started_at"),
    Field("used", "When it was last refreshed", times, ("1h", "<2026-11-01"), column="rotated_at"),
    Field("ends", "When it ends at the latest", coming, ("1d", "<2026-12-01"), column="ends_at"),
    Field("ended", "When it ended", times, ("24h",), column="ended_at"),
)
