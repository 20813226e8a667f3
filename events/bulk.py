"""Writing many rows at once: a statement of SQLAlchemy Core, run as the driver's own text. Reads nothing.

SQLAlchemy's executemany makes a dictionary of each row and a call of each value, which takes longer than SQLite does.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Insert


def insert_all(connection: Connection, statement: Insert, rows: Iterable[Mapping[str, Any]]) -> None:
    """Run an INSERT for each row. Values are bytes, str, int or None: they reach the driver as they are."""
    text, values_of = _prepared(statement, connection.dialect)
    connection.exec_driver_sql(text, [values_of(row) for row in rows])


@lru_cache(maxsize=64)
def _prepared(statement: Insert, dialect: Dialect) -> tuple[str, Callable[[Any], Any]]:
    """The statement's text, and what takes its parameters out of a row, in their order."""
    compiled = statement.compile(dialect=dialect)
    return compiled.string, itemgetter(*compiled.positiontup or ())
