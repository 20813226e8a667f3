"""What of the log a webhook is told: the next events behind a position, for who sends and for who is asked."""

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from core import secevent
from core.webhooks import query_of
from events.budget import TooSlow
from events.client import Client
from events.history import Event, HistoryReader
from events.search import EventSearch
from events.webhook import SET, Webhook
from events.webhooks import WebhookReader


class Source(NamedTuple):
    """Where events come from."""

    reader: WebhookReader
    search: EventSearch
    history: HistoryReader
    now: Callable[[], int]
    client: Callable[[str], Client | None]


async def following(source: Source, state: Webhook, after: int, limit: int) -> tuple[list[Event], int]:
    """The next events that it is told of, its own commands among them, and up to where the log was looked at.

    At most `limit` but for the commands. Raises Unavailable.
    """
    newest = await source.history.newest()
    if limit <= 0 or newest <= after:
        return [], after
    found = await _told(source, state, after, limit)
    if isinstance(found, TooSlow):
        return [], after
    last = found[-1].position if found else after
    until = last if len(found) == limit else max(newest, last)
    commands = await source.reader.commands(state.id, after, until)
    kept = await _wanted(source, state, found)
    return sorted([*kept, *commands], key=lambda one: one.position), until


def works(source: Source, state: Webhook) -> bool:
    """Whether anything is told at all: it is enabled, and so is its client."""
    owner = source.client(state.client) if state.client else None
    return state.enabled and (not state.client or bool(owner and owner.enabled))


async def _told(source: Source, state: Webhook, after: int, limit: int) -> list[Event] | TooSlow:
    """Those of its client, or everybody's where that is an operator or there is none."""
    owner = source.client(state.client) if state.client else None
    client = state.client if state.client and not (owner and owner.operator) else None
    if state.format == SET:
        return await source.reader.signals(secevent.codes_of(state.signals), after, limit, client)
    query = query_of(state)
    return [] if query is None else await source.search.tail(query, source.now(), after, limit, client)


async def _wanted(source: Source, state: Webhook, found: list[Event]) -> list[Event]:
    """Less what happened while the receiver of tokens had switched them off: it is not kept for later."""
    if state.format != SET or not found:
        return found
    switches = await source.reader.switches(state.id)
    places = [one.position for one in switches]
    before = {one.position: bisect_right(places, one.position) for one in found}
    return [one for one in found if not before[one.position] or not switches[before[one.position] - 1].off]
