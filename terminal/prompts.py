"""What a command asks of a person, and shows while they wait. Nothing of it goes to standard output."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from terminal.refusals import Refused

MAX_LINE = 4096

password_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


def password(*, stdin: bool) -> str:
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


def nothing(found: object, sentence: str) -> None:
    """Say so where a list is empty, so that nobody takes it for a command that did not work."""
    if not found:
        click.echo(sentence, err=True)


@contextmanager
def bar(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, told how much is done."""
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as shown:
        yield lambda done: shown.update(done - shown.pos)
