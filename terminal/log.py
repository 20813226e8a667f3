"""The commands about the log as a whole: proving it, folding it again, taking an older copy of it into use."""

import click

from core import checks, masters
from core.recovery import recover as recovered
from events import heads
from events.checkpoint import public_of
from events.checkpoints import CheckpointStore, Contradiction, Signed
from events.rebuild import rebuild as rebuilt
from events.store import Scrubbed
from events.stores import store_at
from events.verify import UNREADABLE, Finding
from events.verify import verify as verified
from settings import Settings, load
from terminal.desk import ACTOR, Desk, at_desk
from terminal.prompts import bar
from terminal.refusals import Failed, Refused


@click.command(epilog="Example: session-ledger verify")
@click.option("--no-checkpoint", is_flag=True, help="Do not hold the log against the last signed checkpoint.")
def verify(*, no_checkpoint: bool) -> None:
    """Recompute the whole log: leaves, tree, versions, folds. Status 1 with `#17: reason` where it does not fit."""
    settings = load()
    ledger = store_at(settings.database_url)
    checks.ledger(ledger)
    try:
        signed = None if no_checkpoint else _last_signed(settings)
    except Contradiction as error:
        raise Failed(str(error)) from None
    with bar("verifying", ledger.read(heads.size)) as done:
        found = ledger.read(lambda connection: verified(connection, signed, done))
    if isinstance(found, Finding):
        raise Failed(str(found))
    against = f" It continues the checkpoint of {signed.checkpoint.size} events." if signed else ""
    click.echo(f"{found.size} events fit, root {found.root.hex()}.{against}")


@click.command(epilog="Example: session-ledger rebuild")
def rebuild() -> None:
    """Fold all events again into the stored state.

    What is stored changes in one transaction, and what was not as the events say is named.
    """
    ledger = store_at(load().database_url)
    checks.ledger(ledger)
    with bar("rebuilding", ledger.read(heads.size)) as done:
        try:
            found = rebuilt(ledger, done)
        except UNREADABLE:
            raise Failed("An event cannot be folded, so nothing was changed: session-ledger verify names it.") from None
    for difference in found:
        click.echo(f"Put right: {difference}.")
    click.echo(f"Rebuilt; {len(found)} of the stored rows were not what the events say.")


@click.command(epilog="Example: session-ledger compact")
def compact() -> None:
    """Write anew what rows were deleted from, so that no byte of them stands in the database's files.

    After an erasure that says so. Takes as long as copying the database, and nobody can write meanwhile: the service
    answers 503 to what would. On PostgreSQL run it as the owner of the tables.
    """
    ledger = store_at(load().database_url)
    checks.ledger(ledger)
    match ledger.scrub(whole=True):
        case Scrubbed.WHOLLY:
            click.echo("Nothing is left of deleted rows in the tables. What else to think of: docs/privacy.md.")
        case Scrubbed.PARTLY:
            raise Refused("Only the owner of the tables can do this: set LEDGER_DATABASE_URL to that role.")
        case Scrubbed.BUSY:
            raise Refused("Somebody was reading or writing all the while: try again.")


@click.command(epilog="Example: session-ledger recover")
@click.option("--keep-sessions", is_flag=True, help="Let sessions live on, used tokens and revocations forgotten.")
def recover(*, keep_sessions: bool) -> None:
    """Take a restored, older copy of the ledger into use.

    It has forgotten what came after it: revocations, and which tokens were used. So every session in it ends, unless
    you keep them. The log goes on under a new name, and says what was lost. Only while no service runs.
    """
    settings = load()
    ledger = store_at(settings.database_url)
    checks.ledger(ledger)
    store = CheckpointStore(settings.checkpoint_dir)
    signed = _last_signed(settings)
    if signed is None:
        raise Refused("There is nothing to recover: without a checkpoint, this log is taken as it is.")
    with checks.sole_service(ledger):
        origin, erased = at_desk(lambda at: _recovered(at, store, signed, keep_sessions=keep_sessions))
    if erased:
        click.echo(f"Erased again, as the list in {store.folder} says: {erased}.")
    ended = "Sessions live on." if keep_sessions else "Every session that began before has ended."
    click.echo(f"This ledger goes on as {origin}. {ended} Start the service, and run session-ledger verify.")


async def _recovered(at: Desk, store: CheckpointStore, signed: Signed, *, keep_sessions: bool) -> tuple[str, int]:
    origin = await recovered(at.ledger, at.history, store, signed, keep_sessions=keep_sessions, actor=ACTOR)
    return origin, await at.erasures.reapply()


def _last_signed(settings: Settings) -> Signed | None:
    """The last checkpoint, by the key that our master key gives; without that key, by the one beside the checkpoint."""
    store = CheckpointStore(settings.checkpoint_dir)
    if store.last() is None:
        click.echo(f"There is no checkpoint in {store.folder}: the log is held against itself only.", err=True)
        return None
    master = masters.at_hand(settings.data_dir, settings.master_key_source)
    if master is not None:
        return store.signed(*(public_of(master.checkpoint_seed(number) or b"") for number in master.numbers))
    click.echo("Without the master key, the checkpoint is held against the public key beside it.", err=True)
    public = store.public()
    if public is None:
        raise Refused("There is no key to check the checkpoint with: set LEDGER_MASTER_KEY, or use --no-checkpoint.")
    return store.signed(public)
