"""The command that answers requests. What it starts is running.py."""

import os

import click

from settings import load
from terminal.refusals import Failed


@click.command(epilog="Example: LEDGER_PORT=9000 session-ledger serve")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes; more than one on PostgreSQL only.")
def serve(workers: int | None) -> None:
    """Answer requests until Ctrl-C or SIGTERM.

    Checks everything first; what is wrong is one sentence and status 2. Requests under way are answered at the end.
    With several workers, SIGHUP replaces one after the other, and no request waits for it.
    """
    if workers is not None:
        os.environ["LEDGER_WORKERS"] = str(workers)
    from terminal import running  # noqa: PLC0415 - the web half takes a second to load; the other commands do without

    if not running.serve(load()):
        raise Failed("The server ended by itself; the log says more.")
