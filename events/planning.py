"""From a query to a plan: names looked up, times turned into positions, the rarest way chosen. Reads a little."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events import schema
from events.arms import (
    EVENTS,
    MOST_ARMS,
    PRIVATE,
    Arm,
    Plan,
    Way,
    Window,
    addresses,
    chosen,
    conditions,
    networks_of,
    rarity,
    ways,
)
from events.conditions import People, any_of, unindexed
from events.filters import Query, Term, Value
from events.positions import positions_at
from events.spans import moment
from events.values import Is, Span, Times

_MOST_WINDOWS: Final = 8


async def planned(connection: AsyncConnection, query: Query, now: int, size: int, client: str | None = None) -> Plan:
    """How to find what the query asks for below the position `size`. `client`: of this client's events only."""
    if client is not None:
        own = Term("client", (Value(client, quoted=True, meaning=Is(client)),))
        query = query._replace(terms=(*query.terms, own))
    people = await looked_up(connection, query)
    places = await _places(connection, query, now, size)
    windows = _windows(query, places, now, size)
    hull = Window(windows[0].low, windows[-1].high) if windows else Window(0, 0)
    way = await _rarest(connection, ways(query, people), hull)
    rest = conditions(query, people, way and way.term)
    if len(windows) > _MOST_WINDOWS:
        rest, windows = (*rest, _inside(windows)), [hull]
    return Plan(way.arms if way else (Arm(EVENTS),), rest, tuple(windows), _span(query, now))


async def looked_up(connection: AsyncConnection, query: Query) -> People:
    """Whose the login names of a query are."""
    if not query.logins:
        return {}
    owners = schema.subjects.c
    rows = await connection.execute(select(owners.name, owners.id).where(owners.name.in_(query.logins)))
    return {row[0]: row[1] for row in rows}


async def _rarest(connection: AsyncConnection, found: Sequence[Way], hull: Window) -> Way | None:
    if len(found) == 1 and found[0].ordered:
        return found[0]
    if not found or hull.low >= hull.high:
        return None
    counts = (await connection.execute(rarity(found, hull))).one()
    usable = [one if n < one.sample else await _ordered(connection, one) for one, n in zip(found, counts, strict=True)]
    return chosen(usable, tuple(counts), hull)


async def _ordered(connection: AsyncConnection, way: Way) -> Way:
    """A network that too much came from to sort it goes address by address, where it has few of them."""
    arms: list[Arm] = []
    for one in [] if way.ordered else networks_of(way.field, way.term):
        singly = [one.value] if isinstance(one, Is) else (await connection.execute(addresses(one))).scalars()
        arms += [Arm(PRIVATE, PRIVATE.c.ip == address) for address in singly]
    return way._replace(arms=tuple(arms)) if 0 < len(arms) <= MOST_ARMS else way


def _times(query: Query) -> Iterable[tuple[Term, Times]]:
    for term in query.terms:
        for value in term.values:
            if isinstance(value.meaning, Times):
                yield term, value.meaning


async def _places(connection: AsyncConnection, query: Query, now: int, size: int) -> Mapping[int, int]:
    """Each time that the query names, with its position."""
    edges = {moment(edge, now) for _, times in _times(query) for edge in times}
    known = sorted(edge for edge in edges if edge is not None)
    return dict(zip(known, await positions_at(connection, known, size), strict=True))


def _windows(query: Query, places: Mapping[int, int], now: int, size: int) -> list[Window]:
    """The positions that times and positions leave: apart from each other, oldest first."""
    windows = [Window(0, size)]
    for term in query.terms:
        if term.key in {"at", "position"}:
            named = _joined(_stretch(value, places, now, size) for value in term.values)
            windows = _common(windows, _apart(named, size) if term.exclude else named)
    return windows


def _stretch(value: Value, places: Mapping[int, int], now: int, size: int) -> Window:
    match value.meaning:
        case Times(low, high):
            first, last = moment(low, now), moment(high, now)
            return Window(0 if first is None else places[first], size if last is None else places[last])
        case Span(int() | None as low, int() | None as high):
            return Window(low or 0, size if high is None else min(high, size))
        case Is(int(position)):
            return Window(position, min(position + 1, size))
        case _:
            return Window(0, 0)


def _joined(windows: Iterable[Window]) -> list[Window]:
    kept: list[Window] = []
    for window in sorted(w for w in windows if w.low < w.high):
        if kept and window.low <= kept[-1].high:
            kept[-1] = Window(kept[-1].low, max(kept[-1].high, window.high))
        else:
            kept.append(window)
    return kept


def _apart(windows: list[Window], size: int) -> list[Window]:
    """What lies between them."""
    edges = [0, *(edge for window in windows for edge in window), size]
    return [Window(low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if low < high]


def _common(ones: list[Window], others: list[Window]) -> list[Window]:
    both = (Window(max(a.low, b.low), min(a.high, b.high)) for a in ones for b in others)
    return sorted(window for window in both if window.low < window.high)


def _inside(windows: list[Window]) -> ColumnElement[bool]:
    position = unindexed(EVENTS.c.position)
    return any_of([and_(position >= window.low, position < window.high) for window in windows])


def _span(query: Query, now: int) -> tuple[int | None, int | None]:
    """From when until when the query asks, where it says so."""
    asked = [times for term, times in _times(query) if not term.exclude]
    lows, highs = ([moment(times[side], now) for times in asked] for side in (0, 1))
    low = None if not lows or None in lows else min(edge for edge in lows if edge is not None)
    high = None if not highs or None in highs else max(edge for edge in highs if edge is not None)
    return low, high
