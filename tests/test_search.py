"""Searching the log and its families: the same as going through everything, along one index, in a bounded time.

What SQLite is asked for its plan, and interrupted, is about SQLite: PostgreSQL plans by what it has counted, and ends
a statement by itself.
"""

import asyncio
import ipaddress
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as happening
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import arms, budget, ids, planning, selections, tallies
from events.budget import TooSlow
from events.catalogue import FAMILY, NOUN_OF
from events.families import FamilyReader
from events.family import Family
from events.family_search import FamilySearch
from events.fields import EVENTS, FAMILIES, FieldSet
from events.filters import Query, Value, parse
from events.history import Event, HistoryReader
from events.ledger import Unavailable
from events.positions import positions_at
from events.search import EventSearch, bounded
from events.spans import moment
from events.store import Store
from events.tallies import Count
from events.values import AnyOf, Glob, Is, Login, Meaning, Network, Span, Times
from tests.databases import Stores
from tests.many_events import ADDRESSES, AGENTS, CLIENTS, PEOPLE, REASONS, many_events
from tests.tables import beside

T = TypeVar("T")


@pytest.fixture(scope="session")
def filled(stores: Stores) -> Store:
    """Written once, then only read."""
    store = stores.fresh()
    beside(many_events(store))
    return store


@pytest.fixture
async def engine(filled: Store) -> AsyncIterator[AsyncEngine]:
    opened = filled.readers()
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
        case "action":
            part_of = getattr(fact, "action", "")
            return ids.parse("act", part_of) if part_of else event.stream
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
        case Span():
            low, high = meaning.low or 0, 2**62 if meaning.high is None else meaning.high
            return isinstance(low, int) and isinstance(high, int) and isinstance(value, int) and low <= value < high
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
        "action": [*some("action")[:3], ids.to_text("act", streams[0])],
        "ticket": ["INC-1", "inc-*", "INC-2"],
        "changed": ["device", "network", "country"],
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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


async def plans(engine: AsyncEngine, work: Callable[[], Awaitable[object]]) -> list[str]:
    """What the database does for each statement of a piece of work."""
    said: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        said.append((statement, parameters))

    happening.listen(engine.sync_engine, "before_cursor_execute", note)
    await work()
    happening.remove(engine.sync_engine, "before_cursor_execute", note)
    found: list[str] = []
    async with engine.connect() as connection:
        for statement, parameters in said:
            if statement.lstrip().startswith(("SELECT", "WITH")):
                rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                found += rows.scalars(3).all()
    return found


INDEXES = {
    "user:alice": "events_subject",
    "user:alice,bob -client:web ua:Firefox": "events_subject",
    "type:token.reuse_detected": "events_type",
    "type:token.*": "events_type",
    "op:fail at:2h": "events_type",
    "client:web": "events_client",
    "actor:policy": "events_actor",
    "actor:staff:*": "events_actor",
    "ip:203.0.113.7": "event_private_ip",
    "ip:203.0.113.0/24 type:token.*": "event_private_ip",
    "ip:2001:db8::/32": "event_private_ip",
    "reason:reuse": "events_type",
    "ticket:INC-1": "events_type",
    "jti:AAAAAAAAAAAAAAAAAAAAAA": "events_jti",
    "jti:AAAAAA*": "events_jti",
    "request:AAAAAAAAAAAAAAAA": "events_request",
    f"family:{ids.to_text('fam', bytes(16))}": "sqlite_autoindex_events_1",
    f"action:{ids.to_text('act', bytes(16))}": "events_action",
    "": "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    "at:2d..1d ua:Firefox": "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    "position:100..200": "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    "client:mobile* -user:alice": "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    "actor:subject": "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
}


@pytest.mark.parametrize("words", INDEXES)
async def test_a_search_goes_along_an_index_and_never_through_the_whole_log(
    words: str, engine: AsyncEngine, search: EventSearch, told: Told, on_sqlite: None
) -> None:
    query = asked(words)

    async def everything() -> None:
        await search.page(query, told.now, counted=True)
        await search.page(query, told.now, before=200)
        await search.page(query, told.now, after=200)
        await search.histogram(query, told.now)
        await search.facets(query, told.now)

    found = await plans(engine, everything)
    assert [] == [step for step in found if re.match(r"SCAN (events|event_private|context)\b", step)]
    assert any(INDEXES[words] in step for step in found)


@pytest.mark.parametrize(
    "words",
    [
        "ip:" + ",".join(f"::{n:x}" for n in range(100)),
        "ip:" + ",".join(f"::{n:x}" for n in range(80)) + " #1 #3 #5 #7 #9 #11 #13 #15",
        "ip:" + ",".join(f"::{n:x}" for n in range(45)) + " #1 #3 #5 #7 #9 #11 #13 #15",
        "user:" + ",".join("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") * 3,
        "-user:" + ",".join(f"{n}" for n in range(100, 220)),
        "client:" + ",".join(f"{n}" for n in range(100, 220)) + " position:" + ",".join("13579"),
        "position:" + ",".join(f"{n}" for n in range(0, 240, 2)),
        "-position:" + ",".join(f"{n}" for n in range(0, 200, 2)) + " type:*",
        "type:*,token.*,family.* op:access,create,revoke,fail,admin -at:1d at:2w",
        "at:" + ",".join(f"{n}d..{n - 1}d" for n in range(60, 2, -2)),
        "ua:" + "*a" * 200 + " at:2w",
    ],
)
async def test_the_widest_queries_are_answered_too(words: str, search: EventSearch, told: Told) -> None:
    query = asked(words)
    wanted = [e.position for e in reversed(told.events) if holds(bounded(query), e, told.people, told.now)]
    assert wanted == await all_pages(search, query, told.now, limit=200)
    assert len(wanted) == sum(quick(await search.histogram(query, told.now)).counts)


@pytest.mark.parametrize("arms_at_most", [48, 1])
@pytest.mark.parametrize(
    "words",
    [
        "ip:203.0.113.0/24",
        "ip:0.0.0.0/0",
        "ip:::/0 type:token.*",
        "ip:203.0.113.0/24,2001:db8::/32 at:2d",
        "ip:9.9.9.0/24",
    ],
)
async def test_a_network_that_too_much_came_from_to_sort_it_is_searched_address_by_address(
    words: str, arms_at_most: int, search: EventSearch, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arms, "_SORTABLE", 1)
    for module in (arms, planning):  # with one, there are too many addresses, and the log is gone through
        monkeypatch.setattr(module, "MOST_ARMS", arms_at_most)
    query = asked(words)
    wanted = [e.position for e in reversed(told.events) if holds(bounded(query), e, told.people, told.now)]
    assert wanted == await all_pages(search, query, told.now)
    assert Count(len(wanted), capped=False) == await search.count(query, told.now)
    assert len(wanted) == sum(quick(await search.histogram(query, told.now)).counts)


async def test_a_network_with_few_addresses_goes_along_their_index(
    engine: AsyncEngine, search: EventSearch, told: Told, monkeypatch: pytest.MonkeyPatch, on_sqlite: None
) -> None:
    monkeypatch.setattr(arms, "_SORTABLE", 1)
    query = asked("ip:203.0.113.0/24")
    found = await plans(engine, lambda: search.page(query, told.now, counted=True))
    assert [] == [step for step in found if re.match(r"SCAN (events|event_private|context)\b", step)]
    assert [] == [step for step in found if "INTEGER PRIMARY KEY (rowid<?)" in step or "rowid>? AND rowid<?" in step]
    assert any("event_private_ip (ip=?" in step for step in found)


async def test_a_time_is_found_by_bisection_on_the_primary_key(engine: AsyncEngine, told: Told) -> None:
    times = [0, told.events[0].at, told.events[99].at, told.events[99].at + 1, told.now, 2**62]
    wanted = [next((e.position for e in told.events if e.at >= at), len(told.events)) for at in times]
    async with engine.connect() as connection:
        assert wanted == await positions_at(connection, times, len(told.events))
        assert [min(place, 50) for place in wanted] == await positions_at(connection, times, 50)
        assert [] == await positions_at(connection, [], 50)


@pytest.mark.parametrize(
    ("words", "answered"),
    [
        ("", "at:24h"),
        ("ua:Firefox", "ua:Firefox at:24h"),
        ("-user:alice", "-user:alice at:24h"),
        ("-at:2h", "-at:2h at:24h"),
        ("client:mobile*", "client:mobile* at:24h"),
        ("client:web,mobile*", "client:web,mobile* at:24h"),
        ("actor:subject", "actor:subject at:24h"),
        ("user:alice", "user:alice"),
        ("at:2h", "at:2h"),
        ("#7", "position:7"),
    ],
)
def test_a_search_that_nothing_bounds_gets_a_bound_that_can_be_seen(words: str, answered: str) -> None:
    assert answered == bounded(asked(words)).text()


async def test_a_page_says_which_query_it_answers(search: EventSearch, told: Told) -> None:
    page = quick(await search.page(asked(""), told.now))
    assert ("at:24h", True, len(told.events)) == (page.query.text(), page.added, page.size)
    assert not quick(await search.page(page.query, told.now)).added


async def test_pages_upwards_meet_the_pages_downwards(search: EventSearch, told: Told) -> None:
    query = asked("client:web at:2w")
    first = quick(await search.page(query, told.now, limit=10))
    assert first.newer is None
    assert first.older is not None
    second = quick(await search.page(query, told.now, before=first.older, limit=10))
    back = quick(await search.page(query, told.now, after=second.newer, limit=10))
    assert [e.position for e in first.events] == [e.position for e in back.events]
    assert (first.older, None) == (back.older, back.newer)


async def test_as_of_shows_the_log_as_it_was(search: EventSearch, told: Told) -> None:
    query = asked("at:2w")
    page = quick(await search.page(query, told.now, as_of=100, limit=500, counted=True))
    assert (list(range(99, -1, -1)), Count(100, capped=False), 100) == (
        [e.position for e in page.events],
        page.total,
        page.size,
    )


async def test_a_client_sees_its_own_events_whatever_it_asks(search: EventSearch, told: Told) -> None:
    own = {e.position for e in told.events if getattr(e.fact, "client", None) == "web"}
    for words in ("at:2w", "-client:web at:2w", "client:mobile-ios", "type:token.*", "user:alice", "ip:0.0.0.0/0"):
        page = quick(await search.page(asked(words), told.now, client="web", limit=500))
        assert {e.position for e in page.events} <= own
    assert own == {
        e.position for e in quick(await search.page(asked("at:2w"), told.now, client="web", limit=500)).events
    }


@pytest.mark.parametrize("words", ["user:alice type:token.reuse_detected", "user:nobody", "client:web", "at:2w"])
async def test_a_page_counts_what_a_count_counts(words: str, search: EventSearch, told: Told) -> None:
    for limit in (5, 500):
        page = quick(await search.page(asked(words), told.now, limit=limit, counted=True))
        assert page.total == await search.count(asked(words), told.now)


async def test_a_count_stops_at_its_cap_and_says_so(
    search: EventSearch, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "COUNT_CAP", 10)
    for words in ("at:2w", "client:web"):
        assert Count(10, capped=True) == await search.count(asked(words), told.now)
    assert ("10+", "1,000", "0") == (
        str(Count(10, capped=True)),
        str(Count(1000, capped=False)),
        str(Count(0, capped=False)),
    )


async def test_a_histogram_over_its_cap_begins_where_it_is_complete(
    search: EventSearch, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "HISTOGRAM_CAP", 20)
    own = [e.at for e in told.events if getattr(e.fact, "client", None) == "web"]
    bars = quick(await search.histogram(asked("client:web at:2w"), told.now, bars=24))
    assert (True, own[-21], 21, 24) == (bars.capped, bars.edges[0], sum(bars.counts), len(bars.counts))


async def test_a_bar_is_a_link_to_what_it_counts(search: EventSearch, told: Told) -> None:
    query = asked("op:fail at:2w")
    bars = quick(await search.histogram(query, told.now, bars=24))
    narrowed = [query.between("at", low, high) for low, high in pairwise(bars.edges)]
    assert bars.counts == [quick(await search.count(one, told.now)).number for one in narrowed]


async def test_facets_count_the_newest_and_are_links(search: EventSearch, told: Told) -> None:
    query = asked("at:2w user:alice")
    facets = quick(await search.facets(query, told.now))
    for key, values in facets.values.items():
        for value, number in values:
            found = quick(await search.count(query.with_(key, value), told.now))
            assert (key, value, number) == (key, value, found.number)


async def test_around_a_moment_every_other_filter_is_dropped(search: EventSearch) -> None:
    assert list(range(110, 89, -1)) == [e.position for e in quick(await search.around(100))]
    assert [2, 1, 0] == [e.position for e in quick(await search.around(0, each=2))]


async def test_neighbours_are_of_the_same_stream_and_the_same_request(search: EventSearch, told: Told) -> None:
    of_one = [e for e in told.events if e.stream == told.events[-1].stream]
    beside = quick(await search.neighbours(of_one[-1]))
    assert (of_one[-2].position if len(of_one) > 1 else None, None) == (beside.previous, beside.following)
    asked_for = next(e for e in told.events if e.fact.request)
    assert [asked_for.position] == [e.position for e in quick(await search.neighbours(asked_for)).request]
    assert [] == quick(await search.neighbours(told.events[0])).request


async def test_a_tail_reads_on_behind_a_position(search: EventSearch, told: Told) -> None:
    wanted = [e.position for e in told.events if e.position > 300 and getattr(e.fact, "client", None) == "web"]
    found = quick(await search.tail(asked("client:web"), told.now, 300, limit=5))
    assert wanted[:5] == [e.position for e in found]
    assert [] == quick(await search.tail(asked(""), told.now, len(told.events)))


# The budget.

SLOW = "WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
"""Never ends."""


async def _never(connection: AsyncConnection) -> object:
    return (await connection.execute(text(SLOW))).scalar_one()


async def _one(connection: AsyncConnection) -> object:
    return (await connection.execute(text("SELECT 1"))).scalar_one()


@pytest.mark.alone
async def test_a_query_that_takes_too_long_is_interrupted_and_its_connection_stays_usable(filled: Store) -> None:
    engine = filled.readers(connections=1)
    began = time.monotonic()
    assert TooSlow(0.2) == await budget.within(engine, _never, 0.2)
    assert time.monotonic() - began < 1.5
    assert [1, 1] == [await budget.within(engine, _one, 0.2), await budget.within(engine, _one, 0.2)]
    await engine.dispose()


async def test_many_short_queries_have_one_budget_together(engine: AsyncEngine, on_sqlite: None) -> None:
    async def on_and_on(connection: AsyncConnection) -> object:
        while True:
            await connection.execute(text(SLOW.replace("FROM n)", "FROM n LIMIT 200000)")))

    assert TooSlow(0.2) == await budget.within(engine, on_and_on, 0.2)


async def test_a_caller_that_goes_away_takes_its_query_along(filled: Store) -> None:
    engine = filled.readers(connections=1)
    waiting = asyncio.create_task(budget.within(engine, _never, 30))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert 1 == await asyncio.wait_for(budget.within(engine, _one), 2)
    await engine.dispose()


async def test_a_query_that_is_wrong_is_not_called_slow(engine: AsyncEngine) -> None:
    async def wrong(connection: AsyncConnection) -> object:
        return await connection.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(Unavailable):
        await budget.within(engine, wrong)


async def test_an_export_that_is_too_slow_is_not_cut_short_silently(filled: Store, told: Told, on_sqlite: None) -> None:
    engine = filled.readers()

    def slow(words: str | None) -> str | None:
        time.sleep(0.05)
        return words

    @happening.listens_for(engine.sync_engine, "connect")
    def replace(connection: Any, _record: object) -> None:
        connection.run_async(lambda driver: driver.create_function("lower", 1, slow))

    search = EventSearch(engine, seconds=0.3)
    assert TooSlow(0.3) == await search.page(asked("at:2w ua:none"), told.now)
    with pytest.raises(Unavailable):
        _ = [page async for page in search.export(asked("at:2w ua:none"), told.now, 400)]
    await engine.dispose()


# Families.


FAMILY_WORDS = (
    "",
    "is:living",
    "is:active client:web",
    "is:ended -reason:idle",
    "is:suspicious",
    "is:revoked,expired",
    "-is:living -has:reuse",
    "has:reuse,refusals",
    "-has:device",
    "user:alice",
    "-user:alice,nobody",
    "user:nobody",
    "client:mobile*",
    "gen:>20",
    "gen:1",
    "gen:2..40",
    "age:>2d",
    "age:12h..3d",
    "started:2d",
    "used:1d",
    "-used:1d",
    "ends:26d",
    "ended:1d",
    "-ended:1d",
    "ended:<1d",
    "reason:user_*",
    "reason:reuse",
    "by:policy",
    "by:staff:*",
    "by:staff:alice",
)


def _family_holds(query: Query, one: Family, people: dict[str, bytes], now: int) -> bool:
    for term in query.terms:
        field = query.fields.by_name[term.key]
        found = any(_family_means(field.key, getattr(one, field.column), v, one, people, now) for v in term.values)
        if found == term.exclude:
            return False
    return True


def _family_means(key: str, value: object, asked_for: Value, one: Family, people: dict[str, bytes], now: int) -> bool:
    states = {
        "living": one.status == "living",
        "active": one.status == "living",
        "revoked": one.status == "revoked",
        "expired": one.status == "expired",
        "ended": one.status != "living",
        "suspicious": bool(one.reused_at) or one.ended_by == "policy",
        "reuse": bool(one.reused_at),
        "refusals": bool(one.refusals),
        "device": bool(one.device),
    }
    if key in {"is", "has"}:
        return states[asked_for.text]
    if isinstance(asked_for.meaning, Times) and not value:
        return False
    return _means(asked_for.meaning, value, people, now, asked_for.text)


@pytest.mark.parametrize("words", FAMILY_WORDS)
async def test_families_found_are_those_that_going_through_all_of_them_finds(
    words: str, engine: AsyncEngine, told: Told
) -> None:
    query, families = asked(words, FAMILIES), FamilySearch(engine)
    every = await FamilyReader(engine).slice_after(b"", 1_000)
    wanted = [one.id for one in reversed(every) if _family_holds(query, one, told.people, told.now)]
    found: list[bytes] = []
    before: bytes | None = None
    while True:
        page = quick(await families.page(query, told.now, before=before, limit=7, counted=True))
        found += [row.family.id for row in page.rows]
        assert page.total == Count(len(wanted), capped=False)
        if page.older is None:
            break
        before = page.older
    assert wanted == found
    living = {one.id for one in every if one.living}
    assert [one for one in wanted if one in living] == await families.living(query, told.now, 1_000)
    assert Count(len(wanted), capped=False) == await families.count(query, told.now)


async def test_a_selection_is_counted_as_going_through_it_counts(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    families = FamilySearch(engine)
    every = await FamilyReader(engine).slice_after(b"", 1_000)
    picked = every[::2]
    monkeypatch.setattr(selections, "RANKED", 2)
    found = await families.made_of([*(one.id for one in picked), bytes(16)])
    users, clients = Counter(one.subject for one in picked), Counter(one.client for one in picked)

    assert (len(users) - 2, len(clients) - 2) == (found.other_users, found.other_clients)
    assert [users[one] for one, _ in found.users] == [count for _, count in found.users] == _most(users)
    assert [clients[one] for one, _ in found.clients] == [count for _, count in found.clients] == _most(clients)
    assert len(picked) == found.families
    assert sum(not one.living for one in picked) == found.ended > 0
    assert max(one.access_until for one in picked) == found.access_until
    assert 0 == found.staff
    for nothing in ([], [bytes(16)]):
        assert selections.Picked(0, [], 0, [], 0, 0, 0, 0) == await families.made_of(nothing)


def _most(counts: Counter[Any]) -> list[int]:
    return [count for _, count in counts.most_common(2)]


async def test_a_family_is_shown_with_the_name_of_its_subject(engine: AsyncEngine, told: Told) -> None:
    page = quick(await FamilySearch(engine).page(asked("user:alice", FAMILIES), told.now))
    assert {"alice"} == {row.name for row in page.rows}
