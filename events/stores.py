"""Which engine a database's address names."""

from pathlib import Path

from events.postgres_store import PostgresStore
from events.sqlite_store import SqliteStore

SQLITE = "sqlite:///"


def store_at(url: str) -> SqliteStore | PostgresStore:
    """The ledger's database at an address that the settings have checked. Opens nothing."""
    if url.startswith(SQLITE):
        return SqliteStore(Path(url.removeprefix(SQLITE)))
    return PostgresStore(url)
