"""What must be right before a service opens anything: folders, being the only one, the schema. Writes no event."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from core.start import StartError
from events import migrate, sqlite


def ledger_file(database: Path) -> None:
    """Whether there is a ledger of today's schema. Raises StartError; SQLAlchemyError where it is no database."""
    if not database.is_file():
        raise StartError(_no_ledger(database))
    engine = sqlite.sync_read_engine(database)
    with engine.connect() as connection:
        found = migrate.current(connection)
    if found is None:
        raise StartError(f"{database} has no schema yet: run session-ledger migrate first.")
    if found not in migrate.versions():
        raise StartError(
            f"The ledger's schema {found} is newer than this version of session-ledger: "
            "install the version that wrote it, or a later one."
        )
    if found != migrate.newest():
        raise StartError(
            f"The ledger's schema is {found} and this version needs {migrate.newest()}: run session-ledger migrate."
        )


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
def sole_service(database: Path) -> Iterator[None]:
    """Hold the lock of the one service on this ledger, until the process ends at the latest. Raises StartError."""
    path = database.parent / "serve.lock"
    if not database.parent.exists():
        raise StartError(_no_ledger(database))
    with ExitStack() as held:
        try:
            held.enter_context(sqlite.file_lock(path, wait=0))
        except sqlite.Locked:
            raise StartError(
                f"Another session-ledger serves {database} (process {_holder(path)}): stop that one first, or use it."
            ) from None
        path.write_text(f"{os.getpid()}\n")
        yield


def _no_ledger(database: Path) -> str:
    return f"There is no ledger at {database}: run session-ledger migrate first."


def _holder(path: Path) -> str:
    return path.read_text()[:20].strip() or "unknown"
