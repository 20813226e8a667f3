"""A server that ends with its owner: its temporary folder, its unprivileged account, and a watcher that outlives us.

Whatever ends the owner, `kill -9` too, the watcher reads the end of a pipe, kills the server and removes the folder.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds until a server that does not start or end is a failure."""
ACCOUNTS = ("postgres", "pgbouncer", "nobody")
"""Of whom the first that exists runs the servers where we are root, whom they refuse."""

_WATCHER = """
import os, shutil, signal, sys, time
folder, pid_file, kill = sys.argv[1:]
sys.stdin.buffer.read()
try:
    pid = int(open(pid_file).readline())
    os.kill(pid, int(kill))
    for _ in range(500):
        os.kill(pid, 0)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
except (OSError, ValueError):
    pass
shutil.rmtree(folder, ignore_errors=True)
"""


class Account:
    """Who runs the servers: ourselves, or where we are root an account that may do nothing else."""

    def __init__(self) -> None:
        self._entry = _unprivileged() if os.geteuid() == 0 else None

    @property
    def name(self) -> str:
        return self._entry.pw_name if self._entry else pwd.getpwuid(os.geteuid()).pw_name

    def owns(self, path: Path) -> None:
        """Hand a file or an empty folder over."""
        if self._entry:
            shutil.chown(path, self._entry.pw_uid, self._entry.pw_gid)

    def popen(self, command: Sequence[str | Path], log: Path, cwd: Path) -> subprocess.Popen[bytes]:
        """Start a server in a session of its own, so that Ctrl-C reaches us first."""
        with log.open("ab") as out:
            started: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._identity(),
            )
        return started

    def run(
        self, command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None, typed: str = ""
    ) -> str:
        """Run a program to its end; gives what it printed. Raises RuntimeError with what it complained of."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            **self._identity(),
        )
        if done.returncode:
            raise RuntimeError(f"{Path(command[0]).name} ended with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _identity(self) -> dict[str, Any]:
        if not self._entry:
            return {}
        return {"user": self._entry.pw_uid, "group": self._entry.pw_gid, "extra_groups": []}


def _unprivileged() -> pwd.struct_passwd:
    known = {one.pw_name: one for one in pwd.getpwall()}
    return next(known[name] for name in ACCOUNTS if name in known)


class Watched:
    """A temporary folder with a short path, for sockets; and the server in it, which writes its pid to `pid_file`."""

    def __init__(self, prefix: str, pid_file: str, last_signal: signal.Signals) -> None:
        self.account = Account()
        self.folder = Path(tempfile.mkdtemp(prefix=prefix))
        self.account.owns(self.folder)
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        watching = [str(self.folder), str(self.folder / pid_file), str(int(last_signal))]
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCHER, *watching],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        assert self._process is not None
        return self._process.pid

    def serve(self, command: Sequence[str | Path], ready: Callable[[], bool]) -> None:
        """Start it and wait until it is ready."""
        self._process = self.account.popen(command, self.log, self.folder)
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"{Path(command[0]).name} does not serve: {self.log.read_text()[-2000:]}")
            time.sleep(0.01)

    def end(self, which: signal.Signals) -> int:
        """Ask it to end in this way and wait until it has; its exit status."""
        if self._process is None:
            return 0
        if self.running:
            self._process.send_signal(which)
        status = self._process.wait(PATIENCE)
        self._process = None
        return status

    def close(self) -> None:
        """What is left ends, and the folder goes."""
        assert self._watcher.stdin is not None
        self._watcher.stdin.close()
        if self._process is not None:
            self._process.wait(PATIENCE)
        self._watcher.wait(PATIENCE)
