"""What must be right before a service opens anything: folders, being the only one, the schema. Writes no event."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog
from sqlalchemy import Connection

from core.start import StartError
from events import migrate, moving, postgres_store, sqlite
from events.sqlite_store import SqliteStore
from events.store import Store


def ledger(store: Store) -> None:
    """Whether there is a ledger of today's schema. Raises StartError; SQLAlchemyError where it is no database."""
    if isinstance(store, SqliteStore) and not store.database.is_file():
        raise StartError(_no_ledger(store.place))
    unfit, found, is_on_its_way = store.read(_looked_at)
    if unfit:
        raise StartError(unfit)
    if found is None:
        raise StartError(f"{store.place} has no schema yet: run session-ledger migrate first.")
    if found not in migrate.versions():
        raise StartError(
            f"The ledger's schema {found} is newer than this version of session-ledger: "
            "install the version that wrote it, or a later one."
        )
    if is_on_its_way:
        raise StartError(f"A ledger is on its way to {store.place}: run session-ledger migrate-data to its end first.")
    if found != migrate.newest():
        raise StartError(
            f"The ledger's schema is {found} and this version needs {migrate.newest()}: run session-ledger migrate."
        )


def _looked_at(connection: Connection) -> tuple[str, str | None, bool]:
    """Why the server is unfit, the version of the schema, and whether the ledger is on its way to this place."""
    unfit = postgres_store.unfit(connection) if connection.dialect.name == "postgresql" else ""
    found = None if unfit else migrate.current(connection)
    return unfit, found, found == migrate.newest() and moving.is_on_its_way(connection)


def kept_secret(file: Path) -> None:
    """Say in the log if every user of this machine can read a secret that we made readable for us alone.

    Nothing is refused. What the platform mounts is the platform's: in a container of one user its mode says nothing.
    """
    if file.is_file() and file.stat().st_mode & stat.S_IROTH:
        structlog.get_logger().warning("secret_readable_by_all", file=str(file), advice=f"chmod 600 {file}")


def writable(folder: Path, setting: str) -> None:
    """Whether files can be made in `folder`, which is made where it is missing. Raises StartError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".try-"):
            pass
    except OSError as error:
        why = (error.strerror or "unknown error").lower()
        raise StartError(
            f"{folder} must be a folder that this user can write to ({why}): change it, or set {setting} to another."
        ) from None


@contextmanager
def sole_service(store: Store) -> Iterator[None]:
    """Hold the lock of the one service on an SQLite file, until the process ends at the latest. Raises StartError.

    On PostgreSQL any number may serve, and none holds anything.
    """
    if not isinstance(store, SqliteStore):
        yield
        return
    path = store.database.parent / "serve.lock"
    if not path.parent.exists():
        raise StartError(_no_ledger(store.place))
    with ExitStack() as held:
        try:
            held.enter_context(sqlite.file_lock(path, wait=0))
        except sqlite.Locked:
            raise StartError(
                f"Another session-ledger serves {store.place} (process {_holder(path)}): "
                "stop that one first, or use it."
            ) from None
        path.write_text(f"{os.getpid()}\n")
        yield


def _no_ledger(place: str) -> str:
    return f"There is no ledger at {place}: run session-ledger migrate first."


def _holder(path: Path) -> str:
    return path.read_text()[:20].strip() or "unknown"
