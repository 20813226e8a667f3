"""Security event tokens that their receiver fetches (RFC 8936): what is offered until it is acknowledged."""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

from core import message, secevent
from core.outbox import Source, following, works
from core.posting import Poster
from core.revocations import Watch
from core.webhooks import Webhooks
from events import deliveries
from events.deliveries import DEAD, DELIVERED, WAITING, Cursor, Delivery, DeliveryReader
from events.webhook import Webhook, WebhookReplayed
from events.writer import Writer

MOST: Final = 100
"""Tokens of one answer."""
LONGEST: Final = 20.0
"""Seconds that an answer waits for something to say."""


class Ask(NamedTuple):
    """What a receiver says and wants. `errors` are codes by the ids of the tokens that it does not take."""

    most: int = MOST
    immediately: bool = False
    acknowledged: tuple[str, ...] = ()
    errors: Mapping[str, str] = {}


class Offered(NamedTuple):
    """Tokens by their ids, and whether there are more."""

    tokens: dict[str, str]
    more: bool

    def __repr__(self) -> str:
        return f"Offered({len(self.tokens)} tokens)"


class Polling:
    """Offers, and remembers what was acknowledged. Everything raises Unavailable and KeyUnavailable."""

    def __init__(
        self,
        webhooks: Webhooks,
        poster: Poster,
        reader: DeliveryReader,
        source: Source,
        writer: Writer,
        growth: Watch,
    ) -> None:
        self._webhooks = webhooks
        self._poster = poster
        self._reader = reader
        self._source = source
        self._writer = writer
        self._growth = growth

    async def poll(self, state: Webhook, ask: Ask) -> Offered:
        """Take what was acknowledged out, then offer the oldest of the rest; wait for one if there is none."""
        await self._settle(state, ask)
        deadline = asyncio.get_running_loop().time() + LONGEST
        while True:
            offered, position = await self._offer(state, ask.most)
            left = deadline - asyncio.get_running_loop().time()
            if offered.tokens or ask.immediately or ask.most == 0 or left <= 0:
                return offered
            if not await self._growth.beyond(position, left):
                return offered

    async def _settle(self, state: Webhook, ask: Ask) -> None:
        """If we crash inside, what was acknowledged is offered again."""
        if not ask.acknowledged and not ask.errors:
            return
        known = await self._named(await self._reader.waiting(state.id))
        now, rows = self._writer.now(), []
        for name, row in known.items():
            if name in ask.acknowledged:
                rows.append(row._replace(status=DELIVERED, tries=row.tries + 1, at=now))
            elif name in ask.errors:
                code = ask.errors[name] if ask.errors[name] in secevent.ERRORS else "invalid_request"
                await self._webhooks.dead_letter(state.id, row.position, row.tries + 1, code)
                rows.append(row._replace(status=DEAD, tries=row.tries + 1, at=now, reason=code))
        if rows:
            await self._writer.maintain(deliveries.settle(state.id, rows))

    async def _offer(self, state: Webhook, most: int) -> tuple[Offered, int]:
        """What waits, oldest first, filled up from the log; and up to where that was looked at."""
        if not works(self._source, state):
            return Offered({}, more=False), await self._source.history.newest()
        cursor = (await self._reader.cursors()).get(state.id)
        cursor = cursor or Cursor(state.id, await self._webhooks.reader.begun(state.id))
        waiting = await self._reader.waiting(state.id)
        if len(waiting) <= most:
            cursor, waiting = await self._filled(state, cursor, waiting)
        tokens = await self._tokens(state, waiting[:most])
        return Offered(tokens, more=len(waiting) > most), cursor.position

    async def _filled(self, state: Webhook, cursor: Cursor, waiting: list[Delivery]) -> tuple[Cursor, list[Delivery]]:
        found, until = await following(self._source, state, cursor.position, MOST)
        if until == cursor.position:
            return cursor, waiting
        for one in found:
            if isinstance(one.fact, WebhookReplayed):
                position = None if one.fact.position < 0 else one.fact.position
                await self._writer.maintain(deliveries.revive(state.id, position))
        moved = cursor._replace(position=until)
        told = [one for one in found if self._poster.claims(state, one, "") is not None]
        rows = [Delivery(state.id, one.position, one.stream, WAITING) for one in told]
        await self._writer.maintain(deliveries.save(moved, rows))
        return moved, await self._reader.waiting(state.id)

    async def _tokens(self, state: Webhook, rows: list[Delivery]) -> dict[str, str]:
        known = await self._named(rows)
        events = {one.position: one for one in await self._source.history.at(row.position for row in rows)}
        made = {name: self._poster.token(state, events[row.position], name) for name, row in known.items()}
        return {name: token for name, token in made.items() if token is not None}

    async def _named(self, rows: list[Delivery]) -> dict[str, Delivery]:
        """Rows by the ids of their tokens, in the log's order."""
        origins = await self._webhooks.reader.origins() if rows else None
        return {message.id_of(origins.at(row.position), row.position): row for row in rows} if origins else {}
