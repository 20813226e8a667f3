"""The command that moves a ledger to another database. The steps are events/moving.py."""

import click

from core import checks
from core.start import StartError
from events import heads, migrate, moving
from events.sqlite_store import SqliteStore
from events.store import Store
from events.stores import store_at
from settings import database_url, load
from terminal.prompts import bar
from terminal.refusals import Refused


@click.command(
    "migrate-data",
    epilog="\b\nExample: LEDGER_DATABASE_URL=postgresql+asyncpg://owner@db/ledger "
    "session-ledger migrate-data --from sqlite:///data/ledger.db",
)
@click.option("--from", "source_url", required=True, metavar="URL", help="Where the ledger is; it is only read.")
def migrate_data(source_url: str) -> None:
    """Move a ledger into the database that is configured, for example from SQLite to PostgreSQL.

    Positions, leaves and root stay what they are, and both are compared at the end. Stop the service first; the old
    database is left as it is. May be interrupted and called again: it goes on. Until it is finished no service starts
    on the new database. The master key moves with the ledger: set it for the new service.
    """
    settings = load()
    try:
        source, target = store_at(database_url(source_url)), store_at(settings.database_url)
    except ValueError as error:
        raise Refused(f"--from {error}.") from None
    if source.place == target.place:
        raise Refused("That is the database that is configured: set LEDGER_DATABASE_URL to where the ledger shall go.")
    _check(source)
    migrate.bring_up(target)
    with checks.sole_service(source), checks.sole_service(target), bar("moving", source.read(heads.size)) as done:
        try:
            moved = moving.move(source, target, done)
        except moving.Unmovable as error:
            raise StartError(str(error)) from None
    click.echo(f"{moved.size} events moved to {target.place}, root {moved.root.hex()}; all of it fits.")
    click.echo("Start the service with the master key that it had. The old database is as it was: keep it for a while.")


def _check(source: Store) -> None:
    """Whether a ledger is there. What `checks` advises would be about the other one, which is configured."""
    absent = isinstance(source, SqliteStore) and not source.database.is_file()
    if absent or source.read(migrate.current) is None:
        raise StartError(f"There is no ledger at {source.place}: check --from.")
    checks.ledger(source)
