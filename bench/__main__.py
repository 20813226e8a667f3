"""`python -m bench`: measures everything on both engines and writes docs/performance.md. A missed target fails nothing.

Except `bench.size`, which takes an hour, and the benches of single pages.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
import uvloop

from bench import asking, machine, offline, parts, postgres
from bench.offline import Alone, Batches, History
from bench.process import cores as server_and_load
from bench.refreshes import KINDS, Applications, Rounds, Run, Storm, pin, storm
from bench.report import Measured, page, targets
from tests import clusters


class Plan(NamedTuple):
    """How long and how often."""

    seconds: float
    rounds: int
    alone: int
    """Rotations of the ledger alone in each round."""
    events: int
    families: int


FULL = Plan(seconds=2.5, rounds=5, alone=12_000, events=1_000_000, families=100_000)
QUICK = Plan(seconds=0.4, rounds=5, alone=1_500, events=20_000, families=2_000)


@click.command()
@click.option("--quick", is_flag=True, help="A minute instead of ten, too short to be kept: prints, writes nothing.")
def main(*, quick: bool) -> None:
    """Measure, print the targets, and write docs/performance.md."""
    plan, cores = QUICK if quick else FULL, os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        found = measured(Path(folder), plan)
    for one in targets(found):
        click.echo(f"{'met    ' if one.met else 'NOT MET'}  {one.what}: {one.reached}, wanted {one.wanted}")
    if quick:
        click.echo(page(found))
    else:
        parts.put("sqlite", page(found))
        click.echo(f"Written: {parts.PAGE.name}")
    asking.told(asking.QUICK if quick else asking.FULL, keep=not quick)
    try:
        clusters.programs()
    except clusters.Missing as error:
        click.echo(f"Nothing measured on PostgreSQL: {error}.", err=True)
    else:
        os.sched_setaffinity(0, cores)
        postgres.told(postgres.QUICK if quick else postgres.FULL, keep=not quick)


def measured(folder: Path, plan: Plan) -> Measured:
    """All measurements, one after the other."""
    began = time.monotonic()
    server, load = server_and_load()
    about = machine.described(folder)
    pin(load)
    with Alone(folder / "alone", server, plan.alone // 2, 1) as ledger:
        rows = ledger.row(10), ledger.row(9_990)
        rounds, resident, stormy, pairs = uvloop.run(_online(folder, server, plan, ledger))
    history = _history(folder, server, plan)
    return Measured(about, rounds, resident, stormy, pairs, rows, history, (time.monotonic() - began) / 60)


Online = tuple[dict[int, Rounds], tuple[float, float], Storm, list[tuple[Run, Batches]]]


async def _online(folder: Path, core: int, plan: Plan, ledger: Alone) -> Online:
    _say("starting the applications")
    rounds: dict[int, Rounds] = {}
    with Applications(folder, core) as applications:
        before = (await applications.run("ledger", [], 0)).resident
        for connections, kinds in ((64, KINDS), (1, ("floor", "ledger")), (16, ("floor", "ledger"))):
            _say(f"refreshing on {connections} connections: {', '.join(kinds)}")
            rounds[connections] = await applications.rounds(kinds, connections, plan.seconds, plan.rounds)
        _say("refreshing on 256 connections: floor, ledger")
        rounds[256] = await applications.rounds(("floor", "ledger"), 256, plan.seconds, plan.rounds)
        pairs = []
        for number in range(plan.rounds):
            _say(f"the bare route, then the ledger alone, round {number + 1} of {plan.rounds}")
            run = (await applications.rounds(("bare",), 64, plan.seconds, 1))["bare"][0]
            pairs.append((run, await asyncio.to_thread(ledger.rotate, plan.alone)))
        _say("signing in beside refreshes")
        stormy = await storm(applications, 2 * plan.seconds, 3)
        after = (await applications.run("ledger", [], 0)).resident
    return dict(sorted(rounds.items())), (before, after), stormy, pairs


def _history(folder: Path, core: int, plan: Plan) -> History:
    pairs = offline.in_rounds(folder / "alone", core, plan.rounds, _say)
    _say(f"writing {plan.events:,} events of {plan.families:,} families")
    written, each, events = offline.write_history(folder / "long", core, plan.families, plan.events)
    whole = {}
    for what in ("loop", "verify", "rebuild"):
        _say(f"reading them again: {what}")
        whole[what] = offline.read_again(folder / "long", core, what)
    return History(events, plan.families, written, each, pairs, whole)


def _say(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what} …", err=True)


if __name__ == "__main__":
    main()
