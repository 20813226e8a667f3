"""The command that makes the database and brings its schema up to date. The steps are events/migrations."""

from contextlib import nullcontext

import click

from core import checks
from events import migrate
from events.grants import grant
from events.postgres_store import PostgresStore
from events.stores import store_at
from settings import load
from terminal.refusals import Refused


@click.command("migrate", epilog="Example: LEDGER_DATA_DIR=/var/lib/session-ledger session-ledger migrate")
@click.option("--grant", "role", metavar="ROLE", help="On PostgreSQL: let this role run the service, and no more.")
def migrate_(role: str | None) -> None:
    """Create the database, or bring its schema up to date.

    An existing SQLite file is copied aside first. Does nothing where there is nothing to do. On PostgreSQL it is run as
    the owner of the tables; a service should run as a role that owns nothing, which --grant gives what it needs.
    """
    settings = load()
    store = store_at(settings.database_url)
    if role is not None and not isinstance(store, PostgresStore):
        raise Refused("There are no roles on SQLite: leave out --grant.")
    # A service of the old schema would write into the new one: then it must be stopped first.
    alone = checks.sole_service(store) if migrate.is_behind(store) else nullcontext()
    with alone:
        done = migrate.bring_up(store)
    if done.copy is not None:
        click.echo(f"Kept the database as it was in {done.copy}.")
    if done.before == done.after:
        click.echo(f"{store.place} has the schema {done.after} already.")
    else:
        click.echo(f"{store.place} now has the schema {done.after}" + (f", was {done.before}." if done.before else "."))
    if role is not None and isinstance(store, PostgresStore):
        store.change_schema(lambda connection: grant(connection, role))
        click.echo(f"{role} may run a service on it.")
