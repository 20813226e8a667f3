"""The one transaction: lock the head, read, decide in order, write everything. Engine-neutral; commits nothing itself.

The caller opens the transaction and commits it. Whatever happens before COMMIT leaves no trace; after it, all of the
batch is there: events, private rows, leaves, projections and head.
"""

import os
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from events import action, bulk, catalogue, fact, ids, merkle, private, projections, schema, subject
from events.action import Action
from events.client import Client
from events.decision import Change, Decision, Moment, Origin, State, States, Streams, Submission
from events.family import Family
from events.key import Key
from events.log import Log
from events.subject import Subject

_ASKS = 4
"""A rule that still needs more after so many answers is wrong, and fails alone."""


_LOCK_HEAD = select(schema.head.c.size, schema.head.c.frontier, schema.head.c.last_at).with_for_update()
_UPDATE_HEAD = update(schema.head).values({name: bindparam(name) for name in ("size", "frontier", "last_at")})
_INSERT_EVENTS = insert(schema.events)
_INSERT_PRIVATE = insert(schema.event_private)


class Head(NamedTuple):
    """The single row that a batch locks: everything that grows with the log, in constant size."""

    size: int
    frontier: bytes
    last_at: int


class Clock(NamedTuple):
    """Where time comes from. Tests pass their own."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class Failed(NamedTuple):
    """A command whose own rule failed; nothing of it is written, the others of its batch are."""

    error: Exception


class Result(NamedTuple):
    """What a batch came to, and the head that it leaves."""

    verdicts: list[Any]
    head: Head
    first_leaf: bytes | None
    """Leaf at the position that was the batch's first; settles an unknown COMMIT."""


class TooLarge(ValueError):
    """A fact's body is over `fact.MAX_BODY`."""


def lock_head(connection: Connection) -> Head:
    """Read the head row, holding its lock until the transaction ends (SQLite: BEGIN IMMEDIATE holds it already)."""
    return Head(*bulk.run(connection, _LOCK_HEAD))


def prove(connection: Connection) -> None:
    """Write the head and write it back: COMMIT then reaches the disk, though nothing has changed."""
    size = schema.head.c.size
    connection.execute(update(schema.head).values(size=size + 1))
    connection.execute(update(schema.head).values(size=size - 1))


def write(
    connection: Connection,
    batch: Sequence[Submission],
    moment: Callable[[Head], Moment],
    monotonic: float,
    trace: Callable[[str], None],
    each: Callable[[Moment, Submission, float], Moment] | None = None,
) -> Result:
    """Decide and write one batch. `moment` gives the batch's time; `monotonic` is the same instant of that clock.

    `trace` is told of each named point at which a crash would be interesting. `each` gives a command a time of its own,
    never behind that of the command before it and never after the batch's: for a past that is told afterwards.
    """
    arrival = each or _arrival
    head = lock_head(connection)
    now = moment(head)
    states = States()
    rows = _Rows(head)
    _read(connection, states, _union(one.streams for one in batch))
    verdicts = [_decide(connection, states, one, arrival(now, one, monotonic), rows) for one in batch]
    trace("decided")
    rows.insert(connection, trace)
    after = rows.head()
    if rows.events:
        bulk.insert_all(connection, _UPDATE_HEAD, [after._asdict()])
    return Result(verdicts, after, rows.events[0]["leaf"] if rows.events else None)


def _arrival(now: Moment, one: Submission, monotonic: float) -> Moment:
    waited = max(0, int((monotonic - one.arrived) * 1_000_000))
    return Moment(now.now, now.wall, now.now - waited, now.ready, now.unable)


def _union(wishes: Iterable[Streams]) -> Streams:
    return Streams(*(frozenset().union(*wanted) for wanted in zip(*wishes, strict=True)))


def _read(connection: Connection, states: States, streams: Streams) -> None:
    lacking = states.lacking(streams)
    if lacking is None:
        return
    if lacking.families:
        _read_families(connection, states, lacking.families)
    kinds: tuple[tuple[type[Any], frozenset[bytes]], ...] = (
        (Subject, lacking.subjects),
        (Client, lacking.clients),
        (Key, lacking.keys),
        (Log, lacking.logs),
        (Action, lacking.actions),
    )
    for kind, wanted in kinds:
        if wanted := wanted.difference(states.by_stream):
            states.by_stream.update(dict.fromkeys(wanted))
            states.by_stream.update((state.id, state) for state in projections.load(connection, kind, wanted))
    if lacking.living_of:
        _read_living(connection, states, lacking.living_of)
    if lacking.names:
        _read_names(connection, states, lacking.names)


def _read_families(connection: Connection, states: States, families: frozenset[bytes]) -> None:
    """Whose they are comes with them; a subject that changed earlier in this batch is newer than its row."""
    states.by_stream.update(dict.fromkeys(families))
    for family, owner in projections.load_held(connection, families):
        states.by_stream[family.id] = family
        states.by_stream.setdefault(family.subject, owner)


def _read_living(connection: Connection, states: States, subjects: frozenset[bytes]) -> None:
    states.living.update((one, set()) for one in subjects)
    for state in states.by_stream.values():
        # families that began or changed earlier in this batch are newer than their rows
        if isinstance(state, Family) and state.subject in subjects:
            states.living[state.subject].add(state.id)
    for family in projections.living_families(connection, subjects):
        states.by_stream.setdefault(family.id, family)
        states.living[family.subject].add(family.id)


def _read_names(connection: Connection, states: States, names: frozenset[str]) -> None:
    begun = {s.name: s.id for s in states.by_stream.values() if isinstance(s, Subject) and s.name}
    states.named.update({name: begun.get(name) for name in names})
    for owner in projections.subjects_named(connection, names):
        states.by_stream.setdefault(owner.id, owner)
        states.named[owner.name] = owner.id


def _decide(connection: Connection, states: States, one: Submission, now: Moment, rows: "_Rows") -> Any:
    try:
        for _ in range(_ASKS):
            answer = one.decide(states, now)
            if isinstance(answer, Decision):
                rows.add(states, answer.changes, one.origin, now.now)
                return answer.verdict
            _read(connection, states, answer.streams)
        return Failed(RuntimeError("a rule asked for more and more"))
    except SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001 - one wrong rule must not take the batch with it
        return Failed(error)


class _Rows:
    """The rows of a batch, collected in memory before anything is written."""

    def __init__(self, head: Head) -> None:
        self.tree = merkle.Tree(head.size, head.frontier)
        self.size = head.size
        self.events: list[dict[str, Any]] = []
        self.private: list[dict[str, Any]] = []
        self.changed: dict[bytes, State] = {}
        self.last_at = head.last_at

    def add(self, states: States, changes: tuple[Change, ...], origin: Origin, at: int) -> None:
        """Fold and encode all changes of one decision; only when every one of them went well, keep them."""
        fresh: dict[bytes, State] = {}
        events: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        context = private.encode(origin.context) if origin.context else None
        for change in changes:
            position = self.size + len(events)
            stated, private_rows = _sealed(change, origin, context, position)
            rows += private_rows
            before = fresh.get(change.stream, states.by_stream.get(change.stream))
            after = catalogue.apply(before, change.stream, at, change.fact, change.account or private.Account())
            fresh[change.stream] = after
            events.append(_event(position, change.stream, after.version, at, stated))
        self._keep(states, events, rows, fresh)

    def _keep(
        self,
        states: States,
        events: list[dict[str, Any]],
        rows: list[dict[str, Any]],
        fresh: dict[bytes, State],
    ) -> None:
        for event in events:
            self.tree.append(event["leaf"])
        self.size += len(events)
        self.events += events
        self.private += rows
        for stream, state in fresh.items():
            states.by_stream[stream] = self.changed[stream] = state
            if isinstance(state, Family) and state.subject in states.living:
                states.living[state.subject].add(stream)
            if isinstance(state, Subject) and state.name:
                states.named[state.name] = stream

    def head(self) -> Head:
        """The head after this batch."""
        return Head(self.size, self.tree.frontier(), self.events[-1]["at"] if self.events else self.last_at)

    def insert(self, connection: Connection, trace: Callable[[str], None]) -> None:
        """Write all rows, one executemany for each table."""
        if self.events:
            bulk.insert_all(connection, _INSERT_EVENTS, self.events)
        trace("events inserted")
        if self.private:
            bulk.insert_all(connection, _INSERT_PRIVATE, self.private)
        trace("private rows inserted")
        if self.changed:
            projections.save(connection, self.changed.values())


def _sealed(
    change: Change, origin: Origin, context: bytes | None, position: int
) -> tuple[fact.Fact, list[dict[str, Any]]]:
    """The fact with request and bindings filled in, and its private rows."""
    bound = {"request": origin.request}
    rows = []
    account = private.encode(change.account) if change.account else None
    for name, kind, data in (("context", private.CONTEXT, context), ("account", private.ACCOUNT, account)):
        if data is not None:
            salt = os.urandom(private.SALT_BYTES)
            bound[name] = private.binding(salt, data)
            ip = private.packed_ip(origin.context.ip) if origin.context and kind == private.CONTEXT else None
            rows.append({"position": position, "kind": kind, "salt": salt, "data": data, "ip": ip})
    return msgspec.structs.replace(change.fact, **bound), rows


def _event(position: int, stream: bytes, version: int, at: int, stated: fact.Fact) -> dict[str, Any]:
    body = fact.encode(stated)
    if len(body) > fact.MAX_BODY:
        msg = f"{stated.TYPE} has a body of {len(body)} bytes; {fact.MAX_BODY} are allowed"
        raise TooLarge(msg)
    return {
        "position": position,
        "stream": stream,
        "version": version,
        "type": stated.CODE,
        "at": at,
        **derived(stated),
        "body": body,
        "leaf": merkle.leaf_hash(at, stream, version, stated.CODE, body),
    }


def derived(stated: fact.Fact) -> dict[str, Any]:
    """The columns that the audit log searches, all of them taken from the fact."""
    named = getattr(stated, "subject", "")
    jti = getattr(stated, "jti", "")
    part_of = getattr(stated, "action", "")
    return {
        "subject": ids.parse(subject.PREFIX, named) if named else None,
        "client": getattr(stated, "client", None),
        "actor": stated.actor,
        "request": urlsafe_b64decode(stated.request) if stated.request else None,
        "jti": urlsafe_b64decode(jti + "==") if jti else None,
        "action": ids.parse(action.PREFIX, part_of) if part_of else None,
    }
