"""Numbers about what a plan finds: how many, when, and with which values. All of them stop counting somewhere."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Subquery, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events import catalogue
from events.arms import EVENTS, Plan, Window, positions
from events.positions import positions_at

COUNT_CAP: Final = 1_000
FACET_CAP: Final = 1_000
HISTOGRAM_CAP: Final = 5_000
FILTERED_CAP: Final = 2_000
"""Of a histogram, where rows must be read to know whether they match."""


class Count(NamedTuple):
    """How many match; where `capped`, more than that."""

    number: int
    capped: bool

    def __str__(self) -> str:
        return f"{self.number:,}+" if self.capped else f"{self.number:,}"


class Histogram(NamedTuple):
    """How many match in each of several equal stretches of time. Empty where nothing matches."""

    edges: list[int]
    """In microseconds, one more than there are counts."""
    counts: list[int]
    capped: bool
    """Whether only the newest were counted; then the first edge is where they begin."""


class Facets(NamedTuple):
    """Which values the newest matches have, the most frequent first, as a filter takes them."""

    values: dict[str, list[tuple[str, int]]]
    of: Count
    """How many matches were looked at."""


async def count(connection: AsyncConnection, plan: Plan, window: Window) -> Count:
    """Matches in a window."""
    if plan.plain:
        number = _within(plan.windows, *window)
    else:
        few = _newest(plan, window, COUNT_CAP)
        number = (await connection.execute(select(func.count()).select_from(few))).scalar_one()
    return _capped(number, COUNT_CAP)


async def facets(connection: AsyncConnection, plan: Plan, size: int) -> Facets:
    """Types, clients and actors."""
    newest = select(_newest(plan, Window(0, size), FACET_CAP).c.position)
    columns = (EVENTS.c.type, EVENTS.c.client, EVENTS.c.actor)
    query = select(*columns, func.count()).where(EVENTS.c.position.in_(newest)).group_by(*columns)
    rows = (await connection.execute(query)).all()
    return Facets(_ranked(rows), _capped(sum(row[3] for row in rows), FACET_CAP))


async def histogram(connection: AsyncConnection, plan: Plan, size: int, now: int, bars: int) -> Histogram:
    """Matches by time, from where the query or the newest matches begin until where it ends, or now.

    Only positions are read, most of them from the index alone: where the bars begin is found by bisection.
    """
    found: Sequence[int] = ()
    cap = FILTERED_CAP if plan.rest else HISTOGRAM_CAP
    if not plan.plain:
        newest = positions(plan, Window(0, size), cap + 1)
        found = (await connection.execute(newest)).scalars().all()[::-1]
    elif plan.windows:
        found = (plan.windows[0].low, plan.windows[-1].high - 1)
    if not found:
        return Histogram([], [], capped=False)
    capped = len(found) > cap
    edges = await _edges(connection, (None, plan.span[1]) if capped else plan.span, found, now, bars)
    places = await positions_at(connection, edges, size)
    counts = [
        _within(plan.windows, low, high) if plan.plain else bisect_left(found, high) - bisect_left(found, low)
        for low, high in pairwise(places)
    ]
    return Histogram(edges, counts, capped)


def _within(windows: Iterable[Window], low: int, high: int) -> int:
    return sum(max(0, min(window.high, high) - max(window.low, low)) for window in windows)


async def _edges(
    connection: AsyncConnection, span: tuple[int | None, int | None], found: Sequence[int], now: int, bars: int
) -> list[int]:
    at = EVENTS.c.at
    ends = select(at).where(EVENTS.c.position.in_((found[0], found[-1]))).order_by(EVENTS.c.position)
    times = (await connection.execute(ends)).scalars().all()
    begin = times[0] if span[0] is None else span[0]
    end = max(times[-1] + 1, now if span[1] is None else min(span[1], now))
    width = max(1, -(-(end - begin) // bars))
    return [begin + width * number for number in range(bars + 1)]


def _newest(plan: Plan, window: Window, cap: int) -> Subquery:
    """One more than are counted, so that it shows whether there are more."""
    return positions(plan, window, cap + 1).subquery("newest")


def _capped(number: int, cap: int) -> Count:
    return Count(min(number, cap), number > cap)


def _ranked(rows: Iterable[Row[*tuple[Any, ...]]]) -> dict[str, list[tuple[str, int]]]:
    values: dict[str, dict[str, int]] = {"type": {}, "client": {}, "actor": {}}
    for code, client, actor, number in rows:
        for key, value in (("type", catalogue.BY_CODE[code].TYPE), ("client", client), ("actor", actor)):
            if value is not None:
                values[key][value] = values[key].get(value, 0) + number
    return {key: sorted(found.items(), key=lambda one: (-one[1], one[0])) for key, found in values.items()}
