"""Ledgers as the version of their folder wrote them: the code of today opens, verifies, rebuilds and serves them."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

import app
from core.master import MasterKeys
from core.passwords import Hasher
from events import migrate, schema
from events.catalogue import FACTS
from events.checkpoint import public_of
from events.checkpoints import CheckpointStore
from events.client import Client
from events.rebuild import rebuild
from events.sqlite_store import SqliteStore
from events.verify import Intact, verify
from settings import VERSION
from tests.check import check, events_of
from tests.conftest import CHEAP
from tests.ledgers.make import HERE, Time, at, settings_for, summary

VERSIONS = sorted(path.parent.name for path in HERE.glob("*/ledger.db"))
NOT_IN_FIRST = {"client.updated", "client.secret_rotated", "access.revoked", "subject.erased"}
NOT_IN_FIRST |= {fact.TYPE for fact in FACTS if fact.TYPE.startswith("webhook.")}
NOT_IN_FIRST |= {fact.TYPE for fact in FACTS if fact.__module__ == "events.factor"}
NOT_IN_FIRST |= {"key.rewrapped", "master_key.revoked"}
"""Facts that nothing in the version 0.1.0 writes."""
CANNOT_HAPPEN_YET = {"ledger.recovered"} | (NOT_IN_FIRST if VERSION == "0.1.0" else set())
"""Facts that this version knows and that the life of its ledger does not lead to."""


class Stored:
    """One of them, copied, and what was written down about it."""

    def __init__(self, version: str, folder: Path) -> None:
        source = HERE / version
        self.folder, self.database = folder, folder / "data" / "ledger.db"
        self.store = SqliteStore(self.database)
        self.database.parent.mkdir()
        shutil.copy(source / "ledger.db", self.database)
        shutil.copytree(source / "checkpoints", folder / "checkpoints")
        self.master = (source / "master-key").read_text().strip()
        self.told: dict[str, Any] = json.loads((source / "summary.json").read_text())
        migrate.bring_up(self.store)


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
    written = {event.name for event in events_of(Stored(VERSION, tmp_path).store)}

    assert {fact.TYPE for fact in FACTS} - CANNOT_HAPPEN_YET == written


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stored_ledger_is_small(version: str) -> None:
    assert (HERE / version / "ledger.db").stat().st_size <= 200 * 1024


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_brought_up_to_the_schema_of_today_and_kept_as_it_was(version: str, tmp_path: Path) -> None:
    database = tmp_path / "data" / "ledger.db"
    database.parent.mkdir()
    shutil.copy(HERE / version / "ledger.db", database)

    store = SqliteStore(database)
    done = migrate.bring_up(store)

    assert migrate.newest() == done.after
    assert (done.before == done.after) == (done.copy is None)
    check(store)


def test_clients_of_the_first_version_are_public_and_our_own(tmp_path: Path) -> None:
    store = Stored("0.1.0", tmp_path).store
    found = store.read(lambda connection: [Client(*row) for row in connection.execute(select(schema.clients))])

    assert {"batch", "dashboard", "web"} == {one.client for one in found}
    assert {("public", 1, "", "", 0, "", 0)} == {
        (one.type, one.first_party, one.audiences, one.scopes, one.operator, one.secret, one.secret_at) for one in found
    }


def test_it_keeps_all_invariants(stored: Stored) -> None:
    check(stored.store, stored.folder / "checkpoints")


def test_it_verifies_against_its_last_checkpoint(stored: Stored) -> None:
    master = MasterKeys.parse(stored.master)
    publics = [public_of(master.checkpoint_seed(number) or b"") for number in master.numbers]
    signed = CheckpointStore(stored.folder / "checkpoints").signed(*publics)
    found = stored.store.read(lambda connection: verify(connection, signed))

    assert signed is not None
    assert Intact(signed.checkpoint.size, signed.checkpoint.root) == found


def test_its_state_is_what_it_was(stored: Stored) -> None:
    assert stored.told["state"] == json.loads(json.dumps(summary(stored.database)))


def test_rebuilding_it_changes_nothing(stored: Stored) -> None:
    assert [] == rebuild(stored.store)
    assert stored.told["state"] == json.loads(json.dumps(summary(stored.database)))
    check(stored.store, stored.folder / "checkpoints")


async def test_a_family_of_it_goes_on_and_its_used_token_is_still_recognised(stored: Stored) -> None:
    async with served(stored) as http:
        refreshed = await http.post("/auth/refresh", json={"refresh_token": stored.told["living_token"]})
        replayed = await http.post("/auth/refresh", json={"refresh_token": stored.told["used_token"]})

    assert 200 == refreshed.status_code
    assert (401, "token_reused") == (replayed.status_code, replayed.json()["code"])
    check(stored.store, stored.folder / "checkpoints")


async def test_its_people_sign_in(stored: Stored) -> None:
    async with served(stored) as http:
        for name, password in stored.told["passwords"].items():
            answer = await http.post("/auth/login", json={"username": name, "password": password, "mode": "body"})
            assert 200 == answer.status_code, name

    check(stored.store, stored.folder / "checkpoints")
