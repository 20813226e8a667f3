import asyncio
import ipaddress
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.many_events import ADDRESSES, AGENTS, BEGAN, CLIENTS, PEOPLE, REASONS, many_events
from sqlalchemy import event as happening
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import budget, ids, sqlite
from events.budget import TooSlow
from events.catalogue import FAMILY, NOUN_OF
from events.family_search import FamilyPage, FamilySearch
from events.fields import EVENTS, FAMILIES, FieldSet
from events.filters import Query, parse
from events.history import Event, HistoryReader
from events.positions import positions_at
from events.search import EventSearch, bounded
from events.spans import SECOND, moment
from events.tallies import Count
from events.values import AnyOf, Glob, Is, Login, Meaning, Network, Span, Times

T = TypeVar("T")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """Written once, then only read."""
    folder = tmp_path_factory.mktemp("filled")
    database = folder / "ledger.db"
    database.write_bytes(empty_database.read_bytes())
    asyncio.run(_filled(database))
    return database


async def _filled(database: Path) -> None:
    await many_events(database)


@pytest.fixture
async def engine(filled: Path) -> AsyncIterator[AsyncEngine]:
    opened = sqlite.read_engine(filled)
    yield opened
    await opened.dispose()


@pytest.fixture
def search(engine: AsyncEngine) -> EventSearch:
    return EventSearch(engine)


class Told:
    """All events, oldest first, and a moment after the last."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.now = events[-1].at + 1
        self.people = {event.account.name: event.stream for event in events if event.account.name}

    def __repr__(self) -> str:
        return f"{len(self.events)} events"


@pytest.fixture
async def told(engine: AsyncEngine) -> Told:
    return Told(await HistoryReader(engine).after(-1, 10_000))


def asked(words: str, fields: FieldSet = EVENTS) -> Query:
    query = parse(words, fields)
    assert isinstance(query, Query), query
    return query


def quick(answer: T | TooSlow) -> T:
    assert not isinstance(answer, TooSlow)
    return answer


# What a query means, said once more: event by event, in Python.


def _field(event: Event, key: str) -> object:  # noqa: C901 - a case each
    fact = event.fact
    match key:
        case "type" | "op":
            return fact.CODE
        case "user":
            named = getattr(fact, "subject", "")
            return ids.parse("sub", named) if named else None
        case "family":
            return event.stream
        case "ip":
            return ipaddress.ip_address(event.context.ip).packed if event.context.ip else None
        case "ua":
            return event.context.agent or None
        case "request" | "jti":
            code = getattr(fact, key, "")
            return code or None
        case "at":
            return event.at
        case "position":
            return event.position
        case _:
            return getattr(fact, key, None) or None


def _means(  # noqa: C901 - a case each
    meaning: Meaning, value: object, people: dict[str, bytes], now: int, written: str
) -> bool:
    match meaning:
        case Is(bytes()) if isinstance(value, str):
            return value == written
        case Is(wanted):
            return value == wanted
        case AnyOf(wanted_codes):
            return value in wanted_codes
        case Span() if isinstance(value, str) and written.endswith("*"):
            return value.startswith(written[:-1])
        case Span() if isinstance(value, bytes):
            return ids.to_text("fam", value).startswith(written[:-1])
        case Span(int() | None as low, int() | None as high):
            assert isinstance(value, int)
            return (low is None or value >= low) and (high is None or value < high)
        case Network(first, last):
            assert isinstance(value, bytes)
            return len(value) == len(first) and first <= value <= last
        case Glob(parts):
            assert isinstance(value, str)
            return re.fullmatch(".*".join(re.escape(_low(part)) for part in parts), _low(value), re.DOTALL) is not None
        case Login(name, prefix):
            stream = people.get(name)
            return stream is not None and value == (prefix + ids.to_text("sub", stream) if prefix else stream)
        case Times(begin, end):
            assert isinstance(value, int)
            earliest, latest = moment(begin, now), moment(end, now)
            return (earliest is None or value >= earliest) and (latest is None or value < latest)
        case _:
            raise AssertionError(meaning)


def _low(words: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in words)


def holds(query: Query, event: Event, people: dict[str, bytes], now: int) -> bool:
    for term in query.terms:
        value = _field(event, term.key)
        found = value is not None and any(_means(v.meaning, value, people, now, v.text) for v in term.values)
        if found == term.exclude:
            return False
    return True


async def all_pages(search: EventSearch, query: Query, now: int, limit: int = 37) -> list[int]:
    """Every page, from the newest to the oldest."""
    before: int | None = None
    found: list[int] = []
    while True:
        page = quick(await search.page(query, now, before=before, limit=limit))
        found += [event.position for event in page.events]
        if page.older is None:
            return found
        before = page.older


def _values(everything: list[Event]) -> dict[str, list[str]]:
    def some(key: str) -> list[str]:
        said = {getattr(event.fact, key, "") for event in everything}
        return sorted(said - {""})[:12]

    streams = sorted({e.stream for e in everything if NOUN_OF[type(e.fact)] is FAMILY})[:8]
    families = [ids.to_text("fam", stream) for stream in streams]
    codes = [*some("jti"), *some("request")]
    return {
        "type": [*sorted({e.fact.TYPE for e in everything}), "token.*", "*.re*", "*"],
        "op": ["access", "create", "revoke", "fail", "admin"],
        "user": [*(f'"{name}"' for name in PEOPLE), "ALICE", "nobody", some("subject")[0]],
        "family": [*families, f"{families[0][:20]}*"],
        "client": [*CLIENTS, "none", "mobile*", "*_*", "*I*O*"],
        "actor": [
            "subject",
            "policy",
            "system",
            "cli",
            "staff:alice",
            "staff:*",
            "client:*",
            "staff:nobody",
            *some("actor"),
        ],
        "ip": [*(a for a in ADDRESSES if a), "203.0.113.0/24", "0.0.0.0/0", "::/0", "2001:db8::/64", "203.0.113.0/25"],
        "ua": ['"fox"', "*chrome*100%*", "*[x]", "sonde", "*ÉÜ", '"é"', "*_*", *(f'"{a}"' for a in AGENTS if a)],
        "reason": [*REASONS, "user_*", "idle", "none"],
        "ticket": ["INC-1", "inc-*", "INC-2"],
        "request": [c for c in codes if len(c) == 16][:4] + [f"{c[:7]}*" for c in codes if len(c) == 16][:2],
        "jti": [c for c in codes if len(c) == 22][:4] + [f"{c[:6]}*" for c in codes if len(c) == 22][:2],
        "at": [
            "15m",
            "2h",
            "1d",
            "2d..1h",
            "2027-01-15",
            "2027-01-15T08:30Z..12h",
            "<3d",
            ">=2027-01-16",
            "2w",
            "*..1d",
        ],
        "position": ["7", "0", "399999", "100..200", ">=350", "<12", ">300", "<=20", "*..50", "390..*"],
    }


KEYS = tuple(field.key for field in EVENTS.fields)
TERMS = st.lists(
    st.tuples(
        st.sampled_from(KEYS), st.sampled_from(["", "", "-"]), st.lists(st.integers(0, 99), min_size=1, max_size=3)
    ),
    max_size=4,
)


def _query(terms: list[tuple[str, str, list[int]]], values: dict[str, list[str]]) -> Query:
    words = ((sign, key, (values[key][n % len(values[key])] for n in numbers)) for key, sign, numbers in terms)
    return asked(" ".join(f"{sign}{key}:{','.join(some)}" for sign, key, some in words))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(terms=TERMS)
async def test_a_search_finds_exactly_what_going_through_all_events_finds(
    terms: list[tuple[str, str, list[int]]], search: EventSearch, told: Told
) -> None:
    query = _query(terms, _values(told.events))
    wanted = [e.position for e in reversed(told.events) if holds(bounded(query), e, told.people, told.now)]
    assert wanted == await all_pages(search, query, told.now)
    assert Count(len(wanted), capped=False) == await search.count(query, told.now)
    bars = quick(await search.histogram(query, told.now))
    assert len(wanted) == sum(bars.counts)
    facets = quick(await search.facets(query, told.now))
    assert len(wanted) == sum(number for _, number in facets.values["type"])
    pages = search.export(bounded(query), told.now, len(told.events), at_once=41)
    assert wanted[::-1] == [event.position async for events in pages for event in events]
