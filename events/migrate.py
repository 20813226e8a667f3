"""Schema versions: which one a database has, and bringing it to today's. Never called by `serve`."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from events.postgres_store import PostgresStore
from events.sqlite_store import SqliteStore


class NotOurs(Exception):
    """The database belongs to something else, or to a later version. One sentence that says what to do."""


class Upgrade(NamedTuple):
    """What was found, what stands now, and where the file as found was kept."""

    before: str | None
    after: str
    copy: Path | None


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def newest() -> str:
    """The schema version that this code works with."""
    return _scripts(_config().get_main_option("script_location") or "").get_current_head() or ""


def versions() -> frozenset[str]:
    """All schema versions that this code has heard of."""
    scripts = _scripts(_config().get_main_option("script_location") or "")
    return frozenset(script.revision for script in scripts.walk_revisions())


@cache
def _scripts(folder: str) -> ScriptDirectory:
    """The migrations; each asking would load all of them again."""
    return ScriptDirectory(folder)


def current(connection: Connection) -> str | None:
    """The schema version of the database, None where it has none yet."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection) -> None:
    """Bring the schema to `newest()`; in the caller's transaction, so a crash leaves the old schema."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def is_behind(store: SqliteStore | PostgresStore) -> bool:
    """Whether there is a ledger whose schema is not today's."""
    if isinstance(store, SqliteStore) and not _has_content(store.database):
        return False
    return store.read(current) not in {None, newest()}


def bring_up(store: SqliteStore | PostgresStore) -> Upgrade:
    """Create the schema, or bring it up to date; where it is today's, nothing happens.

    An SQLite file is created where it is missing and copied aside before a change; of PostgreSQL the operator keeps
    backups. Nobody writes meanwhile. Raises NotOurs, and what SQLAlchemy and the system raise.
    """
    if isinstance(store, PostgresStore):
        return store.change_schema(lambda connection: _brought_up(connection, lambda _before: None))
    database = store.database
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return store.transact(lambda connection: _brought_up(connection, partial(_copied_aside, database)))


def _has_content(database: Path) -> bool:
    return database.is_file() and bool(database.stat().st_size)


def _brought_up(connection: Connection, keep: Callable[[str], Path | None]) -> Upgrade:
    before = current(connection)
    if before == newest():
        return Upgrade(before, before, None)
    _check_ours(connection, before)
    copy = keep(before) if before else None
    # If we crash from here on, the old schema stands: all of it is one transaction.
    upgrade(connection)
    return Upgrade(before, newest(), copy)


def _check_ours(connection: Connection, before: str | None) -> None:
    if before is None and inspect(connection).get_table_names():
        raise NotOurs("The database holds tables of something else: set LEDGER_DATABASE_URL to one of its own.")
    if before is not None and before not in versions():
        raise NotOurs(f"The ledger's schema {before} is newer than this session-ledger: install a later version.")


def _copied_aside(database: Path, version: str) -> Path:
    """`ledger-SCHEMA-TIME.db` beside the file, readable by its owner only; there when complete, or not at all."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    copy = database.with_name(f"{database.stem}-{version}-{moment}{database.suffix}")
    unfinished = copy.with_name(f"{copy.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.execute("PRAGMA query_only=ON")
            source.backup(target)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return unfinished.rename(copy)
