"""Numbers for Prometheus on a port of their own: how often, how long, how much waits. No label is an id."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
GARBAGE: Final = "garbage"
"""The verdict on what is no token of ours: it never reaches a rule."""
_GARBAGE_CODES: Final = frozenset({"token_unknown", "invalid_grant"})
"""What /auth and /oauth/token say then; where a rule was asked, they note its verdict."""


class Gauge(NamedTuple):
    """A number that is read when somebody asks: `read` runs in another thread, looks, and waits for nothing."""

    name: str
    meaning: str
    read: Callable[[], float]


class Metrics:
    """The numbers of one service. Nothing is global, so that several services may be in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "session_ledger_request_seconds",
            "Requests by route template, method and class of status; how long they took.",
            ("route", "method", "status"),
            registry=self.registry,
            buckets=SECONDS,
        )
        self._verdicts = Counter(
            "session_ledger_verdicts",
            "What core answered, by route: rotated, retried, reused, garbage and so on; begun and invalid at sign-in.",
            ("route", "verdict"),
            registry=self.registry,
        )
        self._refusals = Counter(
            "session_ledger_refusals",
            "Access tokens and pages that were turned away, by route and reason: signature, cross_site and so on.",
            ("route", "reason"),
            registry=self.registry,
        )
        self._nobody = Counter(
            "session_ledger_unknown_names", "Sign-ins with a name that nobody has.", registry=self.registry
        )
        self._batch_size = Histogram(
            "session_ledger_batch_commands",
            "Commands in one commit.",
            registry=self.registry,
            buckets=BATCHES,
        )
        self._commit = Histogram(
            "session_ledger_commit_seconds", "One commit, durable.", registry=self.registry, buckets=SECONDS
        )
        self._by_request: dict[tuple[str, str, int], Histogram] = {}
        self._by_verdict: dict[tuple[str, str], Counter] = {}
        self._by_reason: dict[tuple[str, str], Counter] = {}
        self._server: WSGIServer | None = None
        ProcessCollector(registry=self.registry)

    def request(self, method: str, route: str, status: int, seconds: float, noted: Mapping[str, str | int]) -> None:
        """Count a request. `route` is the template and `method` a known one, so there are few of either.

        So there are of verdicts and reasons: whoever notes one takes it from a list in core.
        """
        key = (route, method, status // 100)
        child = self._by_request.get(key)
        if child is None:
            child = self._requests.labels(route or "none", method, f"{key[2]}xx")
            self._by_request[key] = child
        child.observe(seconds)
        verdict = noted.get("verdict") or (GARBAGE if noted.get("code") in _GARBAGE_CODES else None)
        if verdict is not None:
            _count(self._verdicts, self._by_verdict, route, str(verdict))
        if "reason" in noted:
            _count(self._refusals, self._by_reason, route, str(noted["reason"]))

    def batch(self, commands: int, seconds: float) -> None:
        """Count a commit."""
        self._batch_size.observe(commands)
        self._commit.observe(seconds)

    def nobody(self) -> None:
        """Count a sign-in with a name that nobody has; the name is kept nowhere, people type passwords there."""
        self._nobody.inc()

    def watch(self, gauges: Iterable[Gauge]) -> None:
        """Show these numbers too."""
        self.registry.register(_Gauges(tuple(gauges)))

    def publish(self, host: str, port: int) -> None:
        """Answer on a port, in a thread. Raises OSError."""
        self._server, _ = start_http_server(port, host, self.registry)

    def close(self) -> None:
        """Give the port back."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def _count(counter: Counter, known: dict[tuple[str, str], Counter], route: str, word: str) -> None:
    child = known.get((route, word))
    if child is None:
        child = known[route, word] = counter.labels(route or "none", word)
    child.inc()


class _Gauges(Collector):
    def __init__(self, gauges: tuple[Gauge, ...]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for gauge in self._gauges:
            yield GaugeMetricFamily(f"session_ledger_{gauge.name}", gauge.meaning, gauge.read())
