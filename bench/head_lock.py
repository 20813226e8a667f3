"""How long the ledger's head is locked: from the answer to its SELECT … FOR UPDATE to the answer to COMMIT.

That is what all processes of a ledger do one after the other, so it is what bounds them together.
"""

import time
from typing import Any

from sqlalchemy import Connection

from events import commit
from events.writer import Writer


class HeadLock:
    """Listens at the two ends of a writer's transactions."""

    def __init__(self, writer: Writer) -> None:
        self.seconds = 0.0
        self._since = 0.0
        self._lock_head = commit.lock_head
        commit.lock_head = self._locked
        writer._trace = self._traced  # noqa: SLF001 - the crash points are a good place to listen at

    def _locked(self, connection: Connection) -> Any:
        head = self._lock_head(connection)
        self._since = time.perf_counter()
        return head

    def _traced(self, point: str) -> None:
        if point == "committed":
            self.seconds += time.perf_counter() - self._since
