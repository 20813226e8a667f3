"""Applications side by side on one PostgreSQL, each in a database of its own; what each refresh cost whom."""

import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from bench import processor
from bench.client import Chain, Connection, Load, connect, drive
from bench.peer_chains import SimpleJwtChain, ToolkitChain
from bench.process import ROOT, Process
from bench.processor import Places
from tests.clusters import Cluster
from tests.ports import free_port

OURS = ("floor", "baseline", "ledger", "two")
PEERS = ("toolkit", "simplejwt")
PEER_PYTHON = ROOT / ".venv" / "peers" / "bin" / "python"
PEER_THREADS = 8
"""Of their server; more and fewer answered fewer requests a second on one core."""
FAMILIES = 256


class Cost(NamedTuple):
    """One run: what was answered, and the processor seconds that it took."""

    load: Load
    service: float
    database: float
    batches: int
    commands: int
    locked: float
    """Seconds that the head was locked."""

    @property
    def answers(self) -> int:
        return len(self.load.latencies)


class Side:
    """One application: its processes, the chains that its connections rotate, and where they go."""

    def __init__(self, chains: Sequence[Connection], ports: Sequence[int], pids: Sequence[int]) -> None:
        self.chains, self._ports, self.pids = chains, ports, pids
        self.workers: list[Process] = []

    async def open(self, connections: int) -> Sequence[Connection]:
        """So many connections, in turn to each of the processes."""
        for number, one in enumerate(self.chains[:connections]):
            if not one.open:
                await connect(self._ports[number % len(self._ports)], one)
        return self.chains[:connections]

    def close(self) -> None:
        for one in self.chains:
            one.close()

    def said(self) -> dict[str, float]:
        """Batches, commands and seconds of the lock, of all its processes together."""
        told = [worker.asked() for worker in self.workers]
        return {what: sum(one[what] for one in told) for what in ("batches", "commands", "locked")}


class Sides(ExitStack):
    """All of them; the load runs here."""

    def __init__(self, cluster: Cluster, folder: Path, kinds: Sequence[str], places: Places) -> None:
        super().__init__()
        self._cluster, self._folder, self._places = cluster, folder, places
        self._sides: dict[str, Side] = {}
        self._kinds = kinds

    def __enter__(self) -> Self:
        try:
            self._sides = {kind: self._ours(kind) for kind in self._kinds if kind not in PEERS}
            if any(kind in PEERS for kind in self._kinds):
                self._sides |= self._peers()
        except BaseException:
            self.close()
            raise
        return self

    def side(self, kind: str) -> Side:
        return self._sides[kind]

    async def run(self, kind: str, chains: Sequence[Connection], seconds: float) -> Cost:
        """One run, and what it cost."""
        side = self._sides[kind]
        said, service, database = side.said(), processor.seconds(side.pids), processor.seconds([self._cluster.pid])
        load = await drive(chains, seconds)
        service, database = processor.seconds(side.pids) - service, processor.seconds([self._cluster.pid]) - database
        now = side.said()
        batches, commands = (int(now[what] - said[what]) for what in ("batches", "commands"))
        return Cost(load, service, database, batches, commands, now["locked"] - said["locked"])

    async def rounds(self, kinds: Sequence[str], connections: int, seconds: float, count: int) -> dict[str, list[Cost]]:
        """All kinds in turn, so many times, after one turn that does not count."""
        chains = {kind: await self._sides[kind].open(connections) for kind in kinds}
        for kind in kinds:
            await drive(chains[kind], min(1.5, seconds))
        found: dict[str, list[Cost]] = {kind: [] for kind in kinds}
        for _ in range(count):
            for kind in kinds:
                found[kind].append(await self.run(kind, chains[kind], seconds))
        for kind in kinds:
            self._sides[kind].close()
        return found

    def _ours(self, kind: str) -> Side:
        url = self._cluster.create_database(kind)
        cores = [*self._places.services, self._places.services[0]]
        first = self.enter_context(
            Process("worker", "ledger" if kind == "two" else kind, *self._at(kind, cores[0], url))
        )
        told = [first.heard()]
        workers = [first]
        if kind == "two":
            workers.append(
                self.enter_context(Process("worker", "ledger", *self._at("second", cores[1], url), told[0]["key"]))
            )
            told.append(workers[1].heard())
        chains = [Chain(text.encode()) for text in told[0]["tokens"]]
        side = Side(chains, [one["port"] for one in told], [one.pid for one in workers])
        side.workers = workers
        return side

    def _at(self, name: str, core: int, url: str) -> tuple[str, str, str]:
        return str(self._folder / name), str(core), url

    def _peers(self) -> dict[str, Side]:
        """Both behind one server, for they never work at the same time."""
        self._cluster.create_database("peers")
        secret = {"PEERS_DSN": self._cluster.dsn("peers"), "PEERS_SECRET": secrets.token_hex(32)}
        environment = {**os.environ, **secret, "DJANGO_SETTINGS_MODULE": "bench.peers.settings"}
        told = _filled(environment)
        port = free_port()
        command: list[str | Path] = [PEER_PYTHON, "-m", "bench.peers.serve", str(port)]
        command += [str(self._places.services[0]), str(PEER_THREADS)]
        served = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.callback(_ended, served)
        _await_listening(port, served)
        chains = {"toolkit": ToolkitChain, "simplejwt": SimpleJwtChain}
        return {
            k: Side([chain(text.encode()) for text in told[k]], [port], [served.pid]) for k, chain in chains.items()
        }


def _await_listening(port: int, served: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while served.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("the peers do not answer")


def _filled(environment: dict[str, str]) -> dict[str, Any]:
    command: list[str | Path] = [PEER_PYTHON, "-m", "bench.peers.fill", str(FAMILIES)]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _ended(served: subprocess.Popen[bytes]) -> None:
    served.terminate()
    try:
        served.wait(10)
    except subprocess.TimeoutExpired:
        served.kill()
        served.wait()
