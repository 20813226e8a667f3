"""The audit log in a real browser, with and without its scripts; accessibility of every page; what may stop it.

What is about markup and scripts is seen once, on SQLite: the same pages are asked for on both engines elsewhere.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Page, expect

from dashboard import stream, tails
from events import ids
from tests.browsers import HOME, a_family, a_theft, size
from tests.chromium import EXAMPLES, MORE, NO_PAGES, Chrome, a_world, chrome, routes_of, violations
from tests.conftest import PASSWORD, MakeSettings, visiting
from tests.visitors import sign_in

MARKUP = pytest.mark.usefixtures("on_sqlite")


@pytest.fixture
async def opened(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Chrome]:
    monkeypatch.setattr(tails, "LOOK", 0.1)
    async with chrome(make_settings) as started:
        yield started
        assert [] == started.complaints


def query(page: Page) -> str:
    return parse_qs(urlsplit(page.url).query).get("q", [""])[0]


async def blocked(page: Page) -> list[str]:
    found: list[str] = await page.evaluate("window.blocked")
    return found


async def count(page: Page) -> int:
    return await page.locator("#rows tr.row").count()


async def own_family(page: Page) -> bytes:
    twin = await (await page.request.get("/dashboard/me?format=json")).json()
    return ids.parse("fam", twin["session"])


async def test_searching_clicking_and_going_back(opened: Chrome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.events.PAGE_SIZE", 4)
    await a_theft(opened.service)
    page = await opened.page()
    await page.fill("#q", "user:admin type:token.*")
    await page.press("#q", "Enter")
    await expect(page.locator(".chips .term")).to_have_count(2)
    await page.click("text=Load older")
    await expect(page.locator("#rows tr.row")).not_to_have_count(4)
    more = await count(page)
    await page.locator("#rows tr.row .pos a").last.click()
    await page.wait_for_url("**/dashboard/events/*")
    await page.go_back()
    await expect(page.locator("header.frame")).to_be_visible()
    back = await count(page)
    await page.click("[aria-label='Remove type:token.*']")
    await page.wait_for_url("**?q=user:admin")
    await page.locator("td.what button[name=in]", has_text="reuse detected").first.click()
    await page.wait_for_url("**reuse_detected**")
    narrowed = query(page)
    await page.go_back()
    await page.wait_for_url("**?q=user:admin")

    assert (True, 4) == (more > 4, back)
    assert "user:admin type:token.reuse_detected" == narrowed
    assert "user:admin" == await page.input_value("#q")
    assert await page.locator("header.frame").is_visible()
    assert [] == await blocked(page)


@MARKUP
async def test_alt_click_searches_without_the_value(opened: Chrome) -> None:
    await a_theft(opened.service)
    page = await opened.page()
    await page.locator("td.what button[name=in]", has_text="rotated").first.click(modifiers=["Alt"])
    await page.wait_for_url("**-type:**")

    assert "-type:token.rotated" in query(page)
    assert 0 == await page.locator(".chip", has_text="rotated").count()


@MARKUP
async def test_values_are_counted_when_they_are_asked_for(opened: Chrome) -> None:
    await a_theft(opened.service)
    page = await opened.page()
    await page.click("#facets summary")
    await page.locator("#facet-values button[name=in]", has_text="token.rotated").click()
    await page.wait_for_url("**token.rotated**")

    assert 2 == await count(page)


async def test_a_live_page_shows_what_happens_and_stops_with_the_session(opened: Chrome) -> None:
    page = await opened.page()
    await page.fill("#q", "type:token.issued client:web")
    await page.press("#q", "Enter")
    await page.click("text=Live")
    await page.wait_for_url("**live=1**")
    for number in (1, 2):
        await a_family(opened.service)
        await expect(page.locator("#live tr.row")).to_have_count(number)
    await expect(page.locator("#live tr.row .what")).to_contain_text(["signed in", "signed in"])
    assert [] == await blocked(page)
    await opened.service.families.revoke(await own_family(page), "cli", "suspicious")
    await page.wait_for_url("**/dashboard/sign-in?why=ended**")


async def test_a_page_that_is_not_live_says_so(opened: Chrome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST", 0)
    page = await opened.page()
    await page.goto(f"{HOME}?live=1")

    await expect(page.locator("#status")).to_contain_text("Not live: too many of your pages")


@pytest.mark.alone
async def test_a_service_with_a_live_page_open_stops_at_once(opened: Chrome) -> None:
    page = await opened.page()
    await page.goto(f"{HOME}?live=1")
    async with asyncio.timeout(5):
        await a_family(opened.service)
        await expect(page.locator("#live tr.row")).not_to_have_count(0)
    took = await opened.stop()
    await page.close()

    assert took < 2


async def test_new_events_are_announced_and_never_pushed_in(opened: Chrome) -> None:
    page = await opened.page()
    await page.clock.install()
    await page.goto(HOME)
    before = await count(page)
    await a_family(opened.service)
    await page.clock.run_for(11_000)
    await expect(page.locator("#new .pill")).to_contain_text("new")
    still = await count(page)
    await page.click("#new .pill")
    await expect(page.locator("#rows tr.row")).not_to_have_count(before)

    assert before == still


async def test_the_overview_is_counted_anew_by_itself_where_somebody_sees_it(opened: Chrome) -> None:
    page = await opened.page()
    await page.clock.install()
    await page.goto("/dashboard")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.resource_type == "fetch" else None)
    link = page.locator("a.tile").first
    await link.focus()
    await page.click("[data-do=times]")
    await link.focus()
    before, kept = await page.locator("#overview .sub a").text_content(), await size(opened.service)
    stolen = await a_theft(opened.service)
    await page.clock.run_for(16_000)
    await expect(page.locator(f"#overview .alerts a[href='/dashboard/families/{stolen}']")).to_be_visible()
    own = await opened.service.family_reader.get(await own_family(page))
    again = list(asked)
    await page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")
    await page.clock.run_for(60_000)

    assert before != await page.locator("#overview .sub a").text_content()
    assert await link.evaluate("(one) => one === document.activeElement")
    assert [f"{opened.url}/dashboard"] == again == asked
    assert await size(opened.service) > kept
    assert own is not None
    assert 1 == own.family.generation
    assert [] == await blocked(page)


async def test_a_page_whose_session_ended_goes_to_sign_in_and_comes_back(opened: Chrome) -> None:
    page = await opened.page()
    await page.clock.install()
    await page.goto(f"{HOME}?q=type:token.*")
    await opened.service.families.revoke(await own_family(page), "cli", "suspicious")
    await page.clock.run_for(11_000)
    await page.wait_for_url("**/dashboard/sign-in?why=ended&next=**")

    assert f"{HOME}?q=type:token.*" == await page.input_value("input[name=next]")


@MARKUP
async def test_everything_can_be_reached_by_keys(opened: Chrome) -> None:
    await a_theft(opened.service)
    page = await opened.page()
    await page.keyboard.press("/")
    await page.keyboard.type("type:token.*")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**?q=**")
    shown = [int((await one.inner_text())[1:]) for one in await page.locator("#rows .pos a").all()]
    for key in ("j", "j", "j", "k"):
        await page.keyboard.press(key)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/dashboard/events/{shown[1]}")
    await page.keyboard.press("?")
    await expect(page.locator("dialog#keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog#keys")).to_be_hidden()
    for _ in range(3):
        await a_family(opened.service)
    await page.goto("/dashboard/families?q=is:living")
    for key in ("j", "j", "x", "j", "x"):
        await page.keyboard.press(key)
    ticked = await page.locator(".row [type=checkbox]").evaluate_all("all => all.map(one => one.checked)")
    assert [False, True, True] == ticked[:3]

    assert [] == await blocked(page)


@MARKUP
async def test_theme_and_times_are_kept(opened: Chrome) -> None:
    await a_theft(opened.service)
    page = await opened.page(timezone_id="Asia/Kathmandu", color_scheme="light")
    first = page.locator("#rows time").first
    utc = await first.inner_text()
    light = await page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    await page.click("[data-do=times]")
    await page.click("[data-do=theme]")
    await page.reload()
    kept = await first.inner_text()
    dark = await page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    await page.click("[data-do=times]")
    await page.click("[data-do=theme]")

    def minutes(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:5])

    assert (minutes(utc) + 345) % 1440 == minutes(kept)
    assert light != dark
    assert utc == await first.inner_text()
    assert light == await page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")


@MARKUP
async def test_a_picture_tells_times_as_the_page_around_it(opened: Chrome) -> None:
    theft = await a_theft(opened.service)
    page = await opened.page(timezone_id="Asia/Kathmandu")
    await page.goto(f"{opened.url}/dashboard/families/{theft}")
    drawn, told = page.locator(".node-when").first, page.locator(".story time").first
    utc = await drawn.text_content()
    await page.click("[data-do=times]")

    assert utc != await drawn.text_content()
    assert await drawn.text_content() == (await told.inner_text())[:5]


@MARKUP
async def test_a_copied_link_opens_what_was_seen(opened: Chrome) -> None:
    page = await opened.page(permissions=["clipboard-read", "clipboard-write"])
    await page.click("text=Copy link")
    await expect(page.locator("[data-copy]")).to_have_text("Copied")
    copied = await page.evaluate("navigator.clipboard.readText()")
    await page.goto(copied)

    assert copied.startswith(f"{opened.url}{HOME}?")
    await expect(page.locator("#status")).to_contain_text("As of #")


@MARKUP
async def test_suggestions_go_on_behind_what_was_typed(opened: Chrome) -> None:
    page = await opened.page()
    await page.locator("#q").press_sequentially("at:24h ty")
    offered = await page.locator("#terms option").evaluate_all("all => all.map(one => one.value)")

    assert "at:24h type:token.reuse_detected" in offered
    assert all(one.startswith("at:24h ") for one in offered)


@MARKUP
async def test_all_of_it_works_without_scripts(opened: Chrome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.events.PAGE_SIZE", 4)
    await a_theft(opened.service)
    page = await opened.page(java_script_enabled=False, accept_downloads=True)
    await page.fill("#q", "user:admin")
    await page.press("#q", "Enter")
    first = await count(page)
    await page.click("text=Load older")
    await page.wait_for_url("**before=**")
    older = await count(page)
    await page.click("text=Newest")
    await page.click("#facets summary")
    await page.click("text=Count them")
    await page.locator("#facet-values button[name=out]").first.click()
    await page.wait_for_url("**q=user:admin*-type**")
    assert "user:admin -type:" in query(page)
    assert await page.locator(".js-only:visible").count() == 0
    await page.click("text=Export")
    async with page.expect_download() as download:
        await page.click("button[value=csv]")
    taken = (await (await download.value).path()).read_text().splitlines()
    await page.locator("#rows .pos a").first.click()
    await page.wait_for_url("**/dashboard/events/*")

    assert (4, True) == (first, older > 0)
    assert taken[0].startswith("position,at,type,")
    assert len(taken) > 2
    assert "✓ Fits" in await page.inner_text("main")


@MARKUP
async def test_no_page_breaks_a_rule_of_accessibility_or_of_its_policy(opened: Chrome) -> None:
    world = await a_world(opened.service)
    assert set(EXAMPLES) == routes_of(opened.service) - NO_PAGES
    page = await opened.page(reduced_motion="reduce")  # or colours are measured on their way from light to dark
    found: dict[str, Any] = {}
    for path in [*(example(world) or route for route, example in EXAMPLES.items()), *MORE]:
        answer = await page.goto(path)
        assert answer is not None
        assert answer.status in ({422} if "usr" in path else {404} if "nothing" in path else {200}), path
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            found[f"{path} {scheme}"] = await violations(page)
        found[f"{path} policy"] = await blocked(page)

    assert {} == {name: wrong for name, wrong in found.items() if wrong}


@MARKUP
async def test_nothing_that_was_sent_in_comes_alive(opened: Chrome) -> None:
    hostile = "<img src=x onerror=alert(1)>'\"><script>alert(1)</script>"
    await opened.service.subjects.register(hostile, PASSWORD, "responder", "cli")
    async with visiting(opened.service, headers={"User-Agent": hostile}) as http:
        tokens = await sign_in(http, hostile, device=hostile[:60])
        tokens = (await http.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})).json()
    world = (await a_world(opened.service))._replace(stolen=tokens["family_id"], living=tokens["family_id"])
    family = await opened.service.family_reader.get(ids.parse("fam", tokens["family_id"]))
    assert family is not None
    world = world._replace(subject=ids.to_text("sub", family.family.subject))
    page = await opened.page(hostile)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    found, named = {}, 0
    for path in [*(example(world) or route for route, example in EXAMPLES.items()), *MORE]:
        await page.goto(path)
        found[path] = [*await blocked(page), *["an image"] * await page.locator("img").count()]
        named += "onerror=alert(1)" in await page.inner_text("body")

    assert {} == {path: wrong for path, wrong in found.items() if wrong}
    assert [] == dialogs
    assert named > 10


@MARKUP
async def test_every_page_fits_a_phone(opened: Chrome) -> None:
    world = await a_world(opened.service)
    page = await opened.page(viewport={"width": 390, "height": 844})
    wider = {}
    for path in [*(example(world) or route for route, example in EXAMPLES.items()), *MORE]:
        await page.goto(path)
        width = await page.evaluate("document.documentElement.scrollWidth")
        wider[path] = width

    assert {} == {path: width for path, width in wider.items() if width > 390}
    assert await size(opened.service) > 0
