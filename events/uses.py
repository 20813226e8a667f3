"""Values that count once, such as the proof of a key: a table beside the log, read and written under its lock.

So a value that one process has used is used for all of them, and after a restart. What is lost with the table is that:
until what it held is too old to be taken, it could come a second time.
"""

from collections.abc import Callable, Iterable
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from events import bulk, schema
from events.decision import Use

SLICE: Final = 5_000
"""Rows deleted in one transaction at most, so that no batch waits long behind it."""

_U = schema.uses.c
_FIND = select(_U.value)
_INSERT = insert(schema.uses)


def used(connection: Connection, values: Iterable[bytes]) -> set[bytes]:
    """Those of the values that were used."""
    wanted = list(values)
    found: set[bytes] = set()
    for start in range(0, len(wanted), bulk.MOST):
        rows = bulk.find(connection, _FIND, _U.value, wanted[start : start + bulk.MOST])
        found.update(row[0] for row in rows)
    return found


def use(connection: Connection, values: Iterable[Use]) -> None:
    """Write down that these are used; a value that is there already fails the transaction."""
    bulk.insert_all(connection, _INSERT, list(values))


def forget(now: int) -> Callable[[Connection], int]:
    """Delete a slice of what is too old by now to come again; in a transaction of the writer."""

    def work(connection: Connection) -> int:
        old = select(_U.value).where(_U.until <= now).order_by(_U.until).limit(SLICE)
        return connection.execute(delete(schema.uses).where(_U.value.in_(old))).rowcount

    return work
