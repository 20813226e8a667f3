"""The commands about accounts. What they may do is core/subjects.py."""

from collections.abc import Awaitable, Callable

import click

from core import journal
from core.reason import STAFF_REASONS
from core.subject import Outcome
from core.verdict import STAFF_ROLES
from events import ids
from events.subject import Subject
from terminal import factors, importing
from terminal.desk import ACTOR, PAGE, Desk, at_desk
from terminal.prompts import nothing, password, password_option
from terminal.refusals import Refused

ADMIN = "admin"
MOST_STAFF = 100_000


@click.group(epilog="Example: session-ledger user add alice --role responder")
def user() -> None:
    """Accounts: add, list, import, disable, enable, set passwords and roles, reset second factors."""


user.add_command(importing.import_)
user.add_command(factors.factors)
user.add_command(factors.reset)


@user.command("add", epilog="Example: session-ledger user add alice --role responder")
@click.argument("name")
@click.option("--role", "roles", multiple=True, type=click.Choice(sorted(STAFF_ROLES)), help="For the dashboard.")
@password_option
def add(name: str, roles: tuple[str, ...], *, password_stdin: bool) -> None:
    """Create an account. Without a role it signs in to applications only."""
    given = password(stdin=password_stdin)
    outcome = at_desk(lambda at: at.subjects.register(name, given, " ".join(roles), ACTOR))
    if outcome is Outcome.NAME_TAKEN:
        raise Refused(f"There is an account {name} already.")
    click.echo(f"Created {name}.")


@user.command("password", epilog="Example: session-ledger user password alice")
@click.argument("name")
@password_option
def set_password(name: str, *, password_stdin: bool) -> None:
    """Set an account's password; all its sessions end."""
    given = password(stdin=password_stdin)
    _about(name, lambda at, owner: at.subjects.set_password(owner, given, ACTOR))
    click.echo(f"The password of {name} is set; all sessions of {name} have ended.")


@user.command("disable", epilog="Example: session-ledger user disable alice --reason left")
@click.argument("name")
@click.option("--reason", type=click.Choice(sorted(STAFF_REASONS)), default="maintenance", show_default=True)
def disable(name: str, reason: str) -> None:
    """Disable an account; all its sessions end."""
    _about(name, lambda at, owner: at.subjects.disable(owner, reason, ACTOR))
    click.echo(f"{name} is disabled; all sessions of {name} have ended.")
    _warn_without_admin()


@user.command("enable", epilog="Example: session-ledger user enable alice")
@click.argument("name")
def enable(name: str) -> None:
    """Let NAME sign in again. No session comes back."""
    _about(name, lambda at, owner: at.subjects.enable(owner, ACTOR))
    click.echo(f"{name} is enabled.")


@user.command("roles", epilog="Example: session-ledger user roles alice viewer")
@click.argument("name")
@click.argument("roles", nargs=-1, type=click.Choice(["none", *sorted(STAFF_ROLES)]))
def set_roles(name: str, roles: tuple[str, ...]) -> None:
    """Show or replace an account's roles.

    `none` takes all away.
    """
    if not roles:
        click.echo(at_desk(lambda at: _owner(at, name)).roles or "none")
        return
    wanted = " ".join(role for role in roles if role != "none")
    _about(name, lambda at, owner: at.subjects.change_roles(owner, wanted, ACTOR))
    click.echo(f"{name} has the roles: {wanted or 'none'}.")
    _warn_without_admin()


@user.command("list", epilog="Example: session-ledger user list")
def listed() -> None:
    """All accounts by name: name, status, roles, id."""

    async def told(at: Desk) -> None:
        after = ""
        while found := await at.subjects.reader.page(after, PAGE):
            for one in found:
                stated = ids.to_text("sub", one.id)
                name = "-" if one.name == stated else journal.escaped(one.name)
                click.echo(f"{name:<24}  {one.status:<8}  {one.roles or '-':<24}  {stated}")
            after = found[-1].name
        nothing(after, "There is no account yet: session-ledger user add NAME makes one.")

    at_desk(told)


def _warn_without_admin() -> None:
    staff = at_desk(lambda at: at.subjects.reader.with_roles(MOST_STAFF))
    if not any(one.enabled and ADMIN in one.role_set for one in staff):
        click.echo(
            "Nobody who can sign in has the role admin: keys, applications, webhooks and roles cannot be "
            "changed in the dashboard. Give it to somebody: session-ledger user roles NAME admin",
            err=True,
        )


def _about(name: str, work: Callable[[Desk, Subject], Awaitable[Outcome]]) -> Outcome:
    async def run(at: Desk) -> Outcome:
        outcome = await work(at, await _owner(at, name))
        if outcome is Outcome.ERASED:
            raise Refused(f"{name} was erased, and does not come back.")
        return outcome

    return at_desk(run)


async def _owner(at: Desk, name: str) -> Subject:
    found = await at.subjects.find(name)
    if found is None:
        raise Refused(f"There is no account {name}.")
    return found
