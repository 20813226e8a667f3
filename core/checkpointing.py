"""Signing the state of the log: one signer for each folder, a note when the log grew, never a contradicting one."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import log, reads, schema
from events.checkpoint import Checkpoint, public_of
from events.checkpoints import CheckpointStore, Contradiction, Head, Signed, advance, continues
from events.store import Store

AT_ONCE = 50_000
"""Leaves read together, 32 bytes each: what a busy second adds, a slice of a log that is read from its beginning."""


class Checkpointing:
    """The job and the last note. Raises Contradiction, Unavailable and OSError; the jobs table logs them and goes on.

    What was read of the log stands there for good, so signing it needs no lock on the log; who holds the folder signs.
    """

    def __init__(
        self, ledger: Store, engine: AsyncEngine, store: CheckpointStore, seed: bytes, older: Iterable[bytes] = ()
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self.store = store
        self.sign_with(seed, older)
        self.leads = False
        """Whether this process is the one that signs."""
        self.position = -1
        """Events in the log when it was last looked at."""
        self.size = -1
        """How many of them are signed."""
        self.signed_at = 0.0
        """When the note that stands was signed or first seen, seconds since the epoch."""
        self.note = ""
        """What stands, empty until it was looked at."""

    def sign_with(self, seed: bytes, older: Iterable[bytes]) -> None:
        """From now on this key signs; what one of the `older` ones (public keys) signed is continued."""
        self._seed = seed
        self._older = tuple(older)
        self.publics = (public_of(seed), *self._older)
        """Keys that may have signed the last checkpoint."""

    async def run(self) -> str:
        """Sign the head if the log grew, unless another process signs here; answers the note that stands."""
        self.leads = self.store.lead()
        # before the log is read, which then is not shorter than what another process signs meanwhile
        theirs = None if self.leads else self.signed()
        async with reads.snapshot(self._engine) as connection:
            found = await _look(connection, self.size)
        self.position = found.head.size
        if not self.leads:
            self._follow(theirs, found.head.size)
        elif found.head.size != self.size:
            self.note = await asyncio.to_thread(self._advance, found)
            self.size, self.signed_at = found.head.size, time.time()
        return self.note

    def signed(self) -> Signed | None:
        """The last checkpoint, its signature verified. Raises Contradiction and OSError."""
        return self.store.signed(*self.publics)

    async def continued_before(self) -> Checkpoint | None:
        """The checkpoint before the last one, if the log as it is now goes on from it. Raises Unavailable, OSError."""
        before = self.store.before(*self.publics)
        if before is None:
            return None
        async with reads.snapshot(self._engine) as connection:
            found = await _look(connection, before.checkpoint.size)
        goes_on = await asyncio.to_thread(continues, before, found.head, self._leaves(found))
        return before.checkpoint if goes_on else None

    def close(self) -> None:
        """Let another process sign here."""
        self.store.resign()

    def _follow(self, signed: Signed | None, size: int) -> None:
        """Say what the other process signed."""
        if signed is None:
            return
        if signed.checkpoint.size > size:
            msg = f"The log ends at size {size}, but a checkpoint of size {signed.checkpoint.size} was signed."
            raise Contradiction(msg)
        self.note, self.size, self.signed_at = signed.note, signed.checkpoint.size, self.store.signed_at()

    def _advance(self, found: "_Found") -> str:
        return advance(self.store, found.head, self._seed, self._leaves(found), self._older)

    def _leaves(self, found: "_Found") -> Callable[[int, int], Iterable[bytes]]:
        """Those that came with the head; the whole log where the folder's frontier is missing or does not fit."""

        def leaves(first: int, end: int) -> Iterator[bytes]:
            for low in range(first, end, AT_ONCE):
                high = min(low + AT_ONCE, end)
                if low >= found.first:
                    yield from found.leaves[low - found.first : high - found.first]
                else:
                    yield from self._ledger.read(partial(leaves_of, first=low, end=high))

        return leaves


class _Found(NamedTuple):
    """One moment of the log, and the leaves from `first` on that came with it."""

    head: Head
    first: int
    leaves: list[bytes]


async def _look(connection: AsyncConnection, known: int) -> _Found:
    head, named = schema.head.c, schema.log.c
    size, frontier = (await connection.execute(select(head.size, head.frontier))).one()
    origin = (await connection.execute(select(named.origin).where(named.id == log.STREAM))).scalar_one_or_none()
    first = known if 0 <= known < size <= known + AT_ONCE else size
    leaves = await connection.run_sync(leaves_of, first, size) if first < size else []
    return _Found(Head(origin or "", size, frontier), first, leaves)


def leaves_of(connection: Connection, first: int, end: int) -> list[bytes]:
    """Stored leaf hashes of a range of positions, in order."""
    events = schema.events.c
    query = select(events.leaf).where(events.position >= first, events.position < end).order_by(events.position)
    return list(connection.execute(query).scalars())
