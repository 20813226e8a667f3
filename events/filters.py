"""The filter language: text to query and back. Pure; what fields there are is in `fields.py`, SQL in `search.py`.

Terms of different keys must all hold, values of one key are alternatives, `-` excludes. A mistake is a value that says
where it is and what may have been meant.
"""

import re
from typing import Final, NamedTuple

from events import ids
from events.fields import EVENTS, JTI_LENGTH, REQUEST_LENGTH, TYPES, FieldSet
from events.spans import written
from events.values import Login, Meaning, Wrong, as_code, as_network

MAX_LENGTH: Final = 512
MAX_TERMS: Final = 24
DEFAULT_WINDOW: Final = "24h"
"""What `at` is added with where nothing else bounds a search."""
_KEY = re.compile(r"[A-Za-z_]+(?=:)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PLAIN = re.compile(r"[^\s,]+")
_MARKED = re.compile(r'[\s,"\\*]|\.\.|^[<>#]|^$')


class Mistake(NamedTuple):
    """Why a text is no query. `position` counts characters from 0."""

    text: str
    position: int
    length: int
    message: str
    meant: str = ""

    def told(self) -> str:
        """The message as one sentence, with what may have been meant."""
        return f"{self.message} Did you mean `{self.meant}`?" if self.meant else self.message

    def caret(self) -> str:
        """Two lines for a terminal: the text, and marks below what is wrong."""
        return f"{self.text}\n{' ' * self.position}{'^' * max(1, self.length)}"


class Value(NamedTuple):
    """One value of a term as it is written, without quotes, and what it means."""

    text: str
    quoted: bool
    meaning: Meaning

    def written(self) -> str:
        """As it stands in a query."""
        return quote(self.text) if self.quoted else self.text


class Term(NamedTuple):
    """What must hold of one field, or must not."""

    key: str
    values: tuple[Value, ...]
    exclude: bool = False

    def text(self) -> str:
        """`-user:alice,bob`."""
        return f"{'-' if self.exclude else ''}{self.key}:{','.join(value.written() for value in self.values)}"


class Query(NamedTuple):
    """What to look for. At most one term for each key, and one that excludes."""

    fields: FieldSet = EVENTS
    terms: tuple[Term, ...] = ()

    def text(self) -> str:
        """The one text of this query: parsed again, it gives the same query."""
        return " ".join(term.text() for term in self.terms)

    def chips(self) -> tuple[Term, ...]:
        """The terms cut into single values, each of which can be taken away."""
        return tuple(Term(term.key, (value,), term.exclude) for term in self.terms for value in term.values)

    def without(self, gone: Term) -> "Query":
        """The query less the values of a term, or of a chip."""
        left = (
            term._replace(values=tuple(value for value in term.values if value not in gone.values))
            if (term.key, term.exclude) == (gone.key, gone.exclude)
            else term
            for term in self.terms
        )
        return self._replace(terms=tuple(term for term in left if term.values))

    def with_(self, key: str, value: str, *, exclude: bool = False) -> "Query":
        """The query and one more literal value, as a click on a cell adds it; it leaves the other side, if it is there.

        Raises ValueError where the field does not exist or takes no such value.
        """
        added = self._term(key, value, quoted=bool(_MARKED.search(value)), exclude=exclude)
        return _merged(self.fields, (*self.without(added._replace(exclude=not exclude)).terms, added))

    def only(self, key: str, text: str) -> "Query":
        """The query with one field asked for anew, as a bar of the histogram does with `at`. Marks are marks here."""
        added = self._term(key, text, quoted=False, exclude=False)
        left = (term for term in self.terms if term.key != added.key or term.exclude)
        return self._replace(terms=(*left, added))

    def between(self, key: str, low: int, high: int) -> "Query":
        """The query with a field of times asked for anew: from `low`, up to but not `high`, both in microseconds."""
        return self.only(key, f"{written(low)}..{written(high)}")

    @property
    def logins(self) -> frozenset[str]:
        """Login names that it asks for, whole ones, in their compared form."""
        meanings = (value.meaning for term in self.terms for value in term.values)
        return frozenset(meaning.name for meaning in meanings if isinstance(meaning, Login))

    def term(self, key: str, *, exclude: bool = False) -> Term | None:
        """What is asked of a field."""
        return next((term for term in self.terms if (term.key, term.exclude) == (key, exclude)), None)

    def _term(self, key: str, text: str, *, quoted: bool, exclude: bool) -> Term:
        field = self.fields.by_name[key]
        meaning = field.read(text, quoted)
        if isinstance(meaning, Wrong):
            msg = f"{field.key} {meaning.message}"
            raise ValueError(msg)  # noqa: TRY004 - what is wrong is the text
        return Term(field.key, (_value(field.key, text, quoted=quoted, meaning=meaning),), exclude)


def quote(text: str) -> str:
    """As a value in quotes, so that nothing in it is a mark."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse(text: str, fields: FieldSet = EVENTS) -> Query | Mistake:
    """The query that a text writes. Any text gives one or the other; nothing is raised."""
    if len(text) > MAX_LENGTH:
        return Mistake(text, MAX_LENGTH, 1, f"A query has at most {MAX_LENGTH} characters.")
    terms: list[Term] = []
    scan = _Scan(text, fields)
    while scan.more():
        found = scan.term()
        if isinstance(found, Mistake):
            return found
        terms.append(found)
        if len(terms) > MAX_TERMS:
            return scan.mistake(scan.began, f"A query has at most {MAX_TERMS} terms.")
    return _whole(text, _merged(fields, tuple(terms)))


def _whole(text: str, query: Query) -> Query | Mistake:
    """Written out (`#7` is `position:7`) and with a bound in time, a query may be longer than typed; it must fit."""
    most = query if "at" not in query.fields.by_name or query.term("at") else query.only("at", DEFAULT_WINDOW)
    if len(most.text()) > MAX_LENGTH or len(most.terms) > MAX_TERMS:
        return Mistake(
            text, 0, len(text), f"Written out, this query has more than {MAX_LENGTH} characters or {MAX_TERMS} terms."
        )
    return query


def _merged(fields: FieldSet, terms: tuple[Term, ...]) -> Query:
    values: dict[tuple[str, bool], dict[Value, None]] = {}
    for term in terms:
        values.setdefault((term.key, term.exclude), {}).update(dict.fromkeys(term.values))
    return Query(fields, tuple(Term(key, tuple(found), exclude) for (key, exclude), found in values.items()))


class _Scan:
    """Goes through a text term by term."""

    def __init__(self, text: str, fields: FieldSet) -> None:
        self.text = text
        self.fields = fields
        self.at = 0
        self.began = 0

    def more(self) -> bool:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        self.began = self.at
        return self.at < len(self.text)

    def term(self) -> Term | Mistake:
        exclude = self.text.startswith("-", self.at)
        self.at += exclude
        bare = _bare(self._word(), self.fields)
        if bare is not None:
            self.at += len(self._word())
            key, value = bare
            return Term(key, (value,), exclude)
        named = _KEY.match(self.text, self.at)
        return self._unknown() if named is None else self._keyed(named[0], exclude)

    def mistake(self, position: int, message: str, meant: str = "") -> Mistake:
        return Mistake(self.text, position, max(1, self.at - position), message, meant)

    def _word(self) -> str:
        return self.text[self.at :].split(maxsplit=1)[0] if self.text[self.at : self.at + 1].strip() else ""

    def _unknown(self) -> Mistake:
        begin, word = self.at, self._word()
        self.at += len(word)
        if not word:
            return self.mistake(self.began, "There is nothing behind the minus.")
        if word.lower() in TYPES and "type" in self.fields.by_name:
            return self.mistake(begin, "A value needs its field.", f"type:{word.lower()}")
        hint = f"user:{quote(word) if _MARKED.search(word) else word}" if word.isalnum() or "@" in word else ""
        return self.mistake(begin, "This is no id, address or event number, and there is no search for text.", hint)

    def _keyed(self, key: str, exclude: bool) -> Term | Mistake:
        begin = self.at
        self.at += len(key)
        field = self.fields.by_name.get(key.lower())
        if field is None:
            near = self.fields.nearest(key.lower())
            return self.mistake(begin, f"There is no field `{key}` for {self.fields.name}.", near and f"{near}:")
        self.at += 1
        values: list[Value] = []
        while True:
            value = self._value(field.key)
            if isinstance(value, Mistake):
                return value
            values.append(value)
            if not self.text.startswith(",", self.at):
                return Term(field.key, tuple(dict.fromkeys(values)), exclude)
            self.at += 1

    def _value(self, key: str) -> Value | Mistake:
        begin = self.at
        found = self._text()
        if isinstance(found, Mistake):
            return found
        text, quoted = found
        if not all(character.isprintable() or character.isspace() for character in text):
            return self.mistake(begin, f"The value of `{key}` holds something unprintable.")
        meaning = self.fields.by_name[key].read(text, quoted)
        if isinstance(meaning, Wrong):
            return self.mistake(begin, f"`{key}` {meaning.message}.", meaning.meant and f"{key}:{meaning.meant}")
        return _value(key, text, quoted=quoted, meaning=meaning)

    def _text(self) -> tuple[str, bool] | Mistake:
        begin = self.at
        quoted = self.text.startswith('"', begin)
        found = (_QUOTED if quoted else _PLAIN).match(self.text, begin)
        if found is None:
            self.at = len(self.text) if quoted else begin
            return self.mistake(begin, "The quotation mark is never closed." if quoted else "The value is missing.")
        self.at = found.end()
        if quoted and self.text[self.at : self.at + 1].strip(" \t\r\n,"):
            return self.mistake(self.at, "Behind a quoted value stands a space or a comma.")
        text = _ESCAPED.sub(r"\1", found[1]) if quoted else found[0]
        return (text, quoted) if text else self.mistake(begin, "The value is empty.")


def _value(key: str, text: str, *, quoted: bool, meaning: Meaning) -> Value:
    """One text for one meaning, where it is ours to choose."""
    if key in {"type", "op", "is", "has"}:
        text = text.lower()
    if key == "position":
        text = text.removeprefix("#")
    network = as_network(text) if key == "ip" else None
    if network is not None:
        text = str(network.network_address) if network.num_addresses == 1 else str(network)
    return Value(text, quoted and bool(_MARKED.search(text)), meaning)


def _bare(word: str, fields: FieldSet) -> tuple[str, Value] | None:
    """A value that says by its shape which field it is of."""
    for key in _shapes(word):
        if key in fields.by_name:
            meaning = fields.by_name[key].read(word, False)
            return None if isinstance(meaning, Wrong) else (key, _value(key, word, quoted=False, meaning=meaning))
    return None


def _shapes(word: str) -> list[str]:
    shapes = {
        "position": re.fullmatch(r"#[0-9]{1,15}", word),
        "family": ids.from_text("fam", word),
        "user": ids.from_text("sub", word),
        "action": ids.from_text("act", word),
        "ip": as_network(word) if re.search(r"[.:]", word) else None,
        "jti": as_code(word, JTI_LENGTH),
        "request": as_code(word, REQUEST_LENGTH),
    }
    return [key for key, found in shapes.items() if found is not None]
