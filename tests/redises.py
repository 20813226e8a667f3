"""A private Redis for tests, on 127.0.0.1 and in a temporary folder; gone with `close` or with its owner."""

import os
import shutil
import signal
import socket
from types import TracebackType
from typing import Self

import pytest

from tests.ports import free_port
from tests.watched import Watched

PASSWORD = "a-password-of-redis"


def program() -> str | None:
    """Where a server is, if there is one: Redis, or Valkey, which speaks the same."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def needed() -> None:
    """Skip the test where there is none; in continuous integration, where one is installed, it fails."""
    if program() is None:
        missing = "no Redis here (Debian: apt-get install redis-server)"
        if os.environ.get("CI", "").lower() in {"", "0", "false"}:
            pytest.skip(missing)
        pytest.fail(missing)


class Redis:
    """One server with a password that keeps nothing on disk."""

    def __init__(self) -> None:
        self.port = free_port()
        self.watched = Watched("ledger-redis-", "pid", signal.SIGTERM)

    @property
    def url(self) -> str:
        """What `LEDGER_LIMITS_URL` takes."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Serve, empty."""
        folder = self.watched.folder
        told = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(folder),
            "pidfile": str(folder / "pid"),
            "requirepass": PASSWORD,
            "save": "",
            "appendonly": "no",
        }
        options = [part for name, value in told.items() for part in (f"--{name}", value)]
        self.watched.serve([program() or "redis-server", *options], self._ready)
        return self

    def stop(self) -> None:
        """End at once, connections and all."""
        self.watched.end(signal.SIGTERM)

    def hang(self) -> None:
        """Accept connections and answer nothing, until it is told to `go_on`."""
        os.kill(self.watched.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.watched.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop and remove everything."""
        self.watched.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return (self.watched.folder / "pid").exists()
        except OSError:
            return False
