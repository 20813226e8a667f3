"""The head row: what it says of the log, and which master keys a ledger knows. Batches lock it, see `commit.py`."""

import json
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from events import schema


class Head(NamedTuple):
    """The single row that a batch locks: everything that grows with the log, in constant size."""

    size: int
    frontier: bytes
    last_at: int
    written_by: str = ""
    """The transaction that wrote the row, where the server says so: two rows that say the same differ in that."""
    transaction: str = ""
    """The one that holds the lock, likewise."""
    clock: int | None = None
    """The database's clock at the moment of the lock, in microseconds, where it is one that all processes share."""

    @property
    def mark(self) -> tuple[int, bytes, int, str]:
        """What tells this row from any other that the ledger ever had."""
        return self[:4]


def size(connection: Connection) -> int:
    """Events in the log."""
    found: int = connection.execute(select(schema.head.c.size)).scalar_one()
    return found


def key_checks(connection: Connection) -> dict[int, str]:
    """Number and check value of each master key that this ledger has been used with."""
    stored = connection.execute(select(schema.head.c.key_checks)).scalar_one()
    return {int(number): check for number, check in json.loads(stored).items()}


def add_key_checks(connection: Connection, checks: dict[int, str]) -> None:
    """Remember these keys too; in the caller's transaction, under the ledger's lock."""
    known = {**key_checks(connection), **checks}
    connection.execute(update(schema.head).values(key_checks=json.dumps(known, sort_keys=True)))
