"""The dashboard's door: signing in and out, who may do what, cookies and their end, what no page ever holds."""

import re

import httpx
import pytest
from litestar import Litestar, get
from litestar.routes import HTTPRoute

import app
from dashboard import routes
from dashboard.cookie import NAME
from dashboard.door import ANYONE, REACH
from tests.browsers import (
    BROWSER,
    FIRST,
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
    status_of,
)
from tests.conftest import PASSWORD, visiting
from tests.edges import app_of
from tests.test_dashboard_words import ELSEWHERE
from tests.visitors import PAGE, refresh, sign_in

__all__ = ("ahead", "browser", "second", "staff")
"""Fixtures that pytest looks for here."""

FOREIGN: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://app.ledger.test"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.test"},
    {"Origin": "https://ledger.test.evil"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://ledger.test"},
]
"""Headers of a form that another page, another program or nobody sent."""


# --- sign-in ---


async def test_signing_in_sets_one_strict_cookie_and_leads_to_the_overview(browser: Browser) -> None:
    answer = await browser.signs_in()

    assert (303, FIRST) == (answer.status_code, answer.headers["location"])
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(rf"{NAME}=slr_[A-Za-z0-9_-]{{92}}; Path=/; Secure; HttpOnly; SameSite=Strict", cookie)
    assert 200 == (await browser.opens(HOME)).status_code


async def test_every_failure_to_sign_in_gets_the_same_answer(staff: app.Service, browser: Browser) -> None:
    tries = (("alice", "not-the-password"), ("nobody", PASSWORD), ("charlie", PASSWORD), ("alice", ""), ("", PASSWORD))
    answers = [await browser.signs_in(name, password) for name, password in tries]

    bodies = {re.sub(r'(name="name" value=")[a-z]*("[^>]*)', r"\1\2", answer.text) for answer in answers[:4]}
    assert 1 == len(bodies)
    assert {422} == {answer.status_code for answer in answers}
    assert all("set-cookie" not in answer.headers for answer in answers)
    assert all("The name or the password is wrong" in answer.text for answer in answers)


async def test_too_many_tries_are_told_in_words_with_the_time_to_wait(browser: Browser) -> None:
    answers = [await browser.signs_in("admin", "wrong") for _ in range(11)]

    assert 429 == answers[-1].status_code
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 300
    assert "Too many tries. Wait " in answers[-1].text
    assert 429 == (await browser.signs_in()).status_code


async def test_nobody_else_can_sign_a_browser_in(browser: Browser) -> None:
    fields = {"name": "admin", "password": PASSWORD}
    for headers in FOREIGN:
        answer = await browser.sends("/dashboard/sign-in", fields, headers)

        assert 403 == answer.status_code, headers
        assert "set-cookie" not in answer.headers
        assert "text/html; charset=utf-8" == answer.headers["content-type"]


async def test_a_session_that_came_with_sign_in_ends(staff: app.Service, browser: Browser, second: Browser) -> None:
    await second.signs_in("alice")
    planted = second.cookie
    browser.http.cookies.set(NAME, planted, domain="ledger.test")

    await browser.signs_in("bob")

    assert planted != browser.cookie
    assert 303 == (await second.opens(HOME)).status_code
    assert "bob" in (await browser.opens(HOME)).text


async def test_a_cookie_that_was_made_up_is_never_taken_over(browser: Browser) -> None:
    made_up = "slr_" + "A" * 92
    browser.http.cookies.set(NAME, made_up, domain="ledger.test")

    assert 303 == (await browser.opens(HOME)).status_code
    answer = await browser.signs_in()

    assert made_up not in answer.headers["set-cookie"]


async def test_of_two_cookies_none_is_believed(service: app.Service, browser: Browser) -> None:
    await browser.signs_in()
    async with visiting(service) as other:
        twice = f"{NAME}={browser.cookie}; {NAME}={browser.cookie}"
        answer = await other.get(HOME, headers=BROWSER | {"Cookie": twice})

    assert 303 == answer.status_code


async def test_sign_in_leads_nowhere_but_to_our_own_pages(browser: Browser) -> None:
    for goal in ELSEWHERE:
        page = await browser.http.get("/dashboard/sign-in", params={"next": goal}, headers=BROWSER)
        answer = await browser.signs_in(next=goal)

        assert (303, FIRST) == (answer.status_code, answer.headers["location"]), goal
        assert f'name="next" value="{FIRST}"' in page.text


async def test_who_was_sent_to_sign_in_comes_back_to_the_page(service: app.Service, browser: Browser) -> None:
    family = (await a_family(service))["family_id"]
    sent = await browser.opens(f"/dashboard/families/{family}?notice=revoked")
    goal = httpx.URL(sent.headers["location"]).params["next"]

    answer = await browser.signs_in(next=goal)

    assert f"/dashboard/families/{family}?notice=revoked" == answer.headers["location"]


async def test_signing_out_ends_the_family_and_nothing_is_shown_any_more(
    service: app.Service, browser: Browser, second: Browser
) -> None:
    await browser.signs_in()
    await browser.opens(HOME)
    kept = browser.cookie
    answer = await browser.sends("/dashboard/sign-out", {"csrf": browser.csrf})

    assert (303, "/dashboard/sign-in?why=signed-out") == (answer.status_code, answer.headers["location"])
    assert f"{NAME}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0" == answer.headers["set-cookie"]
    assert 303 == (await browser.opens(HOME)).status_code
    second.http.cookies.set(NAME, kept, domain="ledger.test")
    assert 303 == (await second.opens(HOME)).status_code


async def test_no_page_is_kept_by_the_browser(service: app.Service, browser: Browser) -> None:
    family = (await a_family(service))["family_id"]
    await browser.signs_in()
    paths = ("/dashboard/sign-in", HOME, f"/dashboard/families/{family}", "/dashboard/nothing")

    answers = [await browser.opens(path) for path in paths]

    assert {"no-store"} == {answer.headers["cache-control"] for answer in answers}


# --- roles and routes ---


async def test_every_route_is_public_by_list_or_asks_for_a_role(service: app.Service) -> None:
    inner = app_of(service).app
    assert isinstance(inner, Litestar)
    ours = [route for route in inner.routes if isinstance(route, HTTPRoute) and route.path.startswith("/dashboard")]
    handlers = [(one.path, h) for one in ours for h in one.route_handlers if "OPTIONS" not in h.http_methods]
    public = {path for path, handler in handlers if handler.opt.get("public")}
    guarded = {path for path, handler in handlers if handler.opt.get("role") in {*REACH, ANYONE}}

    signing_in = {"", "/second", "/challenge", "/passkey"}
    assert {f"/dashboard/sign-in{step}" for step in signing_in} | {"/dashboard/static/{name:str}"} == public
    assert {path for path, _ in handlers} == public ^ guarded
    assert 8 <= len(handlers)


async def test_a_route_that_says_nothing_lets_nobody_in(service: app.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    @get("/forgotten")
    async def forgotten() -> str:
        return "secret"

    monkeypatch.setattr(routes, "HANDLERS", [*routes.HANDLERS, forgotten])
    transport = httpx.ASGITransport(app.create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="https://ledger.test") as http:
        browser = Browser(http)
        await browser.signs_in()
        answer = await browser.opens("/dashboard/forgotten")

    assert 403 == answer.status_code
    assert "secret" not in answer.text


async def test_without_a_session_every_page_leads_to_sign_in(service: app.Service, browser: Browser) -> None:
    family = (await a_family(service))["family_id"]
    for path in (FIRST, "/dashboard/", HOME, f"/dashboard/families/{family}"):
        answer = await browser.opens(path)
        assert 303 == answer.status_code
        assert answer.headers["location"].startswith("/dashboard/sign-in?why=needed")
    for path in ("/dashboard/sign-out", f"/dashboard/families/{family}/kill"):
        assert 303 == (await browser.sends(path, {})).status_code
    assert "living" == await status_of(service, family)


async def test_a_viewer_reads_and_cannot_revoke(staff: app.Service, browser: Browser) -> None:
    family = (await a_family(staff))["family_id"]
    await browser.signs_in("alice")
    page = await browser.opens(f"/dashboard/families/{family}")
    answer = await browser.revokes(family)

    assert 200 == page.status_code
    assert "/kill" not in page.text
    assert 403 == answer.status_code
    assert "living" == await status_of(staff, family)


@pytest.mark.parametrize("name", ["bob", "admin"])
async def test_responders_and_admins_revoke(staff: app.Service, browser: Browser, name: str) -> None:
    tokens = await a_family(staff)
    await browser.signs_in(name)
    note = "  Left the phone\r\nin a taxi. "
    answer = await browser.revokes(tokens["family_id"], reason="lost_device", note=note)
    page = Seen((await browser.opens(answer.headers["location"])).text).text

    assert 303 == answer.status_code
    assert re.fullmatch(r"/dashboard/actions/act_[a-z2-7]{26}", answer.headers["location"])
    assert "revoked" == await status_of(staff, tokens["family_id"])
    assert "Refresh refused" in page
    assert f"By {name}" in page
    assert "lost device" in page
    assert "INC-4711" in page
    assert "Left the phone in a taxi." in page
    story = Seen((await browser.opens(f"/dashboard/families/{tokens['family_id']}")).text).text
    assert "Revoked · lost device" in story
    async with visiting(staff) as http:
        assert "session_revoked" == (await refresh(http, tokens["refresh_token"])).json()["code"]


async def test_a_second_click_is_the_same_action_and_changes_nothing(service: app.Service, browser: Browser) -> None:
    family = (await a_family(service))["family_id"]
    await browser.signs_in()
    first = await browser.revokes(family, reason="suspicious")
    before = await size(service)
    fields = browser.hidden | {"reason": "suspicious", "scope": "family"}
    again = await browser.sends(f"/dashboard/families/{family}/kill", fields)

    assert first.headers["location"] == again.headers["location"]
    assert before == await size(service)


async def test_a_mistake_in_the_form_is_told_beside_its_field(service: app.Service, browser: Browser) -> None:
    family = (await a_family(service))["family_id"]
    await browser.signs_in()
    mistakes = (
        ({"reason": ""}, "Choose a reason."),
        ({"reason": "because"}, "Choose a reason."),
        ({"ticket": "INC 4711"}, "Letters, digits"),
        ({"ticket": "x" * 33}, "Letters, digits"),
        ({"note": "x" * 501}, "At most 500 characters."),
    )
    for changes, said in mistakes:
        answer = await browser.revokes(family, **changes)

        assert 422 == answer.status_code
        assert said in answer.text
    assert "living" == await status_of(service, family)


async def test_who_revokes_the_own_session_is_signed_out(service: app.Service, browser: Browser) -> None:
    await browser.signs_in()
    await browser.opens("/dashboard/me")
    own = re.search(r'href="/dashboard/families/(fam_[a-z2-7]{26})"', browser.page)
    assert own is not None
    answer = await browser.revokes(own[1])

    assert answer.headers["location"].startswith("/dashboard/sign-in?why=own&next=%2Fdashboard%2Factions%2Fact_")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert "revoked" == await status_of(service, own[1])


async def test_roles_that_were_taken_away_count_at_once(staff: app.Service, browser: Browser) -> None:
    await browser.signs_in("bob")
    await browser.opens(HOME)
    csrf, bob = browser.csrf, await staff.subjects.find("bob")
    assert bob is not None
    await staff.subjects.change_roles(bob, "", "cli")

    assert 403 == (await browser.opens(HOME)).status_code
    assert 303 == (await browser.sends("/dashboard/sign-out", {"csrf": csrf})).status_code


async def test_a_disabled_account_is_out_at_once(staff: app.Service, browser: Browser) -> None:
    await browser.signs_in("bob")
    bob = await staff.subjects.find("bob")
    assert bob is not None
    await staff.subjects.disable(bob, "left", "cli")

    answer = await browser.opens(HOME)

    assert (303, "/dashboard/sign-in?why=ended&next=%2Fdashboard%2Fevents") == (
        answer.status_code,
        answer.headers["location"],
    )


# --- CSRF ---


async def test_a_form_without_the_right_token_changes_nothing(
    staff: app.Service, browser: Browser, second: Browser
) -> None:
    family = (await a_family(staff))["family_id"]
    await second.signs_in("bob")
    await second.opens(HOME)
    await browser.signs_in()
    await browser.opens(HOME)
    revoke, right = f"/dashboard/families/{family}/kill", browser.csrf
    wrong = ("", "A" * 43, second.csrf, right[:-1], right + "=", "\N{SNOWMAN}")

    answers = [await browser.sends(revoke, {"reason": "suspicious", "csrf": token}) for token in wrong]
    answers.append(await browser.sends(revoke, {"reason": "suspicious"}))
    answers.append(await browser.sends(f"{revoke}?csrf={right}", {"reason": "suspicious"}))
    answers.append(await browser.sends("/dashboard/sign-out", {}))

    assert {403} == {answer.status_code for answer in answers}
    assert "living" == await status_of(staff, family)
    assert 200 == (await browser.opens(HOME)).status_code


async def test_the_right_token_from_another_page_changes_nothing(service: app.Service, browser: Browser) -> None:
    family = (await a_family(service))["family_id"]
    await browser.signs_in()
    await browser.opens(HOME)
    fields = {"reason": "suspicious", "csrf": browser.csrf}
    for headers in FOREIGN:
        answer = await browser.sends(f"/dashboard/families/{family}/kill", fields, headers)

        assert 403 == answer.status_code, headers
    assert "living" == await status_of(service, family)


async def test_a_token_from_before_a_new_sign_in_is_worth_nothing(service: app.Service, browser: Browser) -> None:
    family = (await a_family(service))["family_id"]
    await browser.signs_in()
    await browser.opens(HOME)
    old = browser.csrf
    await browser.signs_in()
    answer = await browser.sends(f"/dashboard/families/{family}/kill", {"reason": "suspicious", "csrf": old})

    assert 403 == answer.status_code


async def test_a_get_never_changes_anything(service: app.Service, browser: Browser) -> None:
    family = (await a_family(service))["family_id"]
    await browser.signs_in()
    assert 405 == (await browser.opens("/dashboard/sign-out")).status_code
    assert 200 == (await browser.opens(f"/dashboard/families/{family}/kill?scope=everything&reason=left")).status_code
    assert 200 == (await browser.opens(HOME)).status_code
    assert "living" == await status_of(service, family)


async def test_a_form_in_another_shape_is_refused(service: app.Service, browser: Browser) -> None:
    await browser.signs_in()
    await browser.opens(HOME)
    as_json = await browser.http.post("/dashboard/sign-out", json={"csrf": browser.csrf}, headers=BROWSER | PAGE)
    as_parts = await browser.http.post("/dashboard/sign-out", files={"csrf": b"x"}, headers=BROWSER | PAGE)

    assert (415, 415) == (as_json.status_code, as_parts.status_code)


# --- the cookie's life ---


async def test_looking_writes_no_event_and_sets_no_cookie(service: app.Service, browser: Browser) -> None:
    await browser.signs_in()
    before = await size(service)
    answers = [await browser.opens(HOME) for _ in range(5)]

    assert before == await size(service)
    assert all("set-cookie" not in answer.headers for answer in answers)


async def test_the_cookie_rotates_after_five_minutes_and_the_old_one_works_beside_it_for_one(
    service: app.Service, ahead: Ahead, browser: Browser, second: Browser
) -> None:
    await browser.signs_in()
    first = browser.cookie
    second.http.cookies.set(NAME, first, domain="ledger.test")
    ahead.seconds = 299
    assert "set-cookie" not in (await browser.opens(HOME)).headers
    ahead.seconds = 301
    assert "set-cookie" in (await browser.opens(HOME)).headers
    assert first != browser.cookie

    ahead.seconds = 340
    late = await second.opens(HOME)

    assert 200 == late.status_code
    assert f"{NAME}={browser.cookie};" in late.headers["set-cookie"]
    assert 200 == (await browser.opens(HOME)).status_code


async def test_a_copy_of_the_cookie_that_comes_too_late_ends_both(
    service: app.Service, ahead: Ahead, browser: Browser, second: Browser
) -> None:
    await browser.signs_in()
    second.http.cookies.set(NAME, browser.cookie, domain="ledger.test")
    ahead.seconds = 301
    await browser.opens(HOME)
    ahead.seconds = 400

    thief, victim = await second.opens(HOME), await browser.opens(HOME)

    assert "/dashboard/sign-in?why=reused&next=%2Fdashboard%2Fevents" == thief.headers["location"]
    assert 303 == victim.status_code
    assert "token.reuse_detected" in [one.fact.TYPE for one in await service.history.before(None, 5)]


async def test_a_refused_post_still_hands_over_the_new_cookie(
    service: app.Service, ahead: Ahead, browser: Browser
) -> None:
    family = (await a_family(service))["family_id"]
    await browser.signs_in()
    ahead.seconds = 301
    answer = await browser.sends(f"/dashboard/families/{family}/kill", {"reason": "suspicious"})
    ahead.seconds = 500

    assert 403 == answer.status_code
    assert "set-cookie" in answer.headers
    assert 200 == (await browser.opens(HOME)).status_code


async def test_a_session_that_is_not_used_for_a_quarter_of_an_hour_ends(ahead: Ahead, browser: Browser) -> None:
    await browser.signs_in()
    ahead.seconds = 901
    answer = await browser.opens(HOME)

    assert (303, "/dashboard/sign-in?why=expired&next=%2Fdashboard%2Fevents") == (
        answer.status_code,
        answer.headers["location"],
    )
    assert "not used for a while" in (await browser.opens(answer.headers["location"])).text


async def test_a_session_ends_after_twelve_hours_however_often_it_is_used(ahead: Ahead, browser: Browser) -> None:
    await browser.signs_in()
    statuses = set()
    while ahead.seconds + 840 < 12 * 3600:
        ahead.seconds += 840
        statuses.add((await browser.opens("/dashboard/")).status_code)
    ahead.seconds = 12 * 3600 + 1

    assert {200} == statuses
    assert (
        "/dashboard/sign-in?why=expired&next=%2Fdashboard%2Fevents" == (await browser.opens(HOME)).headers["location"]
    )


async def test_a_link_from_a_chat_asks_once_more_from_our_own_page(service: app.Service, browser: Browser) -> None:
    family = (await a_family(service))["family_id"]
    path = f"/dashboard/families/{family}"
    crossing = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    arrived = await browser.opens(path, **crossing)
    again = await browser.opens(path, **{"Sec-Fetch-Site": "same-origin"})

    assert 200 == arrived.status_code
    assert f'<meta http-equiv="refresh" content="0; url={path}">' in arrived.text
    assert "alice" not in arrived.text
    assert 303 == again.status_code
    await browser.signs_in()
    assert 200 == (await browser.opens(path, **{"Sec-Fetch-Site": "same-origin"})).status_code


async def test_a_strange_link_from_elsewhere_goes_straight_to_sign_in(browser: Browser) -> None:
    answer = await browser.opens("/dashboard/families/a%20b", **{"Sec-Fetch-Site": "cross-site"})

    assert (303, "/dashboard/sign-in?why=needed") == (answer.status_code, answer.headers["location"])


# --- what is shown ---


async def test_the_story_of_a_theft_is_told(service: app.Service, browser: Browser) -> None:
    family = await a_theft(service)
    await browser.signs_in()
    text = " ".join(Seen((await browser.opens(f"/dashboard/families/{family}")).text).text.split())

    assert "Revoked · a used token came back" in text
    assert re.search(r"Generation 1 was presented again \d+\.\d s after it had been replaced", text)
    assert "from another device, same network" in text
    assert "when generation 3 was current" in text
    text = text[text.index("Story oldest first") :]
    assert text.index("Signed in with a password") < text.index("generation 1 used up, 2 issued")
    assert text.index("generation 2 used up, 3 issued") < text.index("Used generation 1 came back")
    assert "Chrome 142 · Windows" in text
    assert "python-httpx" in text
    assert "by policy" in text
    assert "Refresh token No since" in text


async def test_the_audit_log_tells_events_newest_first_and_loads_older_ones(
    service: app.Service, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.events.PAGE_SIZE", 5)
    await a_theft(service)
    await browser.signs_in()
    pages, path, page = [], HOME, ""
    for _ in range(10):
        page = (await browser.opens(path)).text
        pages.append([int(position) for position in re.findall(r'id="e(\d+)"', page)])
        older = re.search(r'href="(/dashboard/events\?before=\d+)"', page)
        if older is None:
            break
        path = older[1]

    positions = [position for page in pages for position in page]
    assert list(range(await size(service)))[::-1] == positions
    assert all(len(page) <= 5 for page in pages)
    assert "This is where the ledger begins." in page


async def test_the_audit_log_marks_a_reuse_with_shape_word_and_colour(service: app.Service, browser: Browser) -> None:
    await a_theft(service)
    await browser.signs_in()
    page = (await browser.opens(HOME)).text

    assert '<span class="chip alarm"><span class="shape" aria-hidden="true">●</span> reuse detected</span>' in page
    assert '<span class="chip alarm"><span class="shape" aria-hidden="true">✝</span> revoked</span>' in page
    assert '<span class="chip quiet"><span class="shape" aria-hidden="true">○</span> rotated</span>' in page


async def test_a_position_that_is_none_is_refused_as_a_page(browser: Browser) -> None:
    await browser.signs_in()
    for before in ("x", "-1", "1.5", "9" * 16, "１"):
        answer = await browser.http.get(HOME, params={"before": before}, headers=BROWSER)

        assert 400 == answer.status_code
        assert "<title>" in answer.text


async def test_a_family_that_does_not_exist_is_not_found(browser: Browser) -> None:
    await browser.signs_in()
    await browser.opens(HOME)
    fields = {"csrf": browser.csrf, "reason": "suspicious"}
    for family in ("fam_" + "a" * 26, "fam_x", "x", "FAM_" + "A" * 26, "sub_" + "a" * 26):
        answers = [
            await browser.opens(f"/dashboard/families/{family}"),
            await browser.sends(f"/dashboard/families/{family}/kill", fields),
        ]

        assert [404, 404] == [answer.status_code for answer in answers]
        assert all("<title>Nothing here" in answer.text for answer in answers)


@pytest.mark.parametrize(
    ("place", "status", "said"),
    [
        ("families/fam_" + "a" * 26, 404, "There is no family fam_" + "a" * 26),
        ("families/fam_x", 404, "There is no family of this id."),
        ("families/fam_<b>", 404, "There is no family of this id."),
        ("subjects/sub_" + "a" * 26, 404, "There is no user sub_" + "a" * 26),
        ("actions/act_" + "a" * 26, 404, "There is no action act_" + "a" * 26),
        ("kills/act_" + "a" * 26, 404, "There is no selection act_" + "a" * 26),
        ("events/999999", 404, "There is no event of this number: the log ends with #"),
        ("events/" + "9" * 30, 404, "There is no event of this number: the log ends with #"),
        ("network/nowhere", 404, "There is nothing at this address."),
        ("events?before=x", 400, "The request is not what this address takes."),
        ("access?done=<b>", 200, "Access"),
    ],
)
async def test_who_is_signed_in_stays_in_the_frame_whatever_cannot_be_found(
    browser: Browser, place: str, status: int, said: str
) -> None:
    await browser.signs_in()
    answer = await browser.opens(f"/dashboard/{place}")
    twin = await browser.http.get(f"/dashboard/{place}", headers={"Accept": "application/json"})

    assert status == answer.status_code
    assert said in Seen(answer.text).text
    assert "<b>" not in answer.text
    assert status == twin.status_code
    assert [1, 1] == [answer.text.count(one) for one in ('<nav aria-label="Main">', 'action="/dashboard/lookup"')]


async def test_a_viewer_who_may_not_is_told_so_in_the_frame(staff: app.Service, browser: Browser) -> None:
    family = (await a_family(staff))["family_id"]
    await browser.signs_in("alice")
    answer = await browser.opens(f"/dashboard/families/{family}/kill")

    assert 403 == answer.status_code
    assert "Your role does not allow this." in answer.text
    assert '<nav aria-label="Main">' in answer.text


async def test_strangers_are_told_nothing_of_what_there_is(browser: Browser) -> None:
    places = ("families/fam_" + "a" * 26, "nowhere", "static/nothing.css")
    answers = [await browser.opens(f"/dashboard/{place}") for place in places]

    assert [303, 404, 404] == [answer.status_code for answer in answers]
    assert not any("<nav" in answer.text for answer in answers)


async def test_a_long_story_shows_its_beginning_and_its_end(
    service: app.Service, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.families.SHOWN", 3)
    async with visiting(service) as http:
        tokens = await sign_in(http)
        family, first = tokens["family_id"], tokens["refresh_token"]
        for _ in range(6):
            tokens = (await refresh(http, tokens["refresh_token"])).json()
        await refresh(http, first)
    await browser.signs_in()
    end = " ".join(Seen((await browser.opens(f"/dashboard/families/{family}")).text).text.split())
    middle = " ".join(Seen((await browser.opens(f"/dashboard/families/{family}?after=1")).text).text.split())

    assert "Signed in with a password" in end
    assert "5 events between are on pages of their own" in end
    assert "after it had been replaced" in end
    assert ["generation 1 used up", "generation 2 used up", "generation 3 used up"] == re.findall(
        r"generation \d used up", middle[middle.index("Story oldest first") :]
    )
    assert "Later events" in middle


# --- twins ---


async def test_a_page_and_its_twin_say_the_same(service: app.Service, browser: Browser) -> None:
    family = await a_theft(service)
    await browser.signs_in()
    page = (await browser.opens(HOME)).text
    log = (await browser.http.get(HOME, headers={"Accept": "application/json"})).json()
    told = (await browser.http.get(f"/dashboard/families/{family}", params={"format": "json"})).json()

    assert [int(p) for p in re.findall(r'id="e(\d+)"', page)] == [one["position"] for one in log["events"]]
    assert None is log["before"]
    assert ("revoked", "reuse", 3) == (told["status"], told["ended_reason"], told["generation"])
    types = [one["type"] for one in told["events"]]
    assert ["token.issued", "token.rotated", "token.rotated", "family.context_changed"][:3] == types[:3]
    assert ["token.reuse_detected", "family.revoked"] == types[-2:]


async def test_a_twin_asks_for_the_same_permissions(staff: app.Service, browser: Browser) -> None:
    family = (await a_family(staff))["family_id"]
    paths = (HOME, f"/dashboard/families/{family}")
    as_json = {"Accept": "application/json"}
    without = [await browser.http.get(path, headers=as_json) for path in paths]
    await browser.signs_in("alice")
    viewer = [await browser.http.get(path, headers=as_json) for path in paths]
    alice = await staff.subjects.find("alice")
    assert alice is not None
    await staff.subjects.change_roles(alice, "", "cli")
    nobody = [await browser.http.get(path, headers=as_json) for path in paths]

    assert [(401, "sign_in_needed")] * 2 == [(one.status_code, one.json()["code"]) for one in without]
    assert [200, 200] == [one.status_code for one in viewer]
    assert [(403, "forbidden")] * 2 == [(one.status_code, one.json()["code"]) for one in nobody]


async def test_no_twin_holds_a_secret(service: app.Service, browser: Browser) -> None:
    tokens = await a_family(service)
    await browser.signs_in()
    paths = (HOME, f"/dashboard/families/{tokens['family_id']}")
    texts = [(await browser.http.get(path, params={"format": "json"})).text for path in paths]
    texts += [(await browser.opens(path)).text for path in paths]

    secrets = ("$argon2", "slr_", "eyJ", PASSWORD, tokens["refresh_token"])
    assert [] == [secret for secret in secrets for text in texts if secret in text]


# --- pages as such ---

PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></textarea></option><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
)


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_what_people_and_programs_send_stays_text(service: app.Service, browser: Browser, payload: str) -> None:
    await service.subjects.register(payload, PASSWORD, "responder", "cli")
    async with visiting(service, headers={"User-Agent": payload}) as http:
        tokens = await sign_in(http, username=payload, device=payload)
        await refresh(http, tokens["refresh_token"])
    await browser.signs_in(payload)
    family = tokens["family_id"]
    wrong = await browser.revokes(family, ticket=payload, note=payload)
    done = await browser.revokes(family, note=payload)
    pages = [
        wrong.text,
        (await browser.opens(done.headers["location"])).text,
        (await browser.opens(HOME)).text,
        (await browser.opens(f"/dashboard/families/{family}")).text,
        (await browser.opens(f"/dashboard/families/{family}?view=json")).text,
        (await browser.signs_in(payload, "wrong")).text,
    ]

    for page in pages:
        seen = Seen(page)
        assert payload in seen.text or any(payload in (v or "") for _, a in seen.elements for v in a.values())
        assert [] == seen.foreign
        assert [] == [name for _, attributes in seen.elements for name in attributes if name.startswith("on")]
        leading = [a for tag, a in seen.elements if tag in {"a", "form"} and a.get("method") != "dialog"]
        links = [a.get("href") or a.get("action") or "/" for a in leading]
        assert [] == [link for link in links if not link.startswith(("/dashboard", "#", "?"))]


async def test_every_page_has_a_title_a_language_and_nothing_inline(service: app.Service, browser: Browser) -> None:
    family = await a_theft(service)
    await browser.signs_in()
    paths = ("/dashboard/sign-in", HOME, f"/dashboard/families/{family}", "/dashboard/nothing", f"{HOME}?before=x")

    for path in paths:
        answer = await browser.opens(path)
        seen = Seen(answer.text)
        assert re.search(r"<title>[^<]+ · Session Ledger</title>", answer.text), path
        assert ("html", {"lang": "en"}) == seen.elements[0]
        assert [] == [a for _, a in seen.elements if "style" in a]
        assert [] == seen.foreign
        assert 1 == sum(tag == "h1" for tag, _ in seen.elements)
        identities = [a["id"] for _, a in seen.elements if "id" in a]
        assert len(identities) == len(set(identities))
        policy = answer.headers["content-security-policy"]
        assert ("unsafe" in policy, "frame-ancestors 'none'" in policy) == (False, True)
        assert "same-origin" == answer.headers["referrer-policy"]


async def test_every_page_of_staff_has_a_way_out(service: app.Service, browser: Browser) -> None:
    family = (await a_family(service))["family_id"]
    await browser.signs_in()
    for path in (HOME, f"/dashboard/families/{family}"):
        seen = Seen((await browser.opens(path)).text)
        assert ("form", {"method": "post", "action": "/dashboard/sign-out"}) in seen.elements


async def test_the_stylesheet_may_be_kept_for_ever_under_the_name_of_its_content(
    service: app.Service, browser: Browser
) -> None:
    page = (await browser.opens("/dashboard/sign-in")).text
    sheet = re.search(r'<link rel="stylesheet" href="([^"]+)">', page)
    icon = re.search(r'<link rel="icon" type="image/svg\+xml" href="([^"]+)">', page)
    assert sheet is not None
    assert icon is not None
    css, svg = await browser.http.get(sheet[1]), await browser.http.get(icon[1])

    assert ("text/css; charset=utf-8", "image/svg+xml") == (css.headers["content-type"], svg.headers["content-type"])
    assert "public, max-age=31536000, immutable" == css.headers["cache-control"] == svg.headers["cache-control"]
    assert "nosniff" == css.headers["x-content-type-options"]
    assert re.fullmatch(r"/dashboard/static/dashboard\.[0-9a-f]{12}\.css", sheet[1])
    assert "set-cookie" not in css.headers
    assert 404 == (await browser.http.get("/dashboard/static/dashboard.css")).status_code


async def test_where_the_ledger_cannot_commit_a_page_says_so(service: app.Service, browser: Browser) -> None:
    await service.ledger.drain()
    answer = await browser.signs_in()

    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
    assert "<title>One moment · Session Ledger</title>" in answer.text


async def test_a_fault_of_ours_is_a_page_without_details(
    service: app.Service, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    await browser.signs_in()
    monkeypatch.setattr(service.family_reader, "of_subject", broken)
    family = (await a_family(service))["family_id"]
    answer = await browser.opens(f"/dashboard/families/{family}")

    assert 500 == answer.status_code
    assert "<title>Something went wrong · Session Ledger</title>" in answer.text
    assert "secret detail" not in answer.text


async def test_a_right_password_without_a_role_looks_like_a_wrong_one_in_the_log_too(
    staff: app.Service, browser: Browser
) -> None:
    before = await size(staff)
    await browser.signs_in("charlie")
    await staff.families.close()
    written = [event.fact.TYPE for event in await staff.history.after(before - 1, 5)]

    assert ["subject.login_failed"] == written


async def test_the_cookie_of_the_dashboard_is_worth_nothing_at_the_api(service: app.Service, browser: Browser) -> None:
    await browser.signs_in()
    token = browser.cookie
    async with visiting(service) as http:
        answers = [
            await http.post("/auth/refresh", json={"refresh_token": token}),
            await http.post("/auth/refresh", json={"refresh_token": token, "client_id": "dashboard"}),
            await http.get("/auth/me", headers={"Authorization": f"Bearer {token}"}),
        ]

    assert not [answer for answer in answers if answer.status_code < 400]
    assert 200 == (await browser.opens(HOME)).status_code


async def test_a_token_of_an_application_opens_no_dashboard(service: app.Service, browser: Browser) -> None:
    tokens = await a_family(service)
    browser.http.cookies.set(NAME, tokens["refresh_token"], domain="ledger.test")

    assert 303 == (await browser.opens(HOME)).status_code
    assert "living" == await status_of(service, tokens["family_id"])
