"""Commits batches on one engine, whatever goes wrong on the way. Knows no rule; the engine is a `Hold`.

What surely did not commit is decided again a few times, with fresh state. What may have been committed is settled by
looking, before anything is decided again. What the database refuses is found, so that nothing else is refused with it.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from events import commit, schema
from events.commit import Clock, Failed, Result
from events.decision import Moment, Submission
from events.heads import Head
from events.ledger import Unavailable
from events.pace import Pace
from events.remembered import Remembered

TRIES = 3

Trace = Callable[[str], None]
T = TypeVar("T")


def untraced(_point: str) -> None:
    """The crash points are named for tests; in service nothing happens at them."""


class Fault(Enum):
    """What an error of the database means for the batch."""

    PASSING = auto()
    """Surely not committed, and the same batch may well succeed at once: a lock, a deadlock, a serialization."""
    UNUSABLE = auto()
    """The database fails: full, gone, read-only."""
    REFUSED = auto()
    """One of the rows is not taken, or the error is no matter of the database at all."""


class Hold(Protocol):
    """An engine's one writing connection, and the lock that everything on it happens under."""

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call `work` where the connection may be used, one call after the other."""

    def transaction(self, trace: Trace) -> AbstractContextManager[Connection]:
        """A transaction that nobody else writes beside; it ends with the caller's COMMIT.

        Whatever goes wrong inside, the connection is gone before the lock is free again. Raises Unavailable.
        """

    def undisturbed(self, connection: Connection) -> bool:
        """Whether it is certain that nobody else has written anything since this was asked last."""

    def settling(self) -> AbstractContextManager[Connection]:
        """A transaction on a new connection, begun when no older one of ours can commit any more.

        Raises Unavailable, and SQLAlchemyError where that cannot be found out.
        """

    def forget(self) -> None:
        """Give the connection up; whatever it was doing is undone, unless it was committed."""

    def fault(self, error: Exception) -> Fault:
        """What an error means."""

    def close(self) -> Awaitable[None]:
        """Give up connection and thread."""


class Writer:
    """The one way to the log. Everything that it does happens in one place at a time, see `Hold.run`."""

    def __init__(self, hold: Hold, clock: Clock = Clock(), trace: Trace = untraced) -> None:
        self._hold = hold
        self._pace = Pace(clock)
        self._remembered = Remembered()
        self._trace = trace

    async def write(self, batch: Sequence[Submission]) -> list[Any]:
        """Commit one batch. An empty one only finds out whether writing works."""
        return await self._hold.run(self._write, batch)

    async def maintain(self, work: Callable[[Connection], T]) -> T:
        """Run one transaction of upkeep (deleting what has expired) where nothing else writes.

        Raises Unavailable, and what `work` raises; nothing of the transaction stays then.
        """
        return await self._hold.run(self._maintain, work)

    async def recover(self) -> None:
        """After a fault, find out whether writing works again: from then on leeways run. Raises Unavailable."""
        if not self._pace.able:
            await self.write([])

    def now(self) -> int:
        """Ledger time, microseconds since the epoch, for who only looks: what the next batch would be given."""
        return self._pace.now()

    def wall(self) -> float:
        """Seconds since the epoch, by the clock that the ledger goes by: on PostgreSQL the database's."""
        return self._pace.wall()

    async def close(self) -> None:
        """Give up connections and locks."""
        await self._hold.close()

    def _write(self, batch: Sequence[Submission]) -> list[Any]:
        for _ in range(TRIES):
            try:
                return self._transact(batch)
            except Exception as error:  # sorted here: try again, unavailable, or one command's own fault
                self._pace.stumble()
                match self._hold.fault(error):
                    case Fault.PASSING:
                        continue
                    case Fault.UNUSABLE:
                        raise Unavailable from error
                    case Fault.REFUSED:
                        return self._alone(batch, error)
        raise Unavailable

    def _alone(self, batch: Sequence[Submission], error: Exception) -> list[Any]:
        """The database refuses one of the rows: find out whose, so that the others are not refused with it."""
        if not batch:
            raise Unavailable from error
        if len(batch) == 1:
            return [Failed(error)]
        verdicts = []
        for one in batch:
            try:
                verdicts += self._write([one])
            except Unavailable as gone:  # those before it are committed, and answered so
                verdicts.append(Failed(gone))
        return verdicts

    def _maintain(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._hold.transaction(self._trace) as connection:
                monotonic = self._pace.monotonic()
                now = self._moment(commit.lock_head(connection), monotonic)
                done = work(connection)
                if not self._pace.able:
                    commit.prove(connection)
                connection.commit()
                self._pace.committed(now.now, monotonic, wrote=False)
                return done
        except Exception as error:
            self._pace.stumble()
            if self._hold.fault(error) is Fault.REFUSED and not isinstance(error, SQLAlchemyError):
                raise
            raise Unavailable from error

    def _transact(self, batch: Sequence[Submission]) -> list[Any]:
        with self._hold.transaction(self._trace) as connection:
            monotonic = self._pace.monotonic()
            begun: list[tuple[Head, Moment]] = []

            def moment(head: Head) -> Moment:
                begun.append((head, self._moment(head, monotonic)))
                return begun[0][1]

            if not self._hold.undisturbed(connection):
                self._remembered.forget()
            result = commit.write(connection, batch, moment, monotonic, self._trace, recall=self._remembered.recall)
            if not self._pace.able and result.first_leaf is None:
                commit.prove(connection)
            self._trace("written")
            head, now = begun[0]
            self._commit(connection, head.size, result)
            self._trace("committed")
            if result.erased:
                self._remembered.forget()
            else:
                self._remembered.keep(result.head, result.states)
            self._pace.committed(now.now, monotonic, wrote=result.first_leaf is not None)
            return result.verdicts

    def _moment(self, head: Head, monotonic: float) -> Moment:
        return self._pace.moment(head.last_at, head.clock, monotonic)

    def _commit(self, connection: Connection, position: int, result: Result) -> None:
        try:
            connection.commit()
        except Exception:
            # Nobody knows yet whether it is durable. What stands at the batch's first position tells.
            self._pace.stumble()
            self._hold.forget()
            if result.first_leaf is None or not self._stands(position, result.first_leaf):
                raise

    def _stands(self, position: int, leaf: bytes) -> bool:
        """Whether the batch is committed after all. Where that cannot be found out now, nothing is decided again."""
        try:
            with self._hold.settling() as connection:
                query = select(schema.events.c.leaf).where(schema.events.c.position == position)
                found = connection.execute(query).scalar_one_or_none()
        except Exception as error:
            raise Unavailable from error
        return bool(found == leaf)
