"""The one transaction: lock the head, read, decide in order, write everything. Engine-neutral; commits nothing itself.

The caller opens the transaction and commits it. Whatever happens before COMMIT leaves no trace; after it, all of the
batch is there: events, private rows, leaves, projections and head.
"""

import os
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    TableClause,
    Text,
    bindparam,
    cast,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from events import action, bulk, catalogue, erasing, fact, ids, merkle, private, projections, schema, subject, uses
from events.action import Action
from events.client import Client
from events.decision import Change, Decision, Erase, Moment, Origin, State, States, Streams, Submission, Use
from events.family import Family
from events.key import Key
from events.log import Log
from events.subject import Subject, SubjectErased
from events.webhook import Webhook

_ASKS = 4
"""A rule that still needs more after so many answers is wrong, and fails alone."""


_LOCK_HEAD = select(schema.head.c.size, schema.head.c.frontier, schema.head.c.last_at).with_for_update()
_LOCKED = _LOCK_HEAD.add_columns(literal_column("xmin::text").label("written_by")).subquery("locked")
_LOCK_HEAD_AND_ASK_SERVER = select(
    *_LOCKED.c,
    cast(func.pg_current_xact_id(), Text),
    # outside of the sub-select, hence after the lock was waited for
    cast(func.extract("epoch", func.clock_timestamp()) * literal_column("1000000"), BigInteger),
)
_UPDATE_HEAD = update(schema.head).values({name: bindparam(name) for name in ("size", "frontier", "last_at")})
_INSERT_EVENTS = insert(schema.events)
_INSERT_PRIVATE = insert(schema.event_private)


class Head(NamedTuple):
    """The single row that a batch locks: everything that grows with the log, in constant size."""

    size: int
    frontier: bytes
    last_at: int
    written_by: str = ""
    """The transaction that wrote the row, where the server says so: two rows that say the same differ in that."""
    transaction: str = ""
    """The one that holds the lock, likewise."""
    clock: int | None = None
    """The database's clock at the moment of the lock, in microseconds, where it is one that all processes share."""

    @property
    def mark(self) -> tuple[int, bytes, int, str]:
        """What tells this row from any other that the ledger ever had."""
        return self[:4]


class Clock(NamedTuple):
    """Where time comes from. Tests pass their own."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    shared: bool = True
    """Whether the database's clock goes before this one, where it has one: not for a past that is told afterwards."""


class Failed(NamedTuple):
    """A command whose own rule failed; nothing of it is written, the others of its batch are."""

    error: Exception


class Result(NamedTuple):
    """What a batch came to, and the head that it leaves."""

    verdicts: list[Any]
    head: Head
    first_leaf: bytes | None
    """Leaf at the position that was the batch's first; settles an unknown COMMIT."""
    states: Mapping[bytes, State | None]
    """All that the batch read, as it is after the batch."""
    erased: bool = False
    """Whether somebody was erased: then what was read may say more than what is stored."""


class TooLarge(ValueError):
    """A fact's body is over `fact.MAX_BODY`."""


def lock_head(connection: Connection) -> Head:
    """Read the head row, holding its lock until the transaction ends (SQLite: BEGIN IMMEDIATE holds it already)."""
    shared = connection.dialect.name == "postgresql"
    return Head(*bulk.run(connection, _LOCK_HEAD_AND_ASK_SERVER if shared else _LOCK_HEAD))


def prove(connection: Connection) -> None:
    """Write the head and write it back: COMMIT then reaches the disk, though nothing has changed."""
    size = schema.head.c.size
    connection.execute(update(schema.head).values(size=size + 1))
    connection.execute(update(schema.head).values(size=size - 1))


def touch(connection: Connection) -> None:
    """Write the head as it is: what was remembered at it does not hold any more (see `Head.written_by`)."""
    connection.execute(update(schema.head).values(size=schema.head.c.size))


def write(
    connection: Connection,
    batch: Sequence[Submission],
    moment: Callable[[Head], Moment],
    monotonic: float,
    trace: Callable[[str], None],
    each: Callable[[Moment, Submission, float], Moment] | None = None,
    recall: Callable[[Head, Streams], Mapping[bytes, State]] = lambda _head, _streams: {},
) -> Result:
    """Decide and write one batch. `moment` gives the batch's time; `monotonic` is the same instant of that clock.

    `trace` is told of each named point at which a crash would be interesting. `each` gives a command a time of its own,
    never behind that of the command before it and never after the batch's: for a past that is told afterwards.
    `recall` answers the states that need not be read, because they are known to be what their rows say.
    """
    arrival = each or _arrival
    head = lock_head(connection)
    now = moment(head)
    states = States()
    rows = _Rows(head, len(batch))
    named = _union(one.streams for one in batch)
    states.by_stream.update(recall(head, named))
    _read(connection, states, named)
    verdicts = [_decide(connection, states, one, arrival(now, one, monotonic), rows) for one in batch]
    trace("decided")
    after = rows.head() if rows.events else head
    rows.write(connection, after, trace)
    return Result(verdicts, after, rows.events[0][-1] if rows.events else None, states.by_stream, bool(rows.erasures))


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
        (Webhook, lacking.webhooks),
    )
    for kind, wanted in kinds:
        if wanted := wanted.difference(states.by_stream):
            states.by_stream.update(dict.fromkeys(wanted))
            states.by_stream.update((state.id, state) for state in projections.load(connection, kind, wanted))
    if lacking.living_of:
        _read_living(connection, states, lacking.living_of)
    if lacking.names:
        _read_names(connection, states, lacking.names)
    if lacking.uses:
        found = uses.used(connection, lacking.uses)
        states.used.update({value: value in found for value in lacking.uses})


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
    begun = {name: s.id for s in states.by_stream.values() if isinstance(s, Subject) for name in _names_of(s)}
    states.named.update({name: begun.get(name) for name in names})
    for owner in projections.subjects_named(connection, names):
        states.by_stream.setdefault(owner.id, owner)
        states.named.update(dict.fromkeys(_names_of(owner), owner.id))


def _names_of(owner: Subject) -> list[str]:
    return [name for name in (owner.name, owner.external) if name]


def _decide(connection: Connection, states: States, one: Submission, now: Moment, rows: "_Rows") -> Any:
    try:
        for _ in range(_ASKS):
            answer = one.decide(states, now)
            if isinstance(answer, Decision):
                rows.add(states, answer, one.origin, now.now)
                rows.use(states, answer.uses)
                return answer.verdict
            _read(connection, states, answer.streams)
        return Failed(RuntimeError("a rule asked for more and more"))
    except SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001 - one wrong rule must not take the batch with it
        return Failed(error)


class _Rows:
    """The rows of a batch, collected in memory before anything is written; each in the order of its table's columns."""

    def __init__(self, head: Head, commands: int) -> None:
        self.before = head
        self.last_at = head.last_at
        self.events: list[tuple[Any, ...]] = []
        self.private: list[tuple[Any, ...]] = []
        self.changed: dict[bytes, State] = {}
        self.erasures: list[tuple[Erase, int]] = []
        """Whom, and before which position."""
        self.uses: list[Use] = []
        self._salts = _salts(commands)

    def add(self, states: States, decision: Decision, origin: Origin, at: int) -> None:
        """Fold and encode all changes of one decision; only when every one of them went well, keep them."""
        fresh: dict[bytes, State] = {}
        events: list[tuple[Any, ...]] = []
        beside: list[tuple[Any, ...]] = []
        seal = _Seal(origin, self._salts)
        first = self.before.size + len(self.events)
        for position, change in enumerate(decision.changes, first):
            stream = change.stream
            before = fresh.get(stream) or states.by_stream.get(stream)
            if isinstance(change.fact, SubjectErased) or _of_erased(before, fresh, states):
                stated, account = seal.bare(change), _NO_ACCOUNT
            else:
                stated, account = seal.stated(position, change, beside), change.account or _NO_ACCOUNT
            after = catalogue.apply(before, stream, at, change.fact, account)
            fresh[stream] = after
            events.append(_event(position, stream, after.version, at, stated))
        if events:
            self.events += events
            self.private += beside
            self.last_at = at
            self._keep(states, fresh)
        if decision.erase is not None:
            self.erasures.append((decision.erase, first))

    def use(self, states: States, values: tuple[Use, ...]) -> None:
        """What a decision used up counts for those that follow it in this batch."""
        for one in values:
            self.uses.append(one)
            states.used[one.value] = True

    def _keep(self, states: States, fresh: dict[bytes, State]) -> None:
        for stream, state in fresh.items():
            states.by_stream[stream] = self.changed[stream] = state
            if isinstance(state, Family) and state.subject in states.living:
                states.living[state.subject].add(stream)
            if isinstance(state, Subject):
                states.named.update(dict.fromkeys(_names_of(state), stream))

    def head(self) -> Head:
        """The head after this batch."""
        tree = merkle.Tree(self.before.size, self.before.frontier)
        tree.extend([row[-1] for row in self.events])
        return Head(tree.size, tree.frontier(), self.last_at, self.before.transaction)

    def write(self, connection: Connection, after: Head, trace: Callable[[str], None]) -> None:
        """Write all rows, table by table, and the head last."""

        def filled(table: TableClause) -> None:
            if table in _POINTS:
                trace(_POINTS[table])

        if self.events:
            log = bulk.Filling(_INSERT_EVENTS, self.events), bulk.Filling(_INSERT_PRIVATE, self.private)
            states = projections.saving(connection.dialect.name, self.changed.values())
            bulk.write(connection, (*log, *states), _UPDATE_HEAD, after._asdict(), filled)
        for erase, below in self.erasures:
            erasing.begin(connection, erase, below)
        trace("private rows erased")
        if self.uses:
            uses.use(connection, self.uses)


_NO_ACCOUNT = private.Account()
_POINTS: dict[TableClause, str] = {schema.events: "events inserted", schema.event_private: "private rows inserted"}
"""At which a crash would be interesting."""


def _of_erased(before: State | None, fresh: Mapping[bytes, State], states: States) -> bool:
    """Whether an event of this stream is about somebody who was erased: then nothing is kept beside it."""
    owner = before
    if isinstance(before, Family):
        owner = fresh.get(before.subject) or states.by_stream.get(before.subject)
    return isinstance(owner, Subject) and owner.erased


class _Seal:
    """Fills into facts where they came from, and what binds their private rows."""

    def __init__(self, origin: Origin, salts: Iterator[bytes]) -> None:
        self._request, self._salts = origin.request, salts
        self._context = private.encode(origin.context) if origin.context else None
        self._ip = private.packed_ip(origin.context.ip) if origin.context else None

    def stated(self, position: int, change: Change, beside: list[tuple[Any, ...]]) -> fact.Fact:
        """The fact as it is stored; its private rows are put `beside`."""
        bound = {"request": self._request}
        if self._context is not None:
            bound["context"] = self._bind(beside, position, private.CONTEXT, self._context, self._ip)
        if change.account is not None:
            bound["account"] = self._bind(beside, position, private.ACCOUNT, private.encode(change.account), None)
        return msgspec.structs.replace(change.fact, **bound)

    def bare(self, change: Change) -> fact.Fact:
        """The fact as it is stored where nothing may stand beside it."""
        return msgspec.structs.replace(change.fact, request=self._request)

    def _bind(self, beside: list[tuple[Any, ...]], position: int, kind: int, data: bytes, ip: bytes | None) -> str:
        salt = next(self._salts)
        beside.append((position, kind, salt, data, ip))
        return private.binding(salt, data)


def _salts(expected: int) -> Iterator[bytes]:
    """Fresh salts without end, drawn so many at a time.

    Each draw lets go of the interpreter's lock, and the event loop may keep it for as long as it is busy.
    """
    while True:
        drawn = os.urandom(private.SALT_BYTES * (expected or 1))
        yield from (drawn[at : at + private.SALT_BYTES] for at in range(0, len(drawn), private.SALT_BYTES))


def _event(position: int, stream: bytes, version: int, at: int, stated: fact.Fact) -> tuple[Any, ...]:
    body = fact.encode(stated)
    if len(body) > fact.MAX_BODY:
        msg = f"{stated.TYPE} has a body of {len(body)} bytes; {fact.MAX_BODY} are allowed"
        raise TooLarge(msg)
    leaf = merkle.leaf_hash(at, stream, version, stated.CODE, body)
    return (position, stream, version, stated.CODE, at, *derived(stated), body, leaf)


DERIVED = ("subject", "client", "actor", "request", "jti", "action")
"""The columns that the audit log searches, in the order of their table."""


def derived(stated: fact.Fact) -> tuple[Any, ...]:
    """What stands in the columns `DERIVED`, all of it taken from the fact."""
    named = getattr(stated, "subject", "")
    jti = getattr(stated, "jti", "")
    part_of = getattr(stated, "action", "")
    return (
        ids.parse(subject.PREFIX, named) if named else None,
        getattr(stated, "client", "") or None,
        stated.actor,
        urlsafe_b64decode(stated.request) if stated.request else None,
        urlsafe_b64decode(jti + "==") if jti else None,
        ids.parse(action.PREFIX, part_of) if part_of else None,
    )
