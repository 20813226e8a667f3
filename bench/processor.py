"""What processes and all that they started used of the processors, from outside, by /proc; and where they may run."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")


class Places(NamedTuple):
    """Which cores are whose."""

    services: list[int]
    database: list[int]
    load: int

    @property
    def enough(self) -> bool:
        """Whether two services, the database and the load have a core each."""
        return len({*self.services, *self.database, self.load}) >= 4


def places() -> Places:
    """One core for a service, one for the load; PostgreSQL has what is left, or shares the core of the load."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 4:
        return Places(allowed[:1], allowed[1:-1] or allowed[-1:], allowed[-1])
    return Places(allowed[:2], allowed[2:-1], allowed[-1])


def tree(root: int) -> set[int]:
    """The process and all that descend from it, now."""
    children: dict[int, list[int]] = {}
    for pid, fields in _all():
        children.setdefault(int(fields[1]), []).append(pid)
    found, left = set[int](), [root]
    while left:
        one = left.pop()
        found.add(one)
        left += children.get(one, [])
    return found


def seconds(roots: Iterable[int]) -> float:
    """Processor seconds of these and of all that descend from them, also of those that ended and were waited for."""
    wanted = set().union(*map(tree, roots))
    return sum(sum(map(int, fields[11:15])) for pid, fields in _all() if pid in wanted) / _TICK


def pin(root: int, cores: Iterable[int]) -> None:
    """The process and all that descend from it, now and later, stay on these cores."""
    wanted = set(cores)
    for pid in tree(root):
        with suppress(ProcessLookupError):
            os.sched_setaffinity(pid, wanted)


def _all() -> Iterable[tuple[int, list[str]]]:
    """Each process with the fields of its `stat` that stand behind the name, from its state on."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                yield int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()
