"""An incident as an on-call responder lives it, in a real browser: with its scripts, and with JavaScript off."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, expect

from core.action import Confirmed, start
from events import ids
from events.decision import Streams
from tests.browsers import a_family, a_theft
from tests.chromium import Chrome, chrome
from tests.conftest import PASSWORD, MakeSettings, visiting

SOON = 15_000
"""Milliseconds: the receipt looks again every few seconds."""


@pytest.fixture
async def opened(make_settings: MakeSettings) -> AsyncIterator[Chrome]:
    """A service with a responder, bob, and a browser before it."""
    async with chrome(make_settings) as started:
        await started.service.subjects.register("bob", PASSWORD, "responder", "cli")
        yield started
        assert [] == started.complaints


class Thief:
    """A script that goes on trying with a stolen token."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self.http = http
        self.token = token
        self.codes: list[str] = []

    async def goes_on(self) -> None:
        """Until cancelled."""
        while True:
            answer = await self.http.post("/auth/refresh", json={"refresh_token": self.token})
            self.codes.append(answer.json().get("code", "ok"))
            await asyncio.sleep(0.2)


async def from_overview_to_receipt(page: Page) -> None:
    """Overview, the theft, its subject, what a kill would end, the kill."""
    await page.goto("/dashboard")
    await page.get_by_role("link", name="Understand it").first.click()
    await expect(page.locator("main")).to_contain_text("A used token came back")
    await expect(page.locator("svg.lineage, .lineage svg").first).to_be_visible()
    await page.locator("a[href*='/kill?scope=these']").click()
    await expect(page.locator("main")).to_contain_text("Nothing has ended yet")
    await page.check("#scope-everything")
    await page.select_option("select[name=reason]", "stolen_token")
    await page.fill("input[name=ticket]", "INC-4711")
    await page.get_by_role("button", name="Revoke now").click()
    await page.wait_for_url("**/dashboard/actions/act_*")


@pytest.mark.parametrize("scripts", [True, False])
async def test_an_incident_from_the_overview_to_a_receipt_that_proves_it(opened: Chrome, scripts: bool) -> None:
    await a_theft(opened.service)
    stolen = await a_family(opened.service)
    page = await opened.page("bob", java_script_enabled=scripts)

    await from_overview_to_receipt(page)
    async with visiting(opened.service) as http:
        thief = Thief(http, stolen["refresh_token"])
        trying = asyncio.create_task(thief.goes_on())
        if not scripts:
            await asyncio.sleep(1)
            await page.reload()
        await expect(page.locator("main")).to_contain_text("denied attempt", timeout=SOON)
        trying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await trying

    receipt = await page.inner_text("main")
    assert "Refresh refused" in receipt
    assert "NOT refused" not in receipt
    assert "INC-4711" in receipt
    assert {"session_revoked"} == set(thief.codes)


async def test_a_pasted_token_leads_to_its_family_and_stands_in_no_address(opened: Chrome) -> None:
    stolen = await a_family(opened.service)
    page = await opened.page("bob")

    await page.fill("form.lookup input:not([type=hidden])", stolen["refresh_token"])
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/dashboard/families/fam_*")

    assert stolen["family_id"] in page.url
    assert stolen["refresh_token"] not in page.url
    assert stolen["refresh_token"] not in await page.content()
    history: Any = await page.evaluate("performance.getEntriesByType('navigation').map((one) => one.name)")
    assert not any(stolen["refresh_token"] in one for one in history)


async def rotating(service: Any, tokens: list[str], stop: asyncio.Event) -> None:
    """Every family refreshes as fast as it can, until it is refused."""
    async with visiting(service) as http:

        async def one(token: str) -> None:
            while not stop.is_set():
                answer = await http.post("/auth/refresh", json={"refresh_token": token})
                if answer.status_code != 200:
                    return
                token = answer.json()["refresh_token"]

        await asyncio.gather(*(one(token) for token in tokens))


async def test_a_bulk_kill_while_every_family_rotates_ends_them_all(opened: Chrome) -> None:
    held = [await a_family(opened.service) for _ in range(12)]
    page = await opened.page("bob")
    await page.goto("/dashboard/families?q=is:living client:web")
    stop = asyncio.Event()
    busy = asyncio.create_task(rotating(opened.service, [one["refresh_token"] for one in held], stop))

    await page.click("button[value=matching]")
    await page.wait_for_url("**/dashboard/kills/act_*")
    late = await a_family(opened.service)
    await page.select_option("select[name=reason]", "suspicious")
    await page.get_by_role("button", name="Revoke").last.click()
    await page.wait_for_url("**/dashboard/actions/act_*")
    await expect(page.locator("main")).to_contain_text("Committed", timeout=SOON)
    await asyncio.wait_for(busy, 10)
    stop.set()

    streams = [ids.parse("fam", one["family_id"]) for one in held]
    states = [await opened.service.family_reader.get(stream) for stream in streams]
    assert {"revoked"} == {held.family.status for held in states if held}
    after = await opened.service.family_reader.get(ids.parse("fam", late["family_id"]))
    assert after is not None
    assert after.family.living, "one that began after the preview goes only by an explicit tick"


async def test_a_bulk_kill_that_a_crash_stopped_is_resumed_and_its_receipt_is_whole(opened: Chrome) -> None:
    held = [await a_family(opened.service) for _ in range(6)]
    streams = tuple(ids.parse("fam", one["family_id"]) for one in held)
    actions = opened.service.actions
    page = await opened.page("bob")
    await page.goto("/dashboard/families?q=is:living client:web")
    await page.click("button[value=matching]")
    await page.wait_for_url("**/dashboard/kills/act_*")
    stream = ids.parse("act", page.url.rpartition("/")[2].partition("?")[0])
    confirmed = Confirmed(stream, "staff:test", "suspicious", "", "", 0)
    await opened.service.ledger.submit(Streams(actions=frozenset((stream,))), start(confirmed, include_new=False))
    state = await actions.reader.get(stream)
    assert state is not None
    await actions._end(streams[:2], state)  # and here the process is gone

    await actions.resume()
    await page.goto(f"/dashboard/actions/{ids.to_text('act', stream)}")

    await expect(page.locator("main")).to_contain_text("Committed", timeout=SOON)
    await expect(page.locator("main")).to_contain_text("6 of 6 families ended by this action")
