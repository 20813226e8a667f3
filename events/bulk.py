"""The statements of every batch: put together by SQLAlchemy Core once, run as the driver's own text from then on.

SQLAlchemy's executemany makes a dictionary of each row and a call of each value, and a list of ids is written into the
text of a statement each time: both take longer than SQLite does. PostgreSQL gets one array for each column, and all
tables of a batch in one statement: one way there and back, whatever is written.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Insert,
    Select,
    TableClause,
    Update,
    bindparam,
    column,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

MOST = 512
"""Keys in one statement."""
AT_ONCE = (32, 4, 1)
"""Rows in one statement for SQLite. Where a table has triggers it copies aside each page that a statement touches, and
the rows of a batch touch the same pages. 32 of our widest rows have fewer values than any build of SQLite takes."""
Row: TypeAlias = Sequence[Any]
"""As wide as its table, in the order of its columns."""
Rows: TypeAlias = Sequence[Any]
"""Rows of the driver, as wide as the statement says."""


class Filling(NamedTuple):
    """An INSERT and the rows that it is for. Values are bytes, str, int or None: they reach the driver as they are."""

    statement: Insert
    rows: Sequence[Row]


def write(
    connection: Connection,
    fillings: Sequence[Filling],
    last: Update,
    values: Mapping[str, Any],
    filled: Callable[[TableClause], None],
) -> None:
    """Fill tables in this order, then run an UPDATE once. `filled` is told of each table."""
    if connection.dialect.name == "postgresql":
        _write_at_once(connection, [one for one in fillings if one.rows], last, values)
        for one in fillings:
            filled(one.statement.table)
        return
    for one in fillings:
        insert_all(connection, one.statement, one.rows)
        filled(one.statement.table)
    text, values_of = _prepared(last, connection.dialect)
    connection.exec_driver_sql(text, values_of(values))


def _write_at_once(
    connection: Connection, fillings: Sequence[Filling], last: Update, values: Mapping[str, Any]
) -> None:
    text, values_of = _prepared(_together(last, tuple(one.statement for one in fillings)), connection.dialect)
    given = dict(values)
    for statement, rows in fillings:
        given.update(zip(_arrays_of(statement.table), map(list, zip(*rows, strict=True)), strict=True))
    connection.exec_driver_sql(text, values_of(given))


def insert_all(connection: Connection, statement: Insert, rows: Sequence[Row]) -> None:
    """Run an INSERT for all rows."""
    if connection.dialect.name == "postgresql":
        text = _plain(_from_arrays(statement), connection.dialect)
        connection.exec_driver_sql(text, tuple(map(list, zip(*rows, strict=True))))
        return
    done = 0
    for size in AT_ONCE:
        until = len(rows) - (len(rows) - done) % size
        if until > done:
            portions = [tuple(chain.from_iterable(rows[at : at + size])) for at in range(done, until, size)]
            connection.exec_driver_sql(_repeated(statement, size, connection.dialect), portions)
            done = until


def find(connection: Connection, statement: Select[Any], column: ColumnElement[Any], keys: list[bytes]) -> Rows:
    """The rows whose column has one of the keys, at most `MOST` of them.

    The number of keys is rounded up with the last one, so that a few texts serve batches of all sizes.
    """
    if connection.dialect.name == "postgresql":
        return connection.exec_driver_sql(_among(statement, column, connection.dialect), (keys,)).all()
    size = 1 << (len(keys) - 1).bit_length()
    text = _searching(statement, column, size, connection.dialect)
    return connection.exec_driver_sql(text, (*keys, *(keys[-1:] * (size - len(keys))))).all()


def run(connection: Connection, statement: Select[Any]) -> Any:
    """The one row of a statement without parameters."""
    return connection.exec_driver_sql(_plain(statement, connection.dialect)).one()


@lru_cache(maxsize=256)
def _together(last: Update, statements: tuple[Insert, ...]) -> Update:
    """Each part sees the tables as they were before all of them; triggers after a statement see what all wrote."""
    return last.add_cte(*(_from_arrays(one).cte(f"{one.table.name}_filled") for one in statements))


@lru_cache(maxsize=64)
def _arrays_of(table: TableClause) -> tuple[str, ...]:
    """What the arrays of a table's columns are called."""
    return tuple(f"{table.name}_{name}" for name in table.c.keys())  # noqa: SIM118 - of columns


@lru_cache(maxsize=64)
def _from_arrays(statement: Insert) -> Insert:
    columns = list(statement.table.c)
    names = _arrays_of(statement.table)
    arrays = (bindparam(name, type_=ARRAY(one.type)) for name, one in zip(names, columns, strict=True))
    rows = func.unnest(*arrays).table_valued(*(column(one.name, one.type) for one in columns)).render_derived()
    return statement.from_select([one.name for one in columns], select(*rows.c), include_defaults=False)


@lru_cache(maxsize=64)
def _among(statement: Select[Any], wanted: ColumnElement[Any], dialect: Dialect) -> str:
    # Joined key by key, an index by hash will do; `= ANY` has the planner go down the tree instead.
    keys = func.unnest(bindparam("keys", type_=ARRAY(wanted.type)))
    key = keys.table_valued(column("key", wanted.type)).render_derived(name="wanted").c.key
    return statement.where(wanted == key).compile(dialect=dialect).string


@lru_cache(maxsize=64)
def _searching(statement: Select[Any], column: ColumnElement[Any], size: int, dialect: Dialect) -> str:
    wanted = [bindparam(f"key{number}", type_=column.type) for number in range(size)]
    return statement.where(column.in_(wanted)).compile(dialect=dialect).string


@lru_cache(maxsize=16)
def _plain(statement: Select[Any] | Insert, dialect: Dialect) -> str:
    return statement.compile(dialect=dialect).string


@lru_cache(maxsize=64)
def _prepared(statement: Update, dialect: Dialect) -> tuple[str, Callable[[Any], Any]]:
    """The statement's text, and what takes its parameters out of a row, in their order."""
    compiled = statement.compile(dialect=dialect)
    return compiled.string, itemgetter(*compiled.positiontup or ())


@lru_cache(maxsize=64)
def _repeated(statement: Insert, size: int, dialect: Dialect) -> str:
    row = dict.fromkeys(statement.table.c.keys())
    return statement.values([row] * size).compile(dialect=dialect).string
