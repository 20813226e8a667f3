"""The numbers of several processes as those of one service: what `/metrics` says when there are workers. Pure."""

import math
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.core import Metric

_GREATEST: Final = frozenset(
    {
        "session_ledger_position",
        "session_ledger_checkpoint_position",
        "session_ledger_checkpoint_signed_seconds",
        "session_ledger_families_living",
        "process_max_fds",
        "process_start_time_seconds",
    }
)
"""Said by each process of the same thing; everything else is counted by each for itself."""


def together(processes: Iterable[Iterable[Metric]]) -> list[Metric]:
    """One metric of each name, its samples added up; of what all of them look at, the greatest."""
    found: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for metric in (metric for metrics in processes for metric in metrics):
        one = found.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type, metric.unit))
        known = values.setdefault(one.name, {})
        for sample in metric.samples:
            key = (sample.name, tuple(sample.labels.items()))
            known[key] = _merge(sample.name)(known[key], sample.value) if key in known else sample.value
    for name, metric in found.items():
        for (sample_name, labels), value in values[name].items():
            metric.add_sample(sample_name, dict(labels), value)
    return list(found.values())


def _merge(name: str) -> Callable[[float, float], float]:
    return _greatest if name in _GREATEST or name.endswith("_created") else _sum


def _sum(one: float, other: float) -> float:
    return one + other


def _greatest(one: float, other: float) -> float:
    """What is not a number is not known yet."""
    return other if math.isnan(one) else one if math.isnan(other) else max(one, other)
