"""Schema versions: which one a database has, and bringing it to today's. Never called by `serve`."""

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from events import sqlite


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
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def versions() -> frozenset[str]:
    """All schema versions that this code has heard of."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def current(connection: Connection) -> str | None:
    """The schema version of the database, None where it has none yet."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection) -> None:
    """Bring the schema to `newest()`; in the caller's transaction, so a crash leaves the old schema."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def is_behind(database: Path) -> bool:
    """Whether there is a ledger in the file whose schema is not today's."""
    if not database.is_file() or not database.stat().st_size:
        return False
    with sqlite.sync_read_engine(database).connect() as connection:
        return current(connection) not in {None, newest()}


def bring_up(database: Path) -> Upgrade:
    """Create the SQLite file, or bring its schema up after copying it aside; where it is today's, nothing happens.

    Holds the ledger's lock all the while. Raises NotOurs, and what SQLAlchemy and the system raise.
    """
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with sqlite.transaction(database) as connection:
        before = current(connection)
        if before == newest():
            return Upgrade(before, before, None)
        _check_ours(connection, before)
        copy = _copied_aside(database, before) if before else None
        # If we crash from here on, the old schema stands: all of it is one transaction.
        upgrade(connection)
    return Upgrade(before, newest(), copy)


def _check_ours(connection: Connection, before: str | None) -> None:
    if before is None and inspect(connection).get_table_names():
        raise NotOurs("The database holds tables of something else: set LEDGER_DATABASE_URL to a file of its own.")
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
