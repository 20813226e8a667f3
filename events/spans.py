"""Readers for numbers, times and ages in a filter: points, and half-open stretches between them. Pure."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from events.values import Ago, Is, Meaning, Span, Times, Wrong

SECOND = 1_000_000
"""In microseconds, as all times of the ledger are."""
DAY = 86_400 * SECOND
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"[0-9]{1,6}[smhdw]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME = re.compile(r"([0-9-]{10})T([0-9:]{5})(:[0-9]{2})?(\.[0-9]{1,6})?Z?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,15}")
_MARKED = re.compile(r"(>=|<=|>|<)(.*)", re.DOTALL)
_EPOCH = datetime.fromtimestamp(0, UTC)

Edge: TypeAlias = int | Ago | None


class Stretch(NamedTuple):
    """From `low`, up to but not `high`."""

    low: Edge
    high: Edge


Point: TypeAlias = Callable[[str], Stretch | None]
"""Reads one point as the stretch that it names: a date is a day, a number is itself; None where it is no point."""


def moment(edge: Edge, now: int) -> int | None:
    """The time that is meant when it is `now`."""
    return now - edge.microseconds if isinstance(edge, Ago) else edge


def numbers(text: str, quoted: bool) -> Meaning | Wrong:
    """`41`, `>=41`, `>41`, `<=41`, `<41`, `1..10`, `1..*`, `*..10`."""
    match None if quoted else _stretch(text.removeprefix("#"), _number):
        case Stretch(int(low), int(high)) if high == low + 1:
            return Is(low)
        case Stretch(int() | None as low, int() | None as high):
            return Span(low, high)
        case _:
            return Wrong("takes a number such as `41`, or a range such as `>=10` or `10..20`")


def times(text: str, quoted: bool) -> Meaning | Wrong:
    """A duration is the time from then until now. Dates are UTC."""
    if not quoted and _DURATION.fullmatch(text):
        return Times(_duration(text), None)
    return _timed(text, quoted, _past)


def coming(text: str, quoted: bool) -> Meaning | Wrong:
    """As `times`, but a duration is the time from now until then."""
    if not quoted and _DURATION.fullmatch(text):
        return Times(Ago(0), Ago(-_duration(text).microseconds))
    return _timed(text, quoted, _future)


def ages(text: str, quoted: bool) -> Meaning | Wrong:
    """`>30d` began more than 30 days ago; a duration alone is at most so old."""
    if not quoted and _DURATION.fullmatch(text):
        return Times(_duration(text), None)
    found = None if quoted else _stretch(text, _age)
    return Wrong("takes an age such as `30d`, `>30d` or `7d..30d`") if found is None else Times(found.high, found.low)


def _timed(text: str, quoted: bool, point: Point) -> Meaning | Wrong:
    found = None if quoted else _stretch(text, point)
    if found is None:
        return Wrong("takes a time such as `2h`, `7d`, `2026-11-20` or `2026-11-20T09:30Z`, or a range of them")
    return Times(*found)


def _stretch(text: str, point: Point) -> Stretch | None:
    marked = _MARKED.fullmatch(text)
    if marked:
        found = point(marked[2])
        return None if found is None else _beside(marked[1], found)
    low, dots, high = text.partition("..")
    return _between(low, high, point) if dots else point(text)


def _beside(mark: str, found: Stretch) -> Stretch:
    match mark:
        case ">=":
            return Stretch(found.low, None)
        case ">":
            return Stretch(found.high, None)
        case "<":
            return Stretch(None, found.low)
        case _:
            return Stretch(None, found.high)


def _between(low: str, high: str, point: Point) -> Stretch | None:
    """`a..b` begins where a begins and ends where b begins; `*` is open, though not on both sides."""
    first = Stretch(None, None) if low == "*" else point(low)
    last = Stretch(None, None) if high == "*" else point(high)
    return None if first is None or last is None or low == high == "*" else Stretch(first.low, last.low)


def _number(text: str) -> Stretch | None:
    return Stretch(int(text), int(text) + 1) if _NUMBER.fullmatch(text) else None


def _age(text: str) -> Stretch | None:
    return Stretch(_duration(text), _duration(text)) if _DURATION.fullmatch(text) else None


def _past(text: str) -> Stretch | None:
    return _age(text) or _calendar(text)


def _future(text: str) -> Stretch | None:
    if _DURATION.fullmatch(text):
        edge = Ago(-_duration(text).microseconds)
        return Stretch(edge, edge)
    return _calendar(text)


def _duration(text: str) -> Ago:
    return Ago(int(text[:-1]) * _UNITS[text[-1]] * SECOND)


def _calendar(text: str) -> Stretch | None:
    """A date is its day; a date-time is its minute, second or fraction, as exactly as it is written."""
    try:
        if _DATE.fullmatch(text):
            day = _since_epoch(text)
            return Stretch(day, day + DAY)
        parts = _DATE_TIME.fullmatch(text)
        return None if parts is None else _clock(*parts.groups())
    except (ValueError, OverflowError):
        return None


def _clock(date: str, minute: str, second: str | None, fraction: str | None) -> Stretch | None:
    at = _since_epoch(f"{date}T{minute}{second or ''}")
    if fraction is None:
        return Stretch(at, at + (SECOND if second else 60 * SECOND))
    if second is None:
        return None
    digits = fraction[1:]
    at += int(digits.ljust(6, "0"))
    return Stretch(at, at + 10 ** (6 - len(digits)))


def _since_epoch(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def written(at: int) -> str:
    """A time as a filter takes it, exactly: `2026-11-20T09:30:00.000000Z`."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z")
