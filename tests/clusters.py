"""A private PostgreSQL for tests and benches: the machine's own server programs on a temporary folder."""

import os
import re
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import pytest

from tests.ports import free_port
from tests.watched import Watched

SUPERUSER = "postgres"
QUICK = {"fsync": "off", "full_page_writes": "off"}
"""Tests outlive a crash of the server, not of the machine."""
STANDARD = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_level": "replica",
    "max_wal_senders": "4",
    "hot_standby": "on",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
Mode = Literal["fast", "immediate", "smart"]
_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "smart": signal.SIGTERM}


class Missing(Exception):
    """There are no server programs on this machine."""


def programs() -> Path:
    """The folder with `postgres` and `initdb`: of the newest version, in the search path or where Debian puts them."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr/local").glob("pgsql*/bin")]
    in_path = shutil.which("initdb")
    if in_path:
        found.append(Path(in_path).resolve().parent)
    whole = [one for one in found if (one / "initdb").exists() and (one / "postgres").exists()]
    if not whole:
        raise Missing("no PostgreSQL server here (Debian: apt-get install postgresql)")
    return max(whole, key=_version)


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.parent.name))


class Cluster:
    """One server with its data, on 127.0.0.1 and on a socket in its folder; gone with `close` or with its owner.

    `durable` is for crash tests and benches: the server's own settings for disks. `settings` are the server's, by name,
    and go before all others. `collation` is an ICU locale; without one text is ordered by its bytes, as in SQLite.
    """

    def __init__(
        self, *, durable: bool = False, settings: Mapping[str, str] | None = None, collation: str | None = None
    ) -> None:
        self.programs = programs()
        self.password = secrets.token_hex(16)
        self.port = free_port()
        self.settings = {**STANDARD, **({} if durable else QUICK), **(settings or {})}
        self.watched = Watched("ledger-pg-", "data/postmaster.pid", signal.SIGQUIT)
        self.data = self.folder / "data"
        self._durable = durable
        self._collation = collation

    @property
    def folder(self) -> Path:
        """Of data, socket and log."""
        return self.watched.folder

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        return self.watched.pid

    @property
    def running(self) -> bool:
        return self.watched.running

    def start(self, **settings: str) -> Self:
        """Serve, from now on also with these settings; the first time a new folder is made."""
        self.settings |= settings
        if not self.data.exists():
            self._initialise()
        told = {**self.settings, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        options = [part for name, value in told.items() for part in ("-c", f"{name}={value}")]
        self.watched.serve([self.programs / "postgres", "-D", self.data, *options], self._ready)
        return self

    def stop(self, mode: Mode = "fast") -> None:
        """`fast` cuts connections and writes everything out, `immediate` is a crash, `smart` waits for clients."""
        self.watched.end(_SIGNALS[mode])

    def restart(self, mode: Mode = "fast", **settings: str) -> None:
        """The same data at the same port."""
        self.stop(mode)
        self.start(**settings)

    def close(self) -> None:
        """Stop without ceremony and remove everything."""
        self.watched.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def url(self, database: str = SUPERUSER, user: str = SUPERUSER, password: str | None = None) -> str:
        """What `LEDGER_DATABASE_URL` takes."""
        return f"postgresql+asyncpg://{self._place(database, user, password)}"

    def dsn(self, database: str = SUPERUSER, user: str = SUPERUSER, password: str | None = None) -> str:
        """The same for libpq and asyncpg."""
        return f"postgresql://{self._place(database, user, password)}"

    def _place(self, database: str, user: str, password: str | None) -> str:
        given = self.password if password is None else password
        return f"{quote(user)}:{quote(given)}@127.0.0.1:{self.port}/{quote(database)}"

    def psql(self, sql: str, database: str = SUPERUSER) -> str:
        """Run statements as superuser, each in a transaction of its own; the rows, columns parted by `|`.

        Raises RuntimeError at the first that fails.
        """
        command: list[str | Path] = [self.programs / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database]
        return self.watched.account.run(command, self.folder, self._as_client(), sql).rstrip("\n")

    def create_database(self, name: str, template: str | None = None) -> str:
        """A new database, empty or a copy of one that nobody is connected to; gives its URL."""
        self.psql(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template0"}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop it, connections and all."""
        self.psql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def standby_of_this(self) -> "Cluster":
        """A started standby that follows by streaming, asynchronously: see `promote`. Has this one's accounts."""
        standby = Cluster(durable=self._durable)
        standby.settings, standby.password = dict(self.settings), self.password
        options = ["-R", "-X", "stream", "-c", "fast", "--no-sync"]
        copy: list[str | Path] = [self.programs / "pg_basebackup", "-D", standby.data, *options]
        standby.watched.account.run(copy, standby.folder, self._as_client())
        return standby.start()

    def promote(self) -> None:
        """End following: from now on it takes writes."""
        if self.psql("SELECT pg_promote(true, 60)") != "t":
            raise RuntimeError(f"not promoted: {self.watched.log.read_text()[-2000:]}")

    def _as_client(self) -> dict[str, str]:
        told = {"HOST": str(self.folder), "PORT": str(self.port), "USER": SUPERUSER, "PASSWORD": self.password}
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return ours | {f"PG{name}": value for name, value in told.items()}

    def _initialise(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        self.watched.account.owns(secret)
        options = (
            f"-U {SUPERUSER} -A scram-sha-256 -E UTF8 --locale=C --no-sync --no-instructions --data-checksums".split()
        )
        order = ["--locale-provider=icu", f"--icu-locale={self._collation}"] if self._collation else []
        command: list[str | Path] = [self.programs / "initdb", "-D", self.data, f"--pwfile={secret}", *options, *order]
        self.watched.account.run(command, self.folder)
        secret.unlink()

    def _ready(self) -> bool:
        """The postmaster says so in the last line of its pid file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and int(lines[0]) == self.pid and lines[7].strip() in {"ready", "standby"}


def standby_of(primary: Cluster) -> Cluster:
    """A started standby of this cluster."""
    return primary.standby_of_this()


def needed() -> None:
    """Skip the test where there is no server; in continuous integration, where one is installed, it fails."""
    try:
        programs()
    except Missing as error:
        if os.environ.get("CI", "").lower() in {"", "0", "false"}:
            pytest.skip(str(error))
        raise
