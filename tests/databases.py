"""An empty ledger for each test, on either engine: copied from a template and gone afterwards. And its server's clock.

On PostgreSQL ledger time is the server's. Tests move it: their databases have a `clock_timestamp` of their own, found
before the server's because of `search_path`, which reads what a test has written into a file.
"""

import itertools
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import asyncpg

from events import migrate, sqlite
from events.postgres_store import PostgresStore
from events.sqlite_store import SqliteStore
from events.store import Store
from tests import tables
from tests.clusters import Cluster
from tests.tables import beside, url_of

ENGINES = ("sqlite", "postgresql")
TEMPLATE = "template_ledger"
_CLOCKS: dict[str, Path] = {}
"""The file that each database's clock reads, by its URL."""
_MOVABLE_CLOCK = """CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
DECLARE told text := pg_read_file('clocks/' || current_database(), 0, 40, true);
BEGIN
  RETURN CASE WHEN told IS NULL THEN pg_catalog.clock_timestamp()
    WHEN told LIKE '@%' THEN to_timestamp(0) + substr(told, 2)::bigint * interval '1 microsecond'
    ELSE pg_catalog.clock_timestamp() + told::bigint * interval '1 microsecond' END;
END $$"""


class Stores(Protocol):
    """Where the ledgers of one engine come from."""

    def fresh(self) -> Store:
        """An empty one."""

    def copy(self, store: Any) -> Store:
        """A copy of one of these that nobody uses just now."""

    def replace(self, store: Any, by: Any) -> None:
        """Put the content of one in the place of another, as a backup is restored. Nobody uses either just now."""

    def drop(self, store: Any) -> None:
        """Remove it; whoever is still connected to it is cut."""


class Files:
    """SQLite files in folders of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.template = SqliteStore(folder / "template.db")
        migrate.bring_up(self.template)

    def fresh(self) -> SqliteStore:
        return self.copy(self.template)

    def copy(self, store: SqliteStore, database: Path | None = None) -> SqliteStore:
        """In a folder of its own, or at this path."""
        place = database or Path(tempfile.mkdtemp(dir=self._folder)) / "ledger.db"
        place.parent.mkdir(exist_ok=True)
        if store.database.with_name(f"{store.database.name}-wal").exists():
            tables.rows(store, "PRAGMA wal_checkpoint(TRUNCATE)")
        return SqliteStore(Path(shutil.copy(store.database, place)))

    def empty_at(self, database: Path) -> SqliteStore:
        """An empty one at this path."""
        return self.copy(self.template, database)

    def replace(self, store: SqliteStore, by: SqliteStore) -> None:
        for beside_it in store.database.parent.glob(f"{store.database.name}*"):
            beside_it.unlink()
        self.copy(by, store.database)

    def drop(self, store: SqliteStore) -> None:
        shutil.rmtree(store.database.parent)


class Server:
    """One private PostgreSQL for all tests of a process."""

    def __init__(self) -> None:
        self.cluster = Cluster(settings={"search_path": "public, pg_catalog"})
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        self.cluster.start()
        self._clocks = self.cluster.data / "clocks"
        self._clocks.mkdir()
        self.cluster.watched.account.owns(self._clocks)
        migrate.bring_up(PostgresStore(self.cluster.create_database(TEMPLATE)))
        self.cluster.psql(_MOVABLE_CLOCK, TEMPLATE)
        self._admin: asyncpg.Connection = beside(asyncpg.connect(self.cluster.dsn()))
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        beside(self._admin.close())
        self.cluster.close()

    def fresh(self, template: str = TEMPLATE) -> PostgresStore:
        name = f"ledger_{next(self._numbers)}"
        self._create(name, template)
        store = PostgresStore(self.cluster.url(name))
        _CLOCKS[url_of(store)] = self._clocks / name
        return store

    def copy(self, store: PostgresStore) -> PostgresStore:
        self._cut(store)
        return self.fresh(name_of(store))

    def replace(self, store: PostgresStore, by: PostgresStore) -> None:
        self._cut(by)
        beside(self._admin.execute(f"DROP DATABASE {name_of(store)} WITH (FORCE)"))
        self._create(name_of(store), name_of(by))

    def blank(self) -> PostgresStore:
        """A database without any table."""
        return self.fresh("template0")

    def _create(self, name: str, template: str) -> None:
        # copies files instead of logging their contents: cheap where nothing is flushed
        beside(self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))

    def _cut(self, store: PostgresStore) -> None:
        cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1"
        beside(self._admin.fetch(cut, name_of(store)))

    def drop(self, store: PostgresStore) -> None:
        clock = _CLOCKS.pop(url_of(store), None)
        if clock is not None:
            clock.unlink(missing_ok=True)
        beside(self._admin.execute(f"DROP DATABASE IF EXISTS {name_of(store)} WITH (FORCE)"))


def name_of(store: Store) -> str:
    """The database of a ledger on PostgreSQL."""
    return store.place.rpartition("/")[2]


@contextmanager
def held(store: Store) -> Iterator[None]:
    """Another process is in the middle of a transaction and does not end it."""
    if isinstance(store, SqliteStore):
        with sqlite.file_lock(sqlite.lock_path(store.database)):
            yield
        return
    with tables.opened(store) as other:
        other.run("BEGIN")
        other.run("SELECT * FROM head FOR UPDATE")
        yield


def alone(store: Store) -> None:
    """Wait until the server knows that whoever was killed is gone."""
    while not isinstance(store, SqliteStore) and tables.rows(store, _OTHERS) != [(0,)]:
        time.sleep(0.005)


_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def set_clock(store: Store, at: float | None = None, *, ahead: float = 0) -> None:
    """Let the database's clock stand still at this second of the epoch, or go on so many ahead. SQLite has none."""
    file = _CLOCKS.get(url_of(store))
    if file is None:
        return
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{int(ahead * 1_000_000)}" if at is None else f"@{int(at * 1_000_000)}")
    fresh.chmod(0o644)
    fresh.rename(file)
