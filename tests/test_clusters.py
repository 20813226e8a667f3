"""The private PostgreSQL of the tests: databases, a crash, a standby, a pooler, and that nothing outlives its owner."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests import bouncers, clusters
from tests.bouncers import Bouncer
from tests.clusters import Cluster, standby_of

ROOT = Path(__file__).parent.parent
OWNER = """
import sys, time
from tests.clusters import Cluster
cluster = Cluster().start()
print(cluster.pid, cluster.folder, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    clusters.needed()
    with Cluster() as one:
        yield one


async def test_a_database_made_from_a_template_answers_at_its_url(cluster: Cluster) -> None:
    cluster.create_database("template")
    cluster.psql("CREATE TABLE words (word text); INSERT INTO words VALUES ('plum'), ('otter')", "template")
    engine = create_async_engine(cluster.create_database("copy", "template"))
    async with engine.connect() as connection:
        found = (await connection.execute(text("SELECT word FROM words ORDER BY word"))).scalars().all()
    await engine.dispose()
    assert ["otter", "plum"] == found
    cluster.drop_database("copy")
    assert "0" == cluster.psql("SELECT count(*) FROM pg_database WHERE datname = 'copy'")


def test_a_statement_that_fails_says_why(cluster: Cluster) -> None:
    with pytest.raises(RuntimeError, match='relation "nothing" does not exist'):
        cluster.psql("SELECT * FROM nothing")


async def test_a_wrong_password_is_refused(cluster: Cluster) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(cluster.dsn(password="wrong"))


def test_a_durable_cluster_keeps_what_was_committed_through_a_crash() -> None:
    clusters.needed()
    with Cluster(durable=True) as durable:
        durable.psql("CREATE TABLE words (word text); INSERT INTO words VALUES ('plum')")
        durable.restart("immediate", lock_timeout="2s")
        found = durable.psql("SELECT word, current_setting('fsync'), current_setting('lock_timeout') FROM words")
    assert "plum|on|2s" == found
    assert not durable.folder.exists()


def test_a_promoted_standby_has_what_was_streamed_to_it_and_takes_writes(cluster: Cluster) -> None:
    cluster.psql("CREATE TABLE streamed (number int); INSERT INTO streamed VALUES (1)")
    standby = standby_of(cluster)
    try:
        cluster.psql("INSERT INTO streamed VALUES (2)")
        _within_seconds(lambda: standby.psql("SELECT count(*) FROM streamed") == "2")
        with pytest.raises(RuntimeError, match="read-only transaction"):
            standby.psql("INSERT INTO streamed VALUES (3)")
        standby.promote()
        standby.psql("INSERT INTO streamed VALUES (3)")
        assert ("2", "3") == tuple(one.psql("SELECT count(*) FROM streamed") for one in (cluster, standby))
    finally:
        standby.close()


async def test_a_pooler_answers_and_gives_one_server_connection_to_many_clients(cluster: Cluster) -> None:
    bouncers.needed()
    with Bouncer(cluster, {"default_pool_size": 1}) as bouncer:
        clients = [await asyncpg.connect(bouncer.dsn(), statement_cache_size=0) for _ in range(3)]
        backends = {await one.fetchval("SELECT pg_backend_pid()") for one in clients}
        bouncer.restart()
        with pytest.raises(asyncpg.PostgresConnectionError):
            await clients[0].fetchval("SELECT 1")
        again = await asyncpg.connect(bouncer.dsn(), statement_cache_size=0)
        assert (1, 1) == (len(backends), await again.fetchval("SELECT 1"))
        for one in (*clients, again):
            one.terminate()
    assert not bouncer.watched.folder.exists()


def test_a_cluster_whose_owner_was_killed_is_gone_with_its_folder() -> None:
    clusters.needed()
    with subprocess.Popen([sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        os.kill(owner.pid, signal.SIGKILL)
    _within_seconds(lambda: not Path(folder).exists() and not _serving(int(pid)))


def test_where_there_is_no_server_a_test_is_skipped_but_fails_in_continuous_integration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere() -> Path:
        raise clusters.Missing("no PostgreSQL server here")

    monkeypatch.setattr(clusters, "programs", nowhere)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(clusters.Missing):
        clusters.needed()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="no PostgreSQL server here"):
        clusters.needed()


def _within_seconds(holds: Callable[[], bool], patience: float = 15.0) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _serving(pid: int) -> bool:
    """A process that ended but was not waited for is a zombie: it serves nobody."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
