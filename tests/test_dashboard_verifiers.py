"""The receipt of a kill says which verifiers have caught up with it."""

from collections.abc import AsyncIterator

import httpx
import pytest

import app
from tests.applications import application, own_token
from tests.browsers import Browser, Seen
from tests.conftest import PASSWORD, visiting
from tests.test_dashboard_incident import confirms, sessions
from tests.visitors import bearer

FEED = "/v1/revocations"


@pytest.fixture
async def browser(service: app.Service) -> AsyncIterator[Browser]:
    await service.subjects.register("bob", PASSWORD, "responder", "cli")
    await service.subjects.register("alice", PASSWORD, "", "cli")
    async with visiting(service) as http:
        yield Browser(http)


async def says(http: httpx.AsyncClient, headers: dict[str, str], name: str) -> None:
    """A verifier applies all that there is, and says so."""
    place = (await http.get(FEED, headers=headers)).json()["cursor"]
    answer = await http.post(f"{FEED}/ack", headers=headers, json={"verifier": name, "cursor": place})
    assert 204 == answer.status_code


async def test_a_receipt_names_verifiers_that_have_not_caught_up(service: app.Service, browser: Browser) -> None:
    one = (await sessions(service, 1))[0]
    async with visiting(service) as http:
        told = await application(service, "orders", scopes="revocations:read", operator=1)
        headers = bearer(await own_token(http, told))
        await says(http, headers, "host-1/7")
        await says(http, headers, "host-2/7")
        await browser.signs_in("bob")
        preview = await browser.opens(f"/dashboard/families/{one}/kill")
        place = (await confirms(browser, preview, scope="family")).headers["location"]
        neither = Seen((await browser.opens(place)).text).text
        await says(http, headers, "host-1/7")
        half, twin = Seen((await browser.opens(place)).text).text, await browser.http.get(f"{place}?format=json")
        await says(http, headers, "host-2/7")
        both = Seen((await browser.opens(place)).text).text

    assert "Verifiers caught up: 0 of 2" in neither
    assert "Verifiers caught up: 1 of 2" in half
    assert "Not yet: orders: host-2/7" in half
    assert (2, ["orders: host-2/7"]) == (twin.json()["verifiers"], twin.json()["verifiers_behind"])
    assert "All 2 verifiers have caught up" in both


async def test_a_receipt_says_where_nobody_follows(service: app.Service, browser: Browser) -> None:
    one = (await sessions(service, 1))[0]
    await browser.signs_in("bob")
    preview = await browser.opens(f"/dashboard/families/{one}/kill")
    place = (await confirms(browser, preview, scope="family")).headers["location"]

    assert "No verifier follows" in Seen((await browser.opens(place)).text).text
