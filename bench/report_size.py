"""The page's part on size: two ledgers, the same refreshes, each target met or not. Measures nothing."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from bench.client import Load
from bench.figures import Spread, spread
from bench.report_postgres import TIMES, Aim


class Filled(NamedTuple):
    """A ledger that the fast path wrote."""

    families: int
    events: int
    bytes: int
    wall: float
    processor: float
    """Seconds of the process that writes."""
    server: float
    """Seconds of PostgreSQL."""


class Buffers(NamedTuple):
    """What refreshes read, one after the other."""

    refreshes: int
    each: dict[str, float]
    """Buffers for each refresh, by the beginning of the statement."""

    @property
    def total(self) -> float:
        return sum(self.each.values())


class Sized(NamedTuple):
    """Everything of one run; the small ledger first, the large one second."""

    machine: list[tuple[str, str]]
    filled: list[Filled]
    runs: list[list[Load]]
    ratio: Spread
    buffers: list[Buffers]


def targets(found: Sized) -> list[Aim]:
    """Each target, and what this run came to."""
    small, large = found.buffers
    lookup = abs(_read(large) - _read(small))
    return [
        Aim(
            f"throughput at {found.filled[1].families:,} families against {found.filled[0].families:,}",
            f"≥ 0.75 {TIMES}",
            found.ratio.told(unit=f" {TIMES}"),
            found.ratio.median >= 0.75,
        ),
        Aim(
            "buffers for each refresh, all statements",
            "the same ± 1",
            f"{small.total:.1f} and {large.total:.1f}",
            abs(large.total - small.total) <= 1,
        ),
        Aim(
            "of these, to read family and owner",
            "the same ± 1",
            f"{_read(small):.1f} and {_read(large):.1f}",
            lookup <= 1,
        ),
    ]


def _read(buffers: Buffers) -> float:
    return sum(each for query, each in buffers.each.items() if query.startswith("SELECT families"))


def part(found: Sized) -> str:
    """The whole part, in Markdown."""
    lines = (
        (
            f"{filled.families:,}",
            f"{filled.events:,}",
            f"{filled.bytes / filled.events:,.0f}",
            spread([load.rate for load in runs]).told(0),
            spread([load.at(0.5) * 1000 for load in runs]).told(1),
            spread([load.at(0.99) * 1000 for load in runs]).told(1),
            f"{buffers.total:.1f}",
        )
        for filled, runs, buffers in zip(found.filled, found.runs, found.buffers, strict=True)
    )
    aims = ((one.what, one.wanted, one.reached, one.state()) for one in targets(found))
    large = found.filled[1]
    parts = (
        HEAD.format(date=datetime.now(UTC).date(), pairs=len(found.runs[0])),
        _table(("what must be reached", "wanted", "reached", ""), aims),
        _table(
            ("families", "events", "bytes for each event", "per second", "p50, ms", "p99, ms", "buffers each"), lines
        ),
        WHERE,
        _table(("statement", *(f"{one.families:,} families" for one in found.filled)), _statements(found)),
        WRITTEN.format(
            families=f"{large.families:,}",
            minutes=f"{large.wall / 60:.0f}",
            each=f"{large.processor / large.events * 1e6:.0f}",
            server=f"{large.server / large.events * 1e6:.0f}",
        ),
        _table(("", ""), found.machine),
    )
    return "\n".join(parts)


def _statements(found: Sized) -> Iterable[Sequence[str]]:
    small, large = found.buffers
    for query in sorted({*small.each, *large.each}):
        shown = " ".join(query.split())[:48].replace("`", "")
        yield f"`{shown}…`", f"{small.each.get(query, 0):.1f}", f"{large.each.get(query, 0):.1f}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    written = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in written) + "\n"


HEAD = """# Size

`python -m bench.size 10000000 --keep` measures this, with `--data FOLDER` on ledgers that stay for the next time;
last on {date}. Two ledgers in one PostgreSQL; {pairs} pairs of runs, 64 connections, each refresh of another session
than the last, chosen at random. `shared_buffers` is a quarter of the memory; the tables and indexes that refreshes
touch at random were read once before. What a process remembers of its last 32,768 streams is left out on both, or the
small ledger would not be read at all.
"""
WHERE = """Where the buffers go, one refresh in each transaction. A family and its owner are found by hash. A tree of
many rows is a level or two deeper than one of few, and a refresh adds to each tree of the audit log: that is the
difference ([scaling.md](scaling.md#the-model)).
"""
WRITTEN = """The ledger of {families} families was written by the fast path of `session-ledger demo --bulk` in {minutes}
minutes: {each} µs of processor to make each event, {server} µs of PostgreSQL to store it, all indexes and triggers on.
"""
