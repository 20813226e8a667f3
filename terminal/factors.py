"""The commands about second factors: who has which, and taking them away from somebody who lost them."""

import click

from core import enrolment, journal
from core.enrolment import Outcome
from core.reason import STAFF_REASONS, TICKET
from events.decision import Streams
from events.subject import Subject
from terminal.desk import ACTOR, Desk, at_desk
from terminal.line import moment
from terminal.prompts import nothing
from terminal.refusals import Refused


@click.command("factors", epilog="Example: session-ledger user factors alice")
@click.argument("name", required=False)
def factors(name: str | None) -> None:
    """Second factors of NAME, or of everybody with a role.

    The number behind one-time codes is that of the master key that wraps their secret.
    """
    found = at_desk(lambda at: at.subjects.reader.with_roles()) if name is None else [at_desk(lambda at: _of(at, name))]
    nothing(found, "Nobody has a role in the dashboard.")
    for one in found:
        for line in _lines(one):
            click.echo(f"{journal.escaped(one.name):<24}  {line}")


@click.command("reset-factors", epilog="Example: session-ledger user reset-factors alice --reason lost_device")
@click.argument("name")
@click.option("--reason", type=click.Choice(sorted(STAFF_REASONS)), default="lost_device", show_default=True)
@click.option("--ticket", default="", help="Number of the incident.")
def reset(name: str, reason: str, ticket: str) -> None:
    """Take all second factors and recovery codes of NAME away.

    All sessions of NAME at the dashboard end. For the last admin who is locked out: whoever may run this on the
    machine may do so for anybody.
    """
    if ticket and not TICKET.fullmatch(ticket):
        raise Refused("A ticket has letters, digits, dot, dash and underscore only, 32 at most.")

    async def work(at: Desk) -> Outcome:
        owner = await _of(at, name)
        rule = enrolment.reset(owner.id, ACTOR, reason, ticket)
        return Outcome(await at.ledger.submit(Streams(subjects=frozenset((owner.id,))), rule))

    if at_desk(work) is Outcome.UNCHANGED:
        click.echo(f"{name} has no second factor.")
    else:
        click.echo(f"{name} signs in with the password alone, and has no session at the dashboard any more.")


def _lines(owner: Subject) -> list[str]:
    second = owner.second
    lines = [
        f"{one.kind:<8}  {journal.escaped(one.name) or '-':<24}  added {moment(one.added_at)}"
        f"{f'  used {moment(one.used_at)}' if one.used_at else ''}{f'  master key {one.key}' if one.key else ''}"
        for one in second.held
    ]
    return [*lines, f"recovery codes left: {second.left}"] if lines else ["none"]


async def _of(at: Desk, name: str) -> Subject:
    found = await at.subjects.find(name)
    if found is None:
        raise Refused(f"There is no account {name}.")
    return found
