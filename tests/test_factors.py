"""Second factors of staff at the dashboard's routes: adding, the second step, what is used up, what never opens."""

import re
import time
from collections.abc import AsyncIterator
from hashlib import sha256

import httpx
import pytest

import app
from dashboard.cookie import NAME, STEP
from events import ids
from events.subject import Subject
from tests.browsers import HOME, Ahead, Browser, ahead, browser, second, signed_in, staff
from tests.check import check, events_of
from tests.conftest import PASSWORD, MakeSettings, running, visiting
from tests.staff import ME, SECOND, App, add_app, password_step, refusal_of, second_step
from tests.visitors import PAGE, bearer, sign_in

__all__ = ("ahead", "browser", "second", "staff")
"""Fixtures that pytest looks for here."""


async def admin_of(service: app.Service) -> Subject:
    found = await service.subjects.find("admin")
    assert found is not None
    return found


class Household:
    """An admin with an app and recovery codes, signed out again."""

    def __init__(self, service: app.Service, app_: App, codes: list[str], ahead: Ahead, added: float) -> None:
        self.service, self.app, self.codes, self.ahead = service, app_, codes, ahead
        self.proved = app_.code(added)
        """What the app was added with; half a minute may have passed since."""

    @property
    def code(self) -> str:
        """What the app shows now."""
        return self.app.code(self.ahead.time())

    def next_code(self) -> str:
        """The one after it: half a minute passes."""
        self.ahead.seconds += 30
        return self.code


@pytest.fixture
async def house(service: app.Service, ahead: Ahead) -> AsyncIterator[Household]:
    async with visiting(service) as http:
        one = Browser(http)
        await one.signs_in()
        added = ahead.time()
        made, codes = await add_app(one, added)
        await one.opens(HOME)
        await one.sends("/dashboard/sign-out", {"csrf": one.csrf})
    yield Household(service, made, codes, ahead, added)
    check(service.store)


def types(service: app.Service, *, since: int = 0) -> list[str]:
    return [one.name for one in events_of(service.store)[since:]]


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.headers.get("location", "")


# Adding


async def test_adding_an_app_shows_ten_codes_once_and_ends_other_sessions(
    service: app.Service,
    browser: Browser,
    second: Browser,
    ahead: Ahead,
) -> None:
    await second.signs_in()
    await browser.signs_in()
    before = browser.cookie
    _, codes = await add_app(browser, ahead.time())
    page = (await browser.opens(ME)).text

    assert (10, 10) == (len(codes), len(set(codes)))
    assert "Phone" in page
    assert "10 left" in page
    assert not any(code in page for code in codes)
    assert before != browser.cookie
    assert "/dashboard/sign-in?why=ended" in (await second.opens(HOME)).headers["location"]
    wrote = ["subject.factor_added", "subject.recovery_codes_made", "family.revoked", "family.revoked", "token.issued"]
    assert wrote == [one for one in types(service)[-6:] if one != "token.refused"]
    check(service.store)


async def test_a_code_that_does_not_fit_adds_nothing(service: app.Service, browser: Browser) -> None:
    await browser.signs_in()
    await browser.opens(f"{ME}/totp")
    answer = await browser.sends(f"{ME}/totp", browser.hidden | {"name": "", "code": "000000"})

    assert 422 == answer.status_code
    assert "does not fit" in refusal_of(answer.text)
    assert not (await admin_of(service)).second.held


async def test_the_secret_of_an_app_is_counted_under_its_master_key(house: Household) -> None:
    standing = await house.service.family_reader.standing()
    await house.service.living.run()

    assert [1] == [one.secrets for one in standing.values()]
    assert standing == house.service.living.standing


# The second step


async def test_a_password_alone_begins_nothing(house: Household, browser: Browser) -> None:
    await password_step(browser)

    assert NAME not in browser.http.cookies
    assert "/dashboard/sign-in?why=needed" in (await browser.opens(HOME)).headers["location"]
    assert "subject.factor_asked" == types(house.service)[-1]


async def test_password_and_code_sign_in_and_say_so(house: Household, browser: Browser) -> None:
    await password_step(browser, next=HOME)
    answer = await second_step(browser, house.next_code())
    page = await browser.opens(HOME)

    assert (303, HOME) == told(answer)
    assert 200 == page.status_code
    assert "Signed in with a password and a code" in page.text
    assert STEP not in browser.http.cookies


async def test_a_code_works_once(house: Household, browser: Browser, second: Browser) -> None:
    code = house.next_code()
    await password_step(browser)
    first = await second_step(browser, code)
    await password_step(second)
    again = await second_step(second, code)

    assert (303, 422) == (first.status_code, again.status_code)
    assert NAME not in second.http.cookies
    assert "subject.factor_failed" == types(house.service)[-1]


async def test_the_code_that_proved_the_app_is_used_up(house: Household, browser: Browser) -> None:
    await password_step(browser)

    assert 422 == (await second_step(browser, house.proved)).status_code


async def test_a_recovery_code_works_once(house: Household, browser: Browser, second: Browser) -> None:
    await password_step(browser)
    first = await second_step(browser, house.codes[3].upper().replace("-", " "))
    await password_step(second)
    again = await second_step(second, house.codes[3])
    other = await second_step(second, house.codes[4])

    assert (303, 422, 303) == (first.status_code, again.status_code, other.status_code)
    assert 8 == (await admin_of(house.service)).second.left


# Between the steps


async def test_what_the_browser_holds_between_the_steps_opens_nothing(house: Household, browser: Browser) -> None:
    await password_step(browser)
    held, headers = browser.http.cookies[STEP], {"Accept": "text/html"}
    answers = []
    for cookies in ({NAME: held}, {NAME: held, STEP: held}):
        async with visiting(house.service, cookies=cookies) as http:
            answers += [(await http.get(path, headers=headers)).headers["location"] for path in (HOME, ME)]
    refreshed = await browser.http.post("/auth/refresh", json={"refresh_token": held})

    assert all("/sign-in?why=needed" in one for one in answers)
    assert "token_unknown" == refreshed.json()["code"]


async def test_the_second_step_takes_its_own_form_in_its_own_browser_only(
    house: Household, browser: Browser, second: Browser
) -> None:
    await password_step(browser)
    step, csrf, code = browser.http.cookies[STEP], browser.hidden["csrf"], house.next_code()
    fields = {"csrf": csrf, "code": code, "next": ""}
    forged = [
        await browser.sends(SECOND, {"code": code}),
        await browser.sends(SECOND, fields | {"csrf": "A" * 43}),
        await browser.sends(SECOND, fields, {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}),
        await browser.sends(SECOND, fields, {}),
    ]
    await password_step(second)
    mixed = await second.sends(SECOND, second.hidden | {"csrf": csrf, "code": code})
    async with visiting(house.service, cookies={STEP: step}, headers={"User-Agent": "curl/8"}) as http:
        moved = await http.post(SECOND, data=fields, headers=PAGE)
    last = await browser.sends(SECOND, fields)

    assert [403] * 5 == [one.status_code for one in (*forged, mixed)]
    assert (303, "/dashboard/sign-in?why=again") == told(moved)
    assert 303 == last.status_code


async def test_a_step_ends_by_time_by_another_password_and_by_use(house: Household, browser: Browser) -> None:
    anew = (303, "/dashboard/sign-in?why=again")
    await password_step(browser)
    page, step = browser.page, browser.http.cookies[STEP]
    assert 303 == (await second_step(browser, house.next_code())).status_code
    browser.http.cookies.set(STEP, step, domain="ledger.test")
    browser.page = page
    used = await second_step(browser, house.codes[0])

    await password_step(browser)
    house.ahead.seconds += 301
    late = await second_step(browser, house.code)

    await password_step(browser)
    owner = await admin_of(house.service)
    await house.service.subjects.set_password(owner, PASSWORD, "cli")
    changed = await second_step(browser, house.next_code())

    await password_step(browser)
    held = browser.http.cookies[STEP]
    browser.http.cookies.set(STEP, held[:-4] + ("AAA=" if held[-4:] != "AAA=" else "BBB="), domain="ledger.test")
    broken = await second_step(browser, house.next_code())

    assert [anew] * 4 == [told(one) for one in (used, late, changed, broken)]
    assert 10 == (await admin_of(house.service)).second.left


async def test_the_page_of_the_second_step_names_the_account_and_its_twin_says_what_can_be_given(
    house: Household, browser: Browser
) -> None:
    nobody = await browser.http.get(SECOND, headers={"Accept": "application/json"})
    page = await password_step(browser)
    twin = await browser.http.get(SECOND, headers={"Accept": "application/json"})

    assert (401, "sign_in_needed") == (nobody.status_code, nobody.json()["code"])
    assert "One more step, <bdi>admin</bdi>" in page.text
    assert {"kinds": ["totp", "recovery"]} == twin.json()


async def test_guessing_waits_and_a_recovery_code_does_not(house: Household, browser: Browser) -> None:
    await password_step(browser)
    guessed = [(await second_step(browser, "000000")).status_code for _ in range(5)]
    right = await second_step(browser, house.app.code(house.ahead.time() + 30))
    said = refusal_of(browser.page)
    by_recovery = await second_step(browser, house.codes[0])
    overview = (await browser.opens("/dashboard?format=json")).json()["alerts"]

    assert ["subject.factor_failed"] == [one["type"] for one in overview]
    assert "5 in a row" in overview[0]["sentence"]
    assert ([422] * 5, 429) == (guessed, right.status_code)
    assert re.search("Wait (30|29|28) seconds", said)
    assert 303 == by_recovery.status_code


# Confirming


async def test_confirming_takes_password_and_code_and_one_without_the_other_is_nothing(
    house: Household, browser: Browser
) -> None:
    await password_step(browser)
    await second_step(browser, house.next_code())
    house.ahead.seconds += 601
    stale = await browser.opens(f"{ME}/passkey")
    await browser.opens(stale.headers["location"])
    page, answers = browser.page, []
    for fields in ({"password": PASSWORD, "code": ""}, {"password": PASSWORD, "code": "000000"}, {"code": house.code}):
        browser.page = page
        answers.append(await browser.sends("/dashboard/re-authenticate", browser.hidden | fields))
    done = await browser.sends(
        "/dashboard/re-authenticate", browser.hidden | {"password": PASSWORD, "code": house.code}
    )

    assert "/dashboard/re-authenticate?next=%2Fdashboard%2Fme%2Fpasskey" == stale.headers["location"]
    assert [422] * 3 == [one.status_code for one in answers]
    assert (303, f"{ME}/passkey") == told(done)
    assert 200 == (await browser.opens(f"{ME}/passkey")).status_code


async def test_a_password_alone_changes_no_password_and_a_whole_sign_in_does(
    house: Household, browser: Browser
) -> None:
    new = "walnut-orbit-84-sapphire"
    stolen = await sign_in(browser.http)
    asked = {"current": PASSWORD, "new": new}
    refused = await browser.http.post("/auth/password", json=asked, headers=bearer(stolen["access_token"]))
    await password_step(browser)
    await second_step(browser, house.next_code())
    await browser.opens(f"{ME}/password")
    page, place = browser.page, f"{ME}/password"
    answers = [
        await browser.sends(place, browser.hidden | {"new": one, "again": other})
        for one, other in ((new, PASSWORD), ("short", "short"), (new, new))
    ]
    after = await browser.opens(f"{ME}?done=password")
    old = await sign_in_status(browser.http, PASSWORD)
    alive = await browser.http.get("/auth/me", headers=bearer(stolen["access_token"]))
    house.ahead.seconds += 601
    stale = await browser.sends(place, browser.hidden | {"csrf": browser.csrf, "new": PASSWORD, "again": PASSWORD})

    assert (403, "second_factor_needed") == (refused.status_code, refused.json()["code"])
    assert [422, 422, 303] == [one.status_code for one in answers]
    assert "two are not the same" in refusal_of(answers[0].text)
    assert "Your password is changed" in after.text
    assert (401, 401) == (old, alive.status_code)
    assert (303, "/dashboard/re-authenticate?next=%2Fdashboard%2Fme%2Fpassword") == told(stale)
    assert new not in page


async def sign_in_status(http: httpx.AsyncClient, password: str) -> int:
    asked = {"username": "admin", "password": password, "mode": "body"}
    return (await http.post("/auth/login", json=asked)).status_code


# By role


async def test_a_role_that_asks_for_one_reaches_nothing_before(make_settings: MakeSettings) -> None:
    async with running(make_settings(second_factor_roles=("responder", "admin"))) as service:
        for name, role in (("bob", "responder"), ("alice", "viewer")):
            await service.subjects.register(name, PASSWORD, role, "cli")
        async with signed_in(service, "bob") as bob, signed_in(service, "alice") as alice:
            kept_out = [told(await bob.opens(path)) for path in (HOME, "/dashboard/access", "/dashboard/keys")]
            await bob.opens(ME)
            posted = await bob.sends("/dashboard/lookup", bob.hidden | {"thing": "#1"})
            twin = await bob.http.get(HOME, headers={"Accept": "application/json"})
            let_in = await alice.opens(HOME)
            _, codes = await add_app(bob, time.time())
            after = await bob.opens(HOME)
            await bob.opens(ME)
            (removing,) = re.findall(r'action="(/dashboard/me/factors/[^"]+/remove)"', bob.page)
            kept = await bob.sends(removing, bob.hidden)

    assert [(303, ME)] * 4 == [*kept_out, told(posted)]
    assert (403, "second_factor_needed") == (twin.status_code, twin.json()["code"])
    assert (200, 10, 200) == (let_in.status_code, len(codes), after.status_code)
    assert (303, f"{ME}?done=last") == told(kept)


# Seen by others


async def test_an_admin_resets_what_somebody_lost_and_everybody_can_see_it(
    house: Household, staff: app.Service, browser: Browser
) -> None:
    async with signed_in(staff, "bob") as bob:
        await add_app(bob, house.ahead.time())
        assert 200 == (await bob.opens(HOME)).status_code
        await password_step(browser)
        await second_step(browser, house.next_code())
        access = (await browser.opens("/dashboard/access?format=json")).json()
        owner = await staff.subjects.find("bob")
        assert owner is not None
        place = f"/dashboard/subjects/{ids.to_text('sub', owner.id)}/factors"
        preview = await browser.opens(place)
        vague = await browser.sends(place, browser.hidden)
        done = await browser.sends(place, browser.hidden | {"reason": "lost_device", "ticket": "INC-7", "note": "rang"})
        log = (await browser.opens("/dashboard/events?q=user:bob+ticket:INC-7+at:24h")).text
        out = await bob.opens(HOME)
        again = await bob.signs_in("bob")
    own = f"/dashboard/subjects/{ids.to_text('sub', (await admin_of(staff)).id)}/factors"
    await browser.opens(own)

    kinds = {one["name"]: one["second_factors"] for one in access["staff"]}
    assert {"admin": ["totp"], "bob": ["totp"], "alice": []} == kinds
    assert "one-time codes, 10 recovery codes" in preview.text
    assert (422, 303) == (vague.status_code, done.status_code)
    assert "Second factor gone: one-time codes; lost device (INC-7)." in log
    assert "/sign-in?why=ended" in out.headers["location"]
    assert (303, "/dashboard") == told(again)
    assert 404 == (await browser.sends(own, browser.hidden | {"reason": "lost_device"})).status_code


async def test_overview_and_access_say_that_an_admin_has_none(service: app.Service, browser: Browser) -> None:
    await browser.signs_in()
    before = [(await browser.opens(path)).text for path in ("/dashboard", "/dashboard/access")]
    await add_app(browser, time.time())
    after = [(await browser.opens(path)).text for path in ("/dashboard", "/dashboard/access")]

    assert ["1 admin signs in" in before[0], "An admin signs in" in before[1]] == [True, True]
    assert not any("with a password alone" in page for page in after)


# The master key


async def test_a_secret_moves_to_the_new_master_key_with_the_next_code(make_settings: MakeSettings) -> None:
    first, both = f"1:{sha256(b'one').hexdigest()}", f"2:{sha256(b'two').hexdigest()},1:{sha256(b'one').hexdigest()}"
    async with running(make_settings(master_key=first)) as service, signed_in(service, "admin") as browser:
        made, _ = await add_app(browser, time.time())
    async with running(make_settings(master_key=both)) as service, visiting(service) as http:
        browser = Browser(http)
        await password_step(browser)
        answer = await second_step(browser, made.code(time.time() + 30))
        (held,) = (await admin_of(service)).second.held
        check(service.store)

    assert (303, 2) == (answer.status_code, held.key)
