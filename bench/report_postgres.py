"""The page's part on PostgreSQL: what was measured, each target met or not, and how to read it. Measures nothing."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import NamedTuple

from bench.capacity import Point
from bench.figures import Spread, ratios, spread
from bench.processor import Places
from bench.sides import PEERS, Cost

TIMES = "\N{MULTIPLICATION SIGN}"
NAMES = {
    "floor": "floor",
    "baseline": "baseline",
    "ledger": "**ledger**",
    "two": "**ledger, two processes**",
    "toolkit": "django-oauth-toolkit",
    "simplejwt": "djangorestframework-simplejwt",
}
Rounds = dict[str, list[Cost]]


class Growth(NamedTuple):
    """What a rotation leaves behind."""

    data: float
    """Bytes of tables and indexes."""
    log: float
    """Bytes written to the write-ahead log."""
    commits: float
    rotations: int


class OnPostgres(NamedTuple):
    """Everything of one run."""

    machine: list[tuple[str, str]]
    places: Places
    rounds: dict[int, Rounds]
    """By the number of connections."""
    beside: Rounds
    """The ledger and the peers in turn, empty where they are not installed."""
    growth: Growth


class Aim(NamedTuple):
    """What must be reached, and what was; None where this machine cannot tell."""

    what: str
    wanted: str
    reached: str
    met: bool | None

    def state(self) -> str:
        return {None: "not measured", True: "met", False: "NOT MET"}[self.met]


def targets(found: OnPostgres) -> list[Aim]:
    """Each target, and what this run came to."""
    at64 = found.rounds[64]
    aims = [
        _at_least("one process, 64 connections, against the floor", 0.55, _rates(at64, "ledger", "floor")),
        _at_least("one process, 64 connections, against the baseline", 3, _rates(at64, "ledger", "baseline")),
        *(
            _at_least(f"one process, 64 connections, against {NAMES[peer]}", 8, _rates(found.beside, "ledger", peer))
            for peer in PEERS
            if peer in found.beside
        ),
    ]
    two = _at_least("two processes against one", 1.6, _rates(at64, "two", "ledger"))
    few = f"{len({*found.places.services, *found.places.database, found.places.load})} cores, four are needed"
    return [*aims, two if found.places.enough else two._replace(reached=few, met=None)]


def _at_least(what: str, wanted: float, reached: Spread) -> Aim:
    return Aim(what, f"≥ {wanted} {TIMES}", reached.told(unit=f" {TIMES}"), reached.median >= wanted)


def _rates(of: Rounds, upper: str, lower: str) -> Spread:
    return ratios([one.load.rate for one in of[upper]], [one.load.rate for one in of[lower]])


def part(found: OnPostgres) -> str:
    """The whole part, in Markdown."""
    parts = (
        HEAD.format(date=datetime.now(UTC).date()),
        _table(
            ("what must be reached", "wanted", "reached: median (least to greatest)", ""), map(_line, targets(found))
        ),
        _table(COLUMNS, _refreshes(found.rounds)),
        NOTES,
        _beside(found.beside),
        CEILING.format(**_ceiling(found)),
        _table(
            ("connections", "commands in a batch", "head locked for, ms", "rotations a second at most"), _locks(found)
        ),
        LEFT.format(data=found.growth.data, log=found.growth.log, commits=found.growth.commits),
        _table(("", ""), found.machine),
        _where(found.places),
    )
    return "\n".join(parts)


def _line(one: Aim) -> tuple[str, ...]:
    return one.what, one.wanted, one.reached, "**not met**" if one.met is False else one.state()


COLUMNS = (
    "connections",
    "",
    "per second",
    "p50, ms",
    "p99, ms",
    "service, ms of CPU each",
    "PostgreSQL, ms of CPU each",
)


def _refreshes(rounds: dict[int, Rounds]) -> Iterable[Sequence[str]]:
    return ((str(at), *_run(kind, costs)) for at, of in rounds.items() for kind, costs in of.items())


def _run(kind: str, costs: Sequence[Cost]) -> tuple[str, ...]:
    return (
        NAMES[kind],
        spread([one.load.rate for one in costs]).told(0),
        spread([one.load.at(0.5) * 1000 for one in costs]).told(1),
        spread([one.load.at(0.99) * 1000 for one in costs]).told(1),
        _each(costs, lambda one: one.service),
        "" if kind == "floor" else _each(costs, lambda one: one.database),
    )


def _each(costs: Sequence[Cost], of: Callable[[Cost], float]) -> str:
    return f"{median(of(one) / one.answers for one in costs) * 1000:.2f}"


def _beside(beside: Rounds) -> str:
    if not beside:
        return "## Beside two peers\n\nNot measured: they were not installed.\n"
    table = _table(("", *COLUMNS[2:]), (_run(kind, costs) for kind, costs in beside.items()))
    return f"{PEER_HEAD}\n{table}\n{PEER_NOTES}"


def _locks(found: OnPostgres) -> Iterable[Sequence[str]]:
    for at, of in found.rounds.items():
        for kind in ("ledger", "two"):
            if kind in of:
                size, locked = _lock(of[kind])
                both = f"{at}, two processes" if kind == "two" else str(at)
                yield both, f"{size:.1f}", f"{locked * 1000:.2f}", f"{size / locked:,.0f}"


def _lock(costs: Sequence[Cost]) -> tuple[float, float]:
    """Commands in a batch, and the seconds that it holds the head."""
    batches = sum(one.batches for one in costs)
    return sum(one.commands for one in costs) / batches, sum(one.locked for one in costs) / batches


def points(found: OnPostgres) -> list[Point]:
    """The runs of the ledger as the capacity model takes them."""
    return [
        _point(at, 2 if kind == "two" else 1, of[kind])
        for at, of in found.rounds.items()
        for kind in ("ledger", "two")
        if kind in of
    ]


def _point(connections: int, processes: int, costs: Sequence[Cost]) -> Point:
    size, locked = _lock(costs)
    return Point(
        connections=connections,
        processes=processes,
        rate=spread([one.load.rate for one in costs]).median,
        p50=spread([one.load.at(0.5) for one in costs]).median,
        batch=size,
        locked=locked,
        service=median(one.service / one.answers for one in costs),
        database=median(one.database / one.answers for one in costs),
    )


def _ceiling(found: OnPostgres) -> dict[str, str]:
    size, locked = _lock(found.rounds[256]["ledger"])
    at64 = found.rounds[64]["ledger"]
    service = median(one.service / one.answers for one in at64)
    database = median(one.database / one.answers for one in at64)
    return {
        "service": f"{1 / service:,.0f}",
        "database": f"{1 / database:,.0f}",
        "ceiling": f"{size / locked:,.0f}",
        "processes": f"{size / locked * service:.1f}",
    }


def _where(places: Places) -> str:
    shared = "shared a core with the load" if places.load in places.database else "had cores of its own"
    return f"Each service had a core, PostgreSQL {shared}; everything on 127.0.0.1, without TLS.\n"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    written = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in written) + "\n"


HEAD = """# On PostgreSQL

`python -m bench.postgres` measures this, as part of `make bench`; last on {date}. A private server with
`fsync`, `full_page_writes` and `synchronous_commit` on; every answer after its commit.
"""
NOTES = """- **floor**: the same application and the same answer without the ledger, as above.
- **baseline**: one transaction for each request through SQLAlchemy and asyncpg with their usual pool and prepared
  statements; the same rule, the same rows, the same middleware. It locks the family's row alone and takes positions
  from a sequence, so its requests commit side by side and share flushes; no tree over the log, no dense positions.
- **ledger**: the service as it is; only the rate limits are off. *Two processes* share one ledger.

CPU is that of the whole process trees, of PostgreSQL with all its background processes.
"""
PEER_HEAD = """## Beside two peers

The ledger and two packages that rotate refresh tokens, in turn, 64 connections each, on the same PostgreSQL:
"""
PEER_NOTES = """One Django project holds both (`bench/peers/`): `DEBUG` off, a database connection for each thread that
stays open, JSON renderer and parser alone, no session or admin. django-oauth-toolkit rotates with reuse protection on;
djangorestframework-simplejwt rotates and puts the used token on its list. They sign with HMAC, if at all; the ledger
signs each access token with Ed25519. The ledger's own kind of server serves them in one process on one core, as WSGI
with eight threads: their views wait for the database, so as ASGI they would end up in threads again; four and sixteen
threads gave the same rates. Each of their connections rotates a token of its own and checks each answer, too.
"""
CEILING = """## Where it ends

One process has one core: at 64 connections it would be full at {service} refreshes a second, one core of PostgreSQL at
{database}. All processes of one ledger take turns at its head row, so together they cannot pass what a full batch
allows: {ceiling} rotations a second, about {processes} processes on this disk. How long the head is locked is mostly
the flush of COMMIT and round trips, so it falls with faster disks and grows with the way to the server.
"""
LEFT = """A rotation leaves {data:,.0f} bytes in tables and indexes, private rows and all indexes of the audit log
included, and writes {log:,.0f} bytes to the write-ahead log; {commits:.3f} commits each at 64 connections.
"""
