"""The one transaction: lock the head, read, decide in order, write everything. Engine-neutral; commits nothing itself.

The caller opens the transaction and commits it. Whatever happens before COMMIT leaves no trace; after it, all of the
batch is there: events, private rows, leaves, projections and head.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Text, cast, func, literal_column, select, update
from sqlalchemy.exc import SQLAlchemyError

from events import bulk, gathering, schema
from events.decision import Decision, Moment, State, States, Streams, Submission
from events.heads import Head
from events.rows import Rows

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
    rows = Rows(head, len(batch))
    named = gathering.union(one.streams for one in batch)
    states.by_stream.update(recall(head, named))
    gathering.read(connection, states, named)
    verdicts = [_decide(connection, states, one, arrival(now, one, monotonic), rows) for one in batch]
    trace("decided")
    after = rows.head()
    rows.write(connection, after, trace)
    return Result(verdicts, after, rows.first_leaf, states.by_stream, bool(rows.erasures))


def _arrival(now: Moment, one: Submission, monotonic: float) -> Moment:
    waited = max(0, int((monotonic - one.arrived) * 1_000_000))
    return Moment(now.now, now.wall, now.now - waited, now.ready, now.unable)


def _decide(connection: Connection, states: States, one: Submission, now: Moment, rows: Rows) -> Any:
    try:
        for _ in range(_ASKS):
            answer = one.decide(states, now)
            if isinstance(answer, Decision):
                rows.add(states, answer, one.origin, now.now)
                rows.use(states, answer.uses)
                return answer.verdict
            gathering.read(connection, states, answer.streams)
        return Failed(RuntimeError("a rule asked for more and more"))
    except SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001 - one wrong rule must not take the batch with it
        return Failed(error)
