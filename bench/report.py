"""The page: what was measured, each target met or not, and how to read it. Measures nothing."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import NamedTuple

from bench.client import Load
from bench.figures import Spread, Target, ratios, spread
from bench.offline import Batches, History
from bench.refreshes import Rounds, Run, Storm

TIMES = "\N{MULTIPLICATION SIGN}"
NAMES = {
    "floor": "floor",
    "bare": "bare route",
    "ledger": "**ledger**",
    "baseline": "baseline",
    "queue": "baseline, one connection",
}


class Measured(NamedTuple):
    """Everything of one run of the bench."""

    machine: list[tuple[str, str]]
    rounds: dict[int, Rounds]
    """By the number of connections."""
    resident: tuple[float, float]
    """MiB of the ledger's process before the first refresh and after the last."""
    storm: Storm
    alone: list[tuple[Run, Batches]]
    """The bare route at 64 connections, then the ledger alone."""
    rows: tuple[int, int]
    """Bytes of a family's state after 10 and after 10,000 rotations."""
    history: History
    minutes: float


def page(found: Measured) -> str:
    """The whole page, in Markdown."""
    parts = (
        HEAD.format(date=datetime.now(UTC).date(), minutes=f"{found.minutes:.0f}"),
        table(TARGET_COLUMNS, map(as_line, targets(found))),
        "## Refresh\n",
        table(HTTP_COLUMNS, _refreshes(found.rounds)),
        BESIDE.format(**_beside(found)),
        "## The machine\n",
        table(("", ""), found.machine),
        FOOT,
    )
    return "\n".join(parts)


def targets(found: Measured) -> list[Target]:
    """Each target of the design, and what this run came to."""
    at64, at1, history = found.rounds[64], found.rounds[1], found.history
    peak = max(history.whole[what]["peak"] for what in ("verify", "rebuild"))
    long_log = f"{history.events:,} events, {history.families:,} families"
    bare = ratios([b.rate for _, b in found.alone], [run.load.rate for run, _ in found.alone])
    commits = [(b.commits, b.batches) for _, b in found.alone] + [(history.written.commits, history.written.batches)]
    exact = all(commits == batches for commits, batches in commits)
    return [
        _at_least("refresh, 64 connections, against the floor", 0.65, _rates(at64, "ledger", "floor")),
        _at_least("refresh, 64 connections, against the baseline", 5, _rates(at64, "ledger", "baseline")),
        _at_most("refresh, one connection: p50 against the floor's", 4, _latencies(at1, 0.5, "ledger", "floor")),
        Target("commits for each batch", "exactly 1", "1" if exact else str(commits), exact),
        _at_least("the ledger alone, full batches, against the bare route", 2.5, bare),
        _below("bytes on disk for each rotation", 900, history.bytes_each, "bytes"),
        Target(
            "state of a family after 10 and 10,000 rotations",
            "the same size",
            f"{found.rows[0]} and {found.rows[1]} bytes",
            found.rows[1] <= found.rows[0] + 8,
        ),
        _at_least("verify, against reading and hashing", 0.25, ratios(history.pairs["verify"], history.pairs["loop"])),
        _at_least(
            "rebuild, against reading and hashing", 0.15, ratios(history.pairs["rebuild"], history.pairs["loop"])
        ),
        _below(f"memory of verify and rebuild, {long_log}", 300, peak, "MiB"),
    ]


def _at_least(what: str, wanted: float, reached: Spread) -> Target:
    return Target(what, f"≥ {wanted} {TIMES}", reached.told(unit=f" {TIMES}"), reached.median >= wanted)


def _at_most(what: str, wanted: float, reached: Spread) -> Target:
    return Target(what, f"≤ {wanted} {TIMES}", reached.told(unit=f" {TIMES}"), reached.median <= wanted)


def _below(what: str, wanted: float, reached: float, unit: str) -> Target:
    return Target(what, f"≤ {wanted} {unit}", f"{reached:,.0f} {unit}", reached <= wanted)


def _rates(of: Rounds, upper: str, lower: str) -> Spread:
    return ratios([run.load.rate for run in of[upper]], [run.load.rate for run in of[lower]])


def _latencies(of: Rounds, share: float, upper: str, lower: str) -> Spread:
    return ratios([run.load.at(share) for run in of[upper]], [run.load.at(share) for run in of[lower]])


def _reading(history: History, what: str) -> Spread:
    return ratios(history.pairs[what], history.pairs["loop"])


def as_line(one: Target) -> tuple[str, ...]:
    return one.what, one.wanted, one.reached, "met" if one.met else "**not met**"


TARGET_COLUMNS = ("what must be reached", "wanted", "reached: median (least to greatest)", "")
HTTP_COLUMNS = ("connections", "", "per second", "p50, ms", "p99, ms", "commands in a batch", "server", "load")


def _refreshes(rounds: dict[int, Rounds]) -> Iterable[Sequence[str]]:
    return (_http(at, kind, runs) for at, of in rounds.items() for kind, runs in of.items())


def _http(connections: int, kind: str, runs: Sequence[Run]) -> tuple[str, ...]:
    size = sum(run.commands for run in runs) / max(1, sum(run.batches for run in runs))
    return (
        str(connections),
        NAMES[kind],
        spread([run.load.rate for run in runs]).told(0),
        spread([run.load.at(0.5) * 1000 for run in runs]).told(1),
        spread([run.load.at(0.99) * 1000 for run in runs]).told(1),
        f"{size:.1f}" if kind == "ledger" else "",
        f"{median(run.server_share for run in runs):.0%}",
        f"{median(run.load.client_share for run in runs):.0%}",
    )


def _beside(found: Measured) -> dict[str, str]:
    storm, history = found.storm, found.history
    return {
        "alone": spread([batches.rate for _, batches in found.alone]).told(0),
        "bare": spread([run.load.rate for run, _ in found.alone]).told(0),
        "size": f"{sum(b.rotations for _, b in found.alone) / sum(b.batches for _, b in found.alone):.0f}",
        **_latency("calm", storm.calm),
        **_latency("stormy", storm.stormy),
        **_latency("sign_ins", storm.sign_ins),
        "before": f"{found.resident[0]:.0f}",
        "after": f"{found.resident[1]:.0f}",
        "events": f"{history.events:,}",
        "families": f"{history.families:,}",
        "written": f"{history.written.rate:,.0f}",
        **{f"pair_{what}": spread(rates).told(0) for what, rates in history.pairs.items()},
        **{f"whole_{what}": f"{told['events'] / told['seconds']:,.0f}" for what, told in history.whole.items()},
        **{f"peak_{what}": f"{told['peak']:.0f}" for what, told in history.whole.items()},
    }


def _latency(name: str, loads: Sequence[Load]) -> dict[str, str]:
    return {
        name: spread([one.rate for one in loads]).told(1 if name == "sign_ins" else 0),
        f"{name}_p50": spread([one.at(0.5) * 1000 for one in loads]).told(0),
        f"{name}_p99": spread([one.at(0.99) * 1000 for one in loads]).told(0),
    }


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    written = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in written) + "\n"


HEAD = """# Performance

`make bench` measures this and writes this page; it took {minutes} minutes on {date}. The rates are of one machine. What
travels to another are the ratios: both sides of each were taken one right after the other, at least five times.
"""

BESIDE = """- **floor**: the same application behind the same middleware. It parses the same body, checks the refresh
  token's MAC, signs the same JWT, gives the same answer; the ledger is left out: nothing is read, decided or written.
- **bare route**: the same body, tokens and answer from a route of Litestar's with nothing around it.
- **ledger**: the service as it is, `synchronous=FULL`, every answer after its commit; only the rate limits are off.
- **baseline**: one transaction for each request through SQLAlchemy and aiosqlite with their usual pool, the same rule,
  the same rows, the same middleware, `synchronous=FULL`; without the tree over the log. With *one connection* requests
  queue for it instead of sleeping inside SQLite.

Each connection rotates a family of its own and checks each answer: status, family, the next generation, new tokens.
*server* and *load* are what each of the two processes took of its core.

## Sign-in

argon2id as in service, in a thread that yields to everything else. 16 connections refresh, alone and then while 8
others sign in as fast as they are answered:

| | per second | p50, ms | p99, ms |
| --- | --- | --- | --- |
| refresh, alone | {calm} | {calm_p50} | {calm_p99} |
| refresh beside sign-ins | {stormy} | {stormy_p50} | {stormy_p99} |
| sign-in | {sign_ins} | {sign_ins_p50} | {sign_ins_p99} |

## The ledger alone

Without HTTP and without signing, all indexes of the audit log on: {alone} rotations a second, {size} in a batch.
Beside it, the bare route answered {bare} requests a second. The service's process held {before} MiB before its first
refresh and {after} MiB after its last (SQLite's page cache, at most 64 MiB, fills).

## A long log

{events} events of {families} families, written at {written} rotations a second. A real browser's user agent, all
indexes and private rows are in the bytes on disk. Events read a second:

| | in rounds, on a shorter log | once, on the long log | most memory, MiB |
| --- | --- | --- | --- |
| only read and hash | {pair_loop} | {whole_loop} | {peak_loop} |
| verify | {pair_verify} | {whole_verify} | {peak_verify} |
| rebuild | {pair_rebuild} | {whole_rebuild} | {peak_rebuild} |
"""

FOOT = """Server and load had a core each, the databases were files on the file system above, everything on 127.0.0.1.
A load average of more than 0.5 before means that something else was running: the ratios stand, the rates are too low.
"""
