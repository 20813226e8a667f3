"""The command that shows events. Which field and operator there is, is events/fields.py; a line is line.py."""

import sys
from contextlib import suppress

import click

from core import journal
from events.filters import Mistake, Query, parse
from terminal import line
from terminal.desk import Desk, at_desk
from terminal.families import family_id
from terminal.prompts import nothing
from terminal.refusals import Refused


@click.command(epilog="Example: session-ledger events --filter 'type:token.* user:alice at:2h' --json")
@click.option("--filter", "words", default="", metavar="QUERY", help="Only those that match; see docs/filters.md.")
@click.option("--family", default="", help="Only those of one family.")
@click.option("--follow", is_flag=True, help="Go on with new events until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each event.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(0, 100_000), help="How many of the newest.")
def events(*, words: str, family: str, follow: bool, as_json: bool, limit: int) -> None:
    """Show the newest events, oldest first.

    A row says position, time, what happened, whose it is, by whom and from where.
    """
    stream = family_id(family) if family else None
    query = _query(words, family) if words else None

    async def told(at: Desk) -> None:
        if query:
            await _tell_of_nobody(at, query)
        shown = 0
        async for some in at.found(query, limit, follow=follow) if query else at.events(stream, limit, follow=follow):
            if isinstance(some, Query):
                click.echo(f"Nothing bounds this search, so this was asked: {some.text()}", err=True)
                continue
            shown += len(some)
            names = {} if as_json else await at.names(some)
            for one in some:
                click.echo(line.record(one) if as_json else line.row(one, names))
            sys.stdout.flush()
        nothing(shown or not limit, "No event matches." if query or stream else "The log has no event yet.")

    with suppress(KeyboardInterrupt):
        at_desk(told)


async def _tell_of_nobody(at: Desk, query: Query) -> None:
    """A mistyped name would read as somebody who did nothing."""
    for name in await at.unknown(query):
        click.echo(f"Nobody has the login name {journal.escaped(name)} today.", err=True)


def _query(words: str, family: str) -> Query:
    found = parse(words)
    if isinstance(found, Mistake):
        raise Refused(f"{journal.escaped(found.text)}\n{' ' * found.position}{'^' * found.length}\n{found.told()}")
    return found.only("family", family) if family else found
