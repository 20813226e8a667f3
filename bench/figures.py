"""Medians, ranges and shares of what was measured. Pure."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple


class Spread(NamedTuple):
    """The median of several measurements, with the least and the greatest of them."""

    median: float
    least: float
    greatest: float

    def told(self, digits: int = 2, unit: str = "") -> str:
        """`0.71 (0.69 to 0.73)`."""
        low, mid, high = (f"{value:,.{digits}f}" for value in (self.least, self.median, self.greatest))
        return f"{mid}{unit} ({low} to {high})"


def spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def ratios(upper: Sequence[float], lower: Sequence[float]) -> Spread:
    """Of measurements taken in pairs, one after the other: noise of the machine that hits both cancels out."""
    return spread([one / other for one, other in zip(upper, lower, strict=True)])


class Target(NamedTuple):
    """What must be reached, and what was."""

    what: str
    wanted: str
    reached: str
    met: bool
