"""The statements of every batch: put together by SQLAlchemy Core once, run as the driver's own text from then on.

SQLAlchemy's executemany makes a dictionary of each row and a call of each value, and a list of ids is written into the
text of a statement each time: both take longer than SQLite does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Dialect, Insert, Select, Update, bindparam

MOST = 512
"""Keys in one statement."""
Rows: TypeAlias = Sequence[Any]
"""Rows of the driver, as wide as the statement says."""


def insert_all(connection: Connection, statement: Insert | Update, rows: Iterable[Mapping[str, Any]]) -> None:
    """Run an INSERT or UPDATE for each row. Values are bytes, str, int or None: they reach the driver as they are."""
    text, values_of = _prepared(statement, connection.dialect)
    connection.exec_driver_sql(text, [values_of(row) for row in rows])


def find(connection: Connection, statement: Select[Any], column: ColumnElement[Any], keys: list[bytes]) -> Rows:
    """The rows whose column has one of the keys, at most `MOST` of them.

    The number of keys is rounded up with the last one, so that a few texts serve batches of all sizes.
    """
    size = 1 << (len(keys) - 1).bit_length()
    text = _searching(statement, column, size, connection.dialect)
    return connection.exec_driver_sql(text, (*keys, *(keys[-1:] * (size - len(keys))))).all()


def run(connection: Connection, statement: Select[Any]) -> Any:
    """The one row of a statement without parameters."""
    return connection.exec_driver_sql(_plain(statement, connection.dialect)).one()


@lru_cache(maxsize=64)
def _searching(statement: Select[Any], column: ColumnElement[Any], size: int, dialect: Dialect) -> str:
    wanted = [bindparam(f"key{number}", type_=column.type) for number in range(size)]
    return statement.where(column.in_(wanted)).compile(dialect=dialect).string


@lru_cache(maxsize=16)
def _plain(statement: Select[Any], dialect: Dialect) -> str:
    return statement.compile(dialect=dialect).string


@lru_cache(maxsize=64)
def _prepared(statement: Insert | Update, dialect: Dialect) -> tuple[str, Callable[[Any], Any]]:
    """The statement's text, and what takes its parameters out of a row, in their order."""
    compiled = statement.compile(dialect=dialect)
    return compiled.string, itemgetter(*compiled.positiontup or ())
