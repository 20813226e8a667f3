"""Overview, signing keys, system and access: the pages beside the incident."""

import re
from collections import Counter
from collections.abc import AsyncIterator

import pytest

import app
from events import ids
from events.budget import TooSlow
from events.fields import EVENTS, FAMILIES
from tests.browsers import Browser, a_family, a_theft, signed_in
from tests.chromium import EXAMPLES, a_world
from tests.conftest import PASSWORD, visiting
from tests.tables import tampering
from tests.visitors import PAGE, visiting_from

WITHOUT_TWIN = {"/dashboard/sign-in", "/dashboard/sign-in/second"}
"""Forms, with nothing to tell; who is not signed in is told so in the shape of a problem."""


WHY = {"reason": "stolen_token", "ticket": "INC-8132", "note": ""}


@pytest.fixture
async def browser(service: app.Service) -> AsyncIterator[Browser]:
    """The admin's, signed in."""
    async with signed_in(service, "admin") as one:
        yield one


@pytest.fixture
async def viewer(service: app.Service) -> AsyncIterator[Browser]:
    """A viewer's, signed in."""
    await service.subjects.register("alice", PASSWORD, "viewer", "cli")
    async with signed_in(service, "alice") as one:
        yield one


def confirmed(browser: Browser) -> dict[str, str]:
    """The form of the key's preview that is open, filled in."""
    return browser.hidden | {"reason": "compromised", "ticket": "INC-7", "note": "a laptop"}


async def test_the_overview_shows_a_theft_of_a_moment_ago(service: app.Service, browser: Browser) -> None:
    family = await a_theft(service)

    answer = await browser.opens("/dashboard")

    assert 200 == answer.status_code
    assert f'href="/dashboard/families/{family}"' in browser.page
    assert "came back" in browser.page
    assert "No used token came back" not in browser.page


async def test_a_quiet_day_is_told_as_one(browser: Browser) -> None:
    await browser.opens("/dashboard")

    assert "No used token came back, nobody was blocked and no session was refused in another country" in browser.page


async def test_the_overview_counts_what_the_log_holds(service: app.Service, browser: Browser) -> None:
    await a_theft(service)
    await a_theft(service)
    retried = {"refresh_token": (await a_family(service))["refresh_token"]}
    async with visiting(service) as http:
        statuses = [(await http.post("/auth/refresh", json=retried)).status_code for _ in range(4)]

    found = (await browser.opens("/dashboard?format=json")).json()
    told = Counter(one.fact.TYPE for one in await service.history.after(-1, 10_000))

    assert [200] * 4 == statuses
    assert {name: told[name] for name in found["by_type"]} == {
        name: sum(hours) for name, hours in found["by_type"].items()
    }
    assert (2, 3) == (told["token.reuse_detected"], told["token.retried"])
    assert [{"client": "web", "count": 3, "from_another_network": 0}] == found["retries"]
    assert told["token.rotated"] / 5 == found["refreshes_per_minute"] > 0
    assert told.total() == found["size"] == sum(found["events"])


async def test_rotating_publishes_before_it_signs(service: app.Service, browser: Browser) -> None:
    before = {one.key: one.status for one in service.keys.states}
    await browser.opens("/dashboard/keys")

    early = await browser.sends("/dashboard/keys/rotate", {"csrf": browser.csrf})

    assert "/dashboard/keys?done=early" == early.headers["location"]
    assert before == {one.key: one.status for one in service.keys.states}
    await browser.opens(early.headers["location"])
    assert "published too short a time ago" in browser.page


async def test_revoking_a_key_ends_its_tokens_at_our_routes_and_no_session(
    service: app.Service, browser: Browser
) -> None:
    active = service.keys.signing.kid
    async with visiting(service) as http:
        asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
        held = (await http.post("/auth/login", json=asked)).json()
        await browser.opens(f"/dashboard/keys/{active}/revoke")
        assert "Nothing has changed yet" in browser.page

        done = await browser.sends(f"/dashboard/keys/{active}/revoke", confirmed(browser))

        me = await http.get("/auth/me", headers={"Authorization": f"Bearer {held['access_token']}"})
        fresh = await http.post("/auth/refresh", json={"refresh_token": held["refresh_token"]})
    assert done.headers["location"].startswith("/dashboard/actions/act_")
    assert (401, 200) == (me.status_code, fresh.status_code)
    assert active != service.keys.signing.kid


async def test_the_receipt_of_a_revoked_key_proves_that_its_tokens_are_refused(
    service: app.Service, browser: Browser
) -> None:
    active, following = service.keys.signing.kid, next(one.key for one in service.keys.states if one.status == "next")
    await browser.opens(f"/dashboard/keys/{active}/revoke")
    done = await browser.sends(f"/dashboard/keys/{active}/revoke", confirmed(browser))

    await browser.opens(done.headers["location"])
    found = (await browser.opens(f"{done.headers['location']}?format=json")).json()
    event = (await browser.opens(f"/dashboard/events/{found['position']}?format=json")).json()

    assert ("revoke_key", "finished", "compromised", "INC-7") == (
        found["kind"],
        found["status"],
        found["reason"],
        found["ticket"],
    )
    assert (active, True, False, following) == (
        found["key"],
        found["tokens_refused"],
        found["published"],
        found["signing_now"],
    )
    assert "a laptop" == found["note"]
    assert found["tokens_usable_offline_until"] is not None
    assert "key.revoked" == event["type"]


async def test_the_receipt_of_a_revoked_key_is_linked_from_the_keys_and_the_actions(
    service: app.Service, browser: Browser
) -> None:
    active = service.keys.signing.kid
    await browser.opens(f"/dashboard/keys/{active}/revoke")
    receipt = (await browser.sends(f"/dashboard/keys/{active}/revoke", confirmed(browser))).headers["location"]

    for page in ("/dashboard/keys", "/dashboard/actions"):
        await browser.opens(page)
        assert f'href="{receipt}"' in browser.page, page
    await browser.opens(receipt)
    assert "Its access tokens are refused here" in browser.page
    assert "Not published any more" in browser.page


async def test_confirming_the_end_of_a_key_twice_is_once(service: app.Service, browser: Browser) -> None:
    active = service.keys.signing.kid
    await browser.opens(f"/dashboard/keys/{active}/revoke")
    form = confirmed(browser)

    first = await browser.sends(f"/dashboard/keys/{active}/revoke", form)
    size = (await service.history.head()).size
    second = await browser.sends(f"/dashboard/keys/{active}/revoke", form)
    again = await browser.opens(f"/dashboard/keys/{active}/revoke")

    assert first.headers["location"] == second.headers["location"]
    assert size == (await service.history.head()).size
    assert "/dashboard/keys?done=unchanged" == again.headers["location"]


async def test_a_key_is_not_revoked_without_a_reason(service: app.Service, browser: Browser) -> None:
    active = service.keys.signing.kid
    await browser.opens(f"/dashboard/keys/{active}/revoke")

    answer = await browser.sends(f"/dashboard/keys/{active}/revoke", confirmed(browser) | {"reason": "lost_device"})

    assert 422 == answer.status_code
    assert "Choose a reason." in answer.text
    assert active == service.keys.signing.kid


async def test_a_key_that_never_signed_leaves_no_token_behind(service: app.Service, browser: Browser) -> None:
    following = next(one.key for one in service.keys.states if one.status == "next")
    await browser.opens(f"/dashboard/keys/{following}/revoke")
    assert "this key has signed no token yet" in browser.page

    done = await browser.sends(f"/dashboard/keys/{following}/revoke", confirmed(browser))
    await browser.opens(done.headers["location"])

    assert "No token that it signed is alive" in browser.page
    assert "It never signed." in browser.page


async def test_keys_are_for_admins_with_a_fresh_password(
    service: app.Service, viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await viewer.opens("/dashboard/keys")
    assert "Rotate now" not in viewer.page
    csrf = re.search(r'name="csrf" value="([^"]+)"', viewer.page)
    assert csrf is not None

    refused = await viewer.sends("/dashboard/keys/rotate", {"csrf": csrf[1]})

    assert 403 == refused.status_code
    monkeypatch.setattr("dashboard.danger.FRESH", -1)
    async with visiting(service) as http:
        admin = Browser(http)
        await admin.signs_in()
        await admin.opens("/dashboard/keys")
        asked = await admin.sends("/dashboard/keys/rotate", {"csrf": admin.csrf})
    assert asked.headers["location"].startswith("/dashboard/re-authenticate?next=")


async def test_the_log_is_verified_from_its_page(service: app.Service, browser: Browser) -> None:
    await browser.opens("/dashboard/system")
    assert "Not verified since the service was started." in browser.page

    begun = await browser.sends("/dashboard/system/verify", {"csrf": browser.csrf})
    await service.verification.ended()
    await browser.opens("/dashboard/system")

    assert 303 == begun.status_code
    assert service.verification.last is not None
    assert service.verification.last.intact, service.verification.last.said
    assert "events fit, and so do the projections" in browser.page


async def test_a_touched_log_is_told_on_the_page(service: app.Service, browser: Browser) -> None:
    with tampering(service.store) as tables:
        tables.run("UPDATE events SET at = at + 1 WHERE position = 2")

    service.verification.start()
    await service.verification.ended()
    await browser.opens("/dashboard/system")

    assert "does not fit" in browser.page
    assert "#2:" in browser.page


async def test_two_verifications_never_run_at_once(service: app.Service) -> None:
    assert [True, False] == [service.verification.start(), service.verification.start()]


async def test_roles_are_given_and_taken_on_the_page(service: app.Service, browser: Browser, viewer: Browser) -> None:
    alice = await service.subject_reader.named("alice")
    assert alice is not None
    public_id = ids.to_text("sub", alice.id)
    await browser.opens("/dashboard/access")
    assert "alice" in browser.page

    await browser.sends(f"/dashboard/access/{public_id}", {"csrf": browser.csrf, "role": "responder"})
    changed = await service.subject_reader.named("alice")
    await browser.sends(f"/dashboard/access/{public_id}", {"csrf": browser.csrf})

    assert changed is not None
    assert "responder" == changed.roles
    gone = await viewer.opens("/dashboard/events")
    assert 403 == gone.status_code


async def test_somebody_gets_two_roles_by_the_boxes_that_are_ticked(service: app.Service, browser: Browser) -> None:
    await service.subjects.register("bob", PASSWORD, "viewer", "cli")
    bob = await service.subject_reader.named("bob")
    assert bob is not None
    await browser.opens("/dashboard/access")

    both = {"csrf": browser.csrf, "role": ["viewer", "responder"]}
    await browser.sends(f"/dashboard/access/{ids.to_text('sub', bob.id)}", both)

    after = await service.subject_reader.named("bob")
    assert after is not None
    assert {"viewer", "responder"} == after.role_set


@pytest.mark.parametrize("role", ["owner", "admin'; --"])
async def test_roles_that_do_not_exist_are_not_given(service: app.Service, browser: Browser, role: str) -> None:
    await service.subjects.register("bob", PASSWORD, "viewer", "cli")
    bob = await service.subject_reader.named("bob")
    assert bob is not None
    await browser.opens("/dashboard/access")

    answer = await browser.sends(
        f"/dashboard/access/{ids.to_text('sub', bob.id)}", {"csrf": browser.csrf, "role": role}
    )

    after = await service.subject_reader.named("bob")
    assert after is not None
    assert (404, "viewer") == (answer.status_code, after.roles)


async def test_nobody_changes_the_own_roles(service: app.Service, browser: Browser) -> None:
    admin = await service.subject_reader.named("admin")
    assert admin is not None
    await browser.opens("/dashboard/access")

    answer = await browser.sends(f"/dashboard/access/{ids.to_text('sub', admin.id)}", {"csrf": browser.csrf})

    after = await service.subject_reader.named("admin")
    assert after is not None
    assert (404, "admin") == (answer.status_code, after.roles)


async def test_every_page_that_can_be_opened_has_a_twin_for_programs(service: app.Service, browser: Browser) -> None:
    world = await a_world(service)
    pages = {route: example(world) or route for route, example in EXAMPLES.items() if route not in WITHOUT_TWIN}

    answers = {}
    for page in pages.values():
        answer = await browser.http.get(page, headers={"Accept": "application/json"})
        answers[page] = (answer.status_code, answer.headers["content-type"])

    assert dict.fromkeys(pages.values(), (200, "application/json")) == answers


async def test_the_filter_reference_tells_programs_every_field_of_the_registry(viewer: Browser) -> None:
    found = (await viewer.opens("/dashboard/help/filters?format=json")).json()

    assert [field.key for field in EVENTS.fields] == [one["key"] for one in found["events"]]
    assert [field.key for field in FAMILIES.fields] == [one["key"] for one in found["families"]]
    assert all(one["meaning"] and one["examples"] for one in [*found["events"], *found["families"]])
    assert {"user:alice,bob", "-client:ci"} <= {one["example"] for one in found["grammar"]}


@pytest.mark.parametrize(("role", "status"), [(None, 401), ("", 403)])
async def test_the_twin_of_the_reference_is_for_those_who_may_see_its_page(
    service: app.Service, role: str | None, status: int
) -> None:
    async with visiting(service) as http:
        one = Browser(http)
        if role is not None:
            await service.subjects.register("bob", PASSWORD, "viewer", "cli")
            await one.signs_in("bob")
            bob = await service.subject_reader.named("bob")
            assert bob is not None
            await service.subjects.change_roles(bob, role, "cli")

        answer = await http.get("/dashboard/help/filters", headers={"Accept": "application/json"})

    assert (status, "application/problem+json") == (answer.status_code, answer.headers["content-type"])


async def test_a_look_up_answers_programs_without_what_was_entered(service: app.Service, browser: Browser) -> None:
    async with visiting(service) as http:
        asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
        held = (await http.post("/auth/login", json=asked)).json()
    await browser.opens("/dashboard")
    headers = {"Accept": "application/json", **PAGE}

    found = await browser.http.post(
        "/dashboard/lookup", data={"csrf": browser.csrf, "thing": held["refresh_token"]}, headers=headers
    )
    nothing = await browser.http.post(
        "/dashboard/lookup", data={"csrf": browser.csrf, "thing": "nobody at all"}, headers=headers
    )

    assert [("refresh_token", held["family_id"])] == [(one["kind"], one["id"]) for one in found.json()["found"]]
    assert held["refresh_token"] not in found.text
    assert (404, []) == (nothing.status_code, nothing.json()["found"])


async def test_an_address_that_tries_the_passwords_of_many_needs_attention(
    service: app.Service, browser: Browser
) -> None:
    people = ("alice", "bob", "charlie", "dave", "erin")
    for name in people:
        await service.subjects.register(name, PASSWORD, "", "cli")
    async with visiting_from(service, "198.51.100.9") as http:
        for name in people:
            await http.post("/auth/login", json={"username": name, "password": "another-guess-of-mine", "mode": "body"})
        await http.post("/auth/login", json={"username": "erin", "password": PASSWORD, "mode": "body"})

    found = (await browser.opens("/dashboard?format=json")).json()["guessers"]
    await browser.opens("/dashboard")

    assert [{"ip": "198.51.100.9", "wrong_passwords": 5, "users": 5, "signed_in": 1}] == found
    assert 'href="/dashboard/network/198.51.100.9"' in browser.page
    assert '<li class="alarm">' in browser.page
    assert (
        'href="/dashboard/events?q=ip%3A198.51.100.9%20type%3Atoken.issued%20at%3A24h"><b>1 sign-in</b>' in browser.page
    )


async def test_what_staff_dealt_with_asks_for_no_more_attention(service: app.Service, browser: Browser) -> None:
    for name in ("alice", "charlie"):
        await service.subjects.register(name, PASSWORD, "", "cli")
    dealt, selected, left = [await a_theft(service, name) for name in ("alice", "charlie", "admin")]
    other = (await a_family(service, username="charlie"))["family_id"]
    before = (await browser.opens("/dashboard?format=json")).json()["alerts"]
    alice = await service.subjects.find("alice")
    assert alice is not None
    await browser.opens(f"/dashboard/subjects/{ids.to_text('sub', alice.id)}/switch")
    switched = await browser.sends(f"/dashboard/subjects/{ids.to_text('sub', alice.id)}/switch", browser.hidden | WHY)
    await browser.opens("/dashboard/families")
    frozen = await browser.sends("/dashboard/kills/new", {"csrf": browser.csrf, "family": other})
    await browser.opens(frozen.headers["location"])
    unconfirmed = (await browser.opens("/dashboard?format=json")).json()["alerts"]
    await browser.opens(frozen.headers["location"])
    killed = await browser.sends(frozen.headers["location"], browser.hidden | WHY | {"ticket": ""})
    after = (await browser.opens("/dashboard?format=json")).json()["alerts"]
    page = (await browser.opens("/dashboard")).text
    receipt, second = (answer.headers["location"].rpartition("/")[2] for answer in (switched, killed))

    assert [None] * 3 == [one["dealt_with_by"] for one in before]
    assert {dealt: receipt, selected: None, left: None} == {one["family"]: one["dealt_with_by"] for one in unconfirmed}
    assert [(left, None), (selected, second), (dealt, receipt)] == [
        (one["family"], one["dealt_with_by"]) for one in after
    ]
    told = re.findall(r'<li class="([a-z]+)">', page.partition('id="deeds"')[0])
    assert ["alarm", "quiet", "quiet"] == told
    assert re.search(rf'href="/dashboard/actions/{receipt}"><span[^>]*>✓</span> <bdi>INC-8132</bdi>', page)
    assert re.search(rf'href="/dashboard/actions/{second}"><span[^>]*>✓</span> <bdi>Done</bdi>', page)


async def test_a_theft_after_an_action_asks_again_and_letting_in_again_is_no_answer(
    service: app.Service, browser: Browser
) -> None:
    await service.subjects.register("alice", PASSWORD, "", "cli")
    alice = await service.subjects.find("alice")
    assert alice is not None
    place = f"/dashboard/subjects/{ids.to_text('sub', alice.id)}/switch"
    for _ in range(2):  # off and on again
        await browser.opens(place)
        await browser.sends(place, browser.hidden | WHY)
    stolen = await a_theft(service, "alice")
    (alert,) = (await browser.opens("/dashboard?format=json")).json()["alerts"]
    await browser.opens(f"/dashboard/families/{stolen}")

    assert (stolen, None) == (alert["family"], alert["dealt_with_by"])
    assert [] == await service.actions.reader.on_subjects(frozenset(), 0)


async def test_the_overview_leads_to_what_staff_did(service: app.Service, browser: Browser) -> None:
    active = service.keys.signing.kid
    await browser.opens(f"/dashboard/keys/{active}/revoke")
    receipt = (await browser.sends(f"/dashboard/keys/{active}/revoke", confirmed(browser))).headers["location"]

    await browser.opens("/dashboard")

    assert f'href="{receipt}"' in browser.page


async def test_a_twin_whose_page_cannot_be_read_in_time_says_so_as_a_problem(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*args: object, **more: object) -> TooSlow:
        return TooSlow(2.0)

    for reader in ("overview.OverviewReader.read", "family_search.FamilySearch.page", "pivots.PivotReader.traffic"):
        monkeypatch.setattr(f"events.{reader}", slow)
    for page in ("", "/families", "/network/203.0.113.7"):
        twin = await browser.http.get(f"/dashboard{page}", params={"format": "json"})
        assert (503, "too_slow", "2") == (twin.status_code, twin.json()["code"], twin.headers["retry-after"]), page


async def test_a_filter_that_cannot_be_read_is_the_same_problem_at_both_lists(browser: Browser) -> None:
    for page in ("events", "families"):
        twin = await browser.http.get(f"/dashboard/{page}", params={"q": "clint:web", "format": "json"})
        assert (422, "bad_filter") == (twin.status_code, twin.json()["code"])
        assert "At character 1" in twin.json()["detail"]
        assert "client:" in twin.json()["detail"]
