"""A real PgBouncer in transaction mode in front of a private PostgreSQL."""

import os
import shutil
import signal
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import quote

import pytest

from tests.clusters import SUPERUSER, Cluster
from tests.ports import free_port
from tests.watched import Watched


def program() -> str | None:
    """Where it is, if it is: Debian puts it where only root looks."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def needed() -> None:
    """Skip the test where there is none; in continuous integration, where one is installed, it fails."""
    if program() is None:
        missing = "no PgBouncer here (Debian: apt-get install pgbouncer)"
        if os.environ.get("CI", "").lower() in {"", "0", "false"}:
            pytest.skip(missing)
        pytest.fail(missing)


class Bouncer:
    """In front of every database of a cluster, with the cluster's accounts; `settings` are PgBouncer's own."""

    def __init__(self, cluster: Cluster, settings: Mapping[str, str | int] | None = None) -> None:
        self.cluster = cluster
        self.port = free_port()
        self.settings: dict[str, str | int] = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "pool_mode": "transaction",
            "auth_type": "scram-sha-256",
            "default_pool_size": 20,
            "max_client_conn": 500,
            **(settings or {}),
        }
        self.watched = Watched("ledger-pgb-", "pid", signal.SIGTERM)

    @property
    def running(self) -> bool:
        return self.watched.running

    def start(self) -> Self:
        """Serve. Its one account is the cluster's superuser."""
        folder = self.watched.folder
        users, config = folder / "users", folder / "config"
        users.write_text(f'"{SUPERUSER}" "{self.cluster.password}"\n')
        told = {**self.settings, "auth_file": users, "pidfile": folder / "pid"}
        server = f"* = host=127.0.0.1 port={self.cluster.port}"
        lines = ["[databases]", server, "[pgbouncer]", *(f"{name} = {value}" for name, value in told.items())]
        config.write_text("\n".join(lines) + "\n")
        for one in (users, config):
            one.chmod(0o600)
            self.watched.account.owns(one)
        self.watched.serve([program() or "pgbouncer", config], self._ready)
        return self

    def stop(self) -> None:
        """End at once, connections and all."""
        self.watched.end(signal.SIGTERM)

    def restart(self) -> None:
        """The same port; clients lose their connections."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop and remove everything."""
        self.watched.close()

    def url(self, database: str = SUPERUSER) -> str:
        """What `LEDGER_DATABASE_URL` takes."""
        return f"postgresql+asyncpg://{SUPERUSER}:{self.cluster.password}@127.0.0.1:{self.port}/{quote(database)}"

    def dsn(self, database: str = SUPERUSER) -> str:
        """The same for asyncpg."""
        return self.url(database).replace("+asyncpg", "")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _ready(self) -> bool:
        return "process up" in self.watched.log.read_text() and (self.watched.folder / "pid").exists()
