"""A standby that lacks the last commits takes over: only PostgreSQL has standbys. Needs two real servers."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from core.start import StartError
from events import migrate
from events.ledger import Unavailable
from events.postgres_store import PostgresStore
from service import Service
from settings import Settings
from tests import clusters
from tests.check import check, events_of
from tests.clusters import Cluster
from tests.conftest import MASTER_KEY, PASSWORD, running, visiting
from tests.processes import Place
from tests.visitors import refresh, sign_in
from tests.wires import Wire


@pytest.fixture
def primary() -> Iterator[Cluster]:
    clusters.needed()
    with Cluster() as one:
        migrate.bring_up(PostgresStore(one.create_database("ledger")))
        yield one


def settings_for(url: str, folder: Path, max_loss: int = 60) -> Settings:
    return Settings.model_validate(
        {
            "database_url": url,
            "data_dir": folder / "data",
            "checkpoint_dir": folder / "checkpoints",
            "master_key": MASTER_KEY,
            "admin_password": PASSWORD,
            "public_url": "https://ledger.test",
            "max_loss": max_loss,
        }
    )


async def caught_up(primary: Cluster, standby: Cluster) -> None:
    """Until the standby has all that the primary has."""
    there = primary.psql("SELECT pg_current_wal_lsn()")
    while standby.psql(f"SELECT pg_last_wal_replay_lsn() >= '{there}'") != "t":  # noqa: ASYNC110 - it is the server's
        await asyncio.sleep(0.02)


def stop_following(standby: Cluster) -> None:
    """What is committed from now on, the standby lacks."""
    standby.psql("ALTER SYSTEM SET primary_conninfo = ''")
    standby.psql("SELECT pg_reload_conf()")
    while standby.psql("SELECT count(*) FROM pg_stat_wal_receiver") != "0":
        time.sleep(0.02)


class Failed(NamedTuple):
    """A service whose server failed over, and the tokens of before."""

    service: Service
    http: httpx.AsyncClient
    store: PostgresStore
    tokens: dict[str, str]
    unreachable: int
    """The status of a refresh while there was no server."""


@asynccontextmanager
async def failed_over(primary: Cluster, settings: Settings, wire: Wire) -> AsyncIterator[Failed]:
    """A session is rotated and another begun, which the standby does not hear of; all of it is signed."""
    with closing(clusters.standby_of(primary)) as standby:
        async with running(settings) as service, visiting(service) as http:
            kept = await sign_in(http)
            await service.continuation.run()
            await caught_up(primary, standby)
            stop_following(standby)
            ahead = (await refresh(http, kept["refresh_token"])).json()
            lost = await sign_in(http)
            await service.continuation.run()
            await asyncio.to_thread(primary.stop, "immediate")
            unreachable = (await refresh(http, ahead["refresh_token"])).status_code
            await asyncio.to_thread(standby.promote)
            wire.turn(standby.url("ledger"))
            found = {"ahead": ahead, "lost": lost, "kept": kept}
            tokens = {name: one["refresh_token"] for name, one in found.items()}
            yield Failed(service, http, PostgresStore(standby.url("ledger")), tokens, unreachable)


async def answers(failed: Failed) -> dict[str, str]:
    """What each token is answered now, the first after a broken connection asked again."""
    found = {}
    for name, token in failed.tokens.items():
        answer = await refresh(failed.http, token)
        while answer.status_code == 503:
            answer = await refresh(failed.http, token)
        found[name] = answer.json().get("code", "ok")
    return found


def names(store: PostgresStore) -> list[str]:
    return [one.name for one in events_of(store)]


async def test_a_running_service_survives_a_failover_that_lost_the_last_commits(
    primary: Cluster, tmp_path: Path
) -> None:
    with Wire(primary.url("ledger")) as wire:
        async with failed_over(primary, settings_for(wire.url, tmp_path), wire) as failed:
            for _ in range(3):  # the first may find the broken connection only
                with suppress(Unavailable):
                    await failed.service.continuation.run()
            codes = await answers(failed)
            await failed.service.continuation.run()
            facts = names(failed.store)
            check(failed.store, tmp_path / "checkpoints")

    assert 503 == failed.unreachable
    assert {"ahead": "refresh_refused", "lost": "token_unknown", "kept": "ok"} == codes
    assert (1, 0) == (facts.count("ledger.recovered"), facts.count("token.reuse_detected"))
    assert 1 == len(list((tmp_path / "checkpoints").glob("checkpoint.????????????????")))
    assert "" == failed.service.given_up


async def test_a_log_that_grew_again_before_it_was_looked_at_is_known_by_the_checkpoint_before(
    primary: Cluster, tmp_path: Path
) -> None:
    with Wire(primary.url("ledger")) as wire:
        async with failed_over(primary, settings_for(wire.url, tmp_path), wire) as failed:
            codes = await answers(failed)
            for _ in range(12):
                await sign_in(failed.http)
            for _ in range(3):
                with suppress(Unavailable):
                    await failed.service.continuation.run()
            facts = names(failed.store)
            check(failed.store, tmp_path / "checkpoints")

    assert {"ahead": "refresh_refused", "lost": "token_unknown", "kept": "ok"} == codes
    assert (1, 0) == (facts.count("ledger.recovered"), facts.count("token.reuse_detected"))
    assert "" == failed.service.given_up


async def test_a_loss_that_is_not_small_is_not_served(primary: Cluster, tmp_path: Path) -> None:
    with Wire(primary.url("ledger")) as wire:
        settings = settings_for(wire.url, tmp_path, max_loss=0)
        async with failed_over(primary, settings, wire) as failed:
            for _ in range(3):
                with suppress(Unavailable):
                    await failed.service.continuation.run()
            assert failed.service.stopping.is_set()
            assert "session-ledger recover" in failed.service.given_up
            facts = names(failed.store)

            with pytest.raises(StartError, match="session-ledger recover"):
                async with running(settings):
                    pass

    assert 0 == facts.count("ledger.recovered")


async def test_a_synchronous_standby_that_takes_over_lacks_nothing_that_was_acknowledged(
    primary: Cluster, tmp_path: Path
) -> None:
    with Wire(primary.url("ledger")) as wire, closing(clusters.standby_of(primary)) as standby:
        primary.psql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.psql("SELECT pg_reload_conf()")
        while primary.psql("SELECT sync_state FROM pg_stat_replication") != "sync":  # noqa: ASYNC110 - it is the server's
            await asyncio.sleep(0.02)
        async with running(settings_for(wire.url, tmp_path)) as service, visiting(service) as http:
            first = await sign_in(http)
            token = first["refresh_token"]
            for _ in range(20):
                token = (await refresh(http, token)).json()["refresh_token"]
            await asyncio.to_thread(primary.stop, "immediate")
            await asyncio.to_thread(standby.promote)
            wire.turn(standby.url("ledger"))
            while (answer := await refresh(http, token)).status_code == 503:  # noqa: ASYNC110 - it is the server's
                await asyncio.sleep(0.05)
            used = await refresh(http, first["refresh_token"])
            store = PostgresStore(standby.url("ledger"))
            facts = names(store)
            await service.continuation.run()
            check(store, tmp_path / "checkpoints")

    assert (200, 401) == (answer.status_code, used.status_code)
    assert "token_reused" == used.json()["code"]
    assert (21, 0) == (facts.count("token.rotated"), facts.count("ledger.recovered"))


def test_a_standby_is_named_as_what_it_is_by_whoever_wants_to_write(primary: Cluster, tmp_path: Path) -> None:
    given = {"LEDGER_DATABASE_URL": primary.url("ledger"), "LEDGER_MASTER_KEY": MASTER_KEY}
    place = Place(tmp_path, **given)
    with place.serving():
        pass
    with closing(clusters.standby_of(primary)) as standby:
        there = {"LEDGER_DATABASE_URL": standby.url("ledger")}
        wrote = place.run("user", "disable", "admin", **there)
        read = place.run("user", "list", **there)

    assert "That server only reads, as a standby does: name the primary in LEDGER_DATABASE_URL." in wrote.err
    assert 0 != wrote.status
    assert (0, True) == (read.status, "admin" in read.out)
