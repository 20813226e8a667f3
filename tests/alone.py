"""Tests that measure time run with nothing beside them: marked `alone`, by module or one by one.

Every test of a run, in whichever of its processes, holds a lock shared; one that is marked holds it exclusively, and
keeps it while marked ones follow. A gate before it keeps a stream of others from starving those that wait. Both locks
are on files of the project, so that two runs in one folder do not disturb each other either.
"""

import fcntl
from pathlib import Path

import pytest

MARK = "alone"
GATE = Path(__file__)
FLOOR = GATE.with_name("conftest.py")


class Turn:
    """This process' place among those that run tests. One that dies gives its locks back with its files."""

    def __init__(self) -> None:
        self._gate = GATE.open("rb")
        self._floor = FLOOR.open("rb")
        self._alone = False

    def take(self, item: pytest.Item) -> None:
        """Wait until the test may run."""
        if self._alone:
            return
        self._alone = is_alone(item)
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._floor, fcntl.LOCK_EX if self._alone else fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    def give(self, following: pytest.Item | None) -> None:
        """Let others go on, unless the next test here is marked too."""
        if self._alone and following is not None and is_alone(following):
            return
        self._alone = False
        fcntl.flock(self._floor, fcntl.LOCK_UN)

    def close(self) -> None:
        self._gate.close()
        self._floor.close()


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker(MARK) is not None


def brought_together(items: list[pytest.Item]) -> None:
    """Those that are marked come first, so that the others wait for them once."""
    items.sort(key=lambda item: not is_alone(item))
