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
_POSTGRES = {
    "28P01": "PostgreSQL refuses the password: check the user and password in LEDGER_DATABASE_URL.",
    "28000": "PostgreSQL refuses this user from here: check LEDGER_DATABASE_URL and the server's pg_hba.conf.",
    "3D000": "There is no such database on that server: create it, or correct LEDGER_DATABASE_URL.",
    "42501": "This role may not do that: run session-ledger migrate --grant ROLE as the owner of the tables.",
    "42P01": "The database lacks a table: run session-ledger migrate.",
    "25006": "That server only reads, as a standby does: name the primary in LEDGER_DATABASE_URL.",
    "53100": "The disk of the server is full: make room, then try again.",
    "53300": "The server has no connection left: raise its max_connections, or put a pooler in between.",
    "55P03": "Another process holds the ledger's lock: try again.",
    "57014": "The server took too long: try again.",
    "57P03": "The server is starting or stopping: try again.",
}
"""By SQLSTATE."""
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
        known = _POSTGRES.get(str(getattr(error.orig, "sqlstate", "")))
        if known:
            return known
        text = str(error.orig).lower()
        return next((told for sign, told in _DATABASE if sign in text), "The database refused, and did not say why.")
    if isinstance(error, OSError):
        return _of_system(error)
    return f"The database could not be used ({type(error).__name__})."


def _of_system(error: OSError) -> str:
    if isinstance(error, ConnectionError | TimeoutError):
        return "The database server does not answer: check that it runs, and LEDGER_DATABASE_URL."
    if error.errno == errno.ENOSPC:
        return "The disk is full: make room, then try again."
    what = f"{error.filename} cannot be used" if error.filename else "The system refused"
    return f"{what}: {(error.strerror or type(error).__name__).lower()}."
