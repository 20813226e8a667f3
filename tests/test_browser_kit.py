"""The kit for pages in a real browser: what it costs, what it promises when the service or the network fail."""

import re
from functools import partial

import pytest
from playwright.async_api import Browser, Route

from tests.example import REFRESH, Example, Visitor, visitor
from tests.kit_pages import FAILURE, KIT, ME, bare_page, example, heard, one, opened, opening, signed_in_page

ALONE = "delete Navigator.prototype.locks; delete window.BroadcastChannel"
"""A browser that has neither."""
bare = partial(bare_page, opening("index.js", "createClient"))
signed_in = partial(signed_in_page, opening("index.js", "createClient"))
pytestmark = pytest.mark.asyncio(loop_scope="module")
__all__ = ("example", "one", "opened")
"""Fixtures that pytest looks for here."""


class Answers:
    """What a route is answered with instead of the real answer, in this order; then the real one."""

    def __init__(self, *given: tuple[int, dict[str, str]]) -> None:
        self.given = list(given)
        self.asked = 0

    async def __call__(self, route: Route) -> None:
        if route.request.method == "OPTIONS":
            return await route.continue_()
        self.asked += 1
        if not self.given:
            return await route.continue_()
        status, headers = self.given.pop(0)
        origin = await route.request.header_value("origin") or "*"
        shared = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
        shared["Access-Control-Expose-Headers"] = "Retry-After"
        return await route.fulfill(status=status, headers=shared | headers, body="{}")


async def test_the_types_name_what_a_client_has(one: Visitor) -> None:
    page = await bare(one)
    found = await page.evaluate("Object.keys(ledger)")
    interface = re.search(r"export interface Client \{(.*?)\n\}", (KIT / "index.d.ts").read_text(), re.DOTALL)

    assert interface is not None
    assert sorted(found) == sorted(re.findall(r"^  (?:readonly )?(\w+)", interface[1], re.MULTILINE))


async def test_a_page_that_is_loaded_again_goes_on_with_its_session(one: Visitor) -> None:
    await signed_in(one)
    page = await bare(one)
    again = await bare(one)
    answers = [await page.evaluate("ledger.start()"), await again.evaluate("ledger.start()")]
    me = await again.evaluate(ME, one.example.ledger)

    assert [True, True] == answers
    assert [] == one.sent, "the token came from the other tab"
    assert "admin" == me["username"]


async def test_the_last_tab_is_gone_and_a_new_one_goes_on_by_the_cookie(one: Visitor) -> None:
    await (await signed_in(one)).close()
    page = await bare(one)

    assert await page.evaluate("ledger.start()")
    assert (1, ["signed_in"]) == (len(one.sent), await heard(page))


async def test_a_browser_without_a_session_is_told_so_without_a_request(one: Visitor) -> None:
    page = await bare(one)

    assert not await page.evaluate("ledger.start()")
    assert (0, ["token_unknown"]) == (len(one.sent), await heard(page))
    refused = await page.evaluate(f"ledger.getAccessToken().catch({FAILURE})")
    assert {"code": "token_unknown", "status": 401, "retryAfter": 0} == refused


async def test_a_wrong_password_is_an_error_with_the_code_of_the_service(one: Visitor) -> None:
    page = await bare(one)
    refused = await page.evaluate(f"ledger.signIn({{ username: 'admin', password: 'wrong' }}).catch({FAILURE})")

    assert {"code": "invalid_credentials", "status": 401, "retryAfter": 0} == refused
    assert [] == await heard(page)


@pytest.mark.parametrize("status", [429, 503])
async def test_it_waits_as_long_as_the_service_says(one: Visitor, status: int) -> None:
    await (await signed_in(one)).close()
    page = await bare(one)
    answers = Answers((status, {"Retry-After": "2"}))
    await page.route(f"**{REFRESH}", answers)
    refused = await page.evaluate(f"ledger.start().catch({FAILURE})")
    at_once = await page.evaluate(f"ledger.getAccessToken().catch({FAILURE})")
    asked = answers.asked
    await page.wait_for_function("heard.includes('signed_in')", timeout=10_000)

    expected = {"code": "unavailable", "status": status, "retryAfter": 2}
    assert [expected, expected, 1, 2] == [refused, at_once, asked, answers.asked]


async def test_a_lost_network_signs_nobody_out(one: Visitor) -> None:
    await (await signed_in(one)).close()
    page = await bare(one)
    await one.context.set_offline(True)
    refused = await page.evaluate(f"ledger.start().catch({FAILURE})")
    await page.wait_for_timeout(500)
    await one.context.set_offline(False)
    await page.wait_for_function("heard.length > 0", timeout=5000)

    assert {"code": "TypeError"} == refused
    assert ["signed_in"] == await heard(page)


async def test_a_service_that_never_answers_holds_nobody_up(one: Visitor) -> None:
    await (await signed_in(one)).close()
    page = await bare(one, timeout=0.5)
    await page.route(f"**{REFRESH}", lambda route: None)
    refused = await page.evaluate(f"ledger.start().catch({FAILURE})")
    aborted = await page.evaluate(f"ledger.getAccessToken({{ signal: AbortSignal.timeout(50) }}).catch({FAILURE})")

    assert "TimeoutError" == refused["code"]
    assert "TimeoutError" == aborted["code"]


async def test_a_refused_token_is_refreshed_once_and_the_request_sent_once_more(one: Visitor) -> None:
    page = await signed_in(one)
    notes = Answers((401, {}))
    await page.route("**/api/notes", notes)
    said = await page.evaluate(
        "ledger.fetch('/api/notes', { method: 'POST', body: JSON.stringify({ text: 'twice' }),"
        " headers: { 'Content-Type': 'application/json' } }).then((answer) => answer.json())"
    )

    assert (2, 1) == (notes.asked, len(one.sent))
    assert ["twice"] == said["notes"]


async def test_a_server_that_refuses_every_token_costs_one_refresh(one: Visitor) -> None:
    page = await signed_in(one)
    notes = Answers(*[(401, {})] * 9)
    await page.route("**/api/notes", notes)
    statuses = [await page.evaluate("ledger.fetch('/api/notes').then((answer) => answer.status)") for _ in range(3)]

    assert [401, 401, 401] == statuses
    assert (4, 1) == (notes.asked, len(one.sent))


async def test_many_requests_that_are_refused_at_once_share_one_refresh(one: Visitor) -> None:
    page = await signed_in(one)
    await page.route("**/api/notes", Answers(*[(401, {})] * 8))
    statuses = await page.evaluate(
        "Promise.all(Array.from({ length: 8 }, () => ledger.fetch('/api/notes').then((answer) => answer.status)))"
    )

    assert ([200] * 8, 1) == (statuses, len(one.sent))


async def test_the_token_goes_to_the_servers_that_the_page_names_only(one: Visitor) -> None:
    page = await signed_in(one, apis=["https://api.example.com"])
    sent: list[str | None] = []

    async def other(route: Route) -> None:
        if route.request.method != "OPTIONS":
            sent.append(await route.request.header_value("authorization"))
        await route.fulfill(
            status=200, headers={"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "Authorization"}
        )

    await page.route("https://*.example.com/**", other)
    status = await page.evaluate("ledger.fetch('https://api.example.com/x').then((answer) => answer.status)")
    refused = await page.evaluate(f"ledger.fetch('https://evil.example.com/x').catch({FAILURE})")

    assert (200, {"code": "TypeError"}) == (status, refused)
    assert [True] == [(one or "").startswith("Bearer eyJ") for one in sent]


async def test_signing_out_here_ends_this_browser_and_no_other(one: Visitor, opened: Browser, example: Example) -> None:
    page = await signed_in(one)
    second = await bare(one)
    await second.evaluate("ledger.start()")
    other = await signed_in(await visitor(opened, example))
    await page.evaluate("ledger.signOut()")
    told = [await heard(page), await heard(second)]
    lives = await other.evaluate("ledger.sessions().then((all) => all.length > 0)")

    assert [["signed_in", "signed_out"]] * 2 == told
    assert lives
    assert [] == (await one.context.storage_state())["cookies"]


@pytest.mark.parametrize(("scope", "ends_here"), [("others", False), ("everywhere", True)])
async def test_signing_out_elsewhere(
    one: Visitor, opened: Browser, example: Example, scope: str, ends_here: bool
) -> None:
    page = await signed_in(one)
    other = await signed_in(await visitor(opened, example))
    await page.evaluate("(scope) => ledger.signOut({ scope })", scope)
    status = await other.evaluate(
        "(base) => ledger.fetch(new URL('/auth/me', base)).then((answer) => answer.status)", example.ledger
    )
    told = await heard(other)

    assert (401, "session_revoked") == (status, told[-1])
    assert ends_here == ("signed_out" in await heard(page))


async def test_signing_out_fails_aloud_where_the_service_cannot_be_told(one: Visitor) -> None:
    page = await signed_in(one)
    await one.context.set_offline(True)
    refused = await page.evaluate(f"ledger.signOut().catch({FAILURE})")

    assert "TypeError" == refused["code"]
    assert ["signed_in"] == await heard(page), "who reloads the page would be signed in still"


async def test_five_tabs_that_begin_at_once_share_one_refresh(one: Visitor) -> None:
    await (await signed_in(one)).close()
    pages = [await bare(one) for _ in range(5)]
    for page in pages:
        await page.evaluate("window.begun = ledger.start()")

    assert [True] * 5 == [await page.evaluate("begun") for page in pages]
    assert 1 == len(one.sent)


async def test_tabs_that_know_nothing_of_each_other_all_stay_signed_in(opened: Browser, example: Example) -> None:
    one = await visitor(opened, example, ALONE)
    await (await signed_in(one)).close()
    pages = [await bare(one) for _ in range(5)]
    for page in pages:
        await page.evaluate("window.begun = ledger.start()")

    assert [True] * 5 == [await page.evaluate("begun") for page in pages]
    assert ({200}, 5) == (set(one.statuses), len(one.sent))


async def test_a_tab_that_holds_the_lock_and_never_ends_holds_nobody_up(one: Visitor) -> None:
    await (await signed_in(one)).close()
    stuck = await one.tab("/ledger.js")
    await stuck.evaluate(
        "(name) => void navigator.locks.request(name, () => new Promise(() => {}))",
        f"session-ledger {one.example.ledger} web",
    )
    page = await bare(one, timeout=1)

    assert await page.evaluate("ledger.start()")
