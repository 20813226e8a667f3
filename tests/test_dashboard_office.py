"""Overview, signing keys, system and access: the pages beside the incident."""

import re
from collections.abc import AsyncIterator

import pytest

import app
from events import ids
from tests.chromium import EXAMPLES, a_world
from tests.conftest import PASSWORD, visiting
from tests.test_dashboard import OURS, Browser, a_theft

WITHOUT_TWIN = {"/dashboard/sign-in", "/dashboard/help/filters"}
"""Who is not signed in is told so in the shape of a problem; the reference is a page of `docs`."""


@pytest.fixture
async def browser(service: app.Service) -> AsyncIterator[Browser]:
    """The admin's, signed in."""
    async with visiting(service) as http:
        one = Browser(http)
        await one.signs_in()
        yield one


@pytest.fixture
async def viewer(service: app.Service) -> AsyncIterator[Browser]:
    """A viewer's, signed in."""
    await service.subjects.register("alice", PASSWORD, "viewer", "cli")
    async with visiting(service) as http:
        one = Browser(http)
        await one.signs_in("alice")
        yield one


async def test_the_overview_shows_a_theft_of_a_moment_ago(service: app.Service, browser: Browser) -> None:
    family = await a_theft(service)

    answer = await browser.opens("/dashboard")

    assert 200 == answer.status_code
    assert f'href="/dashboard/families/{family}"' in browser.page
    assert "came back" in browser.page
    assert "No used token came back" not in browser.page


async def test_a_quiet_day_is_told_as_one(browser: Browser) -> None:
    await browser.opens("/dashboard")

    assert "No used token came back and nobody was blocked in the last 24 hours." in browser.page


async def test_the_overview_counts_what_the_log_holds(service: app.Service, browser: Browser) -> None:
    await a_theft(service)
    await a_theft(service)

    found = (await browser.opens("/dashboard?format=json")).json()

    assert 2 == sum(found["by_type"]["token.reuse_detected"])
    assert 2 == sum(found["by_type"]["family.revoked"])
    assert (await service.history.head()).size == found["size"] == sum(found["events"])


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

        done = await browser.sends(f"/dashboard/keys/{active}/revoke", {"csrf": browser.csrf, "note": "a laptop"})

        me = await http.get("/auth/me", headers={"Authorization": f"Bearer {held['access_token']}"})
        fresh = await http.post("/auth/refresh", json={"refresh_token": held["refresh_token"]})
    assert "/dashboard/keys?done=revoked" == done.headers["location"]
    assert (401, 200) == (me.status_code, fresh.status_code)
    assert active != service.keys.signing.kid


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
    def touch(connection: object) -> None:
        connection.exec_driver_sql("DROP TRIGGER events_no_update")  # type: ignore[attr-defined]
        connection.exec_driver_sql("UPDATE events SET at = at + 1 WHERE position = 2")  # type: ignore[attr-defined]

    await service.writer.maintain(touch)

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


async def test_a_look_up_answers_programs_without_what_was_entered(service: app.Service, browser: Browser) -> None:
    async with visiting(service) as http:
        asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
        held = (await http.post("/auth/login", json=asked)).json()
    await browser.opens("/dashboard")
    headers = {"Accept": "application/json", **OURS}

    found = await browser.http.post(
        "/dashboard/lookup", data={"csrf": browser.csrf, "thing": held["refresh_token"]}, headers=headers
    )
    nothing = await browser.http.post(
        "/dashboard/lookup", data={"csrf": browser.csrf, "thing": "nobody at all"}, headers=headers
    )

    assert [("refresh_token", held["family_id"])] == [(one["kind"], one["id"]) for one in found.json()["found"]]
    assert held["refresh_token"] not in found.text
    assert (404, []) == (nothing.status_code, nothing.json()["found"])
