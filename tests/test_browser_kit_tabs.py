"""Five tabs of the example under everything that goes wrong between a browser and the service."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.example import Example, Visitor, browser, reason, state, visitor

LIFE = 2
"""Seconds that an access token lives."""
LEEWAY = 0.2
"""Seconds; a tenth of that is the most that there can be."""
AN_HOUR_WRONG = """
const Right = Date;
Date = class extends Right {
  constructor(...given) { given.length ? super(...given) : super(Right.now() + 3600000) }
  static now() { return Right.now() + 3600000 }
};
"""
KEPT = """async () => ({
  local: localStorage.length,
  session: sessionStorage.length,
  databases: (await indexedDB.databases()).length,
  caches: (await caches.keys()).length,
  cookies: document.cookie.split('; ').map((one) => one.split('=')[0]),
  page: document.documentElement.outerHTML.includes('eyJ'),
})"""
NOTHING = {"local": 0, "session": 0, "databases": 0, "caches": 0, "cookies": ["__Host-csrf-web"], "page": False}


HELD = """async (baseUrl) => {
  const { createClient } = await import('/kit/index.js');
  const ledger = createClient({ baseUrl });
  await ledger.start();
  const token = await ledger.getAccessToken();
  ledger.close();
  return token;
}"""
"""The access token that the tabs have among them, as a script of the page itself can have it."""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    made = Example(tmp_path_factory.mktemp("tabs"), LEDGER_ACCESS_TTL=str(LIFE), LEDGER_RETRY_LEEWAY=str(LEEWAY))
    with made.serving():
        yield made


@pytest.fixture
async def five(example: Example) -> AsyncIterator[tuple[Visitor, list[Page]]]:
    """A signed-in visitor with five tabs, whose clock is an hour wrong."""
    async with browser() as opened:
        one = await visitor(opened, example, AN_HOUR_WRONG)
        yield one, await opened_tabs(one)


async def opened_tabs(one: Visitor) -> list[Page]:
    first = await one.tab()
    await one.sign_in(first)
    return [first, *[await one.tab() for _ in range(4)]]


async def killed_in_a_refresh(one: Visitor, tabs: list[Page]) -> None:
    """The tab that refreshes next dies with its request under way; another one is opened for it."""
    page = await one.refreshes(1)
    session = await one.context.new_cdp_session(page)
    dying = asyncio.ensure_future(session.send("Page.crash"))
    dying.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait((dying,), timeout=0.3)  # nobody is left to answer it
    dying.cancel()
    await asyncio.wait_for(page.close(), 5)
    tabs[tabs.index(page)] = await one.tab()


async def without_network(one: Visitor, seconds: float) -> None:
    await one.context.set_offline(True)
    await asyncio.sleep(seconds)
    await one.context.set_offline(False)


async def live_through(one: Visitor, tabs: list[Page], seconds: float) -> None:
    """Trouble every two seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        await killed_in_a_refresh(one, tabs)
        await asyncio.sleep(2)
        await without_network(one, 0.8 * LEEWAY)
        await asyncio.sleep(2)


async def nobody_is_signed_out(one: Visitor, tabs: list[Page], seconds: float) -> None:
    begun, before = time.monotonic(), len(one.statuses)
    await live_through(one, tabs, seconds)
    await asyncio.sleep(LIFE)
    took = time.monotonic() - begun

    sent = [at for at, _ in one.sent if at >= begun]
    lives, answered = took / LIFE, len(one.statuses) - before
    print(f"{lives:.1f} lives of a token: {len(sent)} sent, {answered} answered, {answered / lives:.2f} for each")
    assert ["in"] * 5 == [await state(page) for page in tabs]
    assert {200} == set(one.statuses)
    assert [] == one.complaints
    assert [NOTHING] * 5 == [await page.evaluate(KEPT) for page in tabs]
    assert 1 == round(answered / lives), "all others were for tabs that died or for want of a network"
    assert max(later - earlier for earlier, later in pairwise(sent)) < LIFE + LEEWAY


async def test_five_tabs_stay_signed_in_through_crashes_and_lost_networks(five: tuple[Visitor, list[Page]]) -> None:
    await nobody_is_signed_out(*five, seconds=10)


@pytest.mark.alone
@pytest.mark.soak
async def test_five_tabs_stay_signed_in_for_a_minute(five: tuple[Visitor, list[Page]]) -> None:
    await nobody_is_signed_out(*five, seconds=60)


async def asked(example: Example, token: str) -> int:
    """What the resource server says to this token."""
    async with httpx.AsyncClient(trust_env=False) as http:
        headers = {"Authorization": f"Bearer {token}"}
        return (await http.get(f"http://127.0.0.1:{example.port}/api/notes", headers=headers)).status_code


async def refused_after(example: Example, token: str) -> float:
    """When the resource server no longer takes it."""
    for _ in range(200):
        if await asked(example, token) != 200:
            break
        await asyncio.sleep(0.05)
    return time.monotonic()


async def test_an_old_cookie_in_another_browser_signs_all_tabs_out(
    five: tuple[Visitor, list[Page]], example: Example
) -> None:
    one, tabs = five
    stolen = await one.context.storage_state()
    await one.refreshes(3)
    token = await tabs[0].evaluate(HELD, example.ledger)
    good = await asked(example, token)
    async with browser() as elsewhere:
        thief = await visitor(elsewhere, example, storage_state=stolen)
        page = await thief.tab()
        await expect(page.locator("body")).to_have_attribute("data-state", "out")
        found = await reason(page)
        begun = thief.sent[0][0]
        refused = await refused_after(example, token) - begun
    for tab in tabs:
        await expect(tab.locator("body")).to_have_attribute("data-state", "out", timeout=LIFE * 1000 + 1000)
    print(f"refused after {refused:.2f} s, all tabs signed out after {time.monotonic() - begun:.2f} s")

    assert (200, 401) == (good, await asked(example, token))
    assert refused < 2, "long before it expires"
    assert "token_reused" == found
    assert ["session_revoked"] * 5 == [await reason(tab) for tab in tabs]
    assert 1 == one.statuses.count(401)
