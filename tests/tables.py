"""A ledger's tables through the engine's own driver, to read them and to forge them: nothing of ours in between."""

import asyncio
import sqlite3
import threading
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from functools import cache
from itertools import count
from re import sub
from typing import Any, Protocol, TypeAlias, TypeVar

import asyncpg

from events.postgres_store import PostgresStore
from events.sqlite_store import SqliteStore
from events.store import Store

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]
REFUSED = (sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError)
"""What a guard or a constraint raises, on either engine."""


class Tables(Protocol):
    """One connection, on which each statement is a transaction of its own unless BEGIN was said."""

    def run(self, sql: str, *values: Any) -> list[Row]:
        """Run one statement, in SQLite's words: `?`, x'00', zeroblob(16). The rows, if it gives any."""


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, *values: Any) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()


class _Postgres:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, *values: Any) -> list[Row]:
        numbers = count(1)
        numbered = sub(r"\?", lambda _: f"${next(numbers)}", sql) if values else sql
        bytes_ = sub(r"\bx'([0-9a-f]*)'", r"'\\x\1'::bytea", numbered)
        said = sub(r"\bzeroblob\((\d+)\)", r"decode(repeat('00', \1), 'hex')", bytes_)
        return [tuple(row) for row in beside(self._connection.fetch(said, *values))]


@contextmanager
def opened(store: Store) -> Iterator[Tables]:
    """A connection of somebody who owns the tables."""
    if isinstance(store, SqliteStore):
        with closing(sqlite3.connect(store.database, isolation_level=None)) as file:
            yield _Sqlite(file)
        return
    connection = beside(asyncpg.connect(dsn_of(store)))
    try:
        yield _Postgres(connection)
    finally:
        beside(connection.close())


@contextmanager
def tampering(store: Store, *, hidden: bool = False) -> Iterator[Tables]:
    """The same when nothing guards the tables any more, all in one transaction; `hidden`: afterwards guarded again."""
    with opened(store) as tables:
        tables.run("BEGIN")
        again = _unguarded_file(tables) if isinstance(store, SqliteStore) else _unguarded_server(tables)
        yield tables
        for statement in again if hidden else ():
            tables.run(statement)
        tables.run("COMMIT")


def _unguarded_file(tables: Tables) -> list[str]:
    """Statements that bring the guards back."""
    found = tables.run("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    for name, _ in found:
        tables.run(f"DROP TRIGGER {name}")
    return [statement for _, statement in found]


def _unguarded_server(tables: Tables) -> list[str]:
    found = tables.run("SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger WHERE NOT tgisinternal")
    tables.run("ALTER TABLE head DROP CONSTRAINT IF EXISTS head_one_row")
    for table, name in found:
        tables.run(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
    guards = [f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}" for table, name in found]
    return [*guards, "ALTER TABLE head ADD CONSTRAINT head_one_row CHECK (id = 1)"]


def rows(store: Store, sql: str, *values: Any) -> list[Row]:
    """What one statement finds."""
    with opened(store) as tables:
        return tables.run(sql, *values)


def names(store: Store) -> list[str]:
    """Of all tables."""
    if isinstance(store, SqliteStore):
        found = rows(store, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    else:
        found = rows(store, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [name for (name,) in found]


def schema(store: Store) -> list[Row]:
    """Everything that is defined, by kind and name."""
    if isinstance(store, SqliteStore):
        return rows(store, "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")
    columns = "SELECT 'column', table_name::text || '.' || column_name, ordinal_position || data_type || is_nullable"
    return rows(
        store,
        f"{columns} || coalesce(column_default, '') FROM information_schema.columns WHERE table_schema = 'public' "
        "UNION ALL SELECT 'index', indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public' "
        "UNION ALL SELECT 'guard', tgname::text, pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger "
        "UNION ALL SELECT 'check', conname::text, pg_get_constraintdef(oid) FROM pg_constraint "
        "UNION ALL SELECT 'function', oid::regprocedure::text, prosrc FROM pg_proc "
        "WHERE pronamespace = 'public'::regnamespace ORDER BY 1, 2",
    )


def dsn_of(store: Store) -> str:
    """Where a ledger on PostgreSQL is, for drivers."""
    return url_of(store).replace("+asyncpg", "")


def url_of(store: Store) -> str:
    """What `LEDGER_DATABASE_URL` takes."""
    if isinstance(store, SqliteStore):
        return f"sqlite:///{store.database}"
    assert isinstance(store, PostgresStore)
    return store._url


def beside(work: Coroutine[Any, Any, T]) -> T:
    """Await on an event loop in a thread of its own: the test's may be running just now."""
    return asyncio.run_coroutine_threadsafe(work, _loop()).result(60)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="tables").start()
    return loop
