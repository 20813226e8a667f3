"""The head row outside of batches: which master keys a ledger knows, and whether it holds anything yet."""

import json

from sqlalchemy import Connection, select, update

from events import schema


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
