"""Does the log still say what it said? Recomputes everything that can be recomputed. Reads only; repairs nothing."""

import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, func, or_, select
from sqlalchemy.exc import DBAPIError

from events import catalogue, ids, log, private, replay, schema, subject
from events.checkpoints import Signed
from events.erasing import STAFF
from events.fact import Fact
from events.merkle import HASH_BYTES, Tree, leaf_hash
from events.replay import PrivateRows, Row, States
from events.sealing import derived
from events.subject import SubjectErased

UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, struct.error, msgspec.MsgspecError)
"""What a value of another type or shape than we ever store can make our own code raise."""
_NO_ACCOUNT = private.Account()


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


def verify(
    connection: Connection, signed: Signed | None = None, progress: Callable[[int], None] = lambda _done: None
) -> Intact | Finding:
    """Read the whole log. Time grows with its events; memory with its streams, about 350 bytes for each family.

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
        self._states = States()
        self._after = replay.BEFORE_ALL
        self._at = 0
        self._gone = {private.CONTEXT: array("q"), private.ACCOUNT: array("q")}
        self._erased: dict[bytes, int] = {}
        """Where each erased subject was erased last."""
        self._texts: dict[int, int] = {}
        """Positions of typed texts that an erasure took with it, and where it stands."""
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

    def _page(self, rows: Sequence[Row], kept: PrivateRows) -> Iterator[Finding]:
        for expected, row in enumerate(rows, self.tree.size):
            try:
                reason = self._reason(expected, row, kept)
            except catalogue.Illegal as error:
                reason = f"cannot follow what was before: {error}"
            except UNREADABLE as error:
                reason = f"is nothing that the ledger writes ({type(error).__name__})"
            if reason:
                yield Finding(min(row[0], expected), reason)
        for position, _ in kept:
            yield Finding(position, "has a private row that it does not name")
        self._grow([row[-1] for row in rows])
        self._after = rows[-1][0]
        self._progress(self.tree.size)

    def _reason(self, expected: int, row: Row, kept: PrivateRows) -> str | None:
        """Why this event does not fit, or None; then it is folded."""
        position, stream, version, code, at, *searched, body, leaf = row
        if position != expected:
            return "is missing" if position > expected else "stands before the beginning of the log"
        if leaf_hash(at, stream, version, code, body) != leaf:
            return "its leaf is not the hash of its time, stream, version, type and body"
        if at < self._at:
            return "is older than the event before it"
        fact = catalogue.decode(code, body)
        if [*derived(fact)] != searched:
            return "its search columns do not follow from its body"
        if searched[0] in self._erased and (fact.context or fact.account):
            return "keeps something of a subject that was erased before"
        self._at = at
        return self._misfolded(position, stream, version, fact, kept)

    def _misfolded(self, position: int, stream: bytes, version: int, fact: Fact, kept: PrivateRows) -> str | None:
        state = self._states.get(stream)
        before = state.version if state else 0
        if isinstance(fact, SubjectErased):
            self._erased[stream] = position
            self._texts.update(dict.fromkeys(map(int, fact.texts.split()), position))
        if version != before + 1:
            return f"is version {version} of its stream, after version {before}"
        account = _NO_ACCOUNT
        if fact.context and (reason := self._misbound(position, private.CONTEXT, fact.context, kept)):
            return reason
        if fact.account:
            stored = kept.get((position, private.ACCOUNT))
            if reason := self._misbound(position, private.ACCOUNT, fact.account, kept):
                return reason
            account = private.decode_account(stored[3] if stored else None)
        self._states.put(catalogue.apply(state, stream, self._at, fact, account))
        return None

    def _misbound(self, position: int, kind: int, bound: str, kept: PrivateRows) -> str | None:
        stored = kept.pop((position, kind), None)
        if stored is None:
            self._gone[kind].append(position)  # whether that is explained, a later event says
        elif private.binding(stored[2], stored[3]) != bound:
            return "its private row is not the one that was written with it"
        elif stored[4] != (_ip_column(stored[3]) if kind == private.CONTEXT else None):
            return "the address that its private row is searched by is not the one in that row"
        return None

    def _grow(self, leaves: list[bytes]) -> None:
        """Add a page to the tree, and keep the tree of the size that was signed."""
        cut = self._signed.checkpoint.size - self.tree.size if self._signed else -1
        if 0 <= cut <= len(leaves):
            self.tree.extend(leaves[:cut])
            self._signed_tree = Tree(self.tree.size, self.tree.frontier())
            leaves = leaves[cut:]
        self.tree.extend(leaves)

    def _against_checkpoint(self) -> Iterator[Finding]:
        if self._signed is None:
            return
        self._grow([])  # nothing was read of an empty log
        origin, size, root = self._signed.checkpoint
        if self._signed_tree is None:
            yield Finding(self.tree.size, f"is missing: a checkpoint of {size} events was signed")
        elif self._signed_tree.root() != root:
            yield _other_leaves(self._signed_tree, self._signed.frontier, "that the last checkpoint was signed for")
        state = self._states.get(log.STREAM)
        if isinstance(state, log.Log) and state.origin != origin:
            yield Finding(None, f"The last checkpoint is of the log {origin}, not of {state.origin}.")

    def _against_head(self) -> Iterator[Finding]:
        heads = self._connection.execute(replay.as_stored(schema.head)).all()
        if len(heads) != 1:
            yield Finding(None, f"There are {len(heads)} heads; a ledger has one.")
            return
        _, size, frontier, last_at, *_ = heads[0]
        if type(size) is not int:
            yield Finding(None, "The head is nothing that the ledger writes.")
        elif size != self.tree.size:
            first = min(size, self.tree.size)
            missing = first == self.tree.size
            yield Finding(first, f"{'is missing' if missing else 'stands after the end'}: the head says {size} events")
        elif frontier != self.tree.frontier():
            yield _other_leaves(self.tree, frontier, "that the head was made from")
        elif last_at != self._at:
            yield Finding(None, "The time in the head is not that of the last event.")

    def _private_rows(self) -> Iterator[Finding]:
        position = schema.event_private.c.position
        outside = select(func.min(position)).where(or_(position < 0, position >= self.tree.size))
        stray = self._connection.execute(outside).scalar()
        if stray is not None:
            yield Finding(stray, "is no event, but there is a private row of it")
        for kind, positions in self._gone.items():
            unexpired = [gone for gone in positions if not self._expired(kind, gone)]
            for start in range(0, len(unexpired), replay.PAGE):
                yield from self._unexplained(kind, unexpired[start : start + replay.PAGE])

    def _expired(self, kind: int, position: int) -> bool:
        """Whether it is a context that the log says was deleted because of its age."""
        state = self._states.get(log.STREAM)
        return kind == private.CONTEXT and isinstance(state, log.Log) and position < state.contexts_below

    def _unexplained(self, kind: int, positions: Sequence[int]) -> Iterator[Finding]:
        """Those of these deletions that no `subject.erased` behind them accounts for."""
        events = schema.events.c
        query = select(events.position, events.subject, events.actor).where(events.position.in_(positions))
        whose = {row.position: row for row in self._connection.execute(query)}
        for gone in positions:
            row = whose[gone]
            by = self._erased.get(row.subject, -1)
            if kind == private.CONTEXT:
                by = max(by, self._erased.get(_staff(row.actor), -1))
            elif gone in self._texts:
                by = max(by, self._texts[gone])
            if by <= gone:
                yield Finding(gone, "its private row is gone, and no event says why")

    def _projections(self) -> Iterator[Finding]:
        events = schema.events.c
        for difference in replay.differences(self._connection, self._states):
            last = select(func.max(events.position)).where(events.stream == difference.stream)
            yield Finding(self._connection.execute(last).scalar(), str(difference))


def _staff(actor: str) -> bytes:
    """Who acted as staff, empty where nobody did."""
    return ids.from_text(subject.PREFIX, actor.removeprefix(STAFF)) or b"" if actor.startswith(STAFF) else b""


def _other_leaves(tree: Tree, frontier: object, meant: str) -> Finding:
    """Where two trees of one size differ: a frontier holds one hash for each run of 2^n events, longest first."""
    first, last, ours = 0, tree.size - 1, tree.frontier()
    if isinstance(frontier, bytes) and len(frontier) == len(ours):
        runs = [1 << bit for bit in reversed(range(tree.size.bit_length())) if tree.size >> bit & 1]
        for number, run in enumerate(runs):
            place = slice(number * HASH_BYTES, (number + 1) * HASH_BYTES)
            if ours[place] != frontier[place]:
                last = first + run - 1
                break
            first += run
    run_of = f"or one of those up to #{last} " if last > first else ""
    return Finding(first, f"{run_of}is not the event {meant}")


@lru_cache(maxsize=32768)
def _ip_column(context: bytes) -> bytes | None:
    """One user's requests share their context, and parsing an address costs as much as checking its event."""
    return private.packed_ip(private.decode_context(context).ip)
