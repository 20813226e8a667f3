"""Applications in the dashboard: looked at by all staff, registered and changed by admins who gave their password."""

import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest

import app
from core.clients import proves
from tests.applications import Application, application, own_token
from tests.browsers import Browser, Seen, signed_in
from tests.conftest import PASSWORD
from tests.keyholders import KeyHolder, bound_refresh, bound_sign_in
from tests.visitors import facts

pytestmark = pytest.mark.usefixtures("sqlite_store")

PLACE = "/dashboard/clients"
SECRET = re.compile(r'value="(slc_[A-Za-z0-9_-]{43})"')
REPORTER = {
    "client": "reporter",
    "type": "confidential",
    "scopes": "events:read  introspect",
    "audiences": "https://api.example.com",
    "access_ttl": "300",
    "leeway": "",
    "on_device_change": "observe",
    "on_network_change": "observe",
    "on_country_change": "observe",
}


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


async def registered(browser: Browser, **changes: str) -> httpx.Response:
    await browser.opens(PLACE)
    return await browser.sends(PLACE, {"csrf": browser.csrf} | REPORTER | changes)


async def test_a_registered_application_works_with_the_secret_that_was_shown_once(
    service: app.Service, http: httpx.AsyncClient, browser: Browser
) -> None:
    answer = await registered(browser)

    shown = SECRET.findall(answer.text)
    assert (200, 1, "no-store") == (answer.status_code, len(shown), answer.headers["cache-control"])
    assert await own_token(http, Application("reporter", shown[0]), scope="events:read")
    for page in (PLACE, f"{PLACE}/reporter", f"{PLACE}/reporter?format=json", "/dashboard/events?q=client:reporter"):
        await browser.opens(page)
        assert "reporter" in browser.page, page
        assert shown[0] not in browser.page, page
    (fact,) = [one.fact for one in await facts(service) if one.fact.TYPE == "client.registered"][2:]
    assert fact.actor.startswith("staff:sub_")


async def test_the_twin_says_the_whole_policy_and_no_hash(service: app.Service, browser: Browser) -> None:
    await registered(browser)

    said = (await browser.opens(f"{PLACE}/reporter?format=json")).json()
    listed = (await browser.opens(f"{PLACE}?format=json")).json()

    assert {"scopes": ["events:read", "introspect"], "access_ttl": 300, "leeway": -1, "operator": False}.items() <= (
        said.items()
    )
    state = service.clients.get("reporter")
    assert state is not None
    assert state.secret not in browser.page
    assert ["dashboard", "reporter", "web"] == [one["client"] for one in listed["clients"]]


async def test_keys_and_the_demand_for_them_are_set_and_shown_like_the_rest_of_the_policy(
    service: app.Service, browser: Browser
) -> None:
    holder = KeyHolder()
    keys = {"keys": json.dumps({"keys": [holder.jwk]}), "keys_only": "1", "dpop": "required"}

    await registered(browser, **keys)
    page = (await browser.opens(f"{PLACE}/reporter")).text
    said = (await browser.opens(f"{PLACE}/reporter?format=json")).json()
    await browser.opens(f"{PLACE}/reporter")
    again = await browser.sends(
        f"{PLACE}/reporter/policy", {"csrf": browser.csrf} | REPORTER | keys | {"keys": "not a key set"}
    )

    assert {"keys": [holder.jwk | {"kid": holder.thumbprint}]} == said["keys"]
    assert (True, "required") == (said["keys_only"], said["dpop"])
    assert f"key <code>{holder.thumbprint}</code>" in page
    assert "Always: without a key it gets none" in page
    assert 'id="secret"' not in page
    assert (422, True) == (again.status_code, "A JWK set of 1 to 4 public keys" in again.text)


async def test_the_page_of_a_bound_family_says_so(
    service: app.Service, http: httpx.AsyncClient, browser: Browser
) -> None:
    alice = KeyHolder()
    first = await bound_sign_in(http, alice, PASSWORD)
    await bound_refresh(http, first["refresh_token"], None)

    page = (await browser.opens(f"/dashboard/families/{first['family_id']}")).text
    twin = (await browser.opens(f"/dashboard/families/{first['family_id']}?format=json")).json()

    assert f'<dt>Bound to a key</dt><dd class="id">{alice.thumbprint}</dd>' in page
    assert "the session&#39;s key was not proved" in page
    assert alice.thumbprint == twin["dpop_jkt"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"client": "web"}, "There is an application of this name already."),
        ({"client": "<b>"}, "1 to 64 letters"),
        ({"leeway": "31"}, "at most a tenth"),
        ({"leeway": "x"}, "A whole number, or nothing."),
        ({"type": "public"}, "everybody could read its proof"),
        ({"audiences": "not a uri"}, "An audience is a URI"),
        ({"origins": "https://a.example/path"}, "An origin is like"),
    ],
)
async def test_what_cannot_be_is_said_beside_its_field_and_nothing_typed_is_lost(
    browser: Browser, changes: dict[str, str], said: str
) -> None:
    answer = await registered(browser, **changes)

    assert 422 == answer.status_code
    assert said in answer.text
    assert 'value="events:read introspect"' in answer.text or 'value="events:read  introspect"' in answer.text
    assert "<b>" not in answer.text
    assert not SECRET.search(answer.text)


async def test_where_nothing_is_set_the_value_that_holds_is_said(browser: Browser) -> None:
    def placeholders(page: str) -> dict[str, str]:
        return dict(re.findall(r'<input id="([a-z_]+)" [^>]*inputmode="numeric"[^>]* placeholder="([^"]*)"', page))

    await registered(browser, access_ttl="60", leeway="")
    page = (await browser.opens(f"{PLACE}/reporter")).text
    text = " ".join(Seen(page).text.split())
    usual = {"access_ttl": "900", "idle_ttl": "604800", "absolute_ttl": "2592000", "family_limit": "100"}

    assert "Access token, seconds60" in text
    assert "Unused session, seconds604800, as in the settings" in text
    assert "Leeway for a retry, seconds6, as in the settings" in text
    assert "Sessions for each user100, over all applications" in text
    assert "empty sets no limit of its own: 100 over all applications" in text
    assert usual | {"leeway": "6"} == placeholders(page)
    assert usual | {"leeway": "10"} == placeholders((await browser.opens(f"{PLACE}?new=1")).text)


async def test_a_policy_is_changed_on_the_applications_page(service: app.Service, browser: Browser) -> None:
    await registered(browser)
    await browser.opens(f"{PLACE}/reporter")

    form = {"csrf": browser.csrf} | REPORTER | {"family_limit": "3", "scopes": "introspect"}
    done = await browser.sends(f"{PLACE}/reporter/policy", form)
    same = await browser.sends(f"{PLACE}/reporter/policy", form)

    state = service.clients.get("reporter")
    assert (f"{PLACE}/reporter?done=changed", f"{PLACE}/reporter?done=same") == (
        done.headers["location"],
        same.headers["location"],
    )
    assert state is not None
    assert (3, "introspect", 300, "confidential") == (state.family_limit, state.scopes, state.access_ttl, state.type)
    await browser.opens(done.headers["location"])
    assert "The policy is changed" in browser.page


async def test_another_secret_is_shown_once_and_the_one_before_is_kept_as_long_as_was_chosen(
    service: app.Service, browser: Browser
) -> None:
    first = (SECRET.findall((await registered(browser)).text))[0]
    await browser.opens(f"{PLACE}/reporter")
    kept = await browser.sends(f"{PLACE}/reporter/secret", {"csrf": browser.csrf, "keep": "3600"})
    second = SECRET.findall(kept.text)[0]

    state = service.clients.get("reporter")
    assert [True, True] == [proves(state, one) for one in (first, second)]
    third = SECRET.findall((await browser.sends(f"{PLACE}/reporter/secret", {"csrf": browser.csrf, "keep": "0"})).text)[
        0
    ]
    state = service.clients.get("reporter")
    assert [False, False, True] == [proves(state, one) for one in (first, second, third)]
    wrong = await browser.sends(f"{PLACE}/reporter/secret", {"csrf": browser.csrf, "keep": "5"})
    assert (422, True) == (wrong.status_code, "Choose one." in wrong.text)
    assert 404 == (await browser.sends(f"{PLACE}/web/secret", {"csrf": browser.csrf, "keep": "0"})).status_code


async def test_an_application_is_switched_off_and_on(
    service: app.Service, http: httpx.AsyncClient, browser: Browser
) -> None:
    backend = await application(service)
    await browser.opens(f"{PLACE}/backend/switch")
    assert "Nothing has changed yet" in browser.page

    off = await browser.sends(f"{PLACE}/backend/switch", browser.hidden)
    refused = await http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=backend.basic)
    await browser.opens(f"{PLACE}/backend/switch")
    await browser.sends(f"{PLACE}/backend/switch", browser.hidden)

    assert f"{PLACE}/backend?done=disabled" == off.headers["location"]
    assert 401 == refused.status_code
    assert await own_token(http, backend)


async def test_the_dashboards_own_client_stays_on_and_of_its_kind(service: app.Service, browser: Browser) -> None:
    await browser.opens(f"{PLACE}/dashboard/switch")
    assert "nobody could sign in here" in browser.page

    off = await browser.sends(f"{PLACE}/dashboard/switch", browser.hidden)
    changed = await browser.sends(
        f"{PLACE}/dashboard/policy", {"csrf": browser.csrf, "first_party": "1", "scopes": "read"}
    )

    assert (404, 422) == (off.status_code, changed.status_code)
    state = service.clients.get("dashboard")
    assert state is not None
    assert state.enabled


async def test_a_viewer_looks_only(viewer: Browser) -> None:
    for place in (PLACE, f"{PLACE}?new=1"):
        await viewer.opens(place)
        assert "Register" not in viewer.page
    await viewer.opens(f"{PLACE}/web")
    assert "Disable" not in viewer.page
    assert "Change the policy" not in viewer.page

    posts = [PLACE, f"{PLACE}/web/policy", f"{PLACE}/web/secret", f"{PLACE}/web/switch"]
    assert [403] * 4 == [(await viewer.sends(path, {"csrf": viewer.csrf})).status_code for path in posts]
    assert 403 == (await viewer.opens(f"{PLACE}/web/switch")).status_code


async def test_a_password_of_an_hour_ago_is_asked_for_again(
    service: app.Service, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await application(service)
    await browser.opens(PLACE)
    token = {"csrf": browser.csrf}
    monkeypatch.setattr("dashboard.danger.FRESH", -1)

    posts = [PLACE, *(f"{PLACE}/backend/{what}" for what in ("policy", "secret", "switch"))]
    for path in posts:
        answer = await browser.sends(path, token | REPORTER | {"to": "disabled", "keep": "0"})
        assert answer.headers["location"].startswith("/dashboard/re-authenticate?next=%2Fdashboard%2Fclients"), path
    for path in (PLACE, f"{PLACE}/backend", f"{PLACE}/backend/switch"):
        await browser.opens(path)
        assert "re-authenticate" in browser.page, path
        assert '<form method="post" action="/dashboard/clients' not in browser.page, path
    assert ["client.registered"] * 3 == [
        one.fact.TYPE for one in await facts(service) if one.fact.TYPE.startswith("client.")
    ]


async def test_an_application_that_there_is_not_is_not_found(browser: Browser) -> None:
    assert 404 == (await browser.opens(f"{PLACE}/unheard")).status_code
