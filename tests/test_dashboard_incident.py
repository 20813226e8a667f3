"""The incident at the dashboard: find it, understand it, end it, see that it is dead; one family, one person, many."""

import asyncio
import ipaddress
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

import app
from core.action import Selection
from dashboard import lineage, network, source, story
from dashboard.rows import Names, row_of
from events import family, ids
from events.decision import Origin
from events.history import Event
from events.pivots import PivotReader
from events.private import Account, Context
from tests.browsers import BROWSER, Ahead, Browser, Seen, a_theft, ahead, size, status_of
from tests.conftest import PASSWORD, visiting
from tests.visitors import PAGE, refresh, sign_in, visiting_from

__all__ = ("ahead",)
"""A fixture that pytest looks for here."""

LAST = ids.to_text("fam", b"\0" + b"\xff" * 15)
"""Begins after every other."""
THIEF = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0.0.0 Safari/537.36"}


@pytest.fixture
async def browser(service: app.Service) -> AsyncIterator[Browser]:
    """Somebody's browser, not signed in yet."""
    async with visiting(service) as http:
        yield Browser(http)


@pytest.fixture
async def staff(service: app.Service) -> app.Service:
    """The service with a viewer, a responder and two users."""
    people = (("vera", "viewer"), ("bob", "responder"), ("alice", ""), ("charlie", ""))
    for name, roles in people:
        await service.subjects.register(name, PASSWORD, roles, "cli")
    return service


async def a_session(service: app.Service, name: str = "alice") -> dict[str, Any]:
    async with visiting(service) as http:
        return await sign_in(http, name)


async def sessions(service: app.Service, count: int, name: str = "alice") -> list[str]:
    async with visiting(service) as http:
        return [(await sign_in(http, name))["family_id"] for _ in range(count)]


async def types(service: app.Service) -> list[str]:
    return [event.fact.TYPE for event in await service.history.after(-1, 5000)]


async def looks_up(browser: Browser, thing: str) -> httpx.Response:
    await browser.opens("/dashboard/lookup")
    answer = await browser.sends("/dashboard/lookup", {"csrf": browser.csrf, "thing": thing})
    browser.page = answer.text
    return answer


async def confirms(browser: Browser, preview: httpx.Response, **fields: Any) -> httpx.Response:
    """Send the form of a preview, with its hidden fields."""
    browser.page = preview.text
    given: dict[str, Any] = {"reason": "stolen_token", "ticket": "INC-4711", "note": ""}
    return await browser.sends(str(preview.request.url.path), browser.hidden | given | fields)


# --- look-up ---


async def test_whatever_somebody_holds_leads_to_its_page(staff: app.Service, browser: Browser) -> None:
    first = await a_session(staff)
    async with visiting(staff) as http:
        second = (await refresh(http, first["refresh_token"])).json()
        request = (await refresh(http, second["refresh_token"])).headers["x-request-id"]
    (event,) = await staff.history.of_stream(ids.parse("fam", first["family_id"]), 0, 1)
    fact = event.fact
    assert isinstance(fact, family.TokenIssued)
    page = f"/dashboard/families/{first['family_id']}"
    await browser.signs_in()

    found = {
        thing: (await looks_up(browser, thing)).headers["location"]
        for thing in (
            first["family_id"],
            first["refresh_token"],
            first["access_token"],
            " ALICE ",
            "203.0.113.7",
            "203.0.113.9/24",
            f"#{event.position}",
            fact.jti,
            request,
            fact.subject,
        )
    }

    assert [
        page,
        f"{page}?held=1",
        page,
        f"/dashboard/subjects/{fact.subject}",
        "/dashboard/network/203.0.113.7",
        "/dashboard/network/203.0.113.0/24",
        f"/dashboard/events/{event.position}",
        f"/dashboard/events/{event.position}",
        f"/dashboard/events?q=request%3A{request}",
        f"/dashboard/subjects/{fact.subject}",
    ] == list(found.values())
    told = Seen((await browser.opens(f"{page}?held=1")).text).text
    assert "is generation 1 of this family: it was used up, 3 is current" in told


async def test_of_what_was_looked_up_only_a_fingerprint_is_kept(
    staff: app.Service, browser: Browser, capfd: pytest.CaptureFixture[str]
) -> None:
    token = (await a_session(staff))["refresh_token"]
    await browser.signs_in()
    answer = await looks_up(browser, token)

    (looked,) = [e for e in await staff.history.after(-1, 999) if isinstance(e.fact, family.DashboardLookedUp)]
    assert isinstance(looked.fact, family.DashboardLookedUp)
    assert ("refresh_token", 12) == (looked.fact.kind, len(looked.fact.fingerprint))
    kept = looked.body + str(looked.account).encode() + str(answer.headers).encode()
    assert token.encode()[8:40] not in kept
    assert token[8:40] not in "".join(capfd.readouterr())


async def test_what_nobody_knows_is_said_and_never_repeated(staff: app.Service, browser: Browser) -> None:
    await browser.signs_in("vera")
    unknown = {
        "nobody-of-that-name": (404, "Nothing in the ledger goes by this. A user is found by the whole login name"),
        "slr_" + "A" * 92: (422, "was not made here"),
        "eyJhbGciOiJFUzI1NiJ9.e30.AAAA": (422, "its signature is not ours"),
        "fam_aaa2eckibf4qj3rrszct2lzuza": (404, "Nothing in the ledger goes by this.</p>"),
        "#99999": (404, "Nothing in the ledger"),
        "  ": (422, "Enter or paste something"),
    }
    for thing, (status, said) in unknown.items():
        answer = await looks_up(browser, thing)

        assert status == answer.status_code, thing
        assert said in answer.text
        assert not thing.strip() or thing.strip() not in answer.text


async def test_what_can_be_several_things_is_left_to_the_reader(staff: app.Service, browser: Browser) -> None:
    async with visiting(staff) as http:
        request = (
            await http.post("/auth/login", json={"username": "alice", "password": PASSWORD, "mode": "body"})
        ).headers
    name = request["x-request-id"]
    await staff.subjects.register(name, PASSWORD, "", "cli")
    await browser.signs_in()

    answer = await looks_up(browser, name)

    assert 200 == answer.status_code
    assert "It can be several things" in answer.text
    assert 2 == len(re.findall(r'<li><a href="/dashboard/(?:subjects/sub_|events\?q=request)', answer.text))


# --- one family ---


async def test_a_preview_ends_nothing_and_is_remembered(staff: app.Service, browser: Browser) -> None:
    one, other = await sessions(staff, 2)
    await browser.signs_in("bob")
    page = await browser.opens(f"/dashboard/families/{one}/kill")
    told = Seen(page.text).text
    twin = (await browser.http.get(f"/dashboard/families/{one}/kill?format=json")).json()

    assert "living" == await status_of(staff, one)
    assert "Nothing has ended yet" in told
    assert "The other living family of alice" in told
    assert f'name="family" value="{other}" checked' in page.text
    assert {one, other} == {row["family"] for row in twin["living"]}
    assert 2 == (await types(staff)).count("dashboard.previewed")


@pytest.mark.parametrize(("scope", "ends"), [("family", 1), ("these", 2), ("everything", 4)])
async def test_what_is_chosen_ends_and_nothing_else(
    staff: app.Service, browser: Browser, scope: str, ends: int
) -> None:
    one, other, third = await sessions(staff, 3)
    bobs = (await sessions(staff, 1, "charlie"))[0]
    await browser.signs_in("bob")
    preview = await browser.opens(f"/dashboard/families/{one}/kill")
    late = (await sessions(staff, 1))[0]

    answer = await confirms(browser, preview, scope=scope, family=other)
    receipt = (await browser.http.get(f"{answer.headers['location']}?format=json")).json()

    statuses = [await status_of(staff, each) for each in (one, other, third, late)]
    assert ["revoked"] * ends + ["living"] * (4 - ends) == statuses
    assert "living" == await status_of(staff, bobs)
    assert (ends, int(scope == "everything")) == (receipt["ended"], receipt["began_since"])


@pytest.mark.parametrize(("scope", "gone"), [("family", 1), ("these", 4), ("everything", 4)])
async def test_a_user_with_many_sessions_is_killed_by_the_form_as_a_browser_sends_it(
    staff: app.Service, browser: Browser, scope: str, gone: int
) -> None:
    held = [await a_session(staff) for _ in range(4)]
    owner = await staff.subject_reader.named("alice")
    assert owner is not None
    await browser.signs_in("bob")
    preview = await browser.opens(f"/dashboard/families/{held[0]['family_id']}/kill?scope={scope}")
    boxes = re.findall(r'<input type="checkbox"[^>]* name="family" value="([^"]+)" checked', preview.text)

    done = await confirms(browser, preview, scope=scope, family=boxes)

    assert 3 == len(boxes)
    assert done.headers["location"].startswith("/dashboard/actions/"), done.text
    ended = [one for one in await staff.family_reader.of_subject(owner.id) if not one.living]
    assert gone == len(ended)


async def test_several_ticked_families_become_a_selection(staff: app.Service, browser: Browser) -> None:
    held = [await a_session(staff, name) for name in ("alice", "charlie", "alice")]
    await browser.signs_in("bob")
    await browser.opens("/dashboard/families")

    frozen = await browser.sends(
        "/dashboard/kills/new", {"csrf": browser.csrf, "family": [one["family_id"] for one in held]}
    )

    plan = (await browser.opens(f"{frozen.headers['location']}?format=json")).json()
    assert {one["family_id"] for one in held} == set(plan["families"])


async def test_a_kill_is_not_held_off_by_a_rotation(staff: app.Service, browser: Browser) -> None:
    first = await a_session(staff)
    await browser.signs_in("bob")
    preview = await browser.opens(f"/dashboard/families/{first['family_id']}/kill")
    async with visiting(staff) as http:
        second = (await refresh(http, first["refresh_token"])).json()
        answer = await confirms(browser, preview, scope="family")
        third = await refresh(http, second["refresh_token"])

    assert 303 == answer.status_code
    assert 401 == third.status_code


async def test_a_kill_that_would_hit_somebody_else_is_refused(staff: app.Service, browser: Browser) -> None:
    one = (await sessions(staff, 1))[0]
    charlies = (await sessions(staff, 1, "charlie"))[0]
    await browser.signs_in("bob")
    preview = await browser.opens(f"/dashboard/families/{one}/kill")

    answer = await confirms(browser, preview, scope="these", family=charlies)

    assert 409 == answer.status_code
    assert "Nothing was ended" in answer.text
    assert ["living"] * 2 == [await status_of(staff, each) for each in (one, charlies)]


async def test_a_form_that_was_tampered_with_is_refused(staff: app.Service, browser: Browser) -> None:
    one = (await sessions(staff, 1))[0]
    await browser.signs_in("bob")
    preview = await browser.opens(f"/dashboard/families/{one}/kill")
    bad = ({"action": "act_x"}, {"scope": "these", "family": "fam_x"}, {"position": "-1"})
    statuses = {(await confirms(browser, preview, **({"scope": "family"} | changes))).status_code for changes in bad}

    assert {400} == statuses
    assert 422 == (await confirms(browser, preview, scope="all of them")).status_code
    assert "living" == await status_of(staff, one)


async def test_the_receipt_tests_the_effect_and_counts_who_still_tries(staff: app.Service, browser: Browser) -> None:
    tokens = await a_session(staff)
    await browser.signs_in("bob")
    preview = await browser.opens(f"/dashboard/families/{tokens['family_id']}/kill")
    place = (await confirms(browser, preview, scope="family")).headers["location"]
    before = Seen((await browser.opens(place)).text).text
    async with visiting(staff) as http:
        await http.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}, headers=THIEF)
    page = (await browser.opens(place)).text
    after, twin = Seen(page).text, (await browser.http.get(f"{place}?format=json")).json()

    assert "Refresh refused" in before
    assert "Nobody has tried since" in before
    assert "1 denied attempt since" in after
    assert "Access tokens: 14" in after
    assert re.search(r'<noscript><meta http-equiv="refresh" content="5"></noscript>', page)
    assert 'hx-trigger="every 5s"' in page
    assert re.search(r'<rect class="bar-fill" width="[0-9.]+"', page)
    assert (True, 1, 1, "finished") == (
        twin["refresh_refused"],
        twin["denied_since"],
        twin["ended"],
        twin["status"],
    )
    assert "INC-4711" in Seen((await browser.opens("/dashboard/actions")).text).text


async def test_a_receipt_asks_no_more_once_nothing_can_change(
    staff: app.Service,
    browser: Browser,
    ahead: Ahead,
) -> None:
    one = (await sessions(staff, 1))[0]
    await browser.signs_in("bob")
    place = (await confirms(browser, await browser.opens(f"/dashboard/families/{one}/kill"), scope="family")).headers[
        "location"
    ]
    ahead.seconds = 14 * 60.0
    await browser.opens(place)
    ahead.seconds = 16 * 60.0
    page = (await browser.opens(place)).text

    assert "No access token is alive" in page
    assert "hx-trigger" not in page
    assert "http-equiv" not in page


async def test_the_own_session_is_marked_on_the_preview(staff: app.Service, browser: Browser) -> None:
    await browser.signs_in("bob")
    await browser.opens("/dashboard/me")
    own = re.search(r'href="/dashboard/families/(fam_[a-z2-7]{26})"', browser.page)
    assert own is not None

    assert "Your own session is among these" in (await browser.opens(f"/dashboard/families/{own[1]}/kill")).text


async def test_an_action_that_does_not_exist_is_not_found(staff: app.Service, browser: Browser) -> None:
    await browser.signs_in()
    for place in ("actions/act_aaa2eckibf4qj3rrszct2lzuza", "actions/x", "kills/act_aaa2eckibf4qj3rrszct2lzuza"):
        assert 404 == (await browser.opens(f"/dashboard/{place}")).status_code


# --- many ---


async def test_a_selection_is_frozen_and_one_begun_since_needs_a_tick(staff: app.Service, browser: Browser) -> None:
    frozen = await sessions(staff, 3)
    await browser.signs_in("bob")
    listed = await browser.opens("/dashboard/families?q=is:living+user:alice")
    assert "Revoke all 3 that match" in listed.text
    made = await browser.sends(
        "/dashboard/kills/new", {"csrf": browser.csrf, "q": "is:living user:alice", "all": "matching"}
    )
    late = (await sessions(staff, 1))[0]
    preview = await browser.opens(made.headers["location"])
    without = await browser.http.get(f"{made.headers['location']}?format=json")

    assert "Include 1 family that began since and matches too" in Seen(preview.text).text
    assert set(frozen) == set(without.json()["families"])
    answer = await confirms(browser, preview, include_new="1")
    receipt = (await browser.http.get(f"{answer.headers['location']}?format=json")).json()
    assert ["revoked"] * 4 == [await status_of(staff, each) for each in (*frozen, late)]
    assert (4, 1, "finished") == (receipt["ended"], receipt["began_since"], receipt["status"])


async def test_without_the_tick_one_begun_since_lives_on(staff: app.Service, browser: Browser) -> None:
    ticked, spared = await sessions(staff, 2)
    await browser.signs_in("bob")
    await browser.opens("/dashboard/families")
    made = await browser.sends("/dashboard/kills/new", {"csrf": browser.csrf, "q": "", "family": ticked})
    preview = await browser.opens(made.headers["location"])

    assert "began since" not in preview.text
    answer = await confirms(browser, preview, include_new="1")
    again = await confirms(browser, preview)
    assert answer.headers["location"] == again.headers["location"]
    assert ["revoked", "living"] == [await status_of(staff, each) for each in (ticked, spared)]
    assert 1 == (await types(staff)).count("action.finished")


@pytest.mark.parametrize(
    ("sent", "back", "told"),
    [
        ({"q": "is:living", "before": LAST}, f"/dashboard/families?q=is%3Aliving&before={LAST}&none=", "was ticked"),
        ({"all": "matching", "q": "user:alice"}, "/dashboard/families?q=user%3Aalice&none=", "Nothing that matches"),
        (
            {"network": "203.0.113.0/24", "within": "24h"},
            "/dashboard/network/203.0.113.0/24?within=24h&none=",
            "Nothing was ticked",
        ),
        ({"network": "192.0.2.1", "all": "network"}, "/dashboard/network/192.0.2.1?within=7d&none=", "from here lives"),
        ({"network": "no-network"}, "/dashboard/families?none=", "Nothing was ticked"),
    ],
)
async def test_nothing_selected_leads_back_to_the_list_that_says_so(
    staff: app.Service, browser: Browser, sent: dict[str, str], back: str, told: str
) -> None:
    await browser.signs_in("bob")
    await browser.opens("/dashboard/families")
    answer = await browser.sends("/dashboard/kills/new", {"csrf": browser.csrf} | sent)
    for_programs = await browser.http.post(
        "/dashboard/kills/new", data={"csrf": browser.csrf} | sent, headers=PAGE | {"Accept": "application/json"}
    )
    page = await browser.opens(answer.headers["location"])

    assert 303 == answer.status_code
    assert answer.headers["location"].startswith(back)
    assert told in page.text
    assert all(f'value="{value}"' in page.text for name, value in sent.items() if name in {"q", "before"})
    assert (422, "nothing_selected") == (for_programs.status_code, for_programs.json()["code"])
    assert "action.planned" not in await types(staff)


async def test_what_cannot_be_selected_is_told_in_the_frame(staff: app.Service, browser: Browser) -> None:
    await browser.signs_in("bob")
    await browser.opens("/dashboard/families")
    csrf = browser.csrf
    for sent in ({"all": "matching", "q": "nonsense:1"}, {"all": "network", "network": "no-network"}):
        answer = await browser.sends("/dashboard/kills/new", {"csrf": csrf} | sent)

        assert 422 == answer.status_code
        assert '<nav aria-label="Main">' in answer.text
    assert "action.planned" not in await types(staff)


@pytest.mark.parametrize("shown", ["", "fam_aaaaaaaaaaaaaaaaaaaaaaaaaa"])
async def test_what_a_form_says_was_shown_does_not_lower_the_hurdles(
    staff: app.Service, browser: Browser, ahead: Ahead, shown: str
) -> None:
    """Up to a few a responder ends everything of somebody; how many live is counted here, not in the form."""
    many = await sessions(staff, 26)
    everything = {"scope": "everything", "shown": shown}
    await browser.signs_in("bob")
    as_responder = await confirms(browser, await browser.opens(f"/dashboard/families/{many[0]}/kill"), **everything)
    assert "26 families in one action take an admin" in as_responder.text
    await browser.signs_in("admin")
    ahead.seconds = 11 * 60.0
    stale = await confirms(browser, await browser.opens(f"/dashboard/families/{many[0]}/kill"), **everything)

    assert (403, 303) == (as_responder.status_code, stale.status_code)
    assert "re-authenticate" in stale.headers["location"]
    assert {"living"} == {await status_of(staff, each) for each in many}
    assert "action.started" not in await types(staff)


async def test_more_than_a_few_take_an_admin_a_fresh_password_and_the_number(
    staff: app.Service,
    browser: Browser,
    ahead: Ahead,
) -> None:
    many = [*await sessions(staff, 14), *await sessions(staff, 14, "charlie")]
    await browser.signs_in("bob")
    await browser.opens("/dashboard/families")
    fields = {"csrf": browser.csrf, "q": "client:web is:living", "all": "matching"}
    place = (await browser.sends("/dashboard/kills/new", fields)).headers["location"]
    as_responder = await confirms(browser, await browser.opens(place), number="28")
    assert "take an admin" in browser.page

    await browser.signs_in("admin")
    ahead.seconds = 11 * 60.0
    stale = await confirms(browser, await browser.opens(place), number="28")
    asked = await browser.opens(stale.headers["location"])
    wrong = await browser.sends("/dashboard/re-authenticate", browser.hidden | {"password": "wrong"})
    right = await browser.sends("/dashboard/re-authenticate", browser.hidden | {"password": PASSWORD})
    mistyped = await confirms(browser, await browser.opens(place), number="27")
    done = await confirms(browser, await browser.opens(place), number="28")

    assert (403, 303, 200, 422) == (as_responder.status_code, stale.status_code, asked.status_code, wrong.status_code)
    assert (303, place) == (right.status_code, right.headers["location"])
    assert (422, 303) == (mistyped.status_code, done.status_code)
    await asyncio.gather(*staff.actions._behind.values())
    assert {"revoked"} == {await status_of(staff, each) for each in many}


async def test_what_a_crash_stopped_is_shown_under_way_and_then_done(staff: app.Service, browser: Browser) -> None:
    found = tuple(ids.parse("fam", one) for one in await sessions(staff, 3))
    stream = staff.actions.new_id()
    await browser.signs_in()
    visit = browser.http
    await staff.actions.plan(Selection(stream, "cli", "", 1, found), Origin())
    place = f"/dashboard/actions/{ids.to_text('act', stream)}"
    unconfirmed = await visit.get(place, headers=BROWSER)
    staff.actions._running.add(stream)  # as if another task were at it
    preview = await browser.opens(unconfirmed.headers["location"])
    await confirms(browser, preview)
    under_way = await browser.opens(place)
    staff.actions._running.clear()
    await asyncio.gather(staff.actions.resume(), staff.actions.carry_out(stream))
    done = await browser.opens(place)

    assert unconfirmed.headers["location"].startswith("/dashboard/kills/act_")
    assert "Being carried out" in under_way.text
    assert 'content="2"' in under_way.text
    assert "3 of 3 families ended by this action" in Seen(done.text).text
    assert 1 == (await types(staff)).count("action.finished")


# --- people and networks ---


async def test_disabling_somebody_is_an_action_with_a_receipt(staff: app.Service, browser: Browser) -> None:
    mine = await sessions(staff, 2)
    alice = await staff.subjects.find("alice")
    assert alice is not None
    place = f"/dashboard/subjects/{ids.to_text('sub', alice.id)}"
    await browser.signs_in()
    off = await confirms(browser, await browser.opens(f"{place}/switch"))
    receipt = Seen((await browser.opens(off.headers["location"])).text).text
    async with visiting(staff) as http:
        refused = await http.post("/auth/login", json={"username": "alice", "password": PASSWORD, "mode": "body"})
    told = Seen((await browser.opens(place)).text).text
    on = await confirms(browser, await browser.opens(f"{place}/switch"))

    assert ["revoked"] * 2 == [await status_of(staff, each) for each in mine]
    assert "Signing in is refused. 2 of 2 families ended" in receipt
    assert 401 == refused.status_code
    assert "Disabled" in told
    assert "Sign-in is allowed again" in Seen((await browser.opens(on.headers["location"])).text).text
    assert (await a_session(staff))["family_id"]


async def test_a_subject_is_told_over_all_families(staff: app.Service, browser: Browser) -> None:
    await sessions(staff, 2)
    alice = await staff.subjects.find("alice")
    assert alice is not None
    place = f"/dashboard/subjects/{ids.to_text('sub', alice.id)}"
    await browser.signs_in("vera")
    page, twin = (await browser.opens(place)).text, (await browser.http.get(f"{place}?format=json")).json()

    assert 2 == len(twin["families"])
    assert [event["position"] for event in twin["events"]] == sorted(
        (event["position"] for event in twin["events"]), reverse=True
    )
    assert {"203.0.113.7"} == {one["ip"] for one in twin["places"]}
    assert "/switch" not in page
    assert "/kill" not in page
    assert 403 == (await browser.opens(f"{place}/switch")).status_code


async def test_a_network_shows_who_came_from_it_and_how_it_went(staff: app.Service, browser: Browser) -> None:
    stolen = await a_theft(staff)
    await sessions(staff, 2)
    await browser.signs_in("bob")
    one = (await browser.http.get("/dashboard/network/203.0.113.7?format=json")).json()
    wide = (await browser.http.get("/dashboard/network/203.0.113.0/24?format=json")).json()
    page = (await browser.opens("/dashboard/network/203.0.113.0/24")).text
    made = await browser.sends(
        "/dashboard/kills/new", {"csrf": browser.csrf, "all": "network", "network": "203.0.113.0/24"}
    )

    assert one["families"] == wide["families"]
    rows = {row["family"]: row for row in one["families"]}
    assert (3, 1, 1) == tuple(rows[stolen][key] for key in ("succeeded", "refused", "reuses"))
    assert 'href="/dashboard/network/203.0.0.0/16' in page
    assert "reuse from here" in page
    assert "Your own session is among these" in (await browser.opens(made.headers["location"])).text
    assert [] == (await browser.http.get("/dashboard/network/2001:db8::/48?format=json")).json()["families"]
    assert 404 == (await browser.opens("/dashboard/network/nowhere")).status_code


async def test_a_family_was_never_where_staff_only_ended_it(staff: app.Service, browser: Browser) -> None:
    async with visiting(staff) as http:
        ended, living = [(await sign_in(http, "alice"))["family_id"] for _ in range(2)]
    async with visiting_from(staff, "198.51.100.9", headers=THIEF) as http:
        desk = Browser(http)
        await desk.signs_in("bob")
        await desk.revokes(ended)
        await desk.opens("/dashboard/me")
        own = re.search(r'href="/dashboard/families/(fam_[a-z2-7]{26})"', desk.page)
        here = (await http.get("/dashboard/network/198.51.100.9?format=json")).json()
        there = (await http.get("/dashboard/network/203.0.113.7?format=json")).json()
    now = time.time_ns() // 1_000
    networks = [ipaddress.ip_network("198.51.100.9"), ipaddress.ip_network("203.0.113.7")]
    window = now - 3_600_000_000, now + 3_600_000_000
    pivots = PivotReader(staff.engine)
    spread = await pivots.spread(networks, THIEF["User-Agent"], *window, own=ids.parse("fam", living))
    from_desk = await pivots.living_from(networks[0], *window, 10)

    assert own is not None
    assert "revoked" == await status_of(staff, ended)
    assert ([own[1]], 1) == ([row["family"] for row in here["families"]], here["subjects"])
    assert {ended, living} == {row["family"] for row in there["families"]}
    assert [(1, 1, False), (1, 1, False), (1, 1, False)] == spread
    assert [ids.parse("fam", own[1])] == from_desk


async def test_all_that_came_from_a_network_are_those_of_the_window_that_its_page_shows(
    staff: app.Service, browser: Browser, ahead: Ahead
) -> None:
    async with visiting_from(staff, "198.51.100.9") as http:
        early = await sign_in(http, "alice")
        ahead.seconds = 2 * 86_400.0
        late = await sign_in(http, "charlie")
    await browser.signs_in("bob")
    page = await browser.opens("/dashboard/network/198.51.100.0/24?within=24h")
    made = await browser.sends("/dashboard/kills/new", {"all": "network"} | browser.hidden)
    place = made.headers["location"]
    plan = (await browser.http.get(f"{place}?format=json")).json()
    preview = await browser.opens(place)
    back = 'href="/dashboard/network/198.51.100.0/24?within=24h"'
    receipt = (await confirms(browser, preview, include_new="1")).headers["location"]
    told = (await browser.opens(receipt)).text

    assert "Revoke all living seen from here in 24 hours" in page.text
    assert (["ip:198.51.100.0/24 at:24h"], [late["family_id"]]) == ([plan["query"]], plan["families"])
    assert 3 == preview.text.count(back)
    assert "all living that came from 198.51.100.0/24 in the 24 hours before" in Seen(preview.text).text
    assert back in told
    assert ["living", "revoked"] == [await status_of(staff, one["family_id"]) for one in (early, late)]
    assert plan["query"] == (await browser.http.get(f"{receipt}?format=json")).json()["query"]


async def test_families_that_are_not_listed_are_found_in_the_log(
    staff: app.Service, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "LISTED", 1)
    await sessions(staff, 2)
    await browser.signs_in("vera")
    page = (await browser.opens("/dashboard/network/203.0.113.0/24?within=24h")).text
    place = re.search(r'2 more are not listed\. <a href="([^"]+)"', page)

    assert place is not None
    assert "/dashboard/events?q=ip%3A203.0.113.0/24%20at%3A24h" == place[1]
    assert 200 == (await browser.opens(place[1])).status_code


async def test_a_network_that_was_ended_finds_no_family_later(staff: app.Service, browser: Browser) -> None:
    await sessions(staff, 1)
    await browser.signs_in("bob")
    await browser.opens("/dashboard/network/203.0.113.7")
    place = (await browser.sends("/dashboard/kills/new", {"all": "network"} | browser.hidden)).headers["location"]
    late = (await sessions(staff, 1))[0]
    preview = await browser.opens(place)

    assert "began since" not in preview.text
    await confirms(browser, preview, include_new="1")
    assert "living" == await status_of(staff, late)


@pytest.mark.parametrize("query", ["", "is:living", "ip:nowhere at:7d", "ip:203.0.113.7 at:8d", "ip:999.0.0.1 at:7d"])
def test_what_was_not_selected_by_a_network_leads_to_the_families(query: str) -> None:
    assert "Families" == source.source_of(query).name


async def test_a_family_that_a_rule_ended_was_where_the_thief_is(staff: app.Service, browser: Browser) -> None:
    async with visiting(staff) as http:
        first = await sign_in(http)
        second = (await refresh(http, first["refresh_token"])).json()
        await refresh(http, second["refresh_token"])
    async with visiting_from(staff, "198.51.100.9") as http:
        await http.post("/auth/refresh", json={"refresh_token": first["refresh_token"]}, headers=THIEF)
    await browser.signs_in("bob")
    found = (await browser.http.get("/dashboard/network/198.51.100.9?format=json")).json()

    assert [(first["family_id"], 1)] == [(row["family"], row["reuses"]) for row in found["families"]]


# --- the picture, the views ---


async def test_a_family_is_shown_as_it_was(service: app.Service, browser: Browser) -> None:
    stolen = await a_theft(service)
    story_of = await service.history.of_stream(ids.parse("fam", stolen), 0, 99)
    await browser.signs_in()
    place = f"/dashboard/families/{stolen}"
    then = (await browser.http.get(f"{place}?format=json&as_of={story_of[1].position}")).json()
    now = (await browser.http.get(f"{place}?format=json")).json()
    page = Seen((await browser.opens(f"{place}?as_of={story_of[1].position}")).text).text

    assert ("living", 2, 2) == (then["status"], then["generation"], len(then["events"]))
    assert ("revoked", 3, 5) == (now["status"], now["generation"], len(now["events"]))
    assert "As the log was at" in page
    assert "A used token came back" not in page
    assert 404 == (await browser.opens(f"{place}?as_of={story_of[0].position - 1}")).status_code


async def test_every_view_of_a_family_tells_the_same_events(service: app.Service, browser: Browser) -> None:
    stolen = await a_theft(service)
    positions = [e.position for e in await service.history.of_stream(ids.parse("fam", stolen), 0, 99)]
    await browser.signs_in()
    for view, pattern in (
        ("timeline", r'id="e(\d+)"'),
        ("table", r'id="e(\d+)"'),
        ("json", r"&#34;position&#34;: (\d+)"),
    ):
        page = (await browser.opens(f"/dashboard/families/{stolen}?view={view}")).text

        assert positions == sorted({int(found) for found in re.findall(pattern, page)}), view
        assert "Blast radius" in page


async def test_the_pages_of_an_incident_have_titles_and_nothing_inline(staff: app.Service, browser: Browser) -> None:
    name = "<script>alert(1)</script>"
    await staff.subjects.register(name, PASSWORD, "", "cli")
    one = (await sessions(staff, 1, name))[0]
    found = await staff.family_reader.get(ids.parse("fam", one))
    assert found is not None
    await browser.signs_in()
    preview = await browser.opens(f"/dashboard/families/{one}/kill")
    receipt = (await confirms(browser, preview, scope="family", note=name)).headers["location"]
    places = [
        f"/dashboard/families/{one}",
        f"/dashboard/families/{one}/kill",
        "/dashboard/families?q=user:x",
        f"/dashboard/subjects/{ids.to_text('sub', found.family.subject)}",
        f"/dashboard/subjects/{ids.to_text('sub', found.family.subject)}/switch",
        "/dashboard/network/203.0.113.7",
        "/dashboard/lookup",
        "/dashboard/re-authenticate",
        "/dashboard/actions",
        receipt,
    ]
    for place in places:
        page = (await browser.opens(place)).text
        seen = Seen(page)

        assert re.search(r"<title>[^<]{4,} · Session Ledger</title>", page), place
        assert "<script>alert" not in page
        assert not [attributes for _, attributes in seen.elements if "style" in attributes], place
        assert 1 == sum(tag == "h1" for tag, _ in seen.elements), place
        assert len(page.encode()) <= 65_536


def rotated(generation: int, at: int, ip: str = "203.0.113.7") -> Event:
    fact: Any = family.TokenRotated(
        actor="subject", subject="sub_x", client="web", generation=generation, jti="j", exp=0, idle_until=0
    )
    return Event(generation, b"f", generation, at, fact, b"{}", Context(ip, "curl/8"), Account())


def parts_of(events: list[Event]) -> list[story.Step | story.Run]:
    return story.folded(story.steps([row_of(event, Names({})) for event in events]))


def test_thousands_of_rotations_are_one_mark() -> None:
    drawn = lineage.picture(parts_of([rotated(n, n * 1_000_000) for n in range(2, 5002)]))

    assert (2, 1, 1) == (len(drawn.nodes), len(drawn.lanes), len(drawn.edges))


def test_a_session_that_never_stays_is_drawn_in_few_marks_and_lanes() -> None:
    wandering = [rotated(n, n * 1_000_000, f"203.0.{n % 200}.7") for n in range(2, 902)]
    drawn = lineage.picture(parts_of(wandering))

    assert len(drawn.nodes) <= lineage.MOST_NODES + 1
    assert lineage.MOST_LANES == len(drawn.lanes)
    assert "866 more" in {node.label for node in drawn.nodes}


def test_the_fork_leads_from_the_generation_that_was_used_up() -> None:
    reuse: Any = family.TokenReuseDetected(
        actor="subject", subject="sub_x", client="web", generation=2, current=3, kind="one_behind", network_tag="n"
    )
    events = [rotated(2, 0), rotated(3, 1), Event(4, b"f", 4, 2, reuse, b"{}", Context("198.51.100.9", ""), Account())]
    drawn = lineage.picture(parts_of(events))
    (fork,) = [edge for edge in drawn.edges if edge.fork]

    assert [False, True] == [lane.alarm for lane in drawn.lanes]
    assert fork.path.startswith(f"M{drawn.nodes[0].x} {drawn.nodes[0].y} ")
    assert fork.path.endswith(f"{drawn.nodes[2].y} H{drawn.nodes[2].x}")


async def test_a_bulk_kill_ends_families_that_rotate_all_the_while(staff: app.Service, browser: Browser) -> None:
    async with visiting(staff) as http:
        holders = [await sign_in(http, "alice") for _ in range(6)]
        stop = asyncio.Event()

        async def rotates(tokens: dict[str, Any]) -> int:
            answer = None
            while not stop.is_set() and (answer is None or answer.status_code == 200):
                answer = await refresh(http, tokens["refresh_token"])
                tokens = answer.json()
                await asyncio.sleep(0.05)
            return answer.status_code if answer else 0

        rotating = [asyncio.create_task(rotates(tokens)) for tokens in holders]
        await browser.signs_in("bob")
        await browser.opens("/dashboard/families")
        fields = {"csrf": browser.csrf, "q": "user:alice is:living", "all": "matching"}
        place = (await browser.sends("/dashboard/kills/new", fields)).headers["location"]
        receipt = (await confirms(browser, await browser.opens(place))).headers["location"]
        statuses = await asyncio.wait_for(asyncio.gather(*rotating), 10)
        stop.set()
    told = (await browser.http.get(f"{receipt}?format=json")).json()

    assert [401] * 6 == statuses
    assert (6, 0, True) == (told["ended"], told["ended_already"], told["refresh_refused"])
    assert told["denied_since"] >= 1


async def test_the_blast_radius_counts_others_from_the_same_place(staff: app.Service, browser: Browser) -> None:
    stolen = await a_theft(staff)
    await sessions(staff, 2)
    await sessions(staff, 1, "charlie")
    await browser.signs_in("vera")
    text = " ".join(Seen((await browser.opens(f"/dashboard/families/{stolen}")).text).text.split())

    assert "Blast radius 24 h around the reuse" in text
    assert "Same address4 families of 3 users 203.0.113.7" in text
    assert "Same /244 families of 3 users 203.0.113.0/24" in text
    assert "Same devicenobody else Chrome 142 · Windows" in text
    assert "Same userno other living family" in text


async def test_the_only_family_of_a_place_has_no_others_beside_it(staff: app.Service, browser: Browser) -> None:
    async with visiting_from(staff, "198.51.100.9", headers=THIEF) as http:
        alone = (await sign_in(http, "alice"))["family_id"]
        await browser.signs_in("vera")
        before = Seen((await browser.opens(f"/dashboard/families/{alone}")).text).text
        await sign_in(http, "alice")
    after = Seen((await browser.opens(f"/dashboard/families/{alone}")).text).text

    assert 3 == before.count("nobody else")
    assert 3 == after.count("1 family of 1 user ")


async def test_who_is_disabled_already_is_not_disabled_twice(staff: app.Service, browser: Browser) -> None:
    alice = await staff.subjects.find("alice")
    assert alice is not None
    place = f"/dashboard/subjects/{ids.to_text('sub', alice.id)}"
    await browser.signs_in()
    ours = await browser.opens(f"{place}/switch")
    await staff.subjects.disable(alice, "left", "cli")
    before = await size(staff)
    answer = await confirms(browser, ours)

    assert (303, place) == (answer.status_code, answer.headers["location"])
    assert before == await size(staff)
    assert [] == await staff.actions.reader.latest(5)
