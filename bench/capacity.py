"""The capacity model of docs/scaling.md: what a refresh costs, what a head carries, and a simulation that is checked.

`python -m bench.capacity` holds the model against the last measured runs (docs/costs.json, by `make bench`) and prints
what a number of living families needs. Each loop is one processor, the head lock is one for all of them.
"""

import heapq
import json
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

import click

from bench.process import ROOT
from bench.report import TIMES

COSTS = ROOT / "docs" / "costs.json"
YEAR = 365 * 86_400


class Point(NamedTuple):
    """One measured load: connections, processes, and what came of it. Times in seconds."""

    connections: int
    processes: int
    rate: float
    p50: float
    batch: float
    """Commands in a batch."""
    locked: float
    """How long a batch holds the head."""
    service: float
    """Processor time of the service for one refresh."""
    database: float
    """Of PostgreSQL."""


class Model(NamedTuple):
    """Four costs, in seconds: of a refresh and of a batch, on a process' processor and under the lock on the head."""

    refresh: float
    batch: float
    locked_each: float
    locked_batch: float


class Run(NamedTuple):
    """What a load comes to."""

    rate: float
    p50: float
    batch: float


def fitted(points: Sequence[Point]) -> Model:
    """The costs that the smallest and the largest load of one process give; those in between are for checking."""
    alone = sorted((one for one in points if one.processes == 1), key=lambda one: one.batch)
    few, many = alone[0], alone[-1]
    batch = (few.service - many.service) / (1 / few.batch - 1 / many.batch)
    each = (many.locked - few.locked) / (many.batch - few.batch)
    return Model(max(0.0, many.service - batch / many.batch), max(0.0, batch), each, few.locked - each * few.batch)


def simulated(model: Model, connections: int, processes: int = 1, seconds: float = 20.0) -> Run:
    """Connections that ask again as soon as they are answered, in turn at each process, for so long in the model."""
    return _Simulation(model, connections, processes).run(seconds)


class _Simulation:
    def __init__(self, model: Model, connections: int, processes: int) -> None:
        self._model = model
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._now = 0.0
        self._free_at = [0.0] * processes
        self._waiting: list[deque[float]] = [deque() for _ in range(processes)]
        self._in_flight = [False] * processes
        self._head_free_at = 0.0
        self._latencies: list[float] = []
        self._batches = self._commands = 0
        for number in range(connections):
            self._ask(number % processes)

    def run(self, seconds: float) -> Run:
        while self._events and self._events[0][0] < seconds:
            self._now, _, happens = heapq.heappop(self._events)
            happens()
        ordered = sorted(self._latencies)
        return Run(len(ordered) / seconds, ordered[len(ordered) // 2], self._commands / max(1, self._batches))

    def _after(self, process: int, cost: float, happens: Callable[[], None]) -> None:
        """Once the process' processor has had the time for it."""
        self._free_at[process] = max(self._free_at[process], self._now) + cost
        heapq.heappush(self._events, (self._free_at[process], next(self._order), happens))

    def _ask(self, process: int) -> None:
        began = self._now
        # half of a refresh is spent before it waits for a batch, half on its answer
        self._after(process, self._model.refresh / 2, lambda: self._queue(process, began))

    def _queue(self, process: int, began: float) -> None:
        self._waiting[process].append(began)
        self._begin(process)

    def _begin(self, process: int) -> None:
        if self._in_flight[process] or not self._waiting[process]:
            return
        self._in_flight[process] = True
        self._after(process, self._model.batch, lambda: self._lock(process))

    def _lock(self, process: int) -> None:
        waiting = self._waiting[process]
        taken = [waiting.popleft() for _ in range(min(256, len(waiting)))]
        self._batches, self._commands = self._batches + 1, self._commands + len(taken)
        held = self._model.locked_batch + self._model.locked_each * len(taken)
        self._head_free_at = max(self._head_free_at, self._now) + held
        done = (self._head_free_at, next(self._order), lambda: self._committed(process, taken))
        heapq.heappush(self._events, done)

    def _committed(self, process: int, taken: list[float]) -> None:
        self._in_flight[process] = False
        for began in taken:
            self._after(process, self._model.refresh / 2, lambda began=began: self._answered(process, began))  # type: ignore[misc]
        self._begin(process)

    def _answered(self, process: int, began: float) -> None:
        self._latencies.append(self._now - began)
        self._ask(process)


class Need(NamedTuple):
    """What a number of living families asks for."""

    rate: float
    """Refreshes a second, at the peak."""
    processes: float
    """Processors that serve."""
    database: float
    """Processors of PostgreSQL."""
    heads: float
    """Of what one head carries."""
    gigabytes: float
    """Of log in a year."""


def keep(points: Sequence[Point], bytes_per_rotation: float) -> None:
    """Write what was measured where the model finds it."""
    told = {"points": [one._asdict() for one in points], "bytes_per_rotation": bytes_per_rotation}
    COSTS.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def needed(costs: dict[str, Any], families: int, active: float, period: float, peak: float) -> Need:
    """For so many living families, of which this part is open at once and refreshes every `period` seconds.

    `peak`: how many times busier the busiest minute is than the mean. Three quarters of a processor are planned for.
    """
    points = [Point(**one) for one in costs["points"]]
    full = max((one for one in points if one.processes == 1), key=lambda one: one.batch)
    mean = families * active / period
    rate = mean * peak
    carried = full.batch / full.locked
    return Need(
        rate=rate,
        processes=rate * full.service / 0.75,
        database=rate * full.database / 0.75,
        heads=rate / carried,
        gigabytes=mean * costs["bytes_per_rotation"] * YEAR / 1e9,
    )


@click.command()
@click.option("--families", type=int, default=1_000_000, show_default=True, help="Living families.")
@click.option("--active", default=0.1, show_default=True, help="Part of them that is open at once.")
@click.option("--period", default=900.0, show_default=True, help="Seconds between two refreshes of an open one.")
@click.option("--peak", default=3.0, show_default=True, help="Busiest minute against the mean.")
def main(families: int, active: float, period: float, peak: float) -> None:
    """Hold the model against the measured runs, then say what so many families need."""
    costs = json.loads(COSTS.read_text("utf-8"))
    click.echo(checked([Point(**one) for one in costs["points"]]))
    need = needed(costs, families, active, period, peak)
    click.echo(
        f"\n{families:,} living families: {need.rate:,.0f} refreshes a second at the peak, "
        f"{need.processes:.1f} processors for the service and {need.database:.1f} for PostgreSQL, "
        f"{need.heads:.0%} of what one head carries, {need.gigabytes:,.0f} GB of log in a year."
    )


def checked(points: Sequence[Point]) -> str:
    """The model beside what was measured, as a table in Markdown."""
    model = fitted(points)
    lines = [
        "| connections | processes | measured a second | model | p50, ms | model | commands in a batch | model |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in points:
        run = simulated(model, one.connections, one.processes)
        rates = f"{one.rate:,.0f} | {run.rate:,.0f} ({run.rate / one.rate:.2f} {TIMES})"
        times = f"{one.p50 * 1000:.1f} | {run.p50 * 1000:.1f} | {one.batch:.1f} | {run.batch:.1f}"
        lines.append(f"| {one.connections} | {one.processes} | {rates} | {times} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
