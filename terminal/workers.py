"""Several processes that answer on one port: starts them, answers `/metrics` for all, replaces what ends, stops them.

Serves no request itself and holds no connection to the ledger.
"""

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from core.start import StartError
from core.tally import together
from settings import Settings
from terminal.worker import Answers, Refusal, work

STOP_SECONDS: Final = 15.0
"""How long workers may take to answer what is under way and to commit what waits."""
ASK_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 1.0
"""Between the end of a worker and the next that takes its place."""
_SPAWN: Final = multiprocessing.get_context("spawn")
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Worker:
    """One process, and the two lines to it: what it says by itself, and what it is asked."""

    def __init__(self, settings: Settings, address: str) -> None:
        self.said, says = _SPAWN.Pipe(duplex=False)
        self._asking, asked = _SPAWN.Pipe()
        self._turn = threading.Lock()
        self.process: BaseProcess = _SPAWN.Process(target=work, args=(settings, address, says, asked), name="worker")
        self.process.start()
        says.close()  # ours: what is left is the worker's, so that its end is noticed here, and ours there
        asked.close()

    def metrics(self) -> list[Metric]:
        """Its numbers; none if it does not tell them in time."""
        with self._turn, suppress(OSError, EOFError):
            while self._asking.poll():
                self._asking.recv()  # an answer that came too late the last time
            self._asking.send(None)
            if self._asking.poll(ASK_SECONDS):
                return list(self._asking.recv())
        return []

    def stop(self) -> None:
        """Ask it to end; it answers what is under way."""
        self.process.terminate()

    def ended(self, deadline: float) -> None:
        """Wait for its end, and bring it about at the deadline."""
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.is_alive():
            structlog.get_logger().error("worker_killed", pid=self.process.pid)
            self.process.kill()
            self.process.join()
        self.said.close()
        self._asking.close()


class Workers(Collector):
    """The processes of one `serve`."""

    def __init__(self, settings: Settings, address: str) -> None:
        self._settings = settings
        self._address = address
        self._running: list[Worker] = []
        self._told, self._tell = _SPAWN.Pipe(duplex=False)

    def collect(self) -> Iterable[Metric]:
        """The numbers of all of them, for Prometheus."""
        return together([one.metrics() for one in self._running])

    def run(self, ready: Callable[[], None]) -> None:
        """Start all; `ready` is called when all answer. Until SIGTERM or SIGINT; SIGHUP replaces one after the other.

        Raises StartError where one of them cannot serve; then none is left.
        """
        with self._signals(), self._published():
            try:
                for _ in range(self._settings.workers):
                    self._running.append(Worker(self._settings, self._address))
                for one in self._running:
                    self._await(one)
                ready()
                while (told := self._next()) in {None, signal.SIGHUP}:
                    if told is not None:
                        self._replace_all()
            except _Stop:
                pass
            finally:
                self._stop(self._running)

    def _next(self) -> int | None:
        """The next signal; None after a worker ended by itself and another took its place."""
        ended = {one.process.sentinel: one for one in self._running}
        ready = wait([self._told, *ended])
        if self._told in ready:
            number: int = self._told.recv()
            return number
        for sentinel in ready:
            gone = ended[sentinel]  # type: ignore[index]
            structlog.get_logger().error("worker_ended", pid=gone.process.pid, status=gone.process.exitcode)
            self._refused(gone)
            time.sleep(AGAIN_SECONDS)
            self._replace(gone)
        return None

    def _replace_all(self) -> None:
        """The next one answers before the one that it replaces stops listening."""
        structlog.get_logger().info("workers_replaced", workers=len(self._running))
        for one in list(self._running):
            self._replace(one)

    def _replace(self, old: Worker) -> None:
        fresh = Worker(self._settings, self._address)
        try:
            self._await(fresh)
        except BaseException:
            self._stop([fresh])
            raise
        self._running[self._running.index(old)] = fresh
        self._stop([old])

    def _await(self, one: Worker) -> None:
        """Until it answers. Raises StartError, and _Stop where a signal comes first."""
        while True:
            ready = wait([one.said, one.process.sentinel, self._told])
            if self._told in ready and self._told.recv() != signal.SIGHUP:
                raise _Stop
            if one.said in ready:
                with suppress(EOFError):
                    said: Any = one.said.recv()
                    if isinstance(said, Refusal):
                        raise StartError(said.sentence)
                    if isinstance(said, Answers):
                        return
            if one.process.sentinel in ready:
                raise StartError("A worker ended before it answered: the log says why.")

    def _refused(self, gone: Worker) -> None:
        """What it said at its end is true for all of them. Raises StartError."""
        with suppress(EOFError, OSError):
            while gone.said.poll():
                said = gone.said.recv()
                if isinstance(said, Refusal):
                    raise StartError(said.sentence)

    def _stop(self, workers: list[Worker]) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        for one in workers:
            one.stop()
        for one in workers:
            one.ended(deadline)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def note(number: int, _frame: object) -> None:
            self._tell.send(number)

        before = {number: signal.signal(number, note) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _published(self) -> Iterator[None]:
        port = self._settings.metrics_port
        if port is None:
            yield
            return
        registry = CollectorRegistry()
        registry.register(self)
        server, _ = start_http_server(port, self._settings.host, registry)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


class _Stop(Exception):
    """A signal came while something was awaited."""
