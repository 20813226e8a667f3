"""A server that has no room left: connections, a pooler that goes, a full disk. Only PostgreSQL has a server.

The answer is 503, never a wrong one, and afterwards everything that was acknowledged is there.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
import httpx
import pytest

from core.start import StartError
from core.verdict import Verdict
from events import migrate, postgres, postgres_store
from events.ledger import Ledger, Unavailable
from events.postgres_store import PostgresStore
from settings import Settings
from tests import bouncers, clusters, holders
from tests.bouncers import Bouncer
from tests.check import check, events_of
from tests.clusters import Cluster
from tests.conftest import MASTER_KEY, PASSWORD, MakeSettings, running, visiting
from tests.databases import Server, name_of
from tests.processes import Place
from tests.test_disk_full import ballast, can_mount
from tests.visitors import bearer, refresh, sign_in


def settings_for(url: str, folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "database_url": url,
            "data_dir": folder / "data",
            "checkpoint_dir": folder / "checkpoints",
            "master_key": MASTER_KEY,
            "admin_password": PASSWORD,
            "public_url": "https://ledger.test",
            "rate_limits": False,
        }
    )


# Connections


async def test_who_finds_all_readers_in_use_is_told_503_and_finds_them_again(
    make_settings: MakeSettings, on_postgresql: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "CONNECT", 0.5)
    async with running(make_settings()) as service, visiting(service) as http:
        begun = await sign_in(http)
        held = [await service.engine.connect() for _ in range(4)]
        me = await http.get("/auth/me", headers=bearer(begun["access_token"]))
        rotated = await refresh(http, begun["refresh_token"])
        for one in held:
            await one.close()
        again = await http.get("/auth/me", headers=bearer(begun["access_token"]))

    assert (503, "unavailable", "1") == (me.status_code, me.json()["code"], me.headers["retry-after"])
    assert (200, 200) == (rotated.status_code, again.status_code)


@pytest.fixture
def small() -> Iterator[Cluster]:
    """A server that takes few connections."""
    clusters.needed()
    with Cluster(settings={"max_connections": "12", "superuser_reserved_connections": "0"}) as one:
        yield one


async def hog(cluster: Cluster) -> list[asyncpg.Connection]:
    """All connections that the server gives."""
    held: list[asyncpg.Connection] = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            held.append(await asyncpg.connect(cluster.dsn()))
    return held


async def test_a_server_without_a_connection_left_is_503_and_is_used_again(small: Cluster, tmp_path: Path) -> None:
    store = PostgresStore(small.create_database("ledger"))
    migrate.bring_up(store)
    settings = settings_for(small.url("ledger"), tmp_path)
    async with running(settings) as service, visiting(service) as http:
        begun = await sign_in(http)
        await service.engine.dispose()
        service.writer._hold.forget()  # as if a restart of the server had cut them all
        held = await hog(small)
        refused = [
            (await refresh(http, begun["refresh_token"])).status_code,
            (await http.get("/auth/me", headers=bearer(begun["access_token"]))).status_code,
            (await http.get("/health/ready")).status_code,
        ]
        told = await asyncio.to_thread(Place(tmp_path, PostgresStore(settings.database_url)).run, "verify")
        for one in held:
            await one.close()
        answered = [
            (await refresh(http, begun["refresh_token"])).status_code,
            (await http.get("/auth/me", headers=bearer(begun["access_token"]))).status_code,
            (await http.get("/health/ready")).status_code,
        ]

    assert [503, 503, 503] == refused
    assert [200, 200, 200] == answered
    assert "The server has no connection left: raise its max_connections" in told.err
    check(store, tmp_path / "checkpoints")


# A pooler that goes and comes


async def test_a_pooler_that_is_restarted_under_load_loses_nothing_and_signs_nobody_out(
    postgres_store: PostgresStore, server: Server
) -> None:
    bouncers.needed()
    with Bouncer(server.cluster, {"default_pool_size": 3}) as bouncer:
        through = PostgresStore(bouncer.url(name_of(postgres_store)))
        async with going(through, 6) as acknowledged:
            for _ in range(3):
                await asyncio.sleep(0.5)
                await asyncio.to_thread(bouncer.restart)
            await asyncio.sleep(0.7)

    stored = [len([one for one in events_of(postgres_store) if one.stream == family]) for family in acknowledged]
    assert list(acknowledged.values()) == stored
    assert min(stored) > 10
    check(postgres_store)


@asynccontextmanager
async def going(store: PostgresStore, holders_: int) -> AsyncIterator[dict[bytes, int]]:
    """Holders that refresh until this is left; how many generations each was told of, in the end."""
    ledger, stop = Ledger(store.writer()), asyncio.Event()
    told: dict[bytes, int] = {}

    async def refresh_on() -> None:
        current = await holders.begin(ledger)
        while not stop.is_set():
            try:
                answer = await holders.refresh(ledger, current)
            except Unavailable:
                await asyncio.sleep(0.05)
                continue
            assert answer.verdict in {Verdict.ROTATED, Verdict.RETRIED}
            current = holders.successor(current, answer)
            told[current.family] = current.generation

    try:
        await holders.people(ledger)
        running_ = [asyncio.create_task(refresh_on()) for _ in range(holders_)]
        yield told
        stop.set()
        await asyncio.gather(*running_)
    finally:
        await ledger.close()


# A full disk


@contextmanager
def small_volume(folder: Path, megabytes: int) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


async def rotate_until_refused(http: httpx.AsyncClient, token: str) -> tuple[str, httpx.Response]:
    """Refresh as long as it works; the last good token and the first refusal."""
    for _ in range(3000):
        answer = await refresh(http, token)
        if answer.status_code != 200:
            return token, answer
        token = answer.json()["refresh_token"]
    raise AssertionError("the disk never filled up")


@pytest.mark.skipif(not can_mount(), reason="needs a volume of its own, which only root on Linux can make")
async def test_a_full_disk_under_the_tables_is_503_and_nothing_is_lost(
    server: Server, tmp_path: Path, on_postgresql: None
) -> None:
    place = server.cluster.folder / "small"
    place.mkdir()
    with small_volume(place, 16):
        server.cluster.watched.account.owns(place)
        server.cluster.psql(f"CREATE TABLESPACE small LOCATION '{place}'")
        server.cluster.psql("CREATE DATABASE small TEMPLATE template0 TABLESPACE small")
        store = PostgresStore(server.cluster.url("small"))
        migrate.bring_up(store)
        async with running(settings_for(server.cluster.url("small"), tmp_path)) as service, visiting(service) as http:
            begun = await sign_in(http)
            with ballast(place):
                last, refused = await rotate_until_refused(http, begun["refresh_token"])
                still = await refresh(http, last)
                me = await http.get("/auth/me", headers=bearer(begun["access_token"]))
            again = await refresh(http, last)
        check(store, tmp_path / "checkpoints")
        server.cluster.drop_database("small")
        server.cluster.psql("DROP TABLESPACE small")

    assert (503, "unavailable", "1") == (refused.status_code, refused.json()["code"], refused.headers["retry-after"])
    assert (503, 200, 200) == (still.status_code, me.status_code, again.status_code)


@pytest.mark.skipif(not can_mount(), reason="needs a volume of its own, which only root on Linux can make")
async def test_a_full_disk_under_the_whole_server_is_503_and_nothing_is_lost(tmp_path: Path) -> None:
    """Where its log of changes has no room, PostgreSQL crashes; it recovers, or ends and is started again."""
    clusters.needed()
    cluster = Cluster(durable=True, settings={"min_wal_size": "32MB", "max_wal_size": "32MB"})
    try:
        with small_volume(cluster.folder, 160):
            cluster.watched.account.owns(cluster.folder)
            cluster.start()
            store = PostgresStore(cluster.create_database("ledger"))
            migrate.bring_up(store)
            settings = settings_for(cluster.url("ledger"), tmp_path)
            async with running(settings) as service, visiting(service) as http:
                begun = await sign_in(http)
                with ballast(cluster.folder):
                    last, refused = await rotate_until_refused(http, begun["refresh_token"])
                    switched = asyncio.to_thread(cluster.psql, "SELECT pg_switch_wal()")
                    with suppress(RuntimeError):
                        await switched
                    still = await refresh(http, last)
                async with asyncio.timeout(30):
                    while (again := await refresh(http, last)).status_code == 503:
                        if not cluster.running:
                            cluster.restart()
                        await asyncio.sleep(0.05)
            check(store, tmp_path / "checkpoints")
            cluster.stop("fast")
    finally:
        cluster.close()

    assert (503, 503, 200) == (refused.status_code, still.status_code, again.status_code)


# A server that is not fit


async def test_a_server_that_may_lose_what_it_acknowledged_is_refused(
    make_settings: MakeSettings, postgres_store: PostgresStore, server: Server
) -> None:
    server.cluster.psql(f"ALTER DATABASE {name_of(postgres_store)} SET synchronous_commit = off")
    with pytest.raises(StartError, match=r"^synchronous_commit is off, so a revocation could be lost .* set it to on"):
        async with running(make_settings()):
            pass


async def test_a_database_of_another_encoding_is_refused(server: Server, tmp_path: Path, on_postgresql: None) -> None:
    server.cluster.psql("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1'")
    with pytest.raises(StartError, match=r"^The database's encoding is LATIN1: create it with UTF8\.$"):
        async with running(settings_for(server.cluster.url("latin"), tmp_path)):
            pass
    server.cluster.drop_database("latin")


async def test_a_server_that_is_too_old_is_refused(
    make_settings: MakeSettings, on_postgresql: None, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_store, "OLDEST", 99)
    version = server.cluster.psql("SHOW server_version_num")[:2]
    with pytest.raises(StartError, match=rf"^That PostgreSQL is version {version}: a ledger needs 99 or newer\.$"):
        async with running(make_settings()):
            pass
