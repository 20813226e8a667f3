"""`python -m bench.size FAMILIES`: whether a refresh costs more on a large ledger, and how large a ledger is.

Two ledgers in one private PostgreSQL, written by the fast path of the demonstration; refreshes on both in turn, each of
another session than the last. Ten million families take ten minutes to an hour and 40 GB of disk; with `--data FOLDER`
the ledgers stay there, and are not written again the next time. The small one grows by what it is refreshed.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import click
import msgspec
import uvloop

from bench import machine, pages, parts, processor, report_size
from bench.client import AGENT, Load, connect, drive
from bench.figures import Spread, ratios
from bench.pages import Page
from bench.population import ADDRESS
from bench.process import Process
from bench.processor import Places
from bench.report_size import Buffers, Filled, Sized
from bench.walk import Walk
from core import demo_bulk, token
from core.clients import Clients
from core.demo_bulk import Plan
from core.keys import KeyPolicy, Keys
from core.master import MasterKeys, generate
from core.policy import Policy
from core.presence import Presence, warm_up
from core.start import begin
from events import heads, migrate, projections
from events.clients import read_clients
from events.family import Family
from events.keys import read_keys
from events.ledger import Ledger
from events.store import Store
from events.stores import store_at
from tests.clusters import Cluster

SMALL = 10_000
CONNECTIONS = 64
WALKED = 400
"""Sessions of one connection; more than it refreshes in all runs, where there are enough."""
SERVER = {
    "shared_buffers": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 4 // 2**20}MB",
    "max_wal_size": "16GB",
    "wal_compression": "lz4",
    "shared_preload_libraries": "pg_stat_statements",
    "checkpoint_timeout": "30min",
}
TOUCHED = "'families', 'families_pkey', 'subjects', 'subjects_pkey', 'events_stream_version', 'events_subject'"
LOADING = {"fsync": "off", "full_page_writes": "off"}
SERVING = {"fsync": "on", "full_page_writes": "on"}
PAIR = "ledgers.json"
"""What is known of the ledgers in a folder; with it, their tokens can be made."""
_YEAR = 31_536_000
_SECONDS_EACH = 1
"""That a transaction of the fast path is told of: fewer than it takes."""


class Written(NamedTuple):
    """One ledger, and what its tokens are made from."""

    name: str
    plan: Plan
    filled: Filled


@click.command()
@click.argument("families", type=click.IntRange(SMALL))
@click.option("--seconds", default=4.0, show_default=True, help="Of each run.")
@click.option("--rounds", default=5, show_default=True, help="Pairs of runs.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Where the ledgers are, and stay.")
@click.option("--only-write", is_flag=True, help="Measure nothing yet.")
@click.option("--with-pages", is_flag=True, help="Open the dashboard's pages on the large ledger, too.")
@click.option("--keep", is_flag=True, help="Write the part of docs/performance.md.")
def main(
    families: int, seconds: float, rounds: int, data: Path | None, *, only_write: bool, with_pages: bool, keep: bool
) -> None:
    """Write both ledgers, measure, print."""
    with placed(Cluster(durable=True, settings=SERVER | LOADING), data) as cluster:
        of = there(cluster, families, data)
        if only_write:
            return
        cluster.restart("fast", **SERVING)
        for one in of.ledgers:
            warm(cluster, one.name)
        found = uvloop.run(measured(cluster, of.key, of.ledgers, seconds, rounds))
        for aim in report_size.targets(found):
            click.echo(f"{aim.state():12} {aim.what}: {aim.reached}, wanted {aim.wanted}")
        _told("size", report_size.part(found), keep=keep)
        if with_pages:
            looked = _looked_at(of.key, cluster.url(of.ledgers[1].name))
            _told("pages_postgresql", pages.part("PostgreSQL", *looked), keep=keep)


def _told(part: str, text: str, *, keep: bool) -> None:
    if keep:
        parts.put(part, text)
    else:
        click.echo(text)


class Pair(NamedTuple):
    """The two ledgers of one server, and what opens them."""

    key: str
    """The master key of both."""
    password: str
    """Of the server."""
    ledgers: tuple[Written, Written]


@contextmanager
def placed(cluster: Cluster, data: Path | None) -> Iterator[Cluster]:
    """The server, started; its tables in the folder, where they outlive it."""
    if data is not None:
        data.mkdir(exist_ok=True)
        cluster.watched.account.owns(data)
        watched, cluster.data = cluster.data, data.resolve() / "data"
        watched.symlink_to(cluster.data)
        if (data / PAIR).exists():
            cluster.password = _read_pair(data).password
    try:
        yield cluster.start()
        cluster.stop("fast")
    finally:
        cluster.close()


def there(cluster: Cluster, families: int, data: Path | None) -> Pair:
    """The two ledgers: those of the folder, or new ones."""
    if data is not None and (data / PAIR).exists():
        found = _read_pair(data)
        if found.ledgers[1].plan.families != families:
            raise click.UsageError(f"{data} holds a ledger of {found.ledgers[1].plan.families:,} families.")
        for one in found.ledgers:
            migrate.bring_up(store_at(cluster.url(one.name)))
        return found
    cluster.psql("CREATE EXTENSION pg_stat_statements")
    key = generate(os.urandom(32))
    small, large = (written(cluster, key, name, size) for name, size in (("small", SMALL), ("large", families)))
    made = Pair(key, cluster.password, (small, large))
    if data is not None:
        (data / PAIR).touch(0o600)
        (data / PAIR).write_bytes(msgspec.json.encode(made))
    return made


def _looked_at(key: str, url: str) -> tuple[int, list[Page]]:
    """The dashboard's pages on the large ledger."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        (Path(folder) / "data").mkdir()
        (Path(folder) / "data" / "master-key").write_text(key)
        return asyncio.run(pages.measured(Path(folder), url))


def _read_pair(data: Path) -> Pair:
    return msgspec.json.decode((data / PAIR).read_bytes(), type=Pair)


def written(cluster: Cluster, key: str, name: str, families: int) -> Written:
    """A ledger of so many families in a database of this name."""
    warm_up()
    store, master = store_at(cluster.create_database(name)), MasterKeys.parse(key)
    migrate.bring_up(store)
    asyncio.run(_begun(store, master))
    began, wall, used = time.time_ns() // 1000, time.monotonic(), time.process_time()
    turns = -(-families // demo_bulk.AT_ONCE)
    policy, presence = Policy(idle_ttl=_YEAR, absolute_ttl=_YEAR), Presence(ADDRESS, AGENT)
    plan = Plan(families, began, began + turns * _SECONDS_EACH * 1_000_000, os.urandom(32), policy, [presence], "!")
    server = processor.seconds([cluster.pid])
    events = demo_bulk.write(store, master, plan, store.read(heads.size), lambda done: _say(f"{name}: {done:,}"))
    took = time.monotonic() - wall, time.process_time() - used, processor.seconds([cluster.pid]) - server
    cluster.psql("VACUUM (ANALYZE)", name)
    size = int(cluster.psql(f"SELECT pg_database_size('{name}')"))
    return Written(name, plan, Filled(families, events, size, *took))


async def _begun(store: Store, master: MasterKeys) -> None:
    """What every ledger begins with."""
    ledger, engine = Ledger(store.writer()), store.readers()
    rotating = KeyPolicy.rotating("EdDSA", 90 * 86_400)
    keys = Keys(ledger, lambda: read_keys(engine), master, rotating, lambda: time.time_ns() // 1000)
    await begin(ledger, Clients(ledger, lambda: read_clients(engine)), keys)
    await ledger.close()
    await engine.dispose()


async def measured(cluster: Cluster, key: str, ledgers: Sequence[Written], seconds: float, rounds: int) -> Sized:
    """Pairs of runs at 64 connections, then one refresh after the other to count what each reads."""
    places, master = processor.places(), MasterKeys.parse(key)
    about = [*machine.described(cluster.folder), ("PostgreSQL", cluster.psql("SHOW server_version"))]
    processor.pin(cluster.pid, places.database)
    os.sched_setaffinity(0, {places.load})
    runs: dict[str, list[Load]] = {one.name: [] for one in ledgers}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as stack:
        walks = {one.name: await _serving(stack, cluster, Path(folder), places, master, key, one) for one in ledgers}
        for one in ledgers:
            await drive(walks[one.name], min(seconds, 2.0))
        for number in range(rounds):
            _say(f"pair {number + 1} of {rounds}")
            for one in ledgers:
                runs[one.name].append(await drive(walks[one.name], seconds))
        _say("counting buffers")
        buffers = {one.name: await _buffers(cluster, one.name, walks[one.name][0]) for one in ledgers}
    rates = [[load.rate for load in runs[one.name]] for one in ledgers]
    ratio: Spread = ratios(rates[1], rates[0])
    return Sized(
        about, [one.filled for one in ledgers], [runs[one.name] for one in ledgers], ratio, [*buffers.values()]
    )


async def _serving(
    stack: ExitStack, cluster: Cluster, folder: Path, places: Places, master: MasterKeys, key: str, one: Written
) -> list[Walk]:
    """A service on this ledger, and connections to it."""
    core, url = str(places.services[0]), cluster.url(one.name)
    port = stack.enter_context(Process("worker", "forgetful", str(folder / one.name), core, url, key)).heard()["port"]
    tokens = await asyncio.to_thread(_tokens, one.plan, store_at(url), master)
    walks = [Walk(tokens[place::CONNECTIONS]) for place in range(CONNECTIONS)]
    await connect(port, *walks)
    return walks


def _tokens(plan: Plan, store: Store, master: MasterKeys) -> list[bytes]:
    """The newest tokens of some sessions that live."""
    some = Random().sample(range(plan.families), min(plan.families, CONNECTIONS * WALKED))
    known = {one.family: one for one in (plan.token(number, master.current) for number in some)}
    states = store.read(partial(projections.load, state=Family, streams=list(known)))
    mac_key = master.refresh_key(master.current) or b""
    newest = (known[one.id]._replace(generation=one.generation) for one in states if one.living)
    return [token.mint(one, mac_key).encode() for one in newest]


def warm(cluster: Cluster, database: str) -> None:
    """What refreshes touch at random is in memory, as on a server that has been up for a while."""
    cluster.psql("CREATE EXTENSION IF NOT EXISTS pg_prewarm", database)
    cluster.psql(f"SELECT pg_prewarm(oid) FROM pg_class WHERE relname IN ({TOUCHED})", database)


async def _buffers(cluster: Cluster, database: str, walk: Walk) -> Buffers:
    """What each refresh reads of tables and indexes, one refresh in a transaction."""
    await drive([walk], 0.5)
    await asyncio.to_thread(cluster.psql, "SELECT pg_stat_statements_reset()")
    before = walk.rotated
    await drive([walk], 2.0)
    told = await asyncio.to_thread(
        cluster.psql,
        "SELECT calls, shared_blks_hit + shared_blks_read, translate(left(query, 60), E'|\\n', '  ') "
        "FROM pg_stat_statements "
        f"JOIN pg_database d ON d.oid = dbid WHERE datname = '{database}'",
    )
    rotated = walk.rotated - before
    lines = [line.split("|") for line in told.splitlines() if line.count("|") == 2]
    of = {query: int(blocks) / rotated for calls, blocks, query in lines if int(calls) >= rotated // 2}
    return Buffers(rotated, of)


def _say(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what} …", err=True)


if __name__ == "__main__":
    main()
