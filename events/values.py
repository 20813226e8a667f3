"""What the value of a filter means, and the readers for words, ids and networks. Pure; those for times: `spans.py`."""

import base64
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

from events import ids

SHORTEST_ID = 12
"""Characters of a stream id that must stand before a `*`: fewer would be a stretch of time, not an id."""
SHORTEST_CODE = 6
"""The same of a jti or request id, which are random from the first character."""


class Is(NamedTuple):
    """Exactly this, as it is stored."""

    value: int | str | bytes


class AnyOf(NamedTuple):
    """One of these codes."""

    values: tuple[int, ...]


class Span(NamedTuple):
    """From `low`, up to but not `high`; None is open. Bytes are compared as bytes."""

    low: int | bytes | str | None
    high: int | bytes | str | None


class Network(NamedTuple):
    """All addresses from the first to the last, both of 4 bytes or both of 16."""

    first: bytes
    last: bytes


class Glob(NamedTuple):
    """These parts in this order, with anything between them; upper and lower case of ASCII are the same."""

    parts: tuple[str, ...]


class Login(NamedTuple):
    """Whoever has this login name now; `prefix` stands before the id where that is a part of a text (`staff:sub_…`)."""

    name: str
    prefix: str = ""


class Ago(NamedTuple):
    """So many microseconds before the moment of asking; after it where negative."""

    microseconds: int


class Times(NamedTuple):
    """From `low`, up to but not `high`, in microseconds since the epoch; None is open."""

    low: int | Ago | None
    high: int | Ago | None


class Wrong(NamedTuple):
    """Why a text is no value of its field, and what may have been meant."""

    message: str
    meant: str = ""


Meaning: TypeAlias = Is | AnyOf | Span | Network | Glob | Login | Times
Reader: TypeAlias = Callable[[str, bool], Meaning | Wrong]
"""Reads a text; the flag says that it was quoted, so that nothing in it is a mark."""


def exact(text: str, quoted: bool) -> Meaning | Wrong:
    """The exact text."""
    return Wrong("takes no `*`; quote the value to mean it literally") if "*" in text and not quoted else Is(text)


def words(text: str, quoted: bool) -> Meaning | Wrong:
    """The exact text, or a pattern with `*`."""
    return glob(text) if "*" in text and not quoted else Is(text)


def patterns(text: str, quoted: bool) -> Meaning | Wrong:
    """A pattern; a text without `*` is looked for anywhere inside."""
    return glob(text) if "*" in text and not quoted else Glob(("", text, ""))


def glob(text: str) -> Glob:
    """The pattern that a text with `*` writes."""
    return Glob(tuple(re.split(r"\*+", text)))


def one_of(known: Mapping[str, int | str | tuple[int, ...]], suggest: Callable[[str], str]) -> Reader:
    """One of our own words, in any case; a pattern means all words that are like it, where each stands for a code."""

    def read(text: str, quoted: bool) -> Meaning | Wrong:
        word = text.lower()
        if "*" in word and not quoted:
            return _like(word, known)
        match known.get(word):
            case None:
                return Wrong("does not know this value", suggest(word))
            case tuple() as codes:
                return AnyOf(codes)
            case code:
                return Is(code)

    return read


def _like(pattern: str, known: Mapping[str, int | str | tuple[int, ...]]) -> Meaning | Wrong:
    expression = re.compile(".*".join(map(re.escape, glob(pattern).parts)))
    codes = sorted({code for name, code in known.items() if isinstance(code, int) and expression.fullmatch(name)})
    return AnyOf(tuple(codes)) if codes else Wrong("knows no value that is like this")


def addresses(text: str, _quoted: bool) -> Meaning | Wrong:
    """An IP address, or a network as `203.0.113.0/24`."""
    network = as_network(text)
    if network is None:
        return Wrong("takes an address such as `203.0.113.7`, or a network such as `203.0.113.0/24`")
    first, last = network.network_address.packed, network.broadcast_address.packed
    return Is(first) if first == last else Network(first, last)


def as_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The address or network that the text writes, or None."""
    try:
        return None if "%" in text else ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def without_overlap(networks: Iterable[Is | Network]) -> list[Is | Network]:
    """The same addresses, none of them named twice: of two networks, one holds the other or they are apart."""
    spans = {one if isinstance(one, Network) else Network(_bytes(one), _bytes(one)) for one in networks}
    kept: list[Network] = []
    for span in sorted(spans, key=lambda one: (len(one.first), one.first, -int.from_bytes(one.last, "big"))):
        held = kept and len(kept[-1].first) == len(span.first) and span.last <= kept[-1].last
        if not held:
            kept.append(span)
    return [Is(one.first) if one.first == one.last else one for one in kept]


def _bytes(exactly: Is) -> bytes:
    return exactly.value if isinstance(exactly.value, bytes) else b""


def stream_ids(prefix: str) -> Reader:
    """A public id such as `fam_…`, or its beginning and a `*`."""

    def read(text: str, quoted: bool) -> Meaning | Wrong:
        stream = ids.from_text(prefix, text)
        if stream is not None:
            return Is(stream)
        begun = re.fullmatch(rf"{prefix}_([a-z2-7]{{{SHORTEST_ID},25}})\*", text)
        if begun and not quoted:
            return _beginning([base64.b32decode(f"{c}AAAAAAA".upper())[0] >> 3 for c in begun[1]], 5)
        return Wrong(f"takes an id such as `{prefix}_…`, whole or its first {SHORTEST_ID} characters and `*`")

    return read


def codes(length: int, what: str) -> Reader:
    """Random bytes as base64url, or the beginning and a `*`. `length` is that of the text."""

    def read(text: str, quoted: bool) -> Meaning | Wrong:
        code = as_code(text, length)
        if code is not None:
            return Is(code)
        begun = re.fullmatch(rf"([A-Za-z0-9_-]{{{SHORTEST_CODE},{length - 1}}})\*", text)
        if begun and not quoted:
            return _beginning([base64.urlsafe_b64decode(f"{c}AAA")[0] >> 2 for c in begun[1]], 6)
        return Wrong(f"takes {what} of {length} characters, or its first {SHORTEST_CODE} and `*`")

    return read


def as_code(text: str, length: int) -> bytes | None:
    """The bytes of a base64url text of exactly this length; None unless it is the one text for them."""
    if len(text) != length or not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        return None
    code = base64.urlsafe_b64decode(text + "=" * (-length % 4))
    return code if base64.urlsafe_b64encode(code).decode().rstrip("=") == text else None


def _beginning(digits: list[int], bits: int) -> Span:
    """All byte strings whose text begins with these digits of so many bits each."""
    number, length = 0, len(digits) * bits
    for digit in digits:
        number = number << bits | digit
    width = (length + 7) // 8
    low, high = number << (8 * width - length), (number + 1) << (8 * width - length)
    return Span(low.to_bytes(width, "big"), high.to_bytes(width, "big") if high < 1 << 8 * width else None)
