"""Reading webhooks, and from the log what concerns them: their own commands, and what shared signals are told of."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import Select, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncEngine

from events import catalogue, history, log, reads, schema
from events.conditions import unindexed
from events.history import Event
from events.webhook import (
    CLIENT,
    REMOVED,
    Webhook,
    WebhookDisabled,
    WebhookEnabled,
    WebhookPinged,
    WebhookRemoved,
    WebhookReplayed,
    WebhookUpdated,
)

_E, _F, _S = schema.events.c, schema.families.c, schema.subjects.c
COMMANDS: Final = (WebhookReplayed.CODE, WebhookPinged.CODE)
CHANGES: Final = (WebhookUpdated.CODE, WebhookDisabled.CODE, WebhookEnabled.CODE, WebhookRemoved.CODE)


class Origins(NamedTuple):
    """Which name the log had at which position: it got another one each time an older copy was taken into use."""

    since: tuple[int, ...]
    names: tuple[str, ...]

    def at(self, position: int) -> str:
        """That of the log when the event of this position was written."""
        return self.names[max(0, bisect_right(self.since, position) - 1)]


class Switch(NamedTuple):
    """From this position on, a receiver wants nothing, not even later; or wants what happens again."""

    position: int
    off: bool


class WebhookReader:
    """Webhooks and what they are about. All methods raise Unavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def all(self) -> list[Webhook]:
        """Those that were not removed, the oldest first."""
        table = schema.webhooks.c
        query = select(schema.webhooks).where(table.status != REMOVED).order_by(table.registered_at, table.id)
        async with reads.snapshot(self._engine) as connection:
            return [Webhook(*row) for row in await connection.execute(query)]

    async def numbered(self, streams: Iterable[bytes]) -> list[Webhook]:
        """Those in these streams, removed ones too."""
        query = select(schema.webhooks).where(schema.webhooks.c.id.in_(list(streams)))
        async with reads.snapshot(self._engine) as connection:
            return [Webhook(*row) for row in await connection.execute(query)]

    async def begun(self, webhook: bytes) -> int:
        """Position at which it was set up: what came before is no matter of it."""
        query = select(_E.position).where(_E.stream == webhook, _E.version == 1)
        async with reads.snapshot(self._engine) as connection:
            return int((await connection.execute(query)).scalar_one())

    async def commands(self, webhook: bytes, after: int, until: int) -> list[Event]:
        """What was asked of it by its own events, behind one position and up to another."""
        query = history.selected().where(_E.stream == webhook, _E.type.in_(COMMANDS))
        within = query.where(_E.position > after, _E.position <= until).order_by(_E.position)
        async with reads.snapshot(self._engine) as connection:
            return await history.fetch(connection, within)

    async def switches(self, webhook: bytes) -> list[Switch]:
        """When its receiver switched it off and on, in order."""
        codes = (WebhookDisabled.CODE, WebhookEnabled.CODE)
        query = select(_E.position, _E.type, _E.body).where(_E.stream == webhook, _E.type.in_(codes))
        async with reads.snapshot(self._engine) as connection:
            rows = (await connection.execute(query.order_by(_E.position))).all()
        facts = [(row.position, catalogue.decode(row.type, row.body)) for row in rows]
        return [Switch(position, getattr(fact, "reason", "") == CLIENT) for position, fact in facts]

    async def pinged_at(self, webhook: bytes) -> int:
        """When a test was asked for last, microseconds; 0 is never."""
        query = select(_E.at).where(_E.stream == webhook, _E.type == WebhookPinged.CODE)
        async with reads.snapshot(self._engine) as connection:
            found = await connection.execute(query.order_by(_E.version.desc()).limit(1))
            return int(found.scalar_one_or_none() or 0)

    async def newest(self, codes: Iterable[int]) -> int:
        """Position of the last event of these types, or by which any webhook was told or changed; -1 is none.

        A few point reads.
        """
        newest = (
            select(_E.position).where(_E.type == code).order_by(_E.position.desc()).limit(1).scalar_subquery()
            for code in (*codes, *COMMANDS, *CHANGES)
        )
        async with reads.snapshot(self._engine) as connection:
            return max(-1 if one is None else one for one in (await connection.execute(select(*newest))).one())

    async def signals(self, codes: Iterable[int], after: int, limit: int, client: str | None) -> list[Event]:
        """The next events of these types behind a position; of one client's sessions and of its people only.

        A person is of a client who has had a session with it, or whom it created: nobody learns of others (SSF 1.0 §9).
        """
        arms = [_arm(code, after, limit, client) for code in codes]
        if not arms:
            return []
        positions = union_all(*(select(arm.subquery()) for arm in arms)).order_by("position").limit(limit)
        async with reads.snapshot(self._engine) as connection:
            found = [row.position for row in await connection.execute(positions)]
            query = history.selected().where(_E.position.in_(found)).order_by(_E.position)
            return await history.fetch(connection, query) if found else []

    async def origins(self) -> Origins:
        """All names that this log ever had."""
        codes = (log.LogStarted.CODE, log.LedgerRecovered.CODE)
        query = select(_E.position, _E.type, _E.body).where(_E.stream == log.STREAM, _E.type.in_(codes))
        async with reads.snapshot(self._engine) as connection:
            rows = (await connection.execute(query.order_by(_E.position))).all()
        facts = [catalogue.decode(row.type, row.body) for row in rows]
        return Origins(tuple(row.position for row in rows), tuple(getattr(fact, "origin", "") for fact in facts))


def _arm(code: int, after: int, limit: int, client: str | None) -> Select[tuple[int]]:
    """Along the index of one type, in the log's order."""
    query = select(_E.position).where(_E.type == code, _E.position > after).order_by(_E.position).limit(limit)
    if client is None:
        return query
    of_family = select(_F.id).where(_F.subject == _E.subject, _F.client == client).exists()
    of_subject = select(_S.id).where(_S.id == _E.subject, _S.client == client).exists()
    theirs = _E.client.is_(None) & (of_family | of_subject)
    return query.where(or_(unindexed(_E.client) == client, theirs))
