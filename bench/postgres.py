"""`python -m bench.postgres`: everything on a private PostgreSQL, beside two peers; writes its part of the page."""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import uvloop

from bench import capacity, machine, parts, processor, report_postgres
from bench.processor import Places
from bench.report_postgres import Growth, OnPostgres
from bench.sides import OURS, PEER_PYTHON, PEERS, Cost, Sides
from tests.clusters import Cluster

SERVER = {"shared_buffers": "2GB", "max_wal_size": "16GB", "wal_compression": "lz4"}
"""Beside the server's own settings: room for the data set, and checkpoints by time alone."""


class Plan(NamedTuple):
    """How long and how often."""

    seconds: float
    rounds: int
    growth: float
    """Seconds of rotations whose bytes are counted."""


FULL = Plan(seconds=3.0, rounds=5, growth=20.0)
QUICK = Plan(seconds=0.5, rounds=2, growth=2.0)


@click.command()
@click.option("--quick", is_flag=True, help="Too short to be kept: prints, writes nothing.")
def main(*, quick: bool) -> None:
    """Measure on PostgreSQL, print the targets, and write the part of docs/performance.md."""
    told(QUICK if quick else FULL, keep=not quick)


def told(plan: Plan, *, keep: bool) -> None:
    """Measure and print; write the part of the page only where it shall be kept."""
    found = measured(plan)
    for one in report_postgres.targets(found):
        click.echo(f"{one.state():12} {one.what}: {one.reached}, wanted {one.wanted}")
    if keep:
        parts.put("postgres", report_postgres.part(found))
        capacity.keep(report_postgres.points(found), found.growth.data)
    else:
        click.echo(report_postgres.part(found))


def measured(plan: Plan) -> OnPostgres:
    """All measurements on one cluster."""
    places = processor.places()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Cluster(durable=True, settings=SERVER) as cluster:
        about = machine.described(cluster.folder)
        about.append(("PostgreSQL", f"{cluster.psql('SHOW server_version')}, {_settings()}"))
        processor.pin(cluster.pid, places.database)
        os.sched_setaffinity(0, {places.load})
        return uvloop.run(_measured(cluster, Path(folder), places, plan, about))


def _settings() -> str:
    return ", ".join(f"{name} {value}" for name, value in SERVER.items())


async def _measured(
    cluster: Cluster, folder: Path, places: Places, plan: Plan, about: list[tuple[str, str]]
) -> OnPostgres:
    peers = PEERS if PEER_PYTHON.exists() else ()
    if not peers:
        _say("the peers are not installed: `make bench` installs them")
    _say("starting the applications")
    with Sides(cluster, folder, (*OURS, *peers), places) as sides:
        rounds: dict[int, dict[str, list[Cost]]] = {}
        for connections, kinds in ((64, OURS), (1, ("floor", "ledger")), (16, ("floor", "ledger"))):
            rounds[connections] = await _rounds(sides, kinds, connections, plan)
        rounds[256] = await _rounds(sides, ("floor", "ledger"), 256, plan)
        beside = await _rounds(sides, ("ledger", *peers), 64, plan) if peers else {}
        growth = await _growth(cluster, sides, plan.growth)
    return OnPostgres(about, places, dict(sorted(rounds.items())), beside, growth)


async def _rounds(sides: Sides, kinds: Sequence[str], connections: int, plan: Plan) -> dict[str, list[Cost]]:
    _say(f"refreshing on {connections} connections: {', '.join(kinds)}")
    return await sides.rounds(kinds, connections, plan.seconds, plan.rounds)


async def _growth(cluster: Cluster, sides: Sides, seconds: float) -> Growth:
    _say("counting bytes")
    chains = await sides.side("ledger").open(64)
    before = await asyncio.to_thread(_taken, cluster)
    cost = await sides.run("ledger", chains, seconds)
    after = await asyncio.to_thread(_taken, cluster)
    data, log, commits = (now - then for now, then in zip(after, before, strict=True))
    return Growth(data / cost.answers, log / cost.answers, commits / cost.answers, cost.answers)


def _taken(cluster: Cluster) -> tuple[int, int, int]:
    """Bytes of the ledger's database, bytes ever written to the write-ahead log, its transactions ever committed."""
    cluster.psql("CHECKPOINT")
    time.sleep(1.1)  # the server counts transactions with that delay
    told = cluster.psql(
        "SELECT pg_database_size('ledger'), pg_current_wal_lsn() - '0/0', xact_commit "
        "FROM pg_stat_database WHERE datname = 'ledger'"
    )
    size, written, commits = map(int, told.split("|"))
    return size, written, commits


def _say(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what} …", err=True)


if __name__ == "__main__":
    main()
