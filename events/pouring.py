"""Rows by the thousand into tables that nobody else writes: COPY on PostgreSQL. For a told past alone; decides nothing.

All triggers and indexes stay. What is poured is checked by nobody here: `verify` does that.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Insert, Table, insert
from sqlalchemy.util import await_only

from events import bulk


def pour(connection: Connection, table: Table, rows: Sequence[bulk.Row]) -> None:
    """Insert rows, in the caller's transaction. What COPY refuses is raised as asyncpg says it."""
    if connection.dialect.name == "postgresql":
        driver: Any = connection.connection.driver_connection
        await_only(driver.copy_records_to_table(table.name, records=rows, columns=table.c.keys()))
    else:
        bulk.insert_all(connection, _insert(table), rows)


@lru_cache(maxsize=16)
def _insert(table: Table) -> Insert:
    return insert(table)
