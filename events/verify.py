"""Does the log still say what it said? Recomputes everything that can be recomputed. Reads only; repairs nothing."""

import struct
from array import array
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from events import catalogue, log, private, replay, schema
from events.checkpoint import Checkpoint
from events.commit import Head, derived
from events.fact import Fact
from events.merkle import HASH_BYTES, Tree, leaf_hash
from events.replay import BEFORE_ALL, Row, States

UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, struct.error, msgspec.MsgspecError)
"""What a value of another type or shape than we ever store can make our own code raise."""
_HEAD = select(schema.head.c.size, schema.head.c.frontier, schema.head.c.last_at)


class Finding(NamedTuple):
    """The first thing that does not fit, and the position it was noticed at, where there is one."""

    position: int | None
    reason: str

    def __str__(self) -> str:
        return self.reason if self.position is None else f"#{self.position}: {self.reason}"


class Intact(NamedTuple):
    """Nothing was found: a log of this size with this root."""

    size: int
    root: bytes


class Signed(NamedTuple):
    """The last checkpoint, its signature verified, and the frontier kept beside it (it only helps to name a place)."""

    checkpoint: Checkpoint
    frontier: bytes | None = None


def verify(
    connection: Connection, signed: Signed | None = None, progress: Callable[[int], None] = lambda _done: None
) -> Intact | Finding:
    """Read the whole log. Time grows with its events; memory with its streams, about 1 KB for each family.

    `connection` only reads; on PostgreSQL it is REPEATABLE READ. `progress` is called with the number of events done.
    May run beside a service that writes.
    """
    check = _Verification(connection, signed, progress)
    try:
        finding = next(check.findings(), None)
    except DBAPIError as error:  # its text may quote what is stored, and that may be a hash
        finding = Finding(None, f"The database cannot be read: {type(error.orig).__name__}.")
    return finding or Intact(check.tree.size, check.tree.root())


class _Verification:
    def __init__(self, connection: Connection, signed: Signed | None, progress: Callable[[int], None]) -> None:
        self._connection = connection
        self._signed = signed
        self._signed_tree: Tree | None = None
        self._progress = progress
        self._states: States = {}
        self._after = replay.BEFORE_ALL
        self._at = 0
        self._gone = {private.CONTEXT: array("q"), private.ACCOUNT: array("q")}
        self.tree = Tree()

    def findings(self) -> Iterator[Finding]:
        """What does not fit, in the order in which it is noticed. After the first, others may only follow from it."""
        yield from self._events(to_the_end=False)
        with replay.snapshot(self._connection):
            yield from self._events(to_the_end=True)
            yield from self._against_checkpoint()
            yield from self._against_head()
            yield from self._private_rows()
            yield from self._projections()

    def _events(self, *, to_the_end: bool) -> Iterator[Finding]:
        count = replay.PAGE
        while True:
            try:
                rows = replay.events_after(self._connection, self._after, count)
                kept = replay.private_rows(self._connection, rows[0][0], rows[-1][0]) if rows else {}
            except DBAPIError as error:
                if count == 1:
                    yield Finding(self.tree.size, f"cannot be read: {error.orig}")
                    return
                count = 1  # one of the page is damaged; read one by one until it is met
                continue
            if not rows or (len(rows) < count and not to_the_end):
                return
            yield from self._page(rows, kept)
            if not to_the_end:
                self._connection.rollback()

    def _page(self, rows: list[Row], kept: dict[tuple[int, int], Row]) -> Iterator[Finding]:
        for expected, row in enumerate(rows, self.tree.size):
            try:
                reason = self._reason(expected, row, kept)
            except UNREADABLE as error:
                reason = f"is nothing that the ledger writes ({type(error).__name__})"
            if reason:
                yield Finding(min(row[0], expected), reason)
        for position, _ in kept:
            yield Finding(position, "has a private row that it does not name")
        self._grow([row[-1] for row in rows])
        self._after = rows[-1][0]
        self._progress(self.tree.size)

    def _reason(self, expected: int, row: Row, kept: dict[tuple[int, int], Row]) -> str | None:
        """Why this event does not fit, or None; then it is folded."""
        position, stream, version, code, at, *searched, body, leaf = row
        if position != expected:
            return "is missing" if position > expected else "stands before the beginning of the log"
        if leaf_hash(at, stream, version, code, body) != leaf:
            return "its leaf is not the hash of its time, stream, version, type and body"
        if at < self._at:
            return "is older than the event before it"
        state = self._states.get(stream)
        before = state.version if state else 0
        if version != before + 1:
            return f"is version {version} in its stream, after version {before}"
        fact = catalogue.decode(code, body)
        if [*derived(fact).values()] != searched:
            return "its search columns do not follow from its body"
        if (fact.context and not self._context_fits(fact, position, kept)) or (
            fact.account and not self._account_fits(fact, position, kept)
        ):
            return "its private row is not the one that was written with it"
