"""Makes all projections anew from the events, with the `evolve` and the `save` of a live append."""

from collections.abc import Callable
from itertools import islice

from sqlalchemy import Connection, MetaData, Table, delete, insert, select

from events import commit, projections, replay
from events.projections import TABLES
from events.replay import BEFORE_ALL, Difference, States
from events.store import Store

_AT_ONCE = 1000


def rebuild(store: Store, progress: Callable[[int], None] = lambda _done: None) -> list[Difference]:
    """Fold the whole log, compare, and put the fresh rows in the place of the stored ones. Answers what differed.

    Most of the log is folded beside a running service. Only the rest, the comparison and the writing hold the writer's
    lock. Memory grows with the streams, about 350 bytes for each family.
    Raises ValueError, KeyError or msgspec.MsgspecError where an event cannot be folded; then nothing has changed.
    """
    states = States()
    after = store.read(lambda connection: _fold_most(connection, states, progress))
    return store.transact(lambda connection: _finish(connection, states, after, progress))


def _fold_most(connection: Connection, states: States, progress: Callable[[int], None]) -> int:
    connection.rollback()
    after = BEFORE_ALL
    for after in replay.fold(connection, states, after, to_the_end=False):  # noqa: B020 - it goes on where it came to
        connection.rollback()
        progress(after + 1)
    return after


def _finish(connection: Connection, states: States, after: int, progress: Callable[[int], None]) -> list[Difference]:
    for last in replay.fold(connection, states, after, to_the_end=True):
        progress(last + 1)
    found = list(replay.differences(connection, states))
    _replace(connection, states)
    commit.touch(connection)
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
