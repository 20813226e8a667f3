"""The kit's sessions that are bound to a key, in a real browser: what was copied is worth nothing elsewhere."""

import gzip
import re
from functools import partial

import httpx
import pytest
from playwright.async_api import Browser, Route

from tests.example import Example, Visitor, visitor
from tests.kit_pages import FAILURE, KIT, ME, bare_page, example, heard, one, opened, opening, signed_in_page

KEPT = """async (baseUrl) => {
  const name = `session-ledger ${new URL(baseUrl).origin} web bound`;
  const open = indexedDB.open(name, 1);
  await new Promise((done) => (open.onsuccess = done));
  const asked = open.result.transaction('session').objectStore('session').get('it');
  await new Promise((done) => (asked.onsuccess = done));
  const { keys, ...rest } = asked.result;
  const taken = await crypto.subtle.exportKey('jwk', keys.privateKey).catch((error) => error.name);
  return { ...rest, extractable: keys.privateKey.extractable, taken };
}"""
AGE = """async (baseUrl) => {
  const name = `session-ledger ${new URL(baseUrl).origin} web bound`;
  const open = indexedDB.open(name, 1);
  await new Promise((done) => (open.onsuccess = done));
  const store = open.result.transaction('session', 'readwrite').objectStore('session');
  const asked = store.get('it');
  await new Promise((done) => (asked.onsuccess = done));
  store.put({ ...asked.result, ends: 1 }, 'it');
  await new Promise((done) => (store.transaction.oncomplete = done));
}"""
"""What this browser keeps is old from now on."""

bare = partial(bare_page, opening("dpop.js", "createBoundClient"))
signed_in = partial(signed_in_page, opening("dpop.js", "createBoundClient"))
pytestmark = pytest.mark.asyncio(loop_scope="module")
__all__ = ("example", "one", "opened")
"""Fixtures that pytest looks for here."""


async def test_a_page_signs_in_with_a_key_of_its_own_and_goes_on_after_it_was_loaded_again(one: Visitor) -> None:
    page = await signed_in(one)
    me = await page.evaluate(ME, one.example.ledger)
    await page.close()
    again = await bare(one)

    assert await again.evaluate("ledger.start()")
    assert ["signed_in"] == await heard(again)
    assert (me["family_id"], "admin") == ((await again.evaluate(ME, one.example.ledger))["family_id"], me["username"])
    assert await again.evaluate("ledger.expiresIn") > 800
    assert [] == one.complaints


async def test_what_is_kept_is_worth_nothing_in_another_place(one: Visitor) -> None:
    page = await signed_in(one)
    kept = await page.evaluate(KEPT, one.example.ledger)
    form = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": kept["refresh"]}
    async with httpx.AsyncClient(base_url=one.example.place.url, trust_env=False) as thief:
        refreshed = await thief.post("/oauth/token", data=form)
        used = await thief.get("/auth/me", headers={"Authorization": f"Bearer {kept['token']}"})

    assert (False, "InvalidAccessError") == (kept["extractable"], kept["taken"])
    assert (400, "invalid_dpop_proof") == (refreshed.status_code, refreshed.json()["error"])
    assert 401 == used.status_code
    assert "admin" == (await page.evaluate(ME, one.example.ledger))["username"]


async def test_two_tabs_refresh_one_after_the_other_and_share_what_they_got(one: Visitor) -> None:
    tabs = [await signed_in(one), await bare(one)]
    await tabs[1].evaluate("ledger.start()")
    before = await tabs[0].evaluate(KEPT, one.example.ledger)
    await tabs[0].evaluate(AGE, one.example.ledger)
    for tab in tabs:
        await tab.evaluate("ledger.start()")
    asked: list[str] = []
    one.context.on("request", lambda request: asked.append(request.method) if "/oauth/token" in request.url else None)

    names = [(await tab.evaluate(ME, one.example.ledger))["username"] for tab in tabs]
    after = await tabs[1].evaluate(KEPT, one.example.ledger)

    assert ["admin", "admin"] == names
    assert before["refresh"] != after["refresh"]
    assert before["family"] == after["family"]
    assert asked.count("POST") <= 2  # one, and once more where the nonce was old


async def test_an_answer_that_was_lost_is_asked_for_again(one: Visitor) -> None:
    page = await signed_in(one)
    await page.evaluate(AGE, one.example.ledger)
    await page.evaluate("ledger.start()")
    lost: list[int] = []

    async def lose(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            lost.append((await route.fetch()).status)
            await route.abort()
        else:
            await route.continue_()

    await page.route("**/oauth/token", lose)

    assert "admin" == (await page.evaluate(ME, one.example.ledger))["username"]
    assert [200] == lost


async def test_signing_out_forgets_key_and_tokens_in_every_tab(one: Visitor) -> None:
    page, other = await signed_in(one), await bare(one)
    await other.evaluate("ledger.start()")
    await page.evaluate("ledger.signOut()")
    refused = await other.evaluate(f"ledger.fetch('/x').catch({FAILURE})")

    assert ["signed_in", "signed_out"] == await heard(other)
    assert {"code": "signed_out", "status": 401, "retryAfter": 0} == refused
    assert not await page.evaluate("ledger.start()")


async def test_a_session_that_was_ended_elsewhere_is_over_at_the_next_refresh(one: Visitor) -> None:
    page = await signed_in(one)
    family = (await page.evaluate(ME, one.example.ledger))["family_id"]
    one.example.place.done("revoke", family, "--reason", "stolen_token")
    refused = await page.evaluate(
        f"(base) => ledger.fetch(new URL('/auth/me', base)).then((answer) => answer.status).catch({FAILURE})",
        one.example.ledger,
    )

    assert 401 == refused
    assert "session_ended" in await heard(page)


async def test_in_memory_the_session_ends_with_the_page(one: Visitor) -> None:
    page = await signed_in(one, keep=False)
    assert "admin" == (await page.evaluate(ME, one.example.ledger))["username"]
    again = await bare(one, keep=False)

    assert not await again.evaluate("ledger.start()")
    assert [] == await again.evaluate("indexedDB.databases()")


async def test_a_clock_that_is_wrong_is_corrected_by_the_service_s(opened: Browser, example: Example) -> None:
    wrong = "const real = Date.now; Date.now = () => real() + 3_600_000"
    one = await visitor(opened, example, wrong)
    page = await signed_in(one)

    assert "admin" == (await page.evaluate(ME, example.ledger))["username"]
    await one.context.close()


async def test_headers_for_another_way_work_and_a_foreign_origin_gets_none(one: Visitor) -> None:
    page = await signed_in(one)
    url = f"{one.example.ledger}/auth/me"
    told = await page.evaluate("(url) => ledger.headers('GET', url)", url)
    foreign = await page.evaluate(f"ledger.fetch('https://elsewhere.example/').catch({FAILURE})")

    async with httpx.AsyncClient(trust_env=False) as other:
        answer = await other.get(url.replace(one.example.ledger, one.example.place.url), headers=told)
    assert 200 == answer.status_code
    assert {"code": "TypeError"} == foreign


async def test_the_types_name_what_a_bound_client_has(one: Visitor) -> None:
    page = await bare(one)
    found = await page.evaluate("Object.keys(ledger)")
    interface = re.search(r"export interface BoundClient \{(.*?)\n\}", (KIT / "dpop.d.ts").read_text(), re.DOTALL)

    assert interface is not None
    assert sorted(found) == sorted(re.findall(r"^  (?:readonly )?(\w+)", interface[1], re.MULTILINE))


async def test_the_module_needs_nothing_and_weighs_at_most_four_kilobytes() -> None:
    source = (KIT / "dpop.js").read_bytes()

    assert len(gzip.compress(source, 9, mtime=0)) <= 4000
    assert [] == re.findall(rb"localStorage|sessionStorage|caches|\bimport\b|eval", source)
