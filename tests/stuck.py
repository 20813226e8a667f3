"""A test that never ends says where it waits: the stacks of its threads come from pytest, those of its tasks from here.

`faulthandler_timeout` in pyproject.toml ends it some seconds later.
"""

import asyncio
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

PATIENCE = 200.0
"""Seconds that a test may take. The longest takes 30 on a quiet machine."""


@contextmanager
def told(name: str, patience: float = PATIENCE, out: TextIO | None = None) -> Iterator[None]:
    """Whatever still waits inside of this after so many seconds is written down, on stderr unless `out` is given."""
    timer = threading.Timer(patience, lambda: print(*_stacks(name), sep="\n", file=out or sys.__stderr__, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _stacks(name: str) -> Iterator[str]:
    yield f"{name} does not end. Its tasks:"
    tasks = [one for one in gc.get_objects() if isinstance(one, asyncio.Task)]
    for task in (one for one in tasks if not one.done()):
        yield f"- {task.get_name()}"
        yield from _awaited(task.get_coro())


def _awaited(waiting: Any) -> Iterator[str]:
    """Each place where something waits for something else, outermost first."""
    while waiting is not None:
        frame = next((found for kind in ("cr", "ag", "gi") if (found := getattr(waiting, f"{kind}_frame", None))), None)
        yield f"    {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" if frame else f"    {waiting!r}"
        inner = ("cr_await", "ag_await", "gi_yieldfrom")
        waiting = next((found for name in inner if (found := getattr(waiting, name, None)) is not None), None)
