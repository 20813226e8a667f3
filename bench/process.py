"""Starting the processes under load and talking with them; a core each for them and for us."""

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parent.parent


def cores() -> tuple[int, int]:
    """One core for the server and another for the load; the same one where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def used() -> dict[str, float]:
    """Processor seconds and resident MiB of this process, now and at most."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu": time.process_time(), "resident": resident / 2**20, "peak": peak / 2**10}


def answer(descriptor: int, told: dict[str, Any]) -> None:
    """The child's side: one line."""
    os.write(descriptor, json.dumps(told).encode() + b"\n")


async def questions() -> asyncio.StreamReader:
    """The child's side: the lines that it is asked; none when it shall end."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


class Process:
    """A child that runs `python -m bench.MODULE ARGUMENTS… DESCRIPTOR` and answers in lines of JSON."""

    def __init__(self, module: str, *arguments: str) -> None:
        ours, theirs = os.pipe()
        self._child = subprocess.Popen(
            [sys.executable, "-m", f"bench.{module}", *arguments, str(theirs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")},
        )
        os.close(theirs)
        self._answers = os.fdopen(ours)

    @property
    def pid(self) -> int:
        return self._child.pid

    def heard(self) -> dict[str, Any]:
        """The next answer. Raises RuntimeError where the child ended instead."""
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"a process under load ended with status {self._child.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def asked(self, question: str = "") -> dict[str, Any]:
        """What it answers."""
        assert self._child.stdin is not None
        self._child.stdin.write(question.encode() + b"\n")
        self._child.stdin.flush()
        return self.heard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._answers.close()
