"""How a command ends that did not do what was asked: one sentence and a status. Knows no command."""

from typing import Any

import click


class Refused(click.ClickException):
    """One sentence on standard error, and status 2: nothing was done, for a reason that the caller can change."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True, file=file)


class Failed(Refused):
    """Status 1: it was done, and the answer is bad."""

    exit_code = 1
