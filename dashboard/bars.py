"""A histogram as bars of an SVG: where each stands, what it says, where it leads. Pure."""

from typing import Final, NamedTuple

from dashboard import searching, telling
from events.filters import Query
from events.tallies import Histogram

WIDTH: Final = 960
HEIGHT: Final = 44
GAP: Final = 2
LEAST: Final = 3
"""Height of a bar of one: it must be seen beside a thousand."""


class Bar(NamedTuple):
    """One stretch of time in which something matched."""

    x: float
    y: float
    width: float
    height: float
    said: str
    place: str


class Bars(NamedTuple):
    """The picture, and what stands below it."""

    bars: list[Bar]
    begin: int
    end: int
    most: int
    capped: bool


def bars(query: Query, found: Histogram) -> Bars | None:
    """The picture, None where there is nothing to draw."""
    if not found.counts or not any(found.counts):
        return None
    most, width = max(found.counts), WIDTH / len(found.counts)
    drawn = []
    for number, count in enumerate(found.counts):
        if not count:
            continue
        low, high = found.edges[number], found.edges[number + 1]
        height = max(LEAST, round(HEIGHT * count / most, 1))
        said = f"{count:,} from {telling.stamp(low)}"
        place = searching.link(query.between("at", low, high))
        drawn.append(Bar(round(number * width, 1), HEIGHT - height, round(width - GAP, 1), height, said, place))
    return Bars(drawn, found.edges[0], found.edges[-1], most, found.capped)
