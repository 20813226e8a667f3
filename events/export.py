"""Events as CSV, NDJSON or a JSON array: the same columns in each, a chunk for each page. Reads nothing itself."""

import csv
import io
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from events import ids
from events.catalogue import FAMILY, NOUN_OF
from events.history import Event
from events.spans import written

COLUMNS: Final = (
    "position",
    "at",
    "type",
    "family",
    "subject",
    "name",
    "client",
    "actor",
    "request",
    "jti",
    "reason",
    "ticket",
    "ip",
    "user_agent",
    "stream",
    "version",
    "body",
)
"""`name` is the login name of today, where it was given; `body` is the event as it is hashed."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
Names = Mapping[bytes, str]


class Format(NamedTuple):
    """How an export begins, goes on and ends."""

    name: str
    media_type: str
    opening: str
    chunk: Callable[[Iterable[dict[str, Any]], bool], str]
    """Rows as text; the flag says that they are the first ones."""
    closing: str


def row(event: Event, names: Names | None = None) -> dict[str, Any]:
    """One event as values by column; None where there is none."""
    fact = event.fact
    subject = getattr(fact, "subject", None) or None
    return {
        "position": event.position,
        "at": written(event.at),
        "type": fact.TYPE,
        "family": ids.to_text("fam", event.stream) if NOUN_OF[type(fact)] is FAMILY else None,
        "subject": subject,
        "name": (names or {}).get(ids.parse("sub", subject)) if subject else None,
        "client": getattr(fact, "client", "") or None,
        "actor": fact.actor,
        "request": fact.request or None,
        "jti": getattr(fact, "jti", None),
        "reason": getattr(fact, "reason", None),
        "ticket": getattr(fact, "ticket", None) or None,
        "ip": event.context.ip or None,
        "user_agent": event.context.agent or None,
        "stream": event.stream.hex(),
        "version": event.version,
        "body": event.body.decode(),
    }


async def rendered(
    form: Format, pages: AsyncIterable[list[Event]], names: Callable[[list[Event]], Awaitable[Names]] | None = None
) -> AsyncIterator[bytes]:
    """The whole export, a chunk for each page. Whatever the pages raise ends it unfinished, and is raised."""
    yield form.opening.encode()
    first = True
    async for events in pages:
        known = None if names is None else await names(events)
        yield form.chunk((row(event, known) for event in events), first).encode()
        first = first and not events
    yield form.closing.encode()


def inert(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: a quote before what would begin one (CWE-1236)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _csv(rows: Iterable[dict[str, Any]], _first: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerows({key: inert(value) for key, value in one.items()} for one in rows)
    return text.getvalue()


def _ndjson(rows: Iterable[dict[str, Any]], _first: bool) -> str:
    return "".join(f"{as_json(one)}\n" for one in rows)


def _array(rows: Iterable[dict[str, Any]], first: bool) -> str:
    texts = iter(rows)
    begun = [f"\n{as_json(one)}" for one in islice(texts, 1)] if first else []
    return "".join([*begun, *(f",\n{as_json(one)}" for one in texts)])


def as_json(one: dict[str, Any]) -> str:
    """A row as JSON; its body stands in it as it is stored."""
    return msgspec.json.encode(one | {"body": msgspec.Raw(one["body"].encode())}).decode()


CSV: Final = Format("csv", "text/csv; charset=utf-8; header=present", ",".join(COLUMNS) + "\r\n", _csv, "")
NDJSON: Final = Format("ndjson", "application/x-ndjson", "", _ndjson, "")
JSON: Final = Format("json", "application/json", "[", _array, "\n]\n")
FORMATS: Final[Mapping[str, Format]] = {form.name: form for form in (CSV, NDJSON, JSON)}
