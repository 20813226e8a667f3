"""The audit log at the dashboard: searching, counting, following it live, and taking a part of it out."""

import asyncio
import csv
import html
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

import app
from dashboard import bars, reference, searching, stream, tails
from dashboard.gate import ROTATE_AFTER
from events.budget import TooSlow
from events.fields import EVENTS, FAMILIES
from events.filters import Mistake, Query, parse
from events.tallies import Histogram
from tests.browsers import (
    BROWSER,
    HOME,
    Ahead,
    Browser,
    Seen,
    a_family,
    a_theft,
    ahead,
    browser,
    second,
    size,
    staff,
)
from tests.conftest import PASSWORD, visiting
from tests.tables import tampering
from tests.visitors import sign_in

__all__ = ("ahead", "browser", "second", "staff")
"""Fixtures that pytest looks for here."""

HERE = Path(searching.__file__).parent
FORBIDDEN = re.compile(r'\shx-on|\son[a-z]+=|\sstyle=|javascript:|js:|hx-trigger="[^"]*\[')
"""What evaluates, or what the content security policy would block."""
FRAGMENT = {"HX-Request": "true", "HX-Request-Type": "partial", "Accept": "text/html"}
"""What the script on a page sends where it asks for a part of it."""


async def part(browser: Browser, path: str, **more: str) -> httpx.Response:
    return await browser.http.get(path, headers=FRAGMENT | more)


async def searched(browser: Browser, query: str, **more: Any) -> dict[str, Any]:
    """The twin of a search."""
    answer = await browser.http.get(HOME, params={"q": query, "format": "json", **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def words(page: str) -> str:
    return " ".join(Seen(page).text.split())


def links(page: str) -> list[str]:
    return [html.unescape(found) for found in re.findall(r'href="([^"]+)"', page)]


def query_of(place: str) -> str:
    return parse_qs(urlsplit(place).query).get("q", [""])[0]


@pytest.fixture
async def theft(service: app.Service, browser: Browser) -> str:
    """A family with a reuse in it, and somebody who looks."""
    family = await a_theft(service)
    await browser.signs_in()
    return family


# --- searching ---


async def test_a_filter_shows_what_matches_and_nothing_else(theft: str, browser: Browser) -> None:
    page = (await browser.opens(f"{HOME}?q=type:token.reuse_detected")).text

    assert 1 == len(re.findall(r'<tr class="row ', page))
    assert "1 event matches" in words(page)
    assert "reuse detected" in page
    assert 'value="type:token.reuse_detected"' in page


async def test_a_bound_that_was_added_is_said_and_one_that_was_not_needed_is_not_added(
    theft: str, browser: Browser
) -> None:
    added = words((await browser.opens(f"{HOME}?q=ua:python*")).text)
    indexed = words((await browser.opens(f"{HOME}?q=user:admin")).text)

    assert "at:24h added, so that the search ends" in added
    assert "added, so that the search ends" not in indexed
    assert (await searched(browser, "ua:python*"))["bound_added"] is True
    assert "ua:python* at:24h" == (await searched(browser, "ua:python*"))["query"]


@pytest.mark.parametrize("place", ["/dashboard/events", "/dashboard/families"])
@pytest.mark.parametrize(
    ("query", "unknown"),
    [
        ("user:admni", ["admni"]),
        ("-user:ADMNI,admin user:x<b>", ["admni", "x<b>"]),
        ("user:admin", []),
        ("user:sub_" + "a" * 26, []),
        ("", []),
    ],
)
async def test_a_login_name_that_nobody_holds_is_told_so(
    theft: str, browser: Browser, place: str, query: str, unknown: list[str]
) -> None:
    page = (await browser.http.get(place, params={"q": query}, headers=BROWSER)).text
    twin = (await browser.http.get(place, params={"q": query, "format": "json"})).json()

    told = [f"Nobody has the login name {name} today." for name in unknown]
    assert told == re.findall(r"Nobody has the login name .*? today\.", " ".join(Seen(page).text.split()))
    assert "<b>x<b>" not in page
    assert unknown == twin["unknown_users"]


async def test_a_staff_actor_that_nobody_is_is_told_so(theft: str, browser: Browser) -> None:
    assert ["rosalie"] == (await searched(browser, "actor:staff:rosalie"))["unknown_users"]


async def test_each_chip_leads_to_the_search_without_it(theft: str, browser: Browser) -> None:
    page = (await browser.opens(f"{HOME}?q=user:admin,bob%20-type:token.retried%20at:7d")).text
    without = re.findall(r'<a href="([^"]+)" aria-label="Remove ([^"]+)"', page)

    assert {
        "user:admin": "user:bob -type:token.retried at:7d",
        "user:bob": "user:admin -type:token.retried at:7d",
        "-type:token.retried": "user:admin,bob at:7d",
        "at:7d": "user:admin,bob -type:token.retried",
    } == {html.unescape(chip): query_of(html.unescape(place)) for place, chip in without}


async def test_a_click_on_a_cell_filters_in_or_out(theft: str, browser: Browser) -> None:
    page = (await browser.opens(HOME)).text
    assert '<button name="in" value="type:token.rotated">' in page
    assert '<button name="out" value="type:token.rotated"' in page
    kept = await browser.http.get(HOME, params={"q": "at:24h", "in": "type:token.rotated"}, headers=BROWSER)
    left = await browser.http.get(HOME, params={"q": "type:token.rotated", "out": "user:admin"}, headers=BROWSER)

    assert (303, "at:24h type:token.rotated") == (kept.status_code, query_of(kept.headers["location"]))
    assert (303, "type:token.rotated -user:admin") == (left.status_code, query_of(left.headers["location"]))


@pytest.mark.parametrize("clicked", ["nothing:x", "type:nothing", "x", "ip:1.2.3", ":"])
async def test_a_click_that_no_page_offers_is_refused(browser: Browser, clicked: str) -> None:
    await browser.signs_in()

    assert 400 == (await browser.http.get(HOME, params={"in": clicked}, headers=BROWSER)).status_code


async def test_a_mistake_is_shown_with_its_place_and_what_was_meant(browser: Browser) -> None:
    await browser.signs_in()
    answer = await browser.opens(f"{HOME}?q=at:24h%20usr:alice")
    text = Seen(answer.text).text

    assert 422 == answer.status_code
    assert "There is no field usr for events. Did you mean user:?" in words(answer.text)
    assert "At character 8: at:24h usr:alice" in text
    assert "at:24h user:alice" in [query_of(place) for place in links(answer.text)]
    assert 'value="at:24h usr:alice"' in answer.text


async def test_a_mistake_is_a_problem_for_programs_and_parts(browser: Browser) -> None:
    await browser.signs_in()
    twin = await browser.http.get(HOME, params={"q": "usr:alice", "format": "json"})
    parts = [await part(browser, f"{HOME}/{name}?q=usr:alice") for name in ("head", "facets", "stream")]

    assert (422, "bad_filter") == (twin.status_code, twin.json()["code"])
    assert "At character 1: There is no field `usr`" in twin.json()["detail"]
    assert [422, 422, 422] == [one.status_code for one in parts]


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"])
async def test_what_was_typed_stays_text(browser: Browser, hostile: str) -> None:
    await browser.signs_in()
    for query in (hostile, f'user:"{hostile.replace(chr(34), "")}"', f"usr:{hostile}"):
        answer = await browser.http.get(HOME, params={"q": query}, headers=BROWSER)
        elements = Seen(answer.text).elements

        assert answer.status_code in {200, 422}
        assert [] == [tag for tag, given in elements if "onerror" in given]
        assert all("src" in given for tag, given in elements if tag == "script")


async def test_older_pages_hold_each_match_once(theft: str, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.events.PAGE_SIZE", 3)
    found, before = [], None
    while True:
        page = await searched(browser, "user:admin", **({} if before is None else {"before": before}))
        found += [event["position"] for event in page["events"]]
        before = page["before"]
        if before is None:
            break

    everything = [event["position"] for event in (await searched(browser, "position:>=0 user:admin"))["events"]]
    assert found == sorted(set(found), reverse=True)
    assert set(everything) <= set(found)
    assert len(found) > 6


async def test_more_rows_come_without_the_page_around_them(
    theft: str, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.events.PAGE_SIZE", 3)
    page = (await browser.opens(HOME)).text
    (place,) = re.findall(r'hx-get="([^"]+before[^"]+)"', page)
    more = await part(browser, html.unescape(place))

    assert 3 == len(re.findall(r'<tr class="row ', more.text))
    assert "<html" not in more.text
    assert 'class="day"' not in more.text
    assert 1 == more.text.count('id="older"')


async def test_going_back_in_the_history_gets_a_whole_page(theft: str, browser: Browser) -> None:
    restored = await part(browser, HOME, **{"HX-History-Restore-Request": "true"})

    assert "<html" in restored.text
    for header in ("HX-Request", "HX-History-Restore-Request"):
        assert header in restored.headers["vary"]
    assert "no-store" == restored.headers["cache-control"]


async def test_bars_narrow_the_time_to_what_they_stand_for(theft: str, browser: Browser) -> None:
    page = (await browser.opens(f"{HOME}?q=type:token.*")).text
    places = [place for place in links(page) if place.startswith("?q=type:token.*+at:")]
    total = (await searched(browser, "type:token.*"))["total"]["number"]
    counts = [(await searched(browser, query_of(place)))["total"]["number"] for place in places]

    assert total == sum(counts)
    assert all(counts)


def test_a_bar_of_one_is_seen_beside_a_thousand() -> None:
    query = parse("type:token.*")
    assert isinstance(query, Query)
    drawn = bars.bars(query, Histogram([0, 10, 20, 30], [1000, 0, 1], capped=False))

    assert drawn is not None
    assert [bars.HEIGHT, bars.LEAST] == [bar.height for bar in drawn.bars]
    assert all(0 <= bar.x and bar.x + bar.width <= bars.WIDTH for bar in drawn.bars)
    assert None is bars.bars(query, Histogram([0, 10], [0], capped=False))
    assert None is bars.bars(query, Histogram([], [], capped=False))


async def test_facets_count_values_that_filter(theft: str, browser: Browser) -> None:
    asked = await part(browser, f"{HOME}/facets?q=type:token.*")
    without_script = await browser.opens(f"{HOME}?q=type:token.*&facets=1")
    led = await browser.opens(f"{HOME}/facets?q=type:token.*")

    for page in (asked.text, without_script.text):
        assert 'value="type:token.rotated"' in page
        assert 'name="out"' in page
    assert "<html" not in asked.text
    assert 303 == led.status_code
    twin = (await browser.http.get(f"{HOME}/facets", params={"q": "type:token.rotated", "format": "json"})).json()
    assert [["token.rotated", 2]] == twin["values"]["type"]


async def test_staff_among_the_values_go_by_their_names(staff: app.Service, browser: Browser) -> None:
    await browser.signs_in("bob")
    await exported(browser, "type:token.*", "csv")
    page = (await part(browser, f"{HOME}/facets?q=actor:staff:*")).text
    (name,) = re.findall(r'name="in" value="(actor:[^"]+)"', page)

    assert "actor:staff:bob" == name
    assert ["dashboard.exported"] == [event["type"] for event in (await searched(browser, name))["events"]]


async def test_the_head_tells_how_many_are_new_or_nothing(theft: str, service: app.Service, browser: Browser) -> None:
    newest = await size(service) - 1
    nothing = await part(browser, f"{HOME}/head?q=type:token.issued&after={newest}")
    await a_family(service)
    await a_family(service)
    some = await part(browser, f"{HOME}/head?q=type:token.issued&after={newest}")

    assert (204, b"") == (nothing.status_code, nothing.content)
    assert "2 new" in words(some.text)
    assert f"{HOME}?q=type:token.issued" in links(some.text)


async def test_around_a_moment_every_filter_is_dropped(theft: str, browser: Browser) -> None:
    (reuse,) = (await searched(browser, "type:token.reuse_detected"))["events"]
    page = (await browser.opens(f"{HOME}?around={reuse['position']}&q=type:key.*")).text
    shown = [int(position) for position in re.findall(r'id="e(\d+)"', page)]

    assert reuse["position"] in shown
    assert list(range(min(shown), max(shown) + 1))[::-1] == shown
    assert len(shown) > 5


async def test_a_link_that_is_kept_shows_tomorrow_what_it_shows_now(
    theft: str, service: app.Service, browser: Browser, ahead: Ahead
) -> None:
    page = (await browser.opens(f"{HOME}?q=type:token.*")).text
    seen = re.findall(r'id="e(\d+)"', page)
    (kept,) = [html.unescape(p) for p in re.findall(r'href="([^"]+)" data-copy', page)]
    await a_family(service)
    ahead.seconds = 600
    later = (await browser.opens(kept)).text

    assert seen == re.findall(r'id="e(\d+)"', later)
    assert "As of #" in words(later)
    bounded = (await browser.opens(f"{HOME}?q=ua:python*")).text
    (pinned,) = [html.unescape(p) for p in re.findall(r'href="([^"]+)" data-copy', bounded)]
    assert re.fullmatch(r"ua:python\* at:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\.\.\*", query_of(pinned))


async def test_a_search_that_takes_too_long_is_told_with_what_to_narrow(
    theft: str, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*args: object, **more: object) -> TooSlow:
        return TooSlow(2.0)

    for name in ("page", "count", "facets", "around"):
        monkeypatch.setattr(f"events.search.EventSearch.{name}", slow)
    page = await browser.opens(f"{HOME}?q=ua:x*")
    twin = await browser.http.get(HOME, params={"q": "ua:x*", "format": "json"})
    others = [await part(browser, f"{HOME}{rest}") for rest in ("/head?after=1", "/facets", "?around=1")]

    assert 503 == page.status_code
    assert "stopped because it took too long" in words(page.text)
    assert "ua:x* at:1h" in [query_of(place) for place in links(page.text)]
    assert (503, "too_slow") == (twin.status_code, twin.json()["code"])
    assert [503] * 3 == [one.status_code for one in others]


async def test_a_page_of_long_rows_stays_under_64_kib(service: app.Service, browser: Browser) -> None:
    name = "a-rather-long-name.of-somebody@department.example.com"
    await service.subjects.register(name, PASSWORD, "", "cli")
    agent = "Mozilla/5.0 (Linux; Android 16; Pixel 10) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile"
    async with visiting(service, headers={"User-Agent": agent}) as http:
        tokens = await sign_in(http, name)
        for _ in range(40):
            again = await http.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
            tokens = again.json() if again.status_code == 200 else tokens
    await browser.signs_in()
    answer = await browser.opens(f"{HOME}?facets=1")

    assert 34 == len(re.findall(r'<tr class="row ', answer.text))
    assert len(answer.content) <= 64 * 1024


# --- one event ---


async def test_an_event_is_told_with_what_was_recorded_and_what_stands_beside_it(theft: str, browser: Browser) -> None:
    (reuse,) = (await searched(browser, "type:token.reuse_detected"))["events"]
    page = (await browser.opens(f"/dashboard/events/{reuse['position']}")).text
    twin = (await browser.http.get(f"/dashboard/events/{reuse['position']}", params={"format": "json"})).json()
    text = words(page)

    assert "Used generation 1 came back from another device" in text
    assert re.search(r"\d\.\d s after it had been replaced", text)
    assert "✓ Fits" in text
    assert twin["leaf"] in text
    assert f"/dashboard/families/{theft}" in links(page)
    assert f"/dashboard/events/{twin['previous_in_stream']}" in links(page)
    assert f"/dashboard/events/{twin['next_in_stream']}" in links(page)
    assert "/dashboard/network/203.0.113.7" in links(page)
    assert True is twin["leaf_fits"]
    assert [reuse["position"], reuse["position"] + 1] == twin["same_request"][-2:]
    assert reuse["body"] == twin["body"]


async def test_an_event_that_was_changed_in_the_file_does_not_fit_its_leaf(
    theft: str, service: app.Service, browser: Browser
) -> None:
    (reuse,) = (await searched(browser, "type:token.reuse_detected"))["events"]
    with tampering(service.store) as tables:
        tables.run("UPDATE events SET at = at + 1000000 WHERE position = ?", reuse["position"])
    page = (await browser.opens(f"/dashboard/events/{reuse['position']}")).text

    assert "✗ Does not fit" in words(page)


async def test_every_event_of_the_log_has_a_page(theft: str, service: app.Service, browser: Browser) -> None:
    newest = await size(service)
    answers = [await browser.opens(f"/dashboard/events/{position}") for position in range(newest)]

    assert {200} == {answer.status_code for answer in answers}
    assert all("✓ Fits" in words(answer.text) for answer in answers)


@pytest.mark.parametrize("position", ["999999", "x", "-1", "99999999999999999999", "1.5"])
async def test_an_event_that_is_not_there_is_not_found(browser: Browser, position: str) -> None:
    await browser.signs_in()

    assert (await browser.opens(f"/dashboard/events/{position}")).status_code in {400, 404}


# --- taking events out ---


async def exported(browser: Browser, query: str, form: str, **more: str) -> httpx.Response:
    await browser.opens(HOME)
    fields = {"csrf": browser.csrf, "q": query, "format": form, **more}
    return await browser.sends(f"{HOME}/export", fields)


async def test_an_export_holds_exactly_what_the_page_found(theft: str, service: app.Service, browser: Browser) -> None:
    wanted = [event["position"] for event in (await searched(browser, "type:token.*"))["events"]][::-1]
    as_of = str(await size(service))
    await a_family(service)
    texts = {
        form: (await exported(browser, "type:token.*", form, as_of=as_of)).text for form in ("csv", "ndjson", "json")
    }

    assert wanted == [int(row["position"]) for row in csv.DictReader(io.StringIO(texts["csv"]))]
    assert wanted == [json.loads(line)["position"] for line in texts["ndjson"].splitlines()]
    assert wanted == [row["position"] for row in json.loads(texts["json"])]


async def test_the_form_on_the_page_exports_what_it_shows(theft: str, browser: Browser) -> None:
    page = (await browser.opens(f"{HOME}?q=ua:python*")).text
    fields = dict(
        re.findall(r'<input type="hidden" name="(q|as_of|csrf)" value="([^"]*)">', page.partition("Export")[2])
    )
    answer = await browser.sends(f"{HOME}/export", {k: html.unescape(v) for k, v in fields.items()} | {"format": "csv"})

    shown = [int(position) for position in re.findall(r'id="e(\d+)"', page)]
    assert 200 == answer.status_code
    assert shown[::-1] == [int(row["position"]) for row in csv.DictReader(io.StringIO(answer.text))]
    assert re.fullmatch(r'attachment; filename="events-as-of-\d+\.csv"', answer.headers["content-disposition"])
    assert "no-store" == answer.headers["cache-control"]


async def test_an_export_is_recorded_before_its_first_byte(theft: str, service: app.Service, browser: Browser) -> None:
    before = await size(service)
    await exported(browser, "type:token.*", "csv")
    (noted,) = await service.history.after(before - 1, 10)

    assert ("dashboard.exported", "csv", before) == (noted.fact.TYPE, noted.fact.format, noted.fact.position)  # type: ignore[attr-defined]
    assert "type:token.*" == noted.account.note
    assert b"type:token" not in noted.body


async def test_a_cell_of_an_export_is_no_formula(service: app.Service, browser: Browser) -> None:
    await service.subjects.register("=cmd()", PASSWORD, "", "cli")
    async with visiting(service, headers={"User-Agent": "=HYPERLINK(1)"}) as http:
        await sign_in(http, "=cmd()")
    await browser.signs_in()
    text = (await exported(browser, "type:token.issued client:web", "csv")).text
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]

    assert "'=HYPERLINK(1)" in cells
    assert [] == [cell for cell in cells if cell.startswith(("=", "+", "@"))]


async def test_a_viewer_and_a_link_export_nothing(staff: app.Service, browser: Browser, second: Browser) -> None:
    await browser.signs_in("alice")
    before = await size(staff)
    assert "Export" not in (await browser.opens(HOME)).text
    assert 403 == (await exported(browser, "type:token.*", "csv")).status_code
    await second.signs_in("bob")
    assert before + 2 >= await size(staff)
    before = await size(staff)
    assert (await second.opens(f"{HOME}/export?q=type:token.*&format=csv")).status_code in {400, 404, 405}
    assert 403 == (await second.sends(f"{HOME}/export", {"q": "type:token.*", "format": "csv"})).status_code
    assert before == await size(staff)


@pytest.mark.parametrize(("query", "form"), [("usr:x", "csv"), ("type:token.*", "xlsx"), ("type:token.*", "")])
async def test_an_export_that_cannot_be_made_is_refused_and_not_recorded(
    theft: str, service: app.Service, browser: Browser, query: str, form: str
) -> None:
    before = await size(service)
    answer = await exported(browser, query, form)

    assert 422 == answer.status_code
    assert before == await size(service)


# --- parts of pages only look ---


async def test_parts_and_streams_neither_rotate_nor_move_the_idle_limit(
    theft: str, service: app.Service, browser: Browser, ahead: Ahead
) -> None:
    kept, before = browser.cookie, await size(service)
    ahead.seconds = ROTATE_AFTER / 1_000_000 + 60
    answers = [await part(browser, path) for path in (HOME, f"{HOME}/head?after=0", f"{HOME}/facets")]
    answers.append(await browser.opens(f"{HOME}/head?after=0"))

    assert {200, 303} >= {answer.status_code for answer in answers}
    assert not any("set-cookie" in answer.headers for answer in answers)
    assert (kept, before) == (browser.cookie, await size(service))
    assert "set-cookie" in (await browser.opens(HOME)).headers
    ahead.seconds += 16 * 60
    ended = await part(browser, f"{HOME}/head?after=0")
    assert 401 == ended.status_code


async def test_a_part_asked_for_without_a_session_leads_the_page_to_sign_in(browser: Browser) -> None:
    page = {"HX-Current-URL": "https://ledger.test/dashboard/events?q=type:token.*"}
    asked = [await part(browser, f"{HOME}{rest}", **page) for rest in ("", "/head?after=1", "/stream", "/1")]
    elsewhere = await part(browser, HOME, **{"HX-Current-URL": "https://evil.test/dashboard/events"})

    assert [401] * 4 == [answer.status_code for answer in asked]
    places = {answer.headers["hx-redirect"] for answer in asked}
    assert {"/dashboard/sign-in?why=needed&next=%2Fdashboard%2Fevents%3Fq%3Dtype%3Atoken.%2A"} == places
    assert "/dashboard/sign-in?why=needed" == elsewhere.headers["hx-redirect"].partition("&")[0]
    assert "evil" not in elsewhere.headers["hx-redirect"]


async def test_a_used_cookie_that_asks_for_a_part_is_an_alarm_too(
    theft: str, service: app.Service, browser: Browser, second: Browser, ahead: Ahead
) -> None:
    second.http.cookies = httpx.Cookies(browser.http.cookies)
    ahead.seconds = ROTATE_AFTER / 1_000_000 + 1
    await browser.opens(HOME)
    ahead.seconds += 120
    answer = await part(second, HOME)

    assert 401 == answer.status_code
    assert "why=reused" in answer.headers["hx-redirect"]
    assert "token.reuse_detected" in [one.fact.TYPE for one in await service.history.before(None, 3)]


async def test_who_follows_a_link_to_a_search_comes_back_to_it_after_sign_in(browser: Browser) -> None:
    place = f"{HOME}?q=type%3Atoken.*+ip%3A203.0.113.0%2F24+at%3A7d"
    sent = await browser.opens(place)
    goal = httpx.URL(sent.headers["location"]).params["next"]
    answer = await browser.signs_in(next=goal)

    assert place == goal == answer.headers["location"]


# --- the live tail ---


class Tail:
    """What a browser reads of a stream, until it is closed."""

    def __init__(self, service: app.Service, cookies: httpx.Cookies) -> None:
        self.app = app.create_app(service)
        self.cookie = "; ".join(f"{one.name}={one.value}" for one in cookies.jar)
        self.status = 0
        self.text = ""
        self.gone = asyncio.Event()

    async def read(self, path: str, **headers: str) -> None:
        """Until the stream ends by itself, or `gone` is set."""
        place, _, query = path.partition("?")
        given = {"cookie": self.cookie, "accept": "text/event-stream", **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": place,
            "raw_path": place.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": ("203.0.113.7", 50000),
            "server": ("ledger.test", 443),
        }
        await self.app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.gone.set()  # as servers do: who still listens hears that the answer is over (ASGI, http.disconnect)

    async def says(self, wanted: str) -> None:
        async with asyncio.timeout(5):
            while wanted not in self.text:  # noqa: ASYNC110 - what a stream says is looked for as it grows
                await asyncio.sleep(0.01)


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks twenty times a second."""
    monkeypatch.setattr(tails, "LOOK", 0.05)


@pytest.fixture
async def tail(theft: str, service: app.Service, browser: Browser, brisk: None) -> AsyncIterator[Tail]:
    opened = Tail(service, browser.http.cookies)
    yield opened
    opened.gone.set()


async def test_a_live_tail_brings_each_new_match_once_and_goes_on_where_it_was(
    service: app.Service, tail: Tail, browser: Browser
) -> None:
    newest = await size(service) - 1
    reading = asyncio.create_task(tail.read(f"{HOME}/stream?q=type:token.issued&after={newest}"))
    await tail.says(f"id: {newest}\n")
    await a_family(service)
    await tail.says('<tr class="row ')
    last = tail.text.rpartition("id: ")[2].partition("\n")[0]
    tail.gone.set()
    await reading
    missed = await a_family(service)
    again = Tail(service, browser.http.cookies)
    resumed = asyncio.create_task(
        again.read(f"{HOME}/stream?q=type:token.issued&after={newest}", **{"Last-Event-ID": last})
    )
    await again.says(missed["family_id"])
    again.gone.set()
    await resumed

    assert 1 == tail.text.count('<tr class="row ') == again.text.count('<tr class="row ')
    assert "token.rotated" not in tail.text
    assert all(line.startswith(("id: ", "retry: ", "data: ", ":")) or not line for line in tail.text.splitlines())


async def test_a_live_tail_ends_with_the_session(service: app.Service, tail: Tail, browser: Browser) -> None:
    await browser.opens(HOME)
    reading = asyncio.create_task(tail.read(f"{HOME}/stream"))
    await tail.says("retry: ")
    await browser.sends("/dashboard/sign-out", {"csrf": browser.csrf})
    async with asyncio.timeout(5):
        await reading

    assert tail.text.endswith("event: ended\ndata:\n\n")


async def test_a_live_tail_ends_when_the_role_is_taken_away(staff: app.Service, browser: Browser, brisk: None) -> None:
    await browser.signs_in("alice")
    tail = Tail(staff, browser.http.cookies)
    reading = asyncio.create_task(tail.read(f"{HOME}/stream"))
    await tail.says("retry: ")
    alice = await staff.subjects.find("alice")
    assert alice is not None
    await staff.subjects.change_roles(alice, "", "cli")
    async with asyncio.timeout(5):
        await reading

    assert tail.text.endswith("event: ended\ndata:\n\n")


async def test_a_live_tail_ends_by_itself_and_when_the_service_stops(
    service: app.Service, tail: Tail, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SECONDS", 0.2)
    async with asyncio.timeout(5):
        await tail.read(f"{HOME}/stream")
    monkeypatch.setattr(stream, "SECONDS", 60.0)
    monkeypatch.setattr(stream, "PING", 0.1)
    other = Tail(service, browser.http.cookies)
    reading = asyncio.create_task(other.read(f"{HOME}/stream"))
    await other.says(": still here")
    service.stopping.set()
    async with asyncio.timeout(5):
        await reading

    assert 200 == tail.status == other.status


async def test_a_person_has_only_so_many_live_tails(service: app.Service, tail: Tail, browser: Browser) -> None:
    reading = [asyncio.create_task(tail.read(f"{HOME}/stream")) for _ in range(stream.MOST)]
    async with asyncio.timeout(5):
        while tail.text.count("retry: ") < stream.MOST:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    more = Tail(service, browser.http.cookies)
    more.app = tail.app
    await more.read(f"{HOME}/stream")
    tail.gone.set()
    await asyncio.gather(*reading)
    monkey = Tail(service, browser.http.cookies)
    monkey.app, monkey_reads = tail.app, asyncio.create_task(monkey.read(f"{HOME}/stream"))
    await monkey.says("retry: ")
    monkey.gone.set()
    await monkey_reads

    assert (429, 200) == (more.status, monkey.status)


# --- the reference ---


def test_every_example_and_preset_can_be_searched() -> None:
    texts = [example for example, _ in reference.GRAMMAR] + [query for _, query in searching.PRESETS]
    texts += [f"{field.key}:{example}" for field in EVENTS.fields for example in field.examples]
    texts += [*EVENTS.suggestions(), searching.WHOLE]

    assert [] == [text for text in texts if isinstance(parse(text), Mistake)]
    families = [f"{field.key}:{example}" for field in FAMILIES.fields for example in field.examples]
    assert [] == [text for text in families if isinstance(parse(text, FAMILIES), Mistake)]


async def test_the_reference_names_every_field(browser: Browser) -> None:
    await browser.signs_in()
    page = (await browser.opens("/dashboard/help/filters")).text
    twin = (await browser.http.get("/dashboard/help/filters", params={"format": "json"})).json()

    for fields in (EVENTS, FAMILIES):
        assert all(f'id="{fields.name}-{field.key}"' in page for field in fields.fields)
        assert [field.key for field in fields.fields] == [field["key"] for field in twin[fields.name]]
    assert all(isinstance(parse(query_of(place)), Query) for place in links(page) if place.startswith(f"{HOME}?q="))


def test_the_script_stays_small_and_evaluates_nothing() -> None:
    script = (HERE / "static" / "dashboard.js").read_text()

    assert len(script.encode()) <= 4096
    for forbidden in ("eval(", "Function(", "innerHTML", 'setTimeout("', ".style"):
        assert forbidden not in script


def test_no_template_uses_what_the_policy_would_block() -> None:
    for template in (HERE / "templates").glob("*.html"):
        text = template.read_text()
        assert [] == re.findall(r"\shx-on|\son[a-z]+=|\sstyle=|javascript:|js:|hx-trigger=\"[^\"]*\[", text), (
            template.name
        )
