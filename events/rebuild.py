"""Makes all projections anew from the events, with the `evolve` and the `save` of a live append."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import islice

from sqlalchemy import Connection, MetaData, Table, delete, insert, select

from events import projections, replay
from events.projections import TABLES
from events.replay import BEFORE_ALL, Difference, States

_AT_ONCE = 1000


def rebuild(
    reading: Connection,
    locked: Callable[[], AbstractContextManager[Connection]],
    progress: Callable[[int], None] = lambda _done: None,
) -> list[Difference]:
    """Fold the whole log, compare, and put the fresh rows in the place of the stored ones. Answers what differed.

    Most of the log is folded from `reading`, beside a running service. Only the rest, the comparison and the writing
    hold the writer's lock: `locked` gives one writing transaction under it, which commits when it is left.
    Memory grows with the streams, about 350 bytes for each family.
    Raises ValueError, KeyError or msgspec.MsgspecError where an event cannot be folded; then nothing has changed.
    """
    states = States()
    after = BEFORE_ALL
    for after in replay.fold(reading, states, after, to_the_end=False):  # noqa: B020 - it goes on where it came to
        reading.rollback()
        progress(after + 1)
    with locked() as writing:
        for last in replay.fold(writing, states, after, to_the_end=True):
            progress(last + 1)
        found = list(replay.differences(writing, states))
        _replace(writing, states)
    return found


def _replace(connection: Connection, states: States) -> None:
    """If we crash in here, the transaction is undone and the old rows stand; the fresh tables never were."""
    fresh = {kind: _fresh(connection, table) for kind, table in TABLES.items()}
    remaining = states.drain()
    while some := list(islice(remaining, _AT_ONCE)):
        projections.save(connection, some, fresh)
    for kind, table in TABLES.items():
        # the contents change places and not the tables, which keep their indexes and, on PostgreSQL, their grants
        connection.execute(delete(table))
        connection.execute(insert(table).from_select([c.name for c in table.c], select(fresh[kind])))
        fresh[kind].drop(connection)


def _fresh(connection: Connection, table: Table) -> Table:
    copy = table.to_metadata(MetaData(), name=f"{table.name}_fresh")
    copy.indexes.clear()  # an index of that name exists already
    copy.create(connection)
    return copy
