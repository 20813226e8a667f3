"""What a role needs to run a service on PostgreSQL, and no more: it owns nothing and can change nothing of the log."""

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from events.projections import TABLES
from events.schema import (
    event_private,
    events,
    head,
    leases,
    metadata,
    processes,
    uses,
    verifiers,
    webhook_cursors,
    webhook_deliveries,
)

_MORE = {
    events: "INSERT",
    event_private: "INSERT, DELETE",
    head: "UPDATE",
    **dict.fromkeys(TABLES.values(), "INSERT, UPDATE"),
    **dict.fromkeys(
        (verifiers, leases, processes, uses, webhook_cursors, webhook_deliveries), "INSERT, UPDATE, DELETE"
    ),
}
assert set(_MORE) == set(metadata.tables.values())  # noqa: S101 - a table without a line could not be written
NO_SUCH_ROLE = "42704"


class NoRole(Exception):
    """There is no such role. One sentence that says what to do."""


def grant(connection: Connection, role: str) -> None:
    """Let `role` run a service, and nothing else of what it could do before. In the caller's transaction.

    Run as the owner, again after each migration. Raises NoRole.
    """
    named = connection.dialect.identifier_preparer.quote_identifier(role)
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    statements = [f"GRANT USAGE ON SCHEMA {schema} TO {named}", f"GRANT SELECT ON alembic_version TO {named}"]
    for table, more in _MORE.items():
        statements += [f"REVOKE ALL ON {table.name} FROM {named}", f"GRANT SELECT, {more} ON {table.name} TO {named}"]
    try:
        for statement in statements:
            connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == NO_SUCH_ROLE:
            raise NoRole(f"There is no role {role}: create it first, for example with createuser.") from None
        raise
