"""Faults of the machine as one sentence each, for people at a terminal. Shows no statement, no value, no secret."""

import errno

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from events.ledger import Unavailable
from events.sqlite import LOCK_WAIT, Locked

_DATABASE = (
    ("not a database", "The database is no SQLite file: check LEDGER_DATA_DIR and LEDGER_DATABASE_URL."),
    ("malformed", "The database is damaged: stop the service and restore the last good copy."),
    ("full", "The disk is full: make room, then try again."),
    ("readonly", "The database cannot be written: check who owns the file and its folder."),
    ("unable to open", "The database cannot be opened: check who owns the file and its folder."),
    ("disk i/o", "The disk reported an error while the database was used: look at the system's log."),
    ("locked", "Another program has locked the database: end it, then try again."),
    ("no such table", "The database lacks a table: run session-ledger migrate."),
    ("append-only", "The database refused to change the log, which can only grow."),
)
_LOCKED = f"Another process wrote to the ledger for longer than {LOCK_WAIT:.0f} seconds: try again."
KINDS = (Unavailable, SQLAlchemyError, Locked, OSError)
"""What `sentence` knows."""


def sentence(error: BaseException) -> str:
    """Why it did not work and what to do."""
    if isinstance(error, Unavailable):
        return sentence(error.__cause__) if error.__cause__ else "The ledger is stopping or overloaded: try again."
    if isinstance(error, Locked):
        return _LOCKED
    if isinstance(error, DBAPIError):
        text = str(error.orig).lower()
        return next((told for sign, told in _DATABASE if sign in text), "The database refused, and did not say why.")
    if isinstance(error, OSError):
        return _of_system(error)
    return f"The database could not be used ({type(error).__name__})."


def _of_system(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "The disk is full: make room, then try again."
    what = f"{error.filename} cannot be used" if error.filename else "The system refused"
    return f"{what}: {(error.strerror or type(error).__name__).lower()}."
