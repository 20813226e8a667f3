"""The command line in real processes, forked from one that has loaded it: as `python -m cli`, but at once."""

import multiprocessing
import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from events.sqlite_store import SqliteStore
from events.store import Store
from tests.conftest import MASTER_KEY, PASSWORD
from tests.ports import free_port
from tests.tables import url_of

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["cli", "app", "tests.processes"])
PATIENCE = 30.0
"""Seconds until a process that does not end, or a service that does not answer, is a failure."""

GREETED = "Stop with"
"""The end of what `serve` says when it answers."""


class Ended(NamedTuple):
    status: int
    out: str
    err: str


class Terminal:
    """A terminal of its own for one process, and what it shows."""

    def __init__(self) -> None:
        self.descriptor, self._theirs = pty.openpty()
        self.name = Path(os.ttyname(self._theirs))
        self.shown = ""

    def shows(self, words: str) -> str:
        """Wait until it shows these words; gives all that it showed."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self.descriptor], [], [], 0.1)[0]:
                self.shown += os.read(self.descriptor, 4096).decode()
        return self.shown

    def types(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def close(self) -> None:
        os.close(self.descriptor)
        os.close(self._theirs)


class Child:
    """One process; its output goes to files in `folder`."""

    def __init__(
        self,
        folder: Path,
        arguments: tuple[str, ...],
        settings: Mapping[str, str],
        typed: str = "",
        terminal: Terminal | None = None,
    ) -> None:
        self.files = [folder / f"{time.monotonic_ns()}.{name}" for name in ("in", "out", "err")]
        self.files[0].write_text(typed)
        if terminal is not None:
            self.files = [terminal.name] * 3
        self.process = FORKING.Process(target=_run, args=(arguments, dict(settings), folder, self.files))
        self.process.start()

    @property
    def out(self) -> str:
        return self.files[1].read_text() if self.files[1].exists() else ""

    @property
    def err(self) -> str:
        return self.files[2].read_text() if self.files[2].exists() else ""

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def signal(self, which: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, which)

    def ended(self) -> Ended:
        """Wait for its end."""
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"still running after {PATIENCE} s: {self.out}{self.err}")
        return Ended(self.process.exitcode, self.out, self.err)


def _run(arguments: tuple[str, ...], settings: dict[str, str], folder: Path, files: list[Path]) -> None:
    os.setsid()  # a terminal that is opened now is the one that passwords are asked at
    for number, path in enumerate(files):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - descriptors
    for name in [name for name in os.environ if name.startswith("LEDGER_")]:
        del os.environ[name]
    os.environ.update(settings)
    os.chdir(folder)
    import cli

    cli.main(args=list(arguments), prog_name="session-ledger")


class Place:
    """A folder, a free port and the settings that commands run with; the ledger is in the folder, or is `store`."""

    def __init__(self, folder: Path, store: Store | None = None, /, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.database = self.data / "ledger.db"
        """Of a ledger on SQLite."""
        self.store = store or SqliteStore(self.database)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given = {"LEDGER_PORT": str(self.port), "LEDGER_ADMIN_PASSWORD": PASSWORD, "LEDGER_RATE_LIMITS": "off"}
        if not isinstance(self.store, SqliteStore):
            given |= {"LEDGER_DATABASE_URL": url_of(self.store), "LEDGER_MASTER_KEY": MASTER_KEY}
        self.settings = given | settings

    def start(
        self, *arguments: str, typed: str = "", terminal: Terminal | None = None, **settings: str | None
    ) -> Child:
        """Run a command; a setting that is None is left out."""
        return Child(self.folder, arguments, self._given(settings), typed, terminal)

    def run(self, *arguments: str, typed: str = "", **settings: str | None) -> Ended:
        return Child(self.folder, arguments, self._given(settings), typed).ended()

    def done(self, *arguments: str, typed: str = "", **settings: str | None) -> str:
        """Run a command that must succeed, and give what it printed."""
        ended = self.run(*arguments, typed=typed, **settings)
        assert ended.status == 0, ended
        return ended.out

    @contextmanager
    def serving(self, **settings: str | None) -> Iterator[Child]:
        """A service that answers; stopped afterwards, unless that was done already."""
        child = Child(self.folder, ("serve",), self._given(settings))
        try:
            self.answers(child)
            yield child
        finally:
            if child.running:
                child.signal(signal.SIGTERM)
                child.ended()

    def sign_in(self, name: str, password: str) -> int:
        """The status of a sign-in."""
        asked = {"username": name, "password": password, "mode": "body"}
        return httpx.post(f"{self.url}/auth/login", json=asked, trust_env=False).status_code

    def _given(self, settings: Mapping[str, str | None]) -> dict[str, str]:
        return {name: text for name, text in {**self.settings, **settings}.items() if text is not None}

    def answers(self, child: Child) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and child.running:
            try:
                ready = httpx.get(f"{self.url}/health/ready", trust_env=False).status_code == 200
                if ready and GREETED in child.out + child.err:
                    return
            except httpx.TransportError:
                time.sleep(0.03)
        raise AssertionError(f"does not answer: {child.out}{child.err}")
