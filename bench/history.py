"""Reading a whole log again: verify and rebuild, and the loop that they are held against. A process for each.

`python -m bench.history WHAT FOLDER CORE`: WHAT is `loop`, `verify` or `rebuild`; answers seconds, events and peak MiB.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.process import answer, used
from events import sqlite
from events.rebuild import rebuild
from events.sqlite_store import SqliteStore
from events.verify import Finding, verify

_EVENTS = "SELECT * FROM events WHERE position > ? ORDER BY position LIMIT 2000"
_PRIVATE = "SELECT * FROM event_private WHERE position BETWEEN ? AND ?"


def loop(database: Path) -> int:
    """Only read the rows that verify reads, in the same pages, and hash what verify hashes, once; how many events."""
    done, after = 0, -1
    with sqlite.sync_read_engine(database).connect() as connection:
        while rows := connection.exec_driver_sql(_EVENTS, (after,)).all():
            for row in rows:
                hashlib.sha256(row[-2]).digest()
            after = rows[-1][0]
            for row in connection.exec_driver_sql(_PRIVATE, (rows[0][0], after)).all():
                hashlib.sha256(row[2] + row[3]).digest()
            done += len(rows)
            connection.rollback()
    return done


def verified(database: Path) -> int:
    """Verify without a checkpoint. Raises RuntimeError for a finding."""
    with sqlite.sync_read_engine(database).connect() as connection:
        found = verify(connection)
    if isinstance(found, Finding):
        raise RuntimeError(str(found))  # noqa: TRY004 - the log is wrong, not a type
    return found.size


def rebuilt(database: Path) -> int:
    """Rebuild all projections. Raises RuntimeError for a difference."""
    done = [0]
    differences = rebuild(SqliteStore(database), done.append)
    if differences:
        raise RuntimeError(str(differences[0]))
    return done[-1]


WORK: dict[str, Callable[[Path], int]] = {"loop": loop, "verify": verified, "rebuild": rebuilt}


def main() -> None:
    what, folder, core, answers = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    began = time.perf_counter()
    events = WORK[what](Path(folder) / "ledger.db")
    answer(int(answers), {"seconds": time.perf_counter() - began, "events": events, **used()})


if __name__ == "__main__":
    main()
