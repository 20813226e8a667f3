"""The command that ends one session, and how an operator names one. The rule is core/ending.py."""

import click

from core import journal
from core.reason import STAFF_REASONS, TICKET
from core.verdict import Verdict
from events import family, ids
from terminal.desk import at_desk
from terminal.refusals import Refused


@click.command(epilog="Example: session-ledger revoke fam_aac6cf… --reason stolen_token --ticket INC-4711")
@click.argument("named", metavar="FAMILY")
@click.option("--reason", required=True, type=click.Choice(sorted(STAFF_REASONS)), help="Why, as the log keeps it.")
@click.option("--note", default="", help="For people; can be deleted with the account.")
@click.option("--ticket", default="", help="Number of the incident.")
def revoke(named: str, reason: str, note: str, ticket: str) -> None:
    """End one session, at once and for good.

    When this returns, no process accepts anything of it. A resource server that only checks access tokens by itself
    learns of it when they expire.
    """
    stream = family_id(named)
    if ticket and not TICKET.fullmatch(ticket):
        raise Refused("A ticket has 1 to 32 letters, digits, dots, hyphens and underscores.")
    answer = at_desk(lambda at: at.revoke(stream, reason, note, ticket))
    if answer.verdict is Verdict.UNKNOWN:
        raise Refused(f"There is no family {named}.")
    click.echo(f"{named} is revoked." if answer.ended else f"{named} had ended before.")


def family_id(text: str) -> bytes:
    """The stream that is named `fam_…`."""
    stream = ids.from_text(family.PREFIX, text)
    if stream is None:
        raise Refused(f"{journal.escaped(text)} is not the id of a family: those look like fam_ and 26 characters.")
    return stream
