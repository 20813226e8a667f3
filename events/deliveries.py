"""How far each webhook has come, and what of it waits or is dead: tables beside the log, of positions and codes only.

Lost, they are made anew from the beginning of each webhook: everything is delivered once more, under the same ids.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from events import reads, schema

WAITING: Final = "waiting"
DEAD: Final = "dead"
DELIVERED: Final = "delivered"
STATUSES: Final = (WAITING, DEAD, DELIVERED)
KEPT: Final = {DELIVERED: 50, DEAD: 5_000}
"""Rows of a webhook that are done with; the oldest go first."""

_C, _D = schema.webhook_cursors.c, schema.webhook_deliveries.c


class Cursor(NamedTuple):
    """How far a webhook has come. Times are microseconds."""

    webhook: bytes
    position: int
    """Every event up to here that it wants was delivered, or has a row of its own."""
    failures: int = 0
    """Tries in a row that failed, whatever was sent."""
    failing_since: int = 0
    not_before: int = 0
    """The receiver is left alone until then."""


class Delivery(NamedTuple):
    """One event for one webhook."""

    webhook: bytes
    position: int
    lane: bytes
    """What has to stay in order: the event's stream."""
    status: str
    tries: int = 0
    due: int = 0
    """Not before this, microseconds."""
    at: int = 0
    """The last try, microseconds."""
    reason: str = ""
    answer: int = 0
    """HTTP status of the last try, 0 where no answer came."""


class Tally(NamedTuple):
    """How many of a webhook's rows are in each state."""

    waiting: int = 0
    dead: int = 0


class DeliveryReader:
    """The tables as committed at the moment of asking. All methods raise Unavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def cursors(self) -> dict[bytes, Cursor]:
        """All of them, by webhook."""
        async with reads.snapshot(self._engine) as connection:
            rows = await connection.execute(select(schema.webhook_cursors))
            return {row[0]: Cursor(*row) for row in rows}

    async def cursor(self, webhook: bytes) -> Cursor | None:
        """That of one webhook; None where it has not begun."""
        query = select(schema.webhook_cursors).where(_C.webhook == webhook)
        async with reads.snapshot(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
            return None if row is None else Cursor(*row)

    async def waiting(self, webhook: bytes) -> list[Delivery]:
        """What was tried in vain and what waits behind it, in the log's order."""
        return await self._some(_D.webhook == webhook, _D.status == WAITING)

    async def of(self, webhook: bytes, status: str, limit: int = 50) -> list[Delivery]:
        """The newest in one state, newest first."""
        return await self._some(_D.webhook == webhook, _D.status == status, newest=limit)

    async def at(self, webhook: bytes, position: int) -> Delivery | None:
        """What became of one event."""
        found = await self._some(_D.webhook == webhook, _D.position == position)
        return found[0] if found else None

    async def has_dead(self, webhook: bytes, position: int | None) -> bool:
        """Whether there is a dead letter, of this position where one is named."""
        found = select(_D.position).where(_D.webhook == webhook, _D.status == DEAD).limit(1)
        named = found if position is None else found.where(_D.position == position)
        async with reads.snapshot(self._engine) as connection:
            return (await connection.execute(named)).first() is not None

    async def tallies(self) -> dict[bytes, Tally]:
        """By webhook; those that have no row are left out."""
        counts = select(_D.webhook, _D.status, func.count()).where(_D.status != DELIVERED)
        found: dict[bytes, Tally] = {}
        async with reads.snapshot(self._engine) as connection:
            for webhook, status, count in await connection.execute(counts.group_by(_D.webhook, _D.status)):
                found[webhook] = found.get(webhook, Tally())._replace(**{status: count})
        return found

    async def _some(self, *where: ColumnElement[bool], newest: int = 0) -> list[Delivery]:
        query = select(schema.webhook_deliveries).where(*where)
        query = query.order_by(_D.position.desc()).limit(newest) if newest else query.order_by(_D.position)
        async with reads.snapshot(self._engine) as connection:
            return [Delivery(*row) for row in await connection.execute(query)]


def save(cursor: Cursor, rows: Iterable[Delivery]) -> Callable[[Connection], None]:
    """Keep how far a webhook has come, and what became of these events; in a transaction of the writer.

    A cursor never goes back: who wrote a later one has seen more.
    """
    changed = list(rows)

    def work(connection: Connection) -> None:
        mine = select(_C.position).where(_C.webhook == cursor.webhook)
        before = connection.execute(mine).scalar_one_or_none()
        kept = cursor._replace(position=max(cursor.position, -1 if before is None else before))
        connection.execute(delete(schema.webhook_cursors).where(_C.webhook == cursor.webhook))
        connection.execute(insert(schema.webhook_cursors), kept._asdict())
        _write(connection, cursor.webhook, changed)

    return work


def settle(webhook: bytes, rows: Iterable[Delivery]) -> Callable[[Connection], None]:
    """Keep what became of these events only; in a transaction of the writer."""
    changed = list(rows)
    return lambda connection: _write(connection, webhook, changed)


def revive(webhook: bytes, position: int | None) -> Callable[[Connection], int]:
    """Let a dead letter wait for a new first try, or all of them; answers how many. In a transaction of the writer."""

    def work(connection: Connection) -> int:
        dead = select(schema.webhook_deliveries).where(_D.webhook == webhook, _D.status == DEAD)
        named = dead if position is None else dead.where(_D.position == position)
        rows = [Delivery(*row) for row in connection.execute(named)]
        _write(connection, webhook, [one._replace(status=WAITING, tries=0, due=0) for one in rows])
        return len(rows)

    return work


def forget(known: Iterable[bytes]) -> Callable[[Connection], None]:
    """Drop what is of no webhook that there is; in a transaction of the writer."""
    ids = list(known)

    def work(connection: Connection) -> None:
        connection.execute(delete(schema.webhook_cursors).where(_C.webhook.not_in(ids)))
        connection.execute(delete(schema.webhook_deliveries).where(_D.webhook.not_in(ids)))

    return work


def _write(connection: Connection, webhook: bytes, rows: list[Delivery]) -> None:
    if not rows:
        return
    positions = [one.position for one in rows]
    connection.execute(delete(schema.webhook_deliveries).where(_D.webhook == webhook, _D.position.in_(positions)))
    connection.execute(insert(schema.webhook_deliveries), [one._asdict() for one in rows])
    for status, most in KEPT.items():
        of_kind = (_D.webhook == webhook, _D.status == status)
        last = select(_D.position).where(*of_kind).order_by(_D.position.desc()).offset(most).limit(1)
        oldest = connection.execute(last).scalar_one_or_none()
        if oldest is not None:
            connection.execute(delete(schema.webhook_deliveries).where(*of_kind, _D.position <= oldest))
