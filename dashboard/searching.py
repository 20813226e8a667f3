"""What a page of the audit log is asked for, as it stands in its URL, and the URLs of other pages. Pure."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlencode

from litestar.exceptions import ValidationException

from dashboard import way
from events.fields import EVENTS, FieldSet
from events.filters import Mistake, Query, Term, parse
from events.spans import moment, written
from events.values import Times

LOG: Final = "/dashboard/events"
WINDOWS: Final = (("1h", "1 hour"), ("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"))
WHOLE: Final = "position:>=0"
"""Everything: a bound that bounds nothing."""
PRESETS: Final = (
    ("Reuse today", "type:token.reuse_detected at:24h"),
    ("Kills", "type:family.revoked actor:policy,cli,staff:* at:7d"),
    ("Failed refreshes", "type:token.refused,token.reuse_detected at:24h"),
    ("Sign-in failures", "type:subject.login_failed,subject.login_blocked,subject.factor_failed at:24h"),
    ("Staff actions", "actor:staff:* at:7d"),
    ("Key events", "type:key.* at:30d"),
)


class Asked(NamedTuple):
    """The parameters of a page."""

    text: str
    """The query as typed."""
    query: Query | Mistake
    before: int | None = None
    after: int | None = None
    as_of: int | None = None
    around: int | None = None
    """Not a search: what stands around this position."""
    live: bool = False
    facets: bool = False
    day: str = ""
    """Of the row above, where more rows are asked for."""


class Chip(NamedTuple):
    """One value of the query, and the page without it."""

    term: Term
    without: str


def asked(parameters: Mapping[str, str]) -> Asked:
    """Read the URL. Raises ValidationException where a position is none."""
    text = parameters.get("q", "")
    return Asked(
        text,
        parse(text),
        before=way.whole(parameters.get("before", "")),
        after=way.whole(parameters.get("after", "")),
        as_of=way.whole(parameters.get("as_of", "")),
        around=way.whole(parameters.get("around", "")),
        live="live" in parameters,
        facets="facets" in parameters,
        day=parameters.get("day", ""),
    )


def narrowed(query: Query, parameters: Mapping[str, str]) -> Query | None:
    """The query with what a click on a cell adds (`in`) or takes out (`out`), None where nothing was clicked."""
    clicked = parameters.get("in") or parameters.get("out")
    if not clicked:
        return None
    key, _, value = clicked.partition(":")
    try:
        return query.with_(key, value, exclude="in" not in parameters)
    except (KeyError, ValueError):
        raise ValidationException from None


def link(query: Query | str, **more: object) -> str:
    """The page of a query."""
    text = query if isinstance(query, str) else query.text()
    asked = {"q": text} if text else {}
    given = asked | {key: str(value) for key, value in more.items() if value is not None}
    return f"{LOG}?{urlencode(given, safe=':,.*~')}" if given else LOG


def chips(query: Query) -> list[Chip]:
    """Each value with the way to get rid of it."""
    return [Chip(chip, link(query.without(chip))) for chip in query.chips()]


def windows(query: Query) -> list[tuple[str, str, bool]]:
    """Other times to search: words, page, whether it is the one."""
    now = query.term("at")
    here = now.values[0].text if now and len(now.values) == 1 else ""
    return [(words, link(query.only("at", code)), here == code) for code, words in WINDOWS]


def pinned(query: Query, now: int) -> Query:
    """The query with "the last 24 hours" written as times, so that it means tomorrow what it means now."""
    term = query.term("at")
    meaning = term.values[0].meaning if term and len(term.values) == 1 else None
    if not isinstance(meaning, Times):
        return query
    edges = (moment(meaning.low, now), moment(meaning.high, now))
    fixed = query.only("at", "..".join("*" if edge is None else written(edge) for edge in edges))
    return fixed if isinstance(parse(fixed.text()), Query) else query


def corrected(mistake: Mistake, fields: FieldSet = EVENTS) -> str:
    """What may have been meant, as a whole query; empty where nothing is guessed that would help."""
    if not mistake.meant:
        return ""
    begin, rest = mistake.text[: mistake.position], mistake.text[mistake.position + mistake.length :]
    text = f"{begin}{mistake.meant.removesuffix(':') if rest.startswith(':') else mistake.meant}{rest}"
    left = parse(text, fields)
    return "" if isinstance(left, Mistake) and left.position <= mistake.position else text
