"""What is measured without HTTP: the ledger alone, a long history, its size, its verification."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench.process import Process


class Batches(NamedTuple):
    """Rotations of a ledger alone."""

    rotations: int
    seconds: float
    batches: int
    commits: int

    @property
    def rate(self) -> float:
        return self.rotations / self.seconds


class Alone(Process):
    """A ledger without HTTP in a process of its own, and its folder."""

    def __init__(self, folder: Path, core: int, families: int, each: int) -> None:
        super().__init__("alone", str(folder), str(core), str(families), str(each))
        self.began = self.heard()

    def rotate(self, rotations: int) -> Batches:
        told = self.asked(f"rotate {rotations}")
        return Batches(rotations, told["seconds"], told["batches"], told["commits"])

    def row(self, rotations: int) -> int:
        """Bytes of the first family's state after so many more rotations of it."""
        return int(self.asked(f"age {rotations}")["row"])


class History(NamedTuple):
    """A long log: how it was written, how large it is, how it is read again."""

    events: int
    families: int
    written: Batches
    bytes_each: float
    """On disk for each rotation."""
    pairs: dict[str, list[float]]
    """Events per second of each kind of reading, in rounds on a shorter log."""
    whole: dict[str, dict[str, Any]]
    """The same once, on the long log."""


def read_again(folder: Path, core: int, what: str) -> dict[str, Any]:
    """One of the readings of `bench.history` in a process of its own."""
    with Process("history", what, str(folder), str(core)) as process:
        return process.heard()


def write_history(folder: Path, core: int, families: int, events: int, each: int = 4) -> tuple[Batches, float, int]:
    """A log of about so many events; how fast it was written, its bytes for each rotation, its events."""
    rotations = events - families - families // each
    with Alone(folder, core, families, each) as alone:
        told = alone.asked(f"measure {rotations}")
        grown = (told["bytes"] - alone.began["bytes"]) / rotations
        return Batches(rotations, told["seconds"], told["batches"], told["commits"]), grown, events


def in_rounds(folder: Path, core: int, count: int, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Events per second of each reading, in turn, so many times."""
    found: dict[str, list[float]] = {"loop": [], "verify": [], "rebuild": []}
    for number in range(count):
        say(f"reading a log again, round {number + 1} of {count}")
        for what, rates in found.items():
            told = read_again(folder, core, what)
            rates.append(told["events"] / told["seconds"])
    return found
