"""Searching the log: pages, counts, histogram and facets of a query, each within a budget of time. Never writes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import budget, history, schema, tallies
from events.arms import EVENTS, Plan, Window, is_bounded, positions
from events.budget import TooSlow
from events.filters import DEFAULT_WINDOW, Query
from events.history import Event
from events.ledger import Unavailable
from events.planning import planned
from events.tallies import Count, Facets, Histogram

T = TypeVar("T")


class Page(NamedTuple):
    """A stretch of what matches, newest first."""

    query: Query
    """As it was answered."""
    added: bool
    """Whether `at:24h` was added, because nothing else bounded the search."""
    events: list[Event]
    older: int | None
    """`before` of the next page, None where this is the end."""
    newer: int | None
    """`after` of the page before, None where nothing newer is known to match."""
    size: int
    """Size of the log that was searched: positions below it."""
    total: Count | None = None
    """How many match in all, where it was asked."""


class Neighbours(NamedTuple):
    """What stands around an event."""

    previous: int | None
    """Position of the event before it in its stream."""
    following: int | None
    request: list[Event]
    """All events of the same request, this one too, oldest first."""


def bounded(query: Query) -> Query:
    """The query as it is answered: with a bound in time, unless something else bounds it."""
    return query if is_bounded(query) else query.only("at", DEFAULT_WINDOW)


class EventSearch:
    """The log, asked by filters. Every answer may be TooSlow instead; all methods raise Unavailable.

    `now` is the time that durations count from, in microseconds; `as_of` is a size of the log beyond which nothing is
    seen. `client` restricts everything to events of one client, whatever the query says.
    """

    def __init__(self, engine: AsyncEngine, seconds: float = budget.SECONDS) -> None:
        self._engine = engine
        self._seconds = seconds

    async def page(
        self,
        query: Query,
        now: int,
        *,
        before: int | None = None,
        after: int | None = None,
        as_of: int | None = None,
        limit: int = 50,
        counted: bool = False,
        client: str | None = None,
    ) -> Page | TooSlow:
        """The newest matches, or those before a position, or the next ones after a position."""
        asked = bounded(query)

        async def read(connection: AsyncConnection, plan: Plan, size: int) -> Page:
            upwards = after is not None and before is None
            window = Window(0 if after is None else after + 1, size if before is None else min(before, size))
            found = await _fetch(connection, plan, window, limit + 1, newest=not upwards)
            more = len(found) > limit
            events = sorted(found[:limit], key=lambda event: -event.position)
            all_here = not more and before is None and after is None
            total = await _total(connection, plan, size, found if all_here else None) if counted else None
            older = events[-1].position if events and (more or upwards) else None
            newer = events[0].position if events and (more if upwards else before is not None) else None
            return Page(asked, asked != query, events, older, newer, size, total)

        return await self._plan(asked, now, as_of, client, read)

    async def tail(
        self, query: Query, now: int, after: int, limit: int = 200, client: str | None = None
    ) -> list[Event] | TooSlow:
        """The next matches behind a position, oldest first: what a live view reads. Needs no bound."""

        async def read(connection: AsyncConnection, plan: Plan, size: int) -> list[Event]:
            return await _fetch(connection, plan, Window(after + 1, size), limit, newest=False)

        return await self._plan(query, now, None, client, read)

    async def count(
        self, query: Query, now: int, *, after: int = -1, as_of: int | None = None, client: str | None = None
    ) -> Count | TooSlow:
        """How many match, those behind a position only."""

        async def read(connection: AsyncConnection, plan: Plan, size: int) -> Count:
            return await tallies.count(connection, plan, Window(after + 1, size))

        return await self._plan(bounded(query), now, as_of, client, read)

    async def histogram(
        self, query: Query, now: int, *, bars: int = 48, as_of: int | None = None, client: str | None = None
    ) -> Histogram | TooSlow:
        """How the matches lie in time: all that the query spans, or the newest of them."""

        async def read(connection: AsyncConnection, plan: Plan, size: int) -> Histogram:
            return await tallies.histogram(connection, plan, size, now, bars)

        return await self._plan(bounded(query), now, as_of, client, read)

    async def facets(
        self, query: Query, now: int, *, as_of: int | None = None, client: str | None = None
    ) -> Facets | TooSlow:
        """Types, clients and actors of the newest 1,000 matches."""

        async def read(connection: AsyncConnection, plan: Plan, size: int) -> Facets:
            return await tallies.facets(connection, plan, size)

        return await self._plan(bounded(query), now, as_of, client, read)

    async def around(self, position: int, each: int = 10) -> list[Event] | TooSlow:
        """The log around a position, newest first, whatever was searched before."""
        near = history.selected().where(EVENTS.c.position.between(position - each, position + each))
        query = near.order_by(EVENTS.c.position.desc())
        return await budget.within(self._engine, lambda connection: history.fetch(connection, query), self._seconds)

    async def neighbours(self, event: Event) -> Neighbours | TooSlow:
        """What came before and after it in its stream, and with it in its request."""

        async def read(connection: AsyncConnection) -> Neighbours:
            of_stream = select(EVENTS.c.version, EVENTS.c.position).where(
                EVENTS.c.stream == event.stream, EVENTS.c.version.in_((event.version - 1, event.version + 1))
            )
            beside = {row[0]: row[1] for row in await connection.execute(of_stream)}
            request = select(EVENTS.c.request).where(EVENTS.c.position == event.position).scalar_subquery()
            together = history.selected().where(EVENTS.c.request == request).order_by(EVENTS.c.position).limit(100)
            return Neighbours(
                beside.get(event.version - 1), beside.get(event.version + 1), await history.fetch(connection, together)
            )

        return await budget.within(self._engine, read, self._seconds)

    async def export(
        self, query: Query, now: int, as_of: int, *, at_once: int = 500, client: str | None = None
    ) -> AsyncIterator[list[Event]]:
        """All matches below `as_of`, oldest first, in short readings. Raises Unavailable rather than leave any out.

        The query is taken as it is: where a page added a bound, give that page's query.
        """
        after = -1
        while True:
            found = await self._after(query, now, after, as_of, at_once, client)
            if found:
                yield found
            if len(found) < at_once:
                return
            after = found[-1].position

    async def _after(
        self, query: Query, now: int, after: int, as_of: int, limit: int, client: str | None
    ) -> list[Event]:
        async def read(connection: AsyncConnection, plan: Plan, size: int) -> list[Event]:
            return await _fetch(connection, plan, Window(after + 1, size), limit, newest=False)

        found = await self._plan(query, now, as_of, client, read)
        if isinstance(found, TooSlow):
            raise Unavailable
        return found

    async def _plan(
        self,
        query: Query,
        now: int,
        as_of: int | None,
        client: str | None,
        read: Callable[[AsyncConnection, Plan, int], Awaitable[T]],
    ) -> T | TooSlow:
        async def both(connection: AsyncConnection) -> T:
            size = (await connection.execute(select(schema.head.c.size))).scalar_one()
            seen = size if as_of is None else max(0, min(as_of, size))
            return await read(connection, await planned(connection, query, now, seen, client), seen)

        return await budget.within(self._engine, both, self._seconds)


async def _total(connection: AsyncConnection, plan: Plan, size: int, everything: list[Event] | None) -> Count:
    """Counted once more only where the page does not hold everything: a search that finds little has read the most."""
    if everything is not None:
        return Count(len(everything), capped=False)
    return await tallies.count(connection, plan, Window(0, size))


async def _fetch(connection: AsyncConnection, plan: Plan, window: Window, limit: int, *, newest: bool) -> list[Event]:
    wanted = positions(plan, window, limit, newest=newest)
    position = EVENTS.c.position
    order = position.desc() if newest else position.asc()
    return await history.fetch(connection, history.selected().where(position.in_(wanted)).order_by(order))
