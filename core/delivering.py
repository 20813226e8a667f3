"""Following the log for webhooks: the log is the outbox, a cursor beside it says how far each one has come.

At least once, in order within each stream: an event that fails waits, those of its stream wait behind it, the others go
on. A crash at any point repeats what was not written down yet, under the same ids.
"""

import asyncio
import random
from collections.abc import Callable
from itertools import accumulate
from typing import Final, NamedTuple

import structlog

from core import backoff, secevent
from core.outbound import Answered
from core.outbox import Source, following, works
from core.posting import Poster
from core.webhooks import Webhooks
from events import deliveries
from events.deliveries import DEAD, DELIVERED, WAITING, Cursor, Delivery, DeliveryReader, Tally
from events.history import Event, HistoryReader
from events.ledger import Unavailable
from events.webhook import GONE, PUSH, UNREACHABLE, Webhook, WebhookReplayed
from events.webhooks import Origins
from events.writer import Writer

AT_ONCE: Final = 100
"""Events taken out of the log in one turn."""
MOST_WAITING: Final = 1_000
"""Events of one webhook that wait beside the log; where there are more, they wait in it."""
LANES: Final = 8
"""Requests to one receiver at the same time."""
TURN_SECONDS: Final = 5.0
"""No request begins later than so long after its turn: what a crash repeats is bounded."""
PATIENCE: Final = 5
"""Streams whose events fail, with no success between: then the receiver is down, and not one event wrong."""
_SECOND: Final = 1_000_000


class Tools(NamedTuple):
    """What delivering works with."""

    webhooks: Webhooks
    poster: Poster
    reader: DeliveryReader
    source: Source
    history: HistoryReader
    writer: Writer
    leads: Callable[[], bool]
    """Whether this process still is the one that delivers."""
    chance: Callable[[], float] = random.random


class Figures:
    """What this process has delivered, and what is left, as last looked at."""

    def __init__(self) -> None:
        self.delivered = self.failed = self.waiting = self.dead = self.behind = 0


class Delivering:
    """The job: a turn for each webhook that has something to do, none waiting for another."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._turns: dict[bytes, asyncio.Task[None]] = {}
        self._known: frozenset[bytes] = frozenset()
        self.figures = Figures()

    async def run(self) -> None:
        """Begin a turn where none is under way. Raises Unavailable."""
        tools = self._tools
        known = await tools.webhooks.all()
        await self._forget(frozenset(one.id for one in known))
        if not known:
            return
        cursors, tallies = await tools.reader.cursors(), await tools.reader.tallies()
        newest = await tools.history.newest()
        pushed = [one for one in known if one.method == PUSH]
        self._count(pushed, cursors, tallies, newest)
        for state in pushed:
            cursor, tally = cursors.get(state.id), tallies.get(state.id, Tally())
            if state.id not in self._turns and self._wanted(state, cursor, tally, newest):
                self._begin(state, cursor)

    async def settle(self) -> None:
        """Wait for the turns that are under way."""
        await asyncio.gather(*self._turns.values())

    async def close(self) -> None:
        """Break off what is under way: it is delivered again by whoever delivers next."""
        turns = list(self._turns.values())
        for turn in turns:
            turn.cancel()
        await asyncio.gather(*turns, return_exceptions=True)

    def _begin(self, state: Webhook, cursor: Cursor | None) -> None:
        turn = asyncio.create_task(self._turn(state, cursor), name="webhook")
        self._turns[state.id] = turn
        turn.add_done_callback(lambda _: self._turns.pop(state.id, None))

    def _wanted(self, state: Webhook, cursor: Cursor | None, tally: Tally, newest: int) -> bool:
        if not works(self._tools.source, state):
            return False
        if cursor is None:
            return True
        return cursor.not_before <= self._tools.writer.now() and bool(tally.waiting or cursor.position < newest)

    async def _turn(self, state: Webhook, cursor: Cursor | None) -> None:
        try:
            begun = cursor or Cursor(state.id, await self._tools.webhooks.reader.begun(state.id))
            await Turn(self._tools, state, begun, self.figures).take()
        except Unavailable:
            structlog.get_logger().warning("job_postponed", job="webhook", reason="the ledger is unavailable")
        except Exception as error:  # noqa: BLE001 - one wrong turn must not end the others
            structlog.get_logger().error("job_failed", job="webhook", error=type(error).__name__)

    async def _forget(self, known: frozenset[bytes]) -> None:
        if known != self._known:
            await self._tools.writer.maintain(deliveries.forget(known))
            self._known = known

    def _count(
        self, states: list[Webhook], cursors: dict[bytes, Cursor], tallies: dict[bytes, Tally], newest: int
    ) -> None:
        found = self.figures
        found.waiting = sum(one.waiting for one in tallies.values())
        found.dead = sum(one.dead for one in tallies.values())
        places = [cursors[one.id].position for one in states if one.enabled and one.id in cursors]
        found.behind = newest - min(places, default=newest)


class Turn:
    """One stretch of work for one webhook: what is due of its rows, and the next of the log."""

    def __init__(self, tools: Tools, state: Webhook, cursor: Cursor, figures: Figures) -> None:
        self._tools = tools
        self._state = state
        self._cursor = cursor
        self._figures = figures
        self._now = tools.writer.now()
        self._ends = asyncio.get_running_loop().time() + TURN_SECONDS
        self._room = asyncio.Semaphore(LANES)
        self._rows: dict[int, Delivery] = {}
        self._failing: set[bytes] = set()
        self._stopped = False
        self._asked = 0

    async def take(self) -> None:
        """Deliver, then write down what came of it. Raises Unavailable."""
        waiting = await self._tools.reader.waiting(self._state.id)
        room = min(AT_ONCE, MOST_WAITING - len(waiting))
        fresh, until = await following(self._tools.source, self._state, self._cursor.position, room)
        if any(isinstance(one.fact, WebhookReplayed) for one in fresh):
            waiting = await self._revived(fresh)
        self._failing = {one.lane for one in waiting if one.tries}
        told = [one for one in fresh if not isinstance(one.fact, WebhookReplayed)]
        self._rows = {one.position: Delivery(self._state.id, one.position, one.stream, WAITING) for one in told}
        lanes = self._lanes([*waiting, *self._rows.values()])
        events = {one.position: one for one in told}
        wanted = [row.position for lane in lanes for row in lane if row.position not in events]
        events |= {one.position: one for one in await self._tools.history.at(wanted)}
        origins = await self._tools.webhooks.reader.origins()
        await asyncio.gather(*(self._lane(lane, events, origins) for lane in lanes))
        await self._end(until)

    async def _revived(self, fresh: list[Event]) -> list[Delivery]:
        for one in fresh:
            if isinstance(one.fact, WebhookReplayed):
                position = None if one.fact.position < 0 else one.fact.position
                await self._tools.writer.maintain(deliveries.revive(self._state.id, position))
        return await self._tools.reader.waiting(self._state.id)

    def _lanes(self, rows: list[Delivery]) -> list[list[Delivery]]:
        """What of each stream may be sent now, in order; the lane that has waited longest first."""
        lanes: dict[bytes, list[Delivery]] = {}
        for row in sorted(rows, key=lambda one: one.position):
            lanes.setdefault(row.lane, []).append(row)
        due = [lane for lane in lanes.values() if lane[0].due <= self._now]
        due.sort(key=lambda lane: (lane[0].due, lane[0].position))
        ends = accumulate(len(lane) for lane in due)
        return [lane for lane, end in zip(due, ends, strict=True) if end - len(lane) < MOST_WAITING]

    async def _lane(self, lane: list[Delivery], events: dict[int, Event], origins: Origins) -> None:
        for row in lane:
            async with self._room:
                if self._over() or row.due > self._now:
                    return
                event = events.get(row.position)
                answered = (
                    Answered(0)
                    if event is None
                    else await self._tools.poster.post(self._state, event, origins.at(row.position), self._now)
                )
            if not await self._noted(row, answered):
                return

    def _over(self) -> bool:
        late = asyncio.get_running_loop().time() >= self._ends
        return self._stopped or late or not self._tools.leads()

    async def _noted(self, row: Delivery, answered: Answered) -> bool:
        """Keep what came of it; whether the next of its lane may follow."""
        tries = row.tries + 1
        tried = row._replace(tries=tries, at=self._now, reason=answered.reason, answer=answered.status)
        if answered.well:
            self._figures.delivered += 1
            self._cursor = self._cursor._replace(failures=0, failing_since=0)
            self._failing.discard(row.lane)
            self._rows[row.position] = tried._replace(status=DELIVERED, due=0)
            return True
        self._figures.failed += 1
        since = self._cursor.failing_since or self._now
        self._cursor = self._cursor._replace(failures=self._cursor.failures + 1, failing_since=since)
        self._failing.add(row.lane)
        self._asked = max(self._asked, answered.wait)
        self._stopped = bool(self._stopped or answered.wait or self._down)
        if answered.status == 410:
            await self._disable(GONE)
        elif answered.reason in secevent.ERRORS or tries >= backoff.TRIES:
            await self._tools.webhooks.dead_letter(self._state.id, row.position, tries, answered.reason)
            self._rows[row.position] = tried._replace(status=DEAD, due=0)
            return True
        wait = backoff.delay(tries, self._tools.chance())
        self._rows[row.position] = tried._replace(due=self._now + int(wait * _SECOND))
        return False

    @property
    def _down(self) -> bool:
        return min(self._cursor.failures, len(self._failing)) >= PATIENCE

    async def _disable(self, reason: str) -> None:
        self._stopped = True
        await self._tools.webhooks.disable(self._state.id, "system", reason)

    async def _end(self, until: int) -> None:
        """If we crash before this, what was delivered is delivered again."""
        cursor, since = self._cursor, self._cursor.failing_since
        pause = float(self._asked)
        if self._down:
            pause = max(pause, backoff.pause(cursor.failures - PATIENCE + 1, self._tools.chance()))
        if since and self._now - since > backoff.GIVE_UP * _SECOND and cursor.failures > backoff.TRIES:
            await self._disable(UNREACHABLE)
            cursor = cursor._replace(failures=0, failing_since=0)
        kept = cursor._replace(position=until, not_before=self._now + int(pause * _SECOND) if pause else 0)
        await self._tools.writer.maintain(deliveries.save(kept, self._rows.values()))
