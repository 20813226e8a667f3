"""Numbers about what a plan finds: how many, when, and with which values. All of them stop counting somewhere."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Subquery, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events import catalogue
from events.arms import EVENTS, Plan, Window, positions
from events.positions import positions_at

COUNT_CAP: Final = 1_000
FACET_CAP: Final = 1_000
HISTOGRAM_CAP: Final = 10_000


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
        number = sum(max(0, min(w.high, window.high) - max(w.low, window.low)) for w in plan.windows)
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
    """Matches by time, from where the query or the newest matches begin until where it ends, or now."""
    if plan.plain:
        return await _of_windows(connection, plan, size, now, bars)
    newest = _newest(plan, Window(0, size), HISTOGRAM_CAP)
    ends = select(func.min(newest.c.position), func.max(newest.c.position), func.count()).select_from(newest)
    first, last, number = (await connection.execute(ends)).one()
    if number == 0:
        return Histogram([], [], capped=False)
    edges = await _edges(connection, plan, (first, last, number > HISTOGRAM_CAP), now, bars)
    width = edges[1] - edges[0]
    bar = (EVENTS.c.at - edges[0]) // width
    query = select(bar, func.count()).where(EVENTS.c.position.in_(select(newest.c.position))).group_by(bar)
    found = {row[0]: row[1] for row in await connection.execute(query)}
    return Histogram(edges, [found.get(number, 0) for number in range(bars)], number > HISTOGRAM_CAP)


async def _of_windows(connection: AsyncConnection, plan: Plan, size: int, now: int, bars: int) -> Histogram:
    """Where everything is wanted, positions say how many without reading a row."""
    if not plan.windows:
        return Histogram([], [], capped=False)
    edges = await _edges(connection, plan, (plan.windows[0].low, plan.windows[-1].high - 1, False), now, bars)
    places = await positions_at(connection, edges, size)
    counts = [
        sum(max(0, min(window.high, high) - max(window.low, low)) for window in plan.windows)
        for low, high in pairwise(places)
    ]
    return Histogram(edges, counts, capped=False)


async def _edges(
    connection: AsyncConnection, plan: Plan, found: tuple[int, int, bool], now: int, bars: int
) -> list[int]:
    first, last, capped = found
    at = EVENTS.c.at
    ends = select(at).where(EVENTS.c.position.in_((first, last))).order_by(EVENTS.c.position)
    times = list((await connection.execute(ends)).scalars())
    begin = times[0] if capped or plan.span[0] is None else plan.span[0]
    end = max(times[-1] + 1, now if plan.span[1] is None else min(plan.span[1], now))
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
