"""Ledgers as the version of their folder wrote them: the code of today opens, verifies, rebuilds and serves them."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

import app
from core.master import MasterKeys
from core.passwords import Hasher
from events import migrate, sqlite
from events.catalogue import FACTS
from events.checkpoint import public_of
from events.checkpoints import CheckpointStore
from events.rebuild import rebuild
from events.verify import Intact, verify
from settings import VERSION
from tests.check import check, events_of
from tests.conftest import CHEAP
from tests.ledgers.make import HERE, Time, at, settings_for, summary

VERSIONS = sorted(path.parent.name for path in HERE.glob("*/ledger.db"))
CANNOT_HAPPEN_YET = {"client.updated", "ledger.recovered"}
"""Facts that this version knows and that nothing in it writes."""


class Stored:
    """One of them, copied, and what was written down about it."""

    def __init__(self, version: str, folder: Path) -> None:
        source = HERE / version
        self.folder, self.database = folder, folder / "data" / "ledger.db"
        self.database.parent.mkdir()
        shutil.copy(source / "ledger.db", self.database)
        shutil.copytree(source / "checkpoints", folder / "checkpoints")
        self.master = (source / "master-key").read_text().strip()
        self.told: dict[str, Any] = json.loads((source / "summary.json").read_text())
        with sqlite.transaction(self.database) as connection:
            migrate.upgrade(connection)


@pytest.fixture(params=VERSIONS)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    return Stored(request.param, tmp_path)


@asynccontextmanager
async def served(stored: Stored) -> AsyncIterator[httpx.AsyncClient]:
    """Today's service on it, at the time at which it was left."""
    time = Time()
    time.now = stored.told["ended_at"] + 60
    with at(time):
        service = app.prepare(settings_for(stored.folder, stored.master), Hasher(**CHEAP))
        await service.start()
        transport = httpx.ASGITransport(app.create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="https://ledger.test") as http:
            yield http
        await service.stop()


def test_this_version_has_left_a_ledger() -> None:
    assert VERSION in VERSIONS


def test_a_ledger_of_this_version_holds_every_fact_that_can_happen(tmp_path: Path) -> None:
    written = {event.name for event in events_of(Stored(VERSION, tmp_path).database)}

    assert {fact.TYPE for fact in FACTS} - CANNOT_HAPPEN_YET == written


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stored_ledger_is_small(version: str) -> None:
    assert (HERE / version / "ledger.db").stat().st_size <= 200 * 1024


def test_it_keeps_all_invariants(stored: Stored) -> None:
    check(stored.database, stored.folder / "checkpoints")


def test_it_verifies_against_its_last_checkpoint(stored: Stored) -> None:
    master = MasterKeys.parse(stored.master)
    publics = [public_of(master.checkpoint_seed(number) or b"") for number in master.numbers]
    signed = CheckpointStore(stored.folder / "checkpoints").signed(*publics)
    with sqlite.sync_read_engine(stored.database).connect() as connection:
        found = verify(connection, signed)

    assert signed is not None
    assert Intact(signed.checkpoint.size, signed.checkpoint.root) == found


def test_its_state_is_what_it_was(stored: Stored) -> None:
    assert stored.told["state"] == json.loads(json.dumps(summary(stored.database)))


def test_rebuilding_it_changes_nothing(stored: Stored) -> None:
    with sqlite.sync_read_engine(stored.database).connect() as reading:
        differences = rebuild(reading, partial(sqlite.transaction, stored.database))

    assert [] == differences
    assert stored.told["state"] == json.loads(json.dumps(summary(stored.database)))
    check(stored.database, stored.folder / "checkpoints")


async def test_a_family_of_it_goes_on_and_its_used_token_is_still_recognised(stored: Stored) -> None:
    async with served(stored) as http:
        refreshed = await http.post("/auth/refresh", json={"refresh_token": stored.told["living_token"]})
        replayed = await http.post("/auth/refresh", json={"refresh_token": stored.told["used_token"]})

    assert 200 == refreshed.status_code
    assert (401, "token_reused") == (replayed.status_code, replayed.json()["code"])
    check(stored.database, stored.folder / "checkpoints")


async def test_its_people_sign_in(stored: Stored) -> None:
    async with served(stored) as http:
        for name, password in stored.told["passwords"].items():
            answer = await http.post("/auth/login", json={"username": name, "password": password, "mode": "body"})
            assert 200 == answer.status_code, name

    check(stored.database, stored.folder / "checkpoints")
