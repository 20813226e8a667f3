"""Moving a ledger to another database: positions, leaves and root stay what they are. Resumable; decides nothing.

While it is on its way the new database says so, and no service takes it for a ledger: what is there is true, but it is
not all. The old one is only read.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table, delete, insert, select, update

from events import bulk, leases, projections, replay, schema
from events.merkle import Tree
from events.store import Store
from events.verify import Finding, verify

MARK: Final = "move"
"""The lease that a database is under which does not hold all of its ledger yet."""
AT_ONCE: Final = 10_000
FOREVER: Final = 2**62


class Unmovable(Exception):
    """Why it cannot be moved, as one sentence that says what to do."""


class Moved(NamedTuple):
    """The ledger is there whole, and proved to be the same."""

    size: int
    root: bytes


class _End(NamedTuple):
    """The head row of a ledger, as it is."""

    size: int
    frontier: bytes
    last_at: int
    key_checks: str


def is_on_its_way(connection: Connection) -> bool:
    """Whether this database is still being filled from another one."""
    marks = select(schema.leases.c.name).where(schema.leases.c.name == MARK)
    return connection.execute(marks).one_or_none() is not None


def move(source: Store, target: Store, done: Callable[[int], None]) -> Moved:
    """Copy what is not there yet, then prove that both are the same. `done` is told how many events are there.

    The schema of both is today's. If we crash inside, the target is marked, and the next call goes on.
    Raises Unmovable for a target that holds something else, for a source that grew meanwhile, and for one that does not
    verify; SQLAlchemyError and OSError.
    """
    end = source.read(_end_of)
    first = target.transact(partial(_claim, end=end))
    _demand_same(source, target, first)
    tree = Tree(first.size, first.frontier)
    done(tree.size)
    while tree.size < end.size:
        events, private = source.read(partial(_page, first=tree.size, count=AT_ONCE))
        target.transact(partial(_append, tree, events, private))
        done(tree.size)
    for table in projections.TABLES.values():
        _replace(source, target, table)
    for table in (schema.webhook_cursors, schema.webhook_deliveries):
        _replace_small(source, target, table)
    return _finished(source, target, end)


def _end_of(connection: Connection) -> _End:
    head = schema.head.c
    return _End(*connection.execute(select(head.size, head.frontier, head.last_at, head.key_checks)).one())


def _claim(connection: Connection, end: _End) -> _End:
    """Mark the target, which is empty or marked already. Answers how far it is."""
    there = _end_of(connection)
    if there.size and not is_on_its_way(connection):
        raise Unmovable(f"There is a ledger of {there.size} events already: move into an empty database.")
    if there.size > end.size:
        raise Unmovable("What was moved before is longer than this ledger: it is not a copy of it; take an empty one.")
    leases.take(MARK, MARK, 0, FOREVER)(connection)
    return there


def _demand_same(source: Store, target: Store, there: _End) -> None:
    """What was moved before is a beginning of this ledger, or the two would be mixed."""
    if there.size:
        last = partial(_page, first=there.size - 1, count=1)
        if source.read(last) != target.read(last):
            raise Unmovable("What was moved before is of another ledger: take an empty database.")


_Page = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]


def _page(connection: Connection, first: int, count: int) -> _Page:
    """The next events and their private rows, as they are stored."""
    events = [tuple(row) for row in replay.events_after(connection, first - 1, count)]
    if not events:
        raise Unmovable("The log is shorter than its head says: session-ledger verify names the first bad position.")
    private = replay.private_rows(connection, events[0][0], events[-1][0])
    return events, [tuple(private[key]) for key in sorted(private)]


def _append(tree: Tree, events: Sequence[Sequence[Any]], private: Sequence[Any], connection: Connection) -> None:
    """One page in one transaction, with the head that belongs to it."""
    bulk.insert_all(connection, insert(schema.events), events)
    if private:
        bulk.insert_all(connection, insert(schema.event_private), private)
    grown = Tree(tree.size, tree.frontier())
    grown.extend(event[-1] for event in events)
    at = events[-1][schema.events.c.keys().index("at")]
    connection.execute(update(schema.head).values(size=grown.size, frontier=grown.frontier(), last_at=at))
    tree.extend(event[-1] for event in events)


def _replace(source: Store, target: Store, table: Table) -> None:
    """All rows of a projection: they follow from the events, so those of an interrupted call are written again."""
    target.transact(partial(_clear, table))
    after = b""
    while rows := source.read(partial(_rows, table=table, after=after)):
        target.transact(partial(_insert, insert(table), rows))
        after = rows[-1][0]


def _replace_small(source: Store, target: Store, table: Table) -> None:
    """All rows of a table beside the log that must not be lost: without it everything is delivered once more."""
    rows = source.read(lambda connection: [tuple(row) for row in connection.execute(select(table))])
    target.transact(partial(_clear, table))
    if rows:
        target.transact(partial(_insert, insert(table), rows))


def _clear(table: Table, connection: Connection) -> None:
    connection.execute(delete(table))


def _rows(connection: Connection, table: Table, after: bytes) -> list[tuple[Any, ...]]:
    query = select(table).where(table.c.id > after).order_by(table.c.id).limit(AT_ONCE)
    return [tuple(row) for row in connection.execute(query)]


def _insert(statement: Any, rows: Sequence[Sequence[Any]], connection: Connection) -> None:
    bulk.insert_all(connection, statement, rows)


def _finished(source: Store, target: Store, end: _End) -> Moved:
    """Take the mark away once all is proved: then, and not before, a service may start on the target."""
    if source.read(_end_of)[:3] != end[:3]:
        raise Unmovable("Something wrote to the old ledger meanwhile: stop its service, then call this again.")
    found = target.read(verify)
    if isinstance(found, Finding):
        raise Unmovable(f"What was moved does not verify, and so the ledger that it came from may not, either: {found}")
    target.transact(partial(_release, end))
    return Moved(found.size, found.root)


def _release(end: _End, connection: Connection) -> None:
    connection.execute(update(schema.head).values(key_checks=end.key_checks))
    leases.give_up(MARK, MARK)(connection)
