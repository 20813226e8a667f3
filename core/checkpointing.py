"""Signing the state of the log: one signer, a note when something changed, never a contradicting one."""

import time
from collections.abc import Callable, Iterable

from sqlalchemy import Connection, select

from events import schema
from events.checkpoints import CheckpointStore, Head, advance
from events.sqlite import SqliteWriter


class Checkpointing:
    """The job and the last note. Raises Contradiction and OSError; the jobs table logs them and goes on trying."""

    def __init__(
        self, writer: SqliteWriter, store: CheckpointStore, origin: str, seed: bytes, older: Iterable[bytes] = ()
    ) -> None:
        self._writer = writer
        self._store = store
        self.origin = origin
        """Name of the log; another one after a recovery."""
        self._seed = seed
        self._older = tuple(older)
        self.position = -1
        """Events in the log when it was last looked at."""
        self.size = -1
        """How many of them are signed."""
        self.signed_at = 0.0
        """When the note that stands was signed or first seen, seconds since the epoch."""
        self.note = store.last() or ""

    async def run(self) -> str:
        """Sign the head if the log grew; answers the note that stands. Runs where nothing else writes."""
        self.note = await self._writer.maintain(self._advance)
        return self.note

    def _advance(self, connection: Connection) -> str:
        head = schema.head.c
        size, frontier = connection.execute(select(head.size, head.frontier)).one()
        self.position = size
        if size == self.size:
            return self.note
        here = Head(self.origin, size, frontier)
        note = advance(self._store, here, self._seed, leaves_of(connection), self._older)
        self.size, self.signed_at = size, time.time()
        return note


def leaves_of(connection: Connection) -> Callable[[int, int], Iterable[bytes]]:
    """Stored leaf hashes of a range of positions, in order."""
    events = schema.events.c

    def leaves(first: int, end: int) -> Iterable[bytes]:
        query = select(events.leaf).where(events.position >= first, events.position < end).order_by(events.position)
        for row in connection.execute(query.execution_options(yield_per=1000)):
            yield row[0]

    return leaves
