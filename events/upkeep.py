"""Deleting private rows whose time is over, and finding positions by time. Runs inside a transaction of the writer."""

from collections.abc import Callable

from sqlalchemy import Connection, delete, func, select

from events import log, private, schema
from events.decision import Change, Decide, Decision, Moment, States, Streams, knowing

SLICE = 5_000
"""Rows deleted in one transaction at most, so that no batch waits long behind it."""


def position_at(at_position: Callable[[int], int], size: int, at: int) -> int:
    """The first position whose time is not before `at`: time never goes back in the log, so bisection finds it."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if at_position(middle) < at:
            low = middle + 1
        else:
            high = middle
    return low


def contexts_before(connection: Connection, at: int) -> int:
    """Below which position the contexts are older than `at`."""
    events = schema.events.c
    size = connection.execute(select(schema.head.c.size)).scalar_one()

    def time_of(position: int) -> int:
        found: int = connection.execute(select(events.at).where(events.position == position)).scalar_one()
        return found

    return position_at(time_of, size, at)


def expire_contexts(below: int) -> Decide:
    """State that contexts below a position are gone; they are deleted after this is committed, never before."""

    def decide(states: States, _moment: Moment) -> Decision:
        state = states.log()
        if state is None or below <= state.contexts_below:
            return Decision(0 if state is None else state.contexts_below)
        return Decision(below, (Change(log.STREAM, log.ContextExpired(actor="system", below=below)),))

    return knowing(Streams(logs=frozenset((log.STREAM,))), decide)


def delete_contexts(below: int) -> Callable[[Connection], int]:
    """Delete a slice of the contexts below a position. If we crash here, the next run goes on: the event stands."""
    rows = schema.event_private

    def work(connection: Connection) -> int:
        oldest = select(rows.c.position).where(rows.c.kind == private.CONTEXT, rows.c.position < below)
        chosen = oldest.order_by(rows.c.position).limit(SLICE).subquery()
        last = connection.execute(select(func.max(chosen.c.position))).scalar_one_or_none()
        if last is None:
            return 0
        gone = delete(rows).where(rows.c.kind == private.CONTEXT, rows.c.position <= last)
        return connection.execute(gone).rowcount

    return work
