"""The demonstration's fast path: what it writes is a ledger like any other, on both engines."""

import asyncio
import time
from functools import partial
from pathlib import Path

import pytest

from core import demo, demo_bulk, demo_crowd, token
from core.keys import KeyPolicy
from core.master import MasterKeys
from core.passwords import Hasher
from core.policy import Policy
from core.presence import Presence
from core.start import StartError
from events.checkpoints import CheckpointStore
from events.family import Family
from events.projections import load
from events.rebuild import rebuild
from events.store import Store
from events.verify import Intact, verify
from tests.conftest import CHEAP, MASTER_KEY

MASTER = MasterKeys.parse(MASTER_KEY)
EVENTS = 25 + 100 + 75


def place_of(store: Store, folder: Path) -> demo.Place:
    return demo.Place(store, folder / "checkpoints", MASTER, Policy(), KeyPolicy.rotating("EdDSA", 90 * 86_400))


def fill(place: demo.Place, families: int = 100) -> demo.Filled:
    told: list[int] = []
    filled = asyncio.run(demo_crowd.fill(place, families, time.time_ns() // 1000, told.append, Hasher(**CHEAP)))
    assert families == told[-1]
    return filled


def test_what_is_written_in_bulk_verifies_and_is_signed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_bulk, "AT_ONCE", 40)
    place = place_of(store, tmp_path)
    filled = fill(place)
    signed = CheckpointStore(place.checkpoints).last()
    found = store.read(verify)
    assert isinstance(found, Intact), found
    assert (filled.events, 100, 25) == (found.size, filled.living, filled.people)
    assert filled.events - EVENTS == pytest.approx(5, abs=2), "beside these: the log's beginning, clients, keys"
    assert signed is not None
    assert f"\n{found.size}\n" in signed


def test_its_projections_are_those_of_a_rebuild(store: Store, tmp_path: Path) -> None:
    fill(place_of(store, tmp_path))
    assert [] == rebuild(store)


def test_bulk_goes_into_an_empty_ledger_only(store: Store, tmp_path: Path) -> None:
    fill(place_of(store, tmp_path))
    with pytest.raises(StartError, match="goes into an empty one only"):
        fill(place_of(store, tmp_path))


def test_a_session_is_told_in_order_and_lives_when_it_is_looked_at(store: Store, tmp_path: Path) -> None:
    fill(place_of(store, tmp_path))
    query = "SELECT min(at), max(at), count(*) FILTER (WHERE type = 2) FROM events"
    first, last, rotated = store.read(lambda connection: connection.exec_driver_sql(query).one())
    idle = store.read(
        lambda connection: connection.exec_driver_sql("SELECT min(idle_until) FROM families").scalar_one()
    )
    now = time.time_ns() // 1000
    assert first < last <= now < idle
    assert 75 == rotated


def test_whoever_knows_the_plan_can_make_the_tokens(store: Store) -> None:
    now = time.time_ns() // 1000
    plan = demo_bulk.Plan(8, now - 10_000_000, now, b"seed", Policy(), [Presence("192.0.2.1", "curl/8.0")], "!")
    assert 2 + 8 + 6 == demo_bulk.write(store, MASTER, plan, 0)
    for number, generation in ((0, 1), (1, 2)):
        known = plan.token(number, MASTER.current)
        text = token.mint(known, MASTER.refresh_key(MASTER.current) or b"")
        (state,) = store.read(partial(load, state=Family, streams=[known.family]))
        assert known == token.read(text, MASTER.refresh_key)
        assert (known.nonce_hash, generation, plan.subject(number)) == (state.nonce, state.generation, state.subject)
        assert known.generation == state.generation
