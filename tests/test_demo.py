"""The demonstration: a ledger like any other, with all that a dashboard has to show, and a theft of this hour."""

import asyncio
import ipaddress
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import app
import cli
from core import demo, demo_world, masters
from core.actions import self_test
from core.demo_cast import LAST_THEFTS, Size
from core.demo_world import DAY, HOUR, MINUTE
from core.key_source import Given
from core.keys import KeyPolicy
from core.passwords import Hasher
from core.policy import Policy
from core.presence import Presence
from core.start import StartError
from core.verdict import Verdict
from events import filters, heads, private
from events.families import FamilyReader
from events.family import LIVING, DashboardExported
from events.fields import EVENTS, FAMILIES
from events.store import Store
from tests import tables
from tests.check import Event, check, events_of, family_rows
from tests.conftest import CHEAP, MASTER_KEY, Made, MakeSettings, running, visiting
from tests.databases import Stores
from tests.visitors import sign_in

SIZE = Size(families=100, days=10, seed=3)
EXPECTED = set(
    "token.issued token.rotated token.retried token.reuse_detected token.refused family.revoked family.expired "
    "family.context_changed subject.registered subject.password_changed subject.login_failed subject.login_blocked "
    "subject.login_succeeded subject.roles_changed "
    "subject.disabled client.registered key.created key.activated key.retired ledger.started "
    "action.planned action.targeted action.started action.finished key.revoked "
    "dashboard.looked_up dashboard.previewed dashboard.exported".split()
)


def place_in(folder: Path, store: Store) -> demo.Place:
    """An empty ledger, with keys of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    master = masters.fitting(store, folder, Given(MASTER_KEY))
    return demo.Place(store, folder / "checkpoints", master, Policy(), KeyPolicy.rotating("EdDSA", 90 * 86_400))


def fill(place: demo.Place, end: int, size: Size = SIZE) -> demo.Filled:
    return asyncio.run(demo.fill(place, size, end, lambda _hours: None, Hasher(**CHEAP)))


class Told:
    """A filled ledger and when its story ended."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.place = place_in(folder, store)
        self.store = store
        self.end = time.time_ns() // 1000
        self.filled = fill(self.place, self.end)
        self.events = events_of(store)

    def of(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Told:
    """One for all tests here; none of them writes to it."""
    return Told(tmp_path_factory.mktemp("demo"), stores.fresh())


@pytest.fixture
async def serving(
    told: Told, tmp_path: Path, store: Store, stores: Stores, make_settings: MakeSettings
) -> AsyncIterator[app.Service]:
    """The service on a copy of it."""
    stores.replace(store, told.store)
    shutil.copytree(told.place.checkpoints, tmp_path / "checkpoints")
    async with running(make_settings(admin_password=None, master_key=MASTER_KEY)) as started:
        yield started


def test_it_is_a_ledger_like_any_other(told: Told) -> None:
    check(told.store, told.place.checkpoints, [told.filled.password])
    assert told.filled.events == len(told.events)


def test_it_has_something_of_everything(told: Told) -> None:
    assert set() == EXPECTED - {event.name for event in told.events}


def test_the_last_theft_is_of_this_hour_and_nobody_has_seen_to_it(told: Told) -> None:
    theft = told.of("token.reuse_detected")[-1]
    assert abs(told.end - LAST_THEFTS[0] - theft.at) < MINUTE
    assert [] == [event for event in told.of("action.started") if event.at > theft.at]
    assert [event for event in told.of("token.refused") if event.stream == theft.stream and event.at > theft.at]


def test_thefts_are_of_both_kinds_and_from_far_away(told: Told) -> None:
    kinds = Counter(b'"kind":"one_behind"' in event.body for event in told.of("token.reuse_detected"))
    assert {True, False} == set(kinds)
    assert all(event.client in {"web", "ios", "android"} for event in told.of("token.reuse_detected"))


def test_every_theft_ended_its_session(told: Told) -> None:
    stolen = {event.stream for event in told.of("token.reuse_detected")}
    assert {"reuse"} == {family_rows(told.store)[stream].ended_reason for stream in stolen}


def test_it_goes_on_until_now_and_not_beyond(told: Told) -> None:
    assert told.end - SIZE.days * DAY <= told.events[0].at < told.end - SIZE.days * DAY + MINUTE
    assert told.end - HOUR < told.events[-1].at <= told.end


def test_each_command_has_a_time_of_its_own(told: Told) -> None:
    rotations = told.of("token.rotated")
    assert len({event.at for event in rotations}) > 0.99 * len(rotations)


def test_staff_ended_the_sessions_of_a_raid_as_one_action(told: Told) -> None:
    [planned] = told.of("action.planned")
    ended = [event for event in told.of("family.revoked") if event.action == planned.stream]
    assert len(ended) > 4
    assert {event.actor for event in ended} == {planned.actor}


def test_whoever_ended_something_had_signed_in_looked_it_up_and_seen_the_preview(told: Told) -> None:
    looked = [*told.of("dashboard.looked_up")]
    previewed = [*told.of("dashboard.previewed"), *told.of("action.planned")]
    sessions = {event.stream for event in told.of("token.issued") if event.client == "dashboard"}
    unseen = [
        started
        for started in told.of("action.started")
        for before in (looked, previewed)
        if not [one for one in before if one.actor == started.actor and 0 <= started.at - one.at < 15 * MINUTE]
    ]

    assert len(told.of("action.started")) > 5
    assert [] == unseen
    assert {event.stream for event in looked} <= sessions


def test_what_staff_took_out_is_a_query_that_can_be_asked(told: Told) -> None:
    exported = "SELECT data FROM event_private JOIN events USING (position) WHERE type = ? AND kind = ?"
    typed = tables.rows(told.store, exported, DashboardExported.CODE, private.ACCOUNT)
    queries = [private.decode_account(data).note for (data,) in typed]
    assert len(queries) == len(told.of("dashboard.exported"))
    assert [] == [query for query in queries if isinstance(filters.parse(query, EVENTS), filters.Mistake)]


def test_nobody_has_an_address_that_could_be_somebodys(told: Told) -> None:
    packed = tables.rows(told.store, "SELECT DISTINCT ip FROM event_private WHERE ip IS NOT NULL")
    assert len(packed) > 50
    assert [] == [address for (ip,) in packed if (address := ipaddress.ip_address(ip)).is_global]


def test_a_thief_never_has_the_device_of_the_owner() -> None:
    owners = {*demo_world.BROWSERS, *(phone.agent for phone in demo_world.PHONES)}
    devices = {Presence(agent=agent).device for agent in owners}
    assert set() == devices & {Presence(agent=agent).device for agent in demo_world.STRANGERS}


async def test_sessions_of_the_demonstration_can_be_used(serving: app.Service, told: Told) -> None:
    reader, families = FamilyReader(serving.engine), family_rows(told.store).values()
    usable = [one for one in families if one.status == LIVING and one.idle_until > told.end + HOUR]
    assert len(usable) > 10
    states = await reader.all_seen([one.id for one in usable])
    assert {Verdict.ROTATED} == {self_test(states, one, serving.defaults) for one in usable}


def test_what_had_to_expire_has_expired(told: Told) -> None:
    late = [one for one in family_rows(told.store).values() if one.living and one.idle_until < told.end - MINUTE]
    assert [] == late


def test_what_staff_selected_is_a_query_that_can_be_asked(told: Told) -> None:
    [selected] = told.of("action.planned")
    [(query,)] = tables.rows(told.store, "SELECT query FROM actions WHERE id = ?", selected.stream)
    assert not isinstance(filters.parse(query, FAMILIES), filters.Mistake)


@pytest.mark.parametrize("name", ["admin", "rosa", "viktor", ""])
async def test_everybody_signs_in_with_the_password_that_was_shown(serving: app.Service, told: Told, name: str) -> None:
    async with visiting(serving) as http:
        assert "access_token" in await sign_in(http, name or told.filled.somebody, told.filled.password)


def test_the_same_seed_and_end_give_the_same_story(tmp_path: Path, stores: Stores, made: Made) -> None:
    end, size = time.time_ns() // 1000, Size(families=50, days=7, seed=1)
    stories = []
    for name in ("one", "two"):
        place = place_in(tmp_path / name, made(stores.fresh()))
        fill(place, end, size)
        stories.append([(event.at, event.stream, event.version, event.name) for event in events_of(place.ledger)])
    assert stories[0] == stories[1]


def test_a_ledger_with_a_past_is_refused(told: Told) -> None:
    with pytest.raises(StartError, match=f"holds {told.filled.events} events"):
        fill(told.place, told.end)
    assert told.filled.events == len(events_of(told.store))


def test_a_folder_with_the_checkpoint_of_another_ledger_is_refused(told: Told, tmp_path: Path, store: Store) -> None:
    other = place_in(tmp_path / "other", store)._replace(checkpoints=told.place.checkpoints)
    with pytest.raises(StartError, match="checkpoint of another ledger"):
        fill(other, told.end)
    assert [] == events_of(store)


def test_the_command_fills_and_then_refuses(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_DATABASE_URL", tables.url_of(store))
    monkeypatch.setenv("LEDGER_MASTER_KEY", MASTER_KEY)
    monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LEDGER_CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    arguments = ["demo", "--families", "50", "--days", "7"]

    first = CliRunner().invoke(cli.main, arguments)
    second = CliRunner().invoke(cli.main, arguments)
    proof = CliRunner().invoke(cli.main, ["verify"])

    assert (0, 2, 0) == (first.exit_code, second.exit_code, proof.exit_code), first.output
    assert "for looking only" in first.output
    assert "goes into an empty one only" in second.output
    assert store.read(heads.size) > 500
