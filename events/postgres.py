"""PostgreSQL: any number of processes and machines on one ledger, in turn by the lock on the head row.

Behind a pooler, which may hand out another connection for the next transaction, each says itself what matters:
isolation, time-outs. No session state then, no LISTEN anywhere, and no prepared statement with a name.
"""

from typing import Any, Final

from sqlalchemy.exc import DBAPIError

LOCK_MS: Final = 2_000
"""How long a batch waits for the head row: for other processes' batches, or for one that hangs."""
CONNECT: Final = 3.0
"""Seconds for a new connection."""
ANSWER: Final = 8.0
"""Seconds that the server may be silent: longer than any statement may take. Then the connection counts as lost."""
PASSING: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock not available: surely not committed."""
_UNNAMED: Final[dict[str, Any]] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,
}
"""For asyncpg and SQLAlchemy: each statement is prepared without a name right before it runs, and not kept."""


def connecting(*, pooled: bool, answer: float | None = ANSWER) -> dict[str, Any]:
    """How asyncpg connects. `pooled`: something sits in between that may change the server's side at any COMMIT."""
    return {"timeout": CONNECT, "command_timeout": answer, **(_UNNAMED if pooled else {})}


def state_of(error: DBAPIError) -> str:
    """The SQLSTATE of an error, empty where the server said none."""
    return str(getattr(error.orig, "sqlstate", None) or "")
