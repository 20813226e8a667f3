"""`python -m bench.asking`: what it costs to ask whether a token is good, here and in the Python client.

`make bench` runs it, too; it writes a part of docs/performance.md of its own.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import click
import uvloop

from bench import gateway, machine, parts, report_asking, verifier
from bench.process import cores
from bench.refreshes import pin
from bench.report_asking import CONNECTIONS, Asked


class Plan(NamedTuple):
    """How long and how often."""

    rounds: int
    seconds: float
    decodes: int
    """In each round."""


FULL: Final = Plan(rounds=7, seconds=1.0, decodes=2_000)
QUICK: Final = Plan(rounds=3, seconds=0.3, decodes=200)


def told(plan: Plan, *, keep: bool) -> None:
    """Measure and print; write the part of the page only where it shall be kept."""
    found = measured(plan)
    for one in report_asking.targets(found):
        click.echo(f"{'met    ' if one.met else 'NOT MET'}  {one.what}: {one.reached}, wanted {one.wanted}")
    if keep:
        parts.put("asking", report_asking.part(found))
    else:
        click.echo(report_asking.part(found))


def measured(plan: Plan) -> Asked:
    """All of it, one after the other."""
    server, load = cores()
    click.echo(f"{time.strftime('%H:%M:%S')} asking about tokens \N{HORIZONTAL ELLIPSIS}", err=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        about = machine.described(Path(folder))
        pin(load)
        routes = uvloop.run(gateway.compared(Path(folder), server, CONNECTIONS, plan.rounds, plan.seconds))
    decodes = {one: verifier.decodes(one, plan.rounds + 2, plan.decodes) for one in verifier.KEYS}
    return Asked(about, routes, decodes)


@click.command()
@click.option("--quick", is_flag=True, help="Too short to be kept: prints, writes nothing.")
def main(*, quick: bool) -> None:
    """Measure, and write the part of docs/performance.md."""
    kept = os.sched_getaffinity(0)
    told(QUICK if quick else FULL, keep=not quick)
    os.sched_setaffinity(0, kept)


if __name__ == "__main__":
    main()
