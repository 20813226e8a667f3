"""The command that erases somebody: what it would do, and doing it. The rules are core/erasure.py."""

from collections.abc import Iterator

import click

from core import erasures, journal
from core.erasure import Erasure
from core.reason import ERASURE_REASONS, TICKET
from events import ids
from events.erasures import Known
from events.subject import PREFIX, Subject
from terminal.desk import ACTOR, Desk, at_desk
from terminal.refusals import Refused

LATER = (
    " In the database's files, bytes of deleted rows can stand until their place is used again: in a quiet hour, run "
    "session-ledger compact."
)


@click.group(epilog="Example: session-ledger subject erase alice")
def subject() -> None:
    """The person behind an account: erase everything that is known of it."""


@subject.command("erase", epilog="Example: session-ledger subject erase alice --reason user_request --yes")
@click.argument("named", metavar="SUBJECT")
@click.option("--reason", type=click.Choice(sorted(ERASURE_REASONS)), default="user_request", show_default=True)
@click.option("--ticket", default="", help="Number of the request.")
@click.option("--yes", is_flag=True, help="Do it. Without this, only what would be done is shown.")
def erase(named: str, reason: str, ticket: str, *, yes: bool) -> None:
    """Delete everything that is known of a person, by login name or sub_ id. Cannot be undone.

    All sessions end, and names, password, addresses, user agents and notes are deleted. The events stay, without
    personal data, so that the log can still be proved. docs/privacy.md says what else to think of.
    """
    if ticket and not TICKET.fullmatch(ticket):
        raise Refused("A ticket has 1 to 32 letters, digits, dots, hyphens and underscores.")
    owner, known, living = at_desk(lambda at: _seen(at, named))
    stated = ids.to_text(PREFIX, owner.id)
    if owner.erased and not known.rows:
        click.echo(f"{stated} was erased before; there is nothing left to do.")
        return
    for line in _told(owner, known, living, done=yes):
        click.echo(line)
    if not yes:
        click.echo("Nothing has changed: add --yes to do it.")
        return
    finished, wholly = at_desk(lambda at: _erased(at, owner, reason, ticket))
    if finished:
        click.echo(f"{stated} is erased.{'' if wholly else LATER}")
        return
    click.echo(
        f"{stated} is erased; the service finishes the rest (its list of the erased, the database's own files). "
        "The receipt in the dashboard says when."
    )


async def _seen(at: Desk, named: str) -> tuple[Subject, Known, int]:
    owner = await at.subjects.find(named)
    if owner is None:
        raise Refused(f"There is no account {journal.escaped(named)}.")
    living = [one for one in await at.families.of_subject(owner.id) if one.living]
    return owner, await at.erasures.known(owner), len(living)


def _told(owner: Subject, known: Known, living: int, *, done: bool) -> Iterator[str]:
    stated = ids.to_text(PREFIX, owner.id)
    name = "" if owner.name == stated else f"{journal.escaped(owner.name)}, "
    yield f"What {'goes' if done else 'would go'} of {name}{stated}:"
    for what, count in (
        ("sessions that live, at once", living),
        ("addresses with user agents", known.contexts),
        ("names, password hashes, device names, notes", known.accounts),
        ("notes and queries about this person in what staff did", len(known.texts)),
    ):
        yield f"  {count:>7}  {what}"
    yield f"What stays: {known.events} {'event' if known.events == 1 else 'events'}, with ids, times and codes only."


async def _erased(at: Desk, owner: Subject, reason: str, ticket: str) -> tuple[bool, bool]:
    stream = erasures.new_action()
    await at.erasures.erase(owner, Erasure(stream, owner.id, ACTOR, reason, ticket))
    for begun in await at.erasures.unfinished(owner.id):
        if not await at.erasures.carry_out(begun):
            return False, False
    return True, at.erasures.wholly
