"""Refreshes and sign-ins over HTTP: one application after the other, in rounds, so that each ratio is of neighbours."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from bench.client import Chain, Connection, Load, SignIns, connect, drive
from bench.population import PASSWORD
from bench.process import Process

KINDS = ("floor", "bare", "ledger", "baseline", "queue")


class Run(NamedTuple):
    """One run of the load against one application."""

    load: Load
    server_share: float
    """Of its core."""
    batches: int
    commands: int
    resident: float
    """MiB after it."""


Rounds = dict[str, list[Run]]
"""By kind, in the order in which they were taken."""


class Applications(ExitStack):
    """All applications, each in a process of its own on one core; the load runs here, on another."""

    def __init__(self, folder: Path, core: int, kinds: Sequence[str] = KINDS) -> None:
        super().__init__()
        self._processes = {
            kind: self.enter_context(Process("worker", kind, str(folder / kind), str(core))) for kind in kinds
        }
        self._told = {kind: process.heard() for kind, process in self._processes.items()}
        self._chains: dict[str, list[Chain]] = {}

    def __enter__(self) -> Self:
        return self

    async def open(self, kind: str, connections: int) -> list[Chain]:
        """So many connections to this application, each with a family of its own that goes on where it was."""
        chains = self._chains.setdefault(kind, [Chain(text.encode()) for text in self._told[kind]["tokens"]])
        fresh = [one for one in chains[:connections] if not one.open]
        await connect(self._told[kind]["port"], *fresh)
        return chains[:connections]

    def port(self, kind: str) -> int:
        """Where this application listens, on the loopback address."""
        found: int = self._told[kind]["port"]
        return found

    def close_all(self, kind: str) -> None:
        """Close the connections; their families live on."""
        for one in self._chains.get(kind, ()):
            one.close()

    async def run(self, kind: str, connections: Sequence[Connection], seconds: float) -> Run:
        """One run, and what the server says that it cost."""
        before = self._processes[kind].asked()
        load = await drive(connections, seconds)
        after = self._processes[kind].asked()
        return Run(
            load,
            (after["cpu"] - before["cpu"]) / load.seconds,
            int(after["batches"] - before["batches"]),
            int(after["commands"] - before["commands"]),
            after["resident"],
        )

    async def rounds(self, kinds: Sequence[str], connections: int, seconds: float, count: int) -> Rounds:
        """All kinds in turn, so many times, after one turn that does not count."""
        chains = {kind: await self.open(kind, connections) for kind in kinds}
        for kind in kinds:
            await drive(chains[kind], min(1.0, seconds))
        found: Rounds = {kind: [] for kind in kinds}
        for _ in range(count):
            for kind in kinds:
                found[kind].append(await self.run(kind, chains[kind], seconds))
        for kind in kinds:
            self.close_all(kind)
        return found

    async def sign_ins(self, connections: int) -> list[Connection]:
        """Connections on which people sign in, each as somebody else."""
        told: dict[str, Any] = self._told["ledger"]
        people: list[Connection] = [SignIns(name, PASSWORD) for name in told["names"][-connections:]]
        await connect(told["port"], *people)
        return people


class Storm(NamedTuple):
    """Refreshes beside sign-ins."""

    calm: list[Load]
    stormy: list[Load]
    sign_ins: list[Load]


async def storm(applications: Applications, seconds: float, count: int) -> Storm:
    """16 connections refresh, alone and then beside 8 that sign in as fast as they are answered."""
    chains = await applications.open("ledger", 16)
    people = await applications.sign_ins(8)
    await drive(people, min(1.0, seconds))
    found = Storm([], [], [])
    for _ in range(count):
        found.calm.append(await drive(chains, seconds))
        stormy, sign_ins = await asyncio.gather(drive(chains, seconds), drive(people, seconds))
        found.stormy.append(stormy)
        found.sign_ins.append(sign_ins)
    applications.close_all("ledger")
    return found


def pin(core: int) -> None:
    """The load, which is this process, stays on this core."""
    os.sched_setaffinity(0, {core})
