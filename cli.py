"""The command `session-ledger`: starts the service, and works on its ledger beside it. Decides nothing by itself."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TypeVar

import click

from core import checks, demo, desk, faults, journal, line, masters
from core.demo_cast import Size
from core.desk import ACTOR, Desk, Slow
from core.geography import UnusableDatabase
from core.key import Verdict as KeyVerdict
from core.keys import KeyPolicy, Keys, KeyUnavailable
from core.policy import Policy
from core.reason import STAFF_REASONS, TICKET
from core.recovery import recover as recovered
from core.start import StartError
from core.subject import Outcome
from core.subjects import BadName, BadRoles, WeakPassword
from core.verdict import STAFF_ROLES, Verdict
from events import family, heads, ids, migrate, sqlite
from events.checkpoint import public_of
from events.checkpoints import CheckpointStore, Contradiction, Signed
from events.filters import Mistake, Query, parse
from events.rebuild import rebuild as rebuilt
from events.subject import Subject
from events.verify import UNREADABLE, Finding
from events.verify import verify as verified
from settings import VERSION, Settings, SettingsError, load

SENTENCES = (
    SettingsError,
    StartError,
    KeyUnavailable,
    Contradiction,
    migrate.NotOurs,
    UnusableDatabase,
    BadName,
    BadRoles,
    WeakPassword,
    Slow,
)
"""Their text is a sentence for people already."""
PAGE = 500
MAX_LINE = 4096
T = TypeVar("T")


class Refused(click.ClickException):
    """One sentence on standard error, and status 2: nothing was done, for a reason that the caller can change."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True, file=file)


class Failed(Refused):
    """Status 1: it was done, and the answer is bad."""

    exit_code = 1


class Commands(click.Group):
    """Makes one sentence of what goes wrong; nothing ends in a traceback, which may quote secrets."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SENTENCES as error:
            raise Refused(_ended(str(error))) from None
        except BrokenPipeError:
            raise
        except faults.KINDS as error:
            raise Refused(faults.sentence(error)) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - a message of its own may quote a value; kind and place do not
            told = journal.failure(error)
            raise Failed(f"This is a fault of session-ledger: {told['error']} at {told['frames'][-1]}.") from None


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: session-ledger migrate && session-ledger serve",
)
@click.version_option(VERSION, prog_name="session-ledger")
def main() -> None:
    """Sign users in, rotate their refresh tokens, notice stolen ones, and keep a ledger that can be proved.

    Settings come from the environment (LEDGER_...), see docs/configuration.md. Every command works beside a running
    service.
    """


@main.command(epilog="Example: LEDGER_PORT=9000 session-ledger serve")
def serve() -> None:
    """Answer requests until Ctrl-C or SIGTERM.

    Checks everything first; what is wrong is one sentence and status 2. Requests under way are answered at the end.
    """
    import app  # noqa: PLC0415 - the web half takes a second to load; the other commands do without

    if not app.serve(load()):
        raise Failed("The server ended by itself; the log says more.")


@main.command("migrate", epilog="Example: LEDGER_DATA_DIR=/var/lib/session-ledger session-ledger migrate")
def migrate_() -> None:
    """Create the database, or bring its schema up to date.

    An existing SQLite file is copied aside first. Does nothing where there is nothing to do.
    """
    settings = load()
    database = settings.database_file
    # A service of the old schema would write into the new one: then it must be stopped first.
    alone = checks.sole_service(database) if migrate.is_behind(database) else nullcontext()
    with alone:
        done = migrate.bring_up(database)
    if done.copy is not None:
        click.echo(f"Kept the database as it was in {done.copy}.")
    if done.before == done.after:
        click.echo(f"{database} has the schema {done.after} already.")
    else:
        click.echo(f"{database} now has the schema {done.after}" + (f", was {done.before}." if done.before else "."))


@main.command(epilog="Example: session-ledger verify")
@click.option("--no-checkpoint", is_flag=True, help="Do not hold the log against the last signed checkpoint.")
def verify(*, no_checkpoint: bool) -> None:
    """Recompute the whole log: leaves, tree, versions, folds. Status 1 with `#17: reason` where it does not fit."""
    settings = load()
    database = settings.database_file
    checks.ledger_file(database)
    try:
        signed = None if no_checkpoint else _last_signed(settings)
    except Contradiction as error:
        raise Failed(str(error)) from None
    with sqlite.sync_read_engine(database).connect() as connection, _bar("verifying", heads.size(connection)) as done:
        connection.rollback()
        found = verified(connection, signed, done)
    if isinstance(found, Finding):
        raise Failed(str(found))
    against = f" It continues the checkpoint of {signed.checkpoint.size} events." if signed else ""
    click.echo(f"{found.size} events fit, root {found.root.hex()}.{against}")


def _last_signed(settings: Settings) -> Signed | None:
    """The last checkpoint, by the key that our master key gives; without that key, by the one beside the checkpoint."""
    store = CheckpointStore(settings.checkpoint_dir)
    if store.last() is None:
        click.echo(f"There is no checkpoint in {store.folder}: the log is held against itself only.", err=True)
        return None
    master = masters.at_hand(settings.data_dir, _master_text(settings))
    if master is not None:
        return store.signed(*(public_of(master.checkpoint_seed(number) or b"") for number in master.numbers))
    click.echo("Without the master key, the checkpoint is held against the public key beside it.", err=True)
    public = store.public()
    if public is None:
        raise Refused("There is no key to check the checkpoint with: set LEDGER_MASTER_KEY, or use --no-checkpoint.")
    return store.signed(public)


def _master_text(settings: Settings) -> str | None:
    return settings.master_key.get_secret_value() if settings.master_key else None


@contextmanager
def _bar(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, told how much is done."""
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        yield lambda done: bar.update(done - bar.pos)


@main.command(epilog="Example: session-ledger rebuild")
def rebuild() -> None:
    """Fold all events again into the stored state.

    What is stored changes in one transaction, and what was not as the events say is named.
    """
    database = load().database_file
    checks.ledger_file(database)
    with sqlite.sync_read_engine(database).connect() as connection, _bar("rebuilding", heads.size(connection)) as done:
        connection.rollback()
        try:
            found = rebuilt(connection, lambda: sqlite.transaction(database), done)
        except UNREADABLE:
            raise Failed("An event cannot be folded, so nothing was changed: session-ledger verify names it.") from None
    for difference in found:
        click.echo(f"Put right: {difference}.")
    click.echo(f"Rebuilt; {len(found)} of the stored rows were not what the events say.")


@main.command(epilog="Example: session-ledger recover")
@click.option("--keep-sessions", is_flag=True, help="Let sessions live on, used tokens and revocations forgotten.")
def recover(*, keep_sessions: bool) -> None:
    """Take a restored, older copy of the ledger into use.

    It has forgotten what came after it: revocations, and which tokens were used. So every session in it ends, unless
    you keep them. The log goes on under a new name, and says what was lost. Only while no service runs.
    """
    settings = load()
    checks.ledger_file(settings.database_file)
    store = CheckpointStore(settings.checkpoint_dir)
    signed = _last_signed(settings)
    if signed is None:
        raise Refused("There is nothing to recover: without a checkpoint, this log is taken as it is.")
    with checks.sole_service(settings.database_file):
        origin = at_desk(lambda at: recovered(at.ledger, at.history, store, signed, keep_sessions=keep_sessions))
    ended = "Sessions live on." if keep_sessions else "Every session that began before has ended."
    click.echo(f"This ledger goes on as {origin}. {ended} Start the service, and run session-ledger verify.")


def at_desk(work: Callable[[Desk], Awaitable[T]]) -> T:
    """Open the ledger, do the work, close it."""

    async def run() -> T:
        settings = load()
        async with desk.opened(settings.database_file, settings.words_of_ours) as opened:
            return await work(opened)

    return asyncio.run(run())


@main.group()
def user() -> None:
    """Accounts: add, list, disable, enable, set passwords and roles."""


stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@user.command("add", epilog="Example: session-ledger user add alice --role responder")
@click.argument("name")
@click.option("--role", "roles", multiple=True, type=click.Choice(sorted(STAFF_ROLES)), help="For the dashboard.")
@stdin_option
def user_add(name: str, roles: tuple[str, ...], *, password_stdin: bool) -> None:
    """Create an account. Without a role it signs in to applications only."""
    given = _password(stdin=password_stdin)
    outcome = at_desk(lambda at: at.subjects.register(name, given, " ".join(roles), ACTOR))
    if outcome is Outcome.NAME_TAKEN:
        raise Refused(f"There is an account {name} already.")
    click.echo(f"Created {name}.")


@user.command("password", epilog="Example: session-ledger user password alice")
@click.argument("name")
@stdin_option
def user_password(name: str, *, password_stdin: bool) -> None:
    """Set an account's password; all its sessions end."""
    given = _password(stdin=password_stdin)
    _about_user(name, lambda at, owner: at.subjects.set_password(owner, given, ACTOR))
    click.echo(f"The password of {name} is set; all sessions of {name} have ended.")


@user.command("disable", epilog="Example: session-ledger user disable alice --reason left")
@click.argument("name")
@click.option("--reason", type=click.Choice(sorted(STAFF_REASONS)), default="maintenance", show_default=True)
def user_disable(name: str, reason: str) -> None:
    """Disable an account; all its sessions end."""
    _about_user(name, lambda at, owner: at.subjects.disable(owner, reason, ACTOR))
    click.echo(f"{name} is disabled; all sessions of {name} have ended.")


@user.command("enable", epilog="Example: session-ledger user enable alice")
@click.argument("name")
def user_enable(name: str) -> None:
    """Let NAME sign in again. No session comes back."""
    _about_user(name, lambda at, owner: at.subjects.enable(owner, ACTOR))
    click.echo(f"{name} is enabled.")


@user.command("roles", epilog="Example: session-ledger user roles alice viewer")
@click.argument("name")
@click.argument("roles", nargs=-1, type=click.Choice(["none", *sorted(STAFF_ROLES)]))
def user_roles(name: str, roles: tuple[str, ...]) -> None:
    """Show or replace an account's roles.

    `none` takes all away.
    """
    if not roles:
        click.echo(at_desk(lambda at: _owner(at, name)).roles or "none")
        return
    wanted = " ".join(role for role in roles if role != "none")
    _about_user(name, lambda at, owner: at.subjects.change_roles(owner, wanted, ACTOR))
    click.echo(f"{name} has the roles: {wanted or 'none'}.")


@user.command("list", epilog="Example: session-ledger user list")
def user_list() -> None:
    """All accounts by name: name, status, roles, id."""

    async def listed(at: Desk) -> None:
        after = ""
        while found := await at.subjects.reader.page(after, PAGE):
            for one in found:
                stated = ids.to_text("sub", one.id)
                click.echo(f"{journal.escaped(one.name):<24}  {one.status:<8}  {one.roles or '-':<24}  {stated}")
            after = found[-1].name

    at_desk(listed)


def _about_user(name: str, work: Callable[[Desk, Subject], Awaitable[Outcome]]) -> Outcome:
    async def run(at: Desk) -> Outcome:
        return await work(at, await _owner(at, name))

    return at_desk(run)


async def _owner(at: Desk, name: str) -> Subject:
    found = await at.subjects.find(name)
    if found is None:
        raise Refused(f"There is no account {name}.")
    return found


def _password(*, stdin: bool) -> str:
    """From a terminal without echo, or the first line of standard input; never from an argument, which others see."""
    if stdin:
        try:
            return sys.stdin.buffer.readline(MAX_LINE).decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise Refused("The password on standard input is not UTF-8.") from None
    if not sys.stdin.isatty():
        raise Refused("There is no terminal to ask for the password: use --password-stdin.")
    asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked


@main.command(epilog="Example: session-ledger revoke fam_aac6cf… --reason stolen_token --ticket INC-4711")
@click.argument("family_id", metavar="FAMILY")
@click.option("--reason", required=True, type=click.Choice(sorted(STAFF_REASONS)), help="Why, as the log keeps it.")
@click.option("--note", default="", help="For people; can be deleted with the account.")
@click.option("--ticket", default="", help="Number of the incident.")
def revoke(family_id: str, reason: str, note: str, ticket: str) -> None:
    """End one session, at once and for good.

    When this returns, no process accepts anything of it. A resource server that only checks access tokens by itself
    learns of it when they expire.
    """
    stream = _family(family_id)
    if ticket and not TICKET.fullmatch(ticket):
        raise Refused("A ticket has 1 to 32 letters, digits, dots, hyphens and underscores.")
    answer = at_desk(lambda at: at.revoke(stream, reason, note, ticket))
    if answer.verdict is Verdict.UNKNOWN:
        raise Refused(f"There is no family {family_id}.")
    click.echo(f"{family_id} is revoked." if answer.ended else f"{family_id} had ended before.")


def _family(text: str) -> bytes:
    stream = ids.from_text(family.PREFIX, text)
    if stream is None:
        raise Refused(f"{journal.escaped(text)} is not the id of a family: those look like fam_ and 26 characters.")
    return stream


@main.group()
def keys() -> None:
    """The keys that sign access tokens."""


@keys.command("list", epilog="Example: session-ledger keys list")
def keys_list() -> None:
    """All keys, the oldest first: id, status, algorithm, since when."""
    for one in at_desk(lambda at: at.keys()):
        since = one.retire_at or one.activated_at or one.created_at
        click.echo(f"{one.key}  {one.status:<8}  {one.algorithm:<6}  {line.moment(since)}")


@keys.command("rotate", epilog="Example: session-ledger keys rotate")
@click.option("--force", is_flag=True, help="Even if the next key was published only a moment ago.")
def keys_rotate(*, force: bool) -> None:
    """Let the published next key sign, and publish another. Needs the master key. A running service follows."""
    settings = load()
    policy = KeyPolicy.rotating(settings.signing_algorithm, settings.key_rotation)

    async def rotated(at: Desk) -> KeyVerdict:
        master = masters.fitting(settings.database_file, settings.data_dir, _master_text(settings))
        ring = Keys(at.ledger, at.keys, master, policy, lambda: time.time_ns() // 1000)
        await ring.load()
        return await ring.rotate(ACTOR, force=force)

    if at_desk(rotated) is KeyVerdict.EARLY:
        raise Refused("The next key was published a short time ago and is not known everywhere: wait, or use --force.")
    click.echo("Another key signs now; the one before verifies until its last token has expired.")


@main.group()
def client() -> None:
    """Applications that use the API."""


@client.command("list", epilog="Example: session-ledger client list")
def client_list() -> None:
    """All clients: name, status."""
    for one in at_desk(lambda at: at.clients()):
        click.echo(f"{one.client:<24}  {one.status}")


@client.command("disable", epilog="Example: session-ledger client disable web")
@click.argument("name")
def client_disable(name: str) -> None:
    """Refuse sign-in and refresh for NAME."""
    _set_client(name, enabled=False)


@client.command("enable", epilog="Example: session-ledger client enable web")
@click.argument("name")
def client_enable(name: str) -> None:
    """Let NAME work again."""
    _set_client(name, enabled=True)


def _set_client(name: str, *, enabled: bool) -> None:
    if at_desk(lambda at: at.set_client(name, enabled=enabled)) == "unknown":
        raise Refused(f"There is no client {name}.")
    click.echo(f"{name} is {'enabled' if enabled else 'disabled'}.")


@main.command(epilog="Example: session-ledger events --filter 'type:token.* user:alice at:2h' --json")
@click.option("--filter", "words", default="", metavar="QUERY", help="Only those that match; see docs/filters.md.")
@click.option("--family", "family_id", default="", help="Only those of one family.")
@click.option("--follow", is_flag=True, help="Go on with new events until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each event.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(0, 100_000), help="How many of the newest.")
def events(*, words: str, family_id: str, follow: bool, as_json: bool, limit: int) -> None:
    """Show the newest events, oldest first.

    A row says position, time, what happened, whose it is, by whom and from where.
    """
    stream = _family(family_id) if family_id else None
    query = _query(words, family_id) if words else None

    async def told(at: Desk) -> None:
        async for some in at.found(query, limit, follow=follow) if query else at.events(stream, limit, follow=follow):
            if isinstance(some, Query):
                click.echo(f"Nothing bounds this search, so this was asked: {some.text()}", err=True)
                continue
            names = {} if as_json else await at.names(some)
            for one in some:
                click.echo(line.record(one) if as_json else line.row(one, names))
            sys.stdout.flush()

    with suppress(KeyboardInterrupt):
        at_desk(told)


def _query(words: str, family_id: str) -> Query:
    found = parse(words)
    if isinstance(found, Mistake):
        raise Refused(f"{journal.escaped(found.text)}\n{' ' * found.position}{'^' * found.length}\n{found.told()}")
    return found.only("family", family_id) if family_id else found


@main.command("demo", epilog="Example: session-ledger demo && session-ledger serve")
@click.option("--families", default=2_000, show_default=True, type=click.IntRange(50, 1_000_000), help="Sessions.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(7, 365), help="How long it went on.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Another one is another story.")
def demo_(families: int, days: int, seed: int) -> None:
    """Fill an empty ledger with weeks of invented life, thefts included.

    For looking only: all accounts in it, staff too, have one password, which is shown at the end. About ten events for
    each session.
    """
    settings = load()
    database, folder = settings.database_file, settings.checkpoint_dir
    checks.writable(settings.data_dir, "LEDGER_DATA_DIR")
    checks.writable(folder, "LEDGER_CHECKPOINT_DIR")
    migrate.bring_up(database)
    with checks.sole_service(database), _bar("living", days * 24) as done:
        demo.demand_empty(database, folder)
        master = masters.fitting(database, settings.data_dir, _master_text(settings))
        key_policy = KeyPolicy.rotating(settings.signing_algorithm, settings.key_rotation)
        place = demo.Place(database, folder, master, _policy(settings), key_policy)
        filled = asyncio.run(demo.fill(place, Size(families, days, seed), time.time_ns() // 1000, done))
    click.echo(f"{filled.events:,} events of {filled.people:,} people in {days} days; {filled.living:,} sessions live.")
    click.echo("Sign in to the dashboard as admin, rosa (responder) or viktor (viewer), to applications as")
    click.echo(f"{filled.somebody}. The password of all of them is {filled.password}")
    click.echo("Use this ledger for looking only.")


def _policy(settings: Settings) -> Policy:
    return Policy(
        access_ttl=settings.access_ttl,
        idle_ttl=settings.refresh_idle_ttl,
        absolute_ttl=settings.refresh_absolute_ttl,
        leeway=settings.retry_leeway,
    )


if __name__ == "__main__":
    main(prog_name="session-ledger")
