"""Another device, network or country: each policy, each change, each token; as rules, over HTTP, on the dashboard."""

from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from hypothesis import given as whatever
from hypothesis import settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

import app
from core import context, family
from core.actions import self_test
from core.presence import Presence
from core.token import Token
from core.verdict import Tags, TagsFor, Verdict
from events import client, ids, schema
from events.client import OBSERVE, REQUIRE_LOGIN, REVOKE, ClientRegistered
from events.decision import Change, Decision, Streams
from events.family import LIVING
from events.store import Store
from tests.browsers import Browser
from tests.check import check
from tests.conftest import MakeSettings, running, visiting
from tests.given import (
    FAMILY,
    NONCE,
    Past,
    a_client,
    a_family,
    a_refresh,
    a_subject,
    fields_of,
    given,
    summary,
)
from tests.test_geography import database
from tests.visitors import facts, refresh, sign_in, story, visiting_from

WISHES = (OBSERVE, REQUIRE_LOGIN, REVOKE)
CHANGES = ("device", "network", "country")
TOKENS = ("current", "retry", "used")

ROTATED = (Verdict.ROTATED, ["family.context_changed", "token.rotated"])
RETRIED = (Verdict.RETRIED, ["token.retried"])
REFUSED = (Verdict.REFUSED, ["token.refused"])
ENDED = (Verdict.REVOKED, ["family.revoked"])
REUSED = (Verdict.REUSED, ["token.reuse_detected", "family.revoked"])
TABLE = {
    (OBSERVE, "current"): ROTATED,
    (REQUIRE_LOGIN, "current"): REFUSED,
    (REVOKE, "current"): ENDED,
    (OBSERVE, "retry"): RETRIED,
    (REQUIRE_LOGIN, "retry"): REFUSED,
    (REVOKE, "retry"): ENDED,
}
"""A used token is reused whatever the policy; and the token before, from another device, is a used one and no retry."""
EVERY = [*product(WISHES, CHANGES, TOKENS)]


def expected(wish: str, change: str, presented: str) -> tuple[Verdict, list[str]]:
    no_retry = presented == "used" or (change, presented) == ("device", "retry")
    return REUSED if no_retry else TABLE[wish, presented]


# As rules


def seen(device: str = "laptop", network: str = "home", country: str = "DE") -> TagsFor:
    """Tags that say under which key they were made."""
    return lambda number, _owner: Tags(f"{device}@{number}", f"{network}@{number}", country and f"{country}@{number}")


ELSEWHERE = {
    "device": seen(device="phone"),
    "network": seen(network="cafe"),
    "country": seen(network="hotel", country="FR"),
}


def begun(**policy: Any) -> Past:
    return given(a_client(**policy), a_subject(), a_family(country_tag="DE@1"))


def used(past: Past, generation: int, after: float, tags: TagsFor = ELSEWHERE["device"], **more: Any) -> Past:
    return past.and_then(family.refresh(a_refresh(generation, tags=tags, **more)), after)


def at_home(past: Past, generation: int, after: float, **more: Any) -> Past:
    return used(past, generation, after, seen(), **more)


@pytest.mark.parametrize(("wish", "change", "presented"), EVERY)
def test_each_policy_to_each_change_of_each_token_by_the_rules(wish: str, change: str, presented: str) -> None:
    past = at_home(begun(**{f"on_{change}_change": wish}), 1, 60)
    after = {"current": 65, "retry": 65, "used": 180}[presented]
    generation = 2 if presented == "current" else 1

    then = past.when(family.refresh(a_refresh(generation, tags=ELSEWHERE[change])), after)

    assert expected(wish, change, presented) == summary(then)
    if summary(then)[1] in (["token.refused"], ["family.revoked"]):
        came = {"device": "device", "network": "network", "country": "network country"}[change]
        assert {"reason": f"{change}_changed", "changed": came} == fields_of(then.facts[0], "reason", "changed")


WITH_COUNTRY = st.builds(
    seen, st.sampled_from(["laptop", "phone"]), st.sampled_from(["home", "cafe"]), st.sampled_from(["", "DE", "FR"])
)
STEPS = st.lists(
    st.tuples(WITH_COUNTRY, st.integers(0, 3), st.sampled_from([1, 9, 11, 600]), st.sampled_from([1, 7])),
    min_size=1,
    max_size=7,
)


@settings(max_examples=150)
@whatever(st.tuples(*[st.sampled_from(WISHES)] * 3), STEPS)
def test_under_every_policy_a_used_token_is_a_reuse(wishes: tuple[str, ...], steps: list[Any]) -> None:
    past = begun(**{f"on_{change}_change": wish for change, wish in zip(CHANGES, wishes, strict=True)})
    after, rotated = 0.0, 0.0
    for tags, behind, seconds, key in steps:
        before, after = past.family(), after + seconds
        generation = max(1, before.generation - behind)
        command = a_refresh(generation, tags=tags, key=key, token=Token(before.key, FAMILY, NONCE, generation))
        then = past.when(family.refresh(command), after)
        retry = (
            generation == before.generation - 1
            and after - rotated <= 10
            and tags(before.key, FAMILY).device == before.device_tag
        )
        if before.status == LIVING and generation < before.generation and not retry:
            assert REUSED == summary(then)
        elif before.status == LIVING:
            assert Verdict.REUSED != then.verdict.verdict
        past = past.and_then(family.refresh(command), after)
        rotated = after if then.verdict.verdict is Verdict.ROTATED else rotated


def test_to_end_a_session_goes_before_to_refuse_it() -> None:
    past = at_home(begun(on_device_change=REQUIRE_LOGIN, on_country_change=REVOKE), 1, 60)

    then = past.when(family.refresh(a_refresh(2, tags=seen("phone", "hotel", "FR"))), 70)

    assert ENDED == summary(then)
    assert {"reason": "country_changed", "changed": "device network country"} == fields_of(
        then.facts[0], "reason", "changed"
    )


def test_who_was_refused_is_welcome_where_the_family_was() -> None:
    """A change and its way back: a refusal leaves the family at the place of its last good use."""
    past = used(begun(on_country_change=REQUIRE_LOGIN), 1, 60, ELSEWHERE["country"])

    assert LIVING == past.family().status
    assert (Verdict.ROTATED, ["token.rotated"]) == summary(past.when(family.refresh(a_refresh(1, tags=seen())), 70))


def test_where_it_is_let_be_the_way_back_is_a_change_as_well() -> None:
    past = used(begun(), 1, 60, ELSEWHERE["country"])
    back = past.when(family.refresh(a_refresh(2, tags=seen())), 120)

    assert ROTATED == summary(back)
    assert {"changed": "network country"} == fields_of(back.facts[0], "changed")


def test_a_change_first_seen_at_a_retry_counts_at_the_rotation_after_it() -> None:
    past = at_home(begun(), 1, 60)
    retry = past.when(family.refresh(a_refresh(1, tags=ELSEWHERE["country"])), 65)
    past = used(past, 1, 65, ELSEWHERE["country"])

    assert {"network_tag": "hotel@1", "country_tag": "FR@1"} == fields_of(retry.facts[0], "network_tag", "country_tag")
    assert ("DE@1", "") == (past.family().country_tag, past.family().changed)
    next_one = past.when(family.refresh(a_refresh(2, tags=ELSEWHERE["country"])), 200)
    assert ROTATED == summary(next_one)
    assert {"changed": "network country"} == fields_of(next_one.facts[0], "changed")


# What is not known has not changed


@pytest.mark.parametrize("wish", WISHES)
def test_a_family_from_before_there_was_a_database_learns_its_country(wish: str) -> None:
    before = given(a_client(on_country_change=wish), a_subject(), a_family())
    learned = before.when(family.refresh(a_refresh(1, tags=seen())), 60)
    after = at_home(before, 1, 60)

    assert (Verdict.ROTATED, ["token.rotated"]) == summary(learned)
    assert "DE@1" == after.family().country_tag
    assert "" == after.family().changed
    assert TABLE[wish, "current"] == summary(after.when(family.refresh(a_refresh(2, tags=ELSEWHERE["country"])), 120))


def test_a_country_is_learned_with_a_move_as_well() -> None:
    before = given(a_client(on_country_change=REVOKE), a_subject(), a_family())
    moved = before.when(family.refresh(a_refresh(1, tags=ELSEWHERE["country"])), 60)

    assert ROTATED == summary(moved)
    assert {"changed": "network", "country_tag": "FR@1"} == fields_of(moved.facts[0], "changed", "country_tag")
    assert {"country_tag": ""} == fields_of(moved.facts[1], "country_tag")  # told once


@pytest.mark.parametrize("wish", WISHES)
def test_an_address_of_no_known_country_is_let_be_and_forgets_nothing(wish: str) -> None:
    past = begun(on_country_change=wish)
    nowhere = past.when(family.refresh(a_refresh(1, tags=seen(network="sea", country=""))), 60)
    after = used(past, 1, 60, seen(network="sea", country=""))

    assert ROTATED == summary(nowhere)
    assert {"changed": "network"} == fields_of(nowhere.facts[0], "changed")
    assert "DE@1" == after.family().country_tag
    abroad = after.when(family.refresh(a_refresh(2, tags=ELSEWHERE["country"])), 120)
    assert TABLE[wish, "current"] == summary(abroad)


@pytest.mark.parametrize("wish", WISHES)
def test_the_same_network_in_another_country_is_a_new_database_and_no_change(wish: str) -> None:
    past = begun(on_country_change=wish)
    then = past.when(family.refresh(a_refresh(1, tags=seen(country="AT"))), 60)

    assert (Verdict.ROTATED, ["token.rotated"]) == summary(then)
    assert "AT@1" == used(past, 1, 60, seen(country="AT")).family().country_tag


@pytest.mark.parametrize("wish", WISHES)
def test_a_new_master_key_is_no_new_country(wish: str) -> None:
    past = at_home(begun(on_country_change=wish), 1, 60, key=7)

    assert (7, "DE@7") == (past.family().key, past.family().country_tag)
    again = a_refresh(2, tags=seen(), key=7, token=Token(7, FAMILY, NONCE, 2))
    assert (Verdict.ROTATED, ["token.rotated"]) == summary(past.when(family.refresh(again), 120))


def test_a_country_under_the_key_of_before_is_forgotten_rather_than_compared() -> None:
    past = used(begun(on_country_change=REVOKE), 1, 60, seen(country=""), key=7)
    again = a_refresh(2, tags=ELSEWHERE["country"], key=7, token=Token(7, FAMILY, NONCE, 2))

    assert "" == past.family().country_tag
    assert ROTATED == summary(past.when(family.refresh(again), 120))


def test_a_look_at_a_token_says_what_a_refresh_would() -> None:
    past = begun(on_country_change=REQUIRE_LOGIN)
    then = past.when(family.check(a_refresh(1, tags=ELSEWHERE["country"])), 60)

    assert (Verdict.REFUSED, []) == summary(then)


# What counts as another device

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{} Safari/537.36"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS {0}_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/{0}.1 Mobile/15E148 Safari/604.1"
)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:{0}) Gecko/20100101 Firefox/{0}"


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (WINDOWS.format("147.0.0.0"), WINDOWS.format("148.0.7204.12"), ()),
        (IPHONE.format(18), IPHONE.format(26), ()),
        (FIREFOX.format("140.0"), FIREFOX.format("141.0"), ()),
        ("example-app/1.4 (build 7)", "example-app/2.0 (build 9)", ()),
        (WINDOWS.format("147.0.0.0"), WINDOWS.format("147.0.0.0") + " Edg/147.0", ("device",)),
        (WINDOWS.format("147.0.0.0"), FIREFOX.format("140.0"), ("device",)),
        (WINDOWS.format("147.0.0.0"), IPHONE.format(26), ("device",)),
        (IPHONE.format(26), "", ("device",)),
        ("example-app/1.4", "python-requests/2.32.5", ("device",)),
    ],
)
def test_another_browser_or_system_is_another_device_and_an_update_is_none(
    before: str, after: str, changes: tuple[str, ...]
) -> None:
    tags = [
        context.tags_of(Presence("203.0.113.7", agent), lambda _number: b"k" * 32, lambda _ip: "DE")(1, FAMILY)
        for agent in (before, after)
    ]
    state = given(
        a_client(),
        a_subject(),
        a_family(device_tag=tags[0].device, network_tag=tags[0].network, country_tag=tags[0].country),
    ).family()

    assert changes == context.changed(tags[1], state)


# Over HTTP, with a real database of countries

HOME, CAFE, ABROAD, AT_SEA = "203.0.113.7", "198.51.100.9", "192.0.2.44", "100.72.0.9"
AGENTS = {"laptop": FIREFOX.format("140.0"), "phone": IPHONE.format(26)}


class Elsewhere(NamedTuple):
    """Where somebody is with what."""

    address: str = HOME
    device: str = "laptop"


PLACES = {"device": Elsewhere(device="phone"), "network": Elsewhere(CAFE), "country": Elsewhere(ABROAD)}
CODES = {
    Verdict.ROTATED: (200, None),
    Verdict.RETRIED: (200, None),
    Verdict.REFUSED: (401, "refresh_refused"),
    Verdict.REVOKED: (401, "session_revoked"),
    Verdict.REUSED: (401, "token_reused"),
}


@pytest.fixture
def countries(tmp_path: Path) -> Path:
    records = {"203_0_113_0": "DE", "198_51_100_0": "DE", "192_0_2_0": "FR"}
    return database(
        tmp_path / "countries.mmdb", **{net: {"country": {"iso_code": code}} for net, code in records.items()}
    )


async def add_client(service: app.Service, name: str, **policy: Any) -> None:
    stream = client.stream_of(name)
    fact = ClientRegistered(actor="cli", client=name, **policy)
    streams = Streams(clients=frozenset((stream,)))
    await service.ledger.submit(streams, lambda _states, _moment: Decision(None, (Change(stream, fact),)))


async def refreshed(service: app.Service, place: Elsewhere, token: str, client_id: str) -> httpx.Response:
    headers = {"User-Agent": AGENTS[place.device]}
    async with visiting_from(service, place.address, headers=headers) as http:
        return await refresh(http, token, client_id=client_id)


async def begun_at_home(service: app.Service, client_id: str) -> tuple[str, list[str]]:
    """A family of three generations, and its tokens."""
    async with visiting_from(service, HOME, headers={"User-Agent": AGENTS["laptop"]}) as http:
        first = await sign_in(http, client_id=client_id)
        tokens = [first["refresh_token"]]
        for _ in range(2):
            tokens.append((await refresh(http, tokens[-1], client_id=client_id)).json()["refresh_token"])
    return first["family_id"], tokens


async def test_each_policy_to_each_change_of_each_token_over_http(make_settings: MakeSettings, countries: Path) -> None:
    told = {}
    async with running(make_settings(geo_databases=(countries,), rate_limits=False)) as service:
        await service.clients.refresh()
        for wish, change in product(WISHES, CHANGES):
            await add_client(service, f"{wish}-{change}", **{f"on_{change}_change": wish})
        await service.clients.refresh()
        for wish, change, presented in EVERY:
            name = f"{wish}-{change}"
            family_id, tokens = await begun_at_home(service, name)
            begun_with = len(await story(service, family_id))
            shown = {"current": tokens[2], "retry": tokens[1], "used": tokens[0]}[presented]
            answer = await refreshed(service, PLACES[change], shown, name)
            wrong = None if answer.status_code == 200 else answer.json()["code"]
            types = (await story(service, family_id))[begun_with:]
            told[wish, change, presented] = (answer.status_code, wrong), types

    assert {row: (CODES[expected(*row)[0]], expected(*row)[1]) for row in EVERY} == told
    check(service.store)


async def test_a_phone_between_wifi_and_mobile_is_never_troubled_and_the_log_knows_it(
    make_settings: MakeSettings, countries: Path
) -> None:
    async with running(make_settings(geo_databases=(countries,))) as service:
        await add_client(service, "mobile", on_country_change=REVOKE, on_device_change=REVOKE)
        await service.clients.refresh()
        family_id, [*_, token] = await begun_at_home(service, "mobile")
        for address in (AT_SEA, CAFE, AT_SEA, HOME):
            answer = await refreshed(service, Elsewhere(address), token, "mobile")
            assert 200 == answer.status_code
            token = answer.json()["refresh_token"]
        events = await facts(service, family_id)

    assert ["network"] * 4 == [one.fact.changed for one in events if one.fact.TYPE == "family.context_changed"]  # type: ignore[attr-defined]
    check(service.store)


async def test_without_a_database_a_country_never_changes(make_settings: MakeSettings) -> None:
    async with running(make_settings()) as service:
        await add_client(service, "strict", on_country_change=REVOKE)
        await service.clients.refresh()
        family_id, [*_, token] = await begun_at_home(service, "strict")
        answer = await refreshed(service, PLACES["country"], token, "strict")
        bodies = [one.body for one in await facts(service, family_id)]

    assert 200 == answer.status_code
    assert not any(b"country" in body for body in bodies)


async def test_no_country_and_no_address_is_in_the_log_only_tags_of_one_family(
    make_settings: MakeSettings, countries: Path
) -> None:
    async with running(make_settings(geo_databases=(countries,))) as service, visiting(service) as http:
        first, second = [await sign_in(http), await sign_in(http)]
        bodies = [(await facts(service, one["family_id"]))[0] for one in (first, second)]

    tags = [one.fact.country_tag for one in bodies]  # type: ignore[attr-defined]
    assert 2 == len({*tags})
    assert all(len(tag) == 11 and b'"DE"' not in one.body for tag, one in zip(tags, bodies, strict=True))


# On the dashboard


@pytest.fixture
async def told_apart(make_settings: MakeSettings, countries: Path) -> Any:
    """A family whose policy observes networks, refuses countries and ends at devices, and all three happened."""
    async with running(make_settings(geo_databases=(countries,))) as service, visiting(service) as http:
        await add_client(service, "bank", on_country_change=REQUIRE_LOGIN, on_device_change=REVOKE)
        await service.clients.refresh()
        family_id, [*_, token] = await begun_at_home(service, "bank")
        moved = await refreshed(service, PLACES["network"], token, "bank")
        token = moved.json()["refresh_token"]
        assert 401 == (await refreshed(service, PLACES["country"], token, "bank")).status_code
        assert 401 == (await refreshed(service, Elsewhere(CAFE, "phone"), token, "bank")).status_code
        browser = Browser(http)
        await browser.signs_in()
        yield service, browser, family_id


async def test_the_dashboard_tells_observed_refused_and_ended_apart(told_apart: Any) -> None:
    _, browser, family_id = told_apart
    page = (await browser.opens(f"/dashboard/families/{family_id}")).text
    twin = (await browser.opens(f"/dashboard/families/{family_id}?format=json")).json()

    for said in (
        "Used from another network than before: observed, not refused.",
        "Generation 4 refused, because it came from another network and country.",
        "Family ended, because it was used from another device.",
        "Network 203.0.113.0/24 → 198.51.100.0/24: observed.",
        "Network 198.51.100.0/24 → 192.0.2.0/24, country DE → FR: refused.",
        "Device Firefox 140 · Linux → Mobile Safari 26 · iOS: ended.",
        "new network",
        "new country +1",
        "new device",
        "Changes of device, network or country: 1 observed, 1 refused, 1 ended.",
    ):
        assert said in page, said
    assert ["observed", "refused", "ended"] == [move["answer"] for move in twin["moves"]]
    assert [
        {"what": "network", "before": "198.51.100.0/24", "after": "192.0.2.0/24"},
        {"what": "country", "before": "DE", "after": "FR"},
    ] == twin["moves"][1]["changes"]
    assert ["device", "network", "country"] == twin["context_changes"]


async def test_families_and_events_are_found_by_what_changed(told_apart: Any) -> None:
    _, browser, family_id = told_apart
    types = {"device": ["family.revoked"], "network": ["token.refused", "family.context_changed"]}
    for what in CHANGES:
        families = (await browser.opens(f"/dashboard/families?q=has:{what}_change&format=json")).json()
        events = (await browser.opens(f"/dashboard/events?q=changed:{what}&format=json")).json()
        assert [family_id] == [one["family"] for one in families["families"]]
        assert types.get(what, ["token.refused"]) == [one["type"] for one in events["events"]]
    others = (await browser.opens("/dashboard/families?q=-has:network_change&format=json")).json()["families"]
    assert family_id not in [one["family"] for one in others]
    assert "other country" in (await browser.opens("/dashboard/families")).text


async def test_what_was_refused_or_ended_abroad_is_on_the_overview_once_for_each_family(
    make_settings: MakeSettings, countries: Path
) -> None:
    async with running(make_settings(geo_databases=(countries,))) as service, visiting(service) as http:
        await add_client(service, "bank", on_country_change=REQUIRE_LOGIN)
        await add_client(service, "vault", on_country_change=REVOKE, on_network_change=REQUIRE_LOGIN)
        await service.clients.refresh()
        browser = Browser(http)
        await browser.signs_in()
        assert "no session was refused in another country" in (await browser.opens("/dashboard")).text
        families = []
        for name in ("bank", "vault"):
            family_id, [*_, token] = await begun_at_home(service, name)
            families.append(family_id)
            for _ in range(2):
                await refreshed(service, PLACES["country"], token, name)
        await refreshed(service, PLACES["network"], (await begun_at_home(service, "vault"))[1][-1], "vault")
        alerts = (await browser.opens("/dashboard?format=json")).json()["alerts"]

    assert [("family.revoked", families[1]), ("token.refused", families[0])] == [
        (one["type"], one["family"]) for one in alerts
    ]


async def test_a_policy_about_countries_without_a_database_is_said_where_it_is_made_and_at_the_start(
    make_settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(make_settings()) as service, visiting(service) as http:
        await add_client(service, "bank", on_country_change=REQUIRE_LOGIN)
        browser = Browser(http)
        await browser.signs_in()
        assert "never: no database of countries is set" in (await browser.opens("/dashboard/clients/bank")).text
    assert "no_database_of_countries" not in capsys.readouterr().out
    async with running(make_settings()):
        pass
    assert "no_database_of_countries" in capsys.readouterr().out


async def test_the_self_test_of_a_receipt_is_not_fooled_by_a_policy(
    make_settings: MakeSettings, countries: Path
) -> None:
    """It asks with the family's own context, so that nothing but the kill can refuse the newest token."""
    strict = dict.fromkeys((f"on_{change}_change" for change in CHANGES), REVOKE)
    async with running(make_settings(geo_databases=(countries,))) as service, visiting(service) as http:
        await add_client(service, "strict", **strict)
        await service.clients.refresh()
        family_id, _ = await begun_at_home(service, "strict")
        assert Verdict.ROTATED == await asked_now(service, family_id)
        browser = Browser(http)
        await browser.signs_in()
        assert 303 == (await browser.revokes(family_id)).status_code
        assert Verdict.REVOKED == await asked_now(service, family_id)


async def asked_now(service: app.Service, family_id: str) -> Verdict:
    stream = ids.parse("fam", family_id)
    states = await service.family_reader.all_seen((stream,))
    state = states.family(stream)
    assert state is not None
    return self_test(states, state, service.defaults)


async def test_families_of_before_remember_what_changed_of_them(make_settings: MakeSettings, store: Store) -> None:
    async with running(make_settings(rate_limits=False)) as service:
        for places in ((), ("network",), ("device",), ("device", "network", "device"), ("network", "network")):
            _, [*_, token] = await begun_at_home(service, "web")
            for place in places:
                token = (await refreshed(service, PLACES[place], token, "web")).json()["refresh_token"]
    assert store.transact(_migrated_again) == ["", "network", "device", "device network", "network"]
    check(store)


def _migrated_again(connection: Connection) -> list[str]:
    """Take the columns away, and let the migration make and fill them."""
    for table, column in (("families", "changed"), ("families", "country_tag"), ("clients", "on_country_change")):
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")
    with Operations.context(MigrationContext.configure(connection)):
        import_module("events.migrations.versions.0009_countries").upgrade()
    return list(connection.execute(select(schema.families.c.changed).order_by(schema.families.c.id)).scalars())
