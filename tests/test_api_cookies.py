"""Cookie mode over HTTP: the cookies' whole life, the pages that may use them and those that may not (18-21, 33)."""

import re
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest

import app
from tests.conftest import PASSWORD, MakeSettings, running, visiting
from tests.visitors import (
    ALICE,
    PAGE,
    bearer,
    code,
    cookie_of,
    facts,
    let_pass,
    me,
    page_sign_in,
    refresh,
    register,
    sign_in,
    story,
)

REFRESH, CSRF = "__Host-refresh-web", "__Host-csrf-web"
NEIGHBOUR = "https://app.ledger.test"
MONTH = 2_592_000
JSON = {"Content-Type": "application/json"}


class Page:
    """A page that signed in: what its browser would send, piece by piece, so that a test can leave pieces out."""

    def __init__(self, http: httpx.AsyncClient, signed_in: httpx.Response) -> None:
        self.http = http
        self.token = cookie_of(signed_in, REFRESH)
        self.csrf = signed_in.json()["csrf_token"]
        self.family = signed_in.json()["family_id"]
        self.access = signed_in.json()["access_token"]
        http.cookies.clear()

    async def send(
        self, route: str = "/auth/refresh", json: Any = None, **headers: str | bytes | None
    ) -> httpx.Response:
        """Post as the page does; `headers` replace what it would send, None leaves out."""
        usual: dict[str, str | bytes | None] = {
            "cookie": f"{REFRESH}={self.token}",
            "x-csrf-token": self.csrf,
            "origin": PAGE["Origin"],
        }
        usual["sec-fetch-site"] = "same-origin"
        changed = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = [(name.encode(), _bytes(value)) for name, value in changed.items() if value is not None]
        answer = await self.http.post(route, json={} if json is None else json, headers=sent)
        self.http.cookies.clear()
        return answer

    async def still_works(self) -> bool:
        """Whether the session lives and its token was not used up: there is no leeway here."""
        answer = await self.send()
        if answer.status_code == 200:
            self.token = cookie_of(answer, REFRESH)
        return answer.status_code == 200


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


@pytest.fixture
async def service(make_settings: MakeSettings) -> AsyncIterator[app.Service]:
    """Strict: a token that was used up by mistake cannot be used again."""
    async with running(make_settings(retry_leeway=0, rate_limits=False)) as started:
        yield started


@pytest.fixture
async def page(http: httpx.AsyncClient) -> Page:
    return Page(http, await page_sign_in(http))


def attributes(answer: httpx.Response, name: str) -> dict[str, str]:
    (text,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{name}=")]
    return {part.partition("=")[0].strip().lower(): part.partition("=")[2] for part in text.split(";")[1:]}


async def test_the_cookies_are_of_this_host_only_and_only_one_is_for_scripts(http: httpx.AsyncClient) -> None:
    answer = await page_sign_in(http)
    # The ledger's clock never goes back, so it may be a moment ahead of the wall, and a second more at a boundary.
    (age,) = {attributes(answer, name).pop("max-age") for name in (REFRESH, CSRF)}
    common = {"max-age": age, "path": "/", "samesite": "strict", "secure": ""}
    named = {text.partition("=")[0] for text in answer.headers.get_list("set-cookie")}

    assert {REFRESH, CSRF} == named
    assert int(age) in {MONTH, MONTH + 1}
    assert common | {"httponly": ""} == attributes(answer, REFRESH)
    assert common == attributes(answer, CSRF)
    assert answer.json()["csrf_token"] == cookie_of(answer, CSRF)
    assert re.fullmatch(r"slr_[A-Za-z0-9_-]{92}", cookie_of(answer, REFRESH))
    assert sum(map(len, answer.headers.get_list("set-cookie"))) < 4096


async def test_a_browser_that_keeps_its_cookies_refreshes_and_signs_out(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    answer = await page_sign_in(http)
    seen = {cookie_of(answer, REFRESH)}
    for _ in range(5):
        answer = await http.post("/auth/refresh", json={}, headers=PAGE | {"X-CSRF-Token": http.cookies[CSRF]})
        assert answer.status_code == 200
        seen.add(cookie_of(answer, REFRESH))
    out = await http.post("/auth/logout", json={}, headers=PAGE | {"X-CSRF-Token": http.cookies[CSRF]})

    assert len(seen) == 6
    assert (out.status_code, out.content) == (204, b"")
    assert dict(http.cookies) == {}
    assert (await story(service, answer.json()["family_id"]))[-1] == "family.revoked"


async def test_a_refresh_answers_as_a_sign_in_does(page: Page) -> None:
    answer = await page.send()

    assert {"access_token", "token_type", "expires_in", "family_id", "csrf_token"} == set(answer.json())
    assert (page.family, page.csrf) == (answer.json()["family_id"], answer.json()["csrf_token"])
    assert cookie_of(answer, REFRESH) not in {page.token, answer.text}
    assert "slr_" not in answer.text
    assert attributes(answer, REFRESH)["samesite"] == "strict"


async def test_the_cookies_end_with_the_session_however_often_it_is_refreshed(service: app.Service, page: Page) -> None:
    ages = []
    for later in (86_400, 500_000):
        let_pass(service, later)
        answer = await page.send()
        page.token = cookie_of(answer, REFRESH)
        ages += [MONTH - later - int(attributes(answer, name)["max-age"]) for name in (REFRESH, CSRF)]

    assert {-1, 0, 1, 2} >= set(ages)


async def test_a_lost_answer_is_given_again_with_its_cookies(make_settings: MakeSettings) -> None:
    async with running(make_settings()) as service, visiting(service) as http:
        page = Page(http, await page_sign_in(http))
        lost, again = await page.send(), await page.send()

    assert (200, cookie_of(lost, REFRESH)) == (again.status_code, cookie_of(again, REFRESH))
    assert cookie_of(lost, CSRF) == cookie_of(again, CSRF)
    assert lost.json()["access_token"] != again.json()["access_token"]


async def test_attack_15_a_replayed_cookie_ends_the_session_and_is_not_cleared(page: Page) -> None:
    """The honest browser may already hold the successor under the same name."""
    page_token = page.token
    second = cookie_of(await page.send(), REFRESH)
    await page.send(cookie=f"{REFRESH}={second}")
    replayed = await page.send(cookie=f"{REFRESH}={page_token}")

    assert code(replayed) == (401, "token_reused")
    assert "set-cookie" not in replayed.headers
    assert code(await page.send(cookie=f"{REFRESH}={second}")) == (401, "session_revoked")
    assert code(await me(page.http, page.access)) == (401, "invalid_token")


WRONG_CSRF = {
    "missing": None,
    "empty": "",
    "cut": "{csrf:.42}",
    "longer": "{csrf}A",
    "of nobody": "A" * 43,
    "the refresh token": "{token}",
    "the access token": "{access}",
    "other case": "{swapped}",
    "not ASCII": "é" * 43,
}


@pytest.mark.parametrize("route", ["/auth/refresh", "/auth/logout", "/auth/logout-all"])
async def test_attack_19_without_the_right_csrf_token_nothing_happens(page: Page, route: str) -> None:
    known = {"csrf": page.csrf, "token": page.token, "access": page.access, "swapped": page.csrf.swapcase()}
    for wrong, text in WRONG_CSRF.items():
        given = None if text is None else text.format(**known).encode()
        answer = await page.send(route, x_csrf_token=given)

        assert code(answer) == (403, "csrf_failed"), wrong
        assert "set-cookie" not in answer.headers
        assert await page.still_works(), wrong


async def test_attack_19_a_csrf_token_is_worth_nothing_for_another_session(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    """Neither one from before the sign-in nor one of the attacker's own."""
    await register(service)
    attacker = Page(http, await page_sign_in(http, "alice", ALICE))
    earlier = Page(http, await page_sign_in(http))
    victim = Page(http, await page_sign_in(http))

    for foreign in (attacker.csrf, earlier.csrf):
        assert code(await victim.send(x_csrf_token=foreign)) == (403, "csrf_failed")
        assert code(await victim.send(x_csrf_token=foreign, cookie=f"{REFRESH}={victim.token}; {CSRF}={foreign}")) == (
            403,
            "csrf_failed",
        )
    assert await victim.still_works()


async def test_attack_19_a_csrf_token_in_cookie_query_or_body_proves_nothing(page: Page) -> None:
    in_cookie = await page.send(x_csrf_token=None, cookie=f"{REFRESH}={page.token}; {CSRF}={page.csrf}")
    in_query = await page.send(f"/auth/refresh?csrf_token={page.csrf}&X-CSRF-Token={page.csrf}", x_csrf_token=None)
    in_body = await page.send(json={"csrf_token": page.csrf}, x_csrf_token=None)

    assert [(403, "csrf_failed")] * 2 == [code(in_cookie), code(in_query)]
    assert code(in_body) == (400, "invalid_request")
    assert await page.still_works()


async def test_attack_19_two_csrf_tokens_are_none(page: Page) -> None:
    headers = [("Cookie", f"{REFRESH}={page.token}"), ("Origin", PAGE["Origin"]), ("Sec-Fetch-Site", "same-origin")]
    headers += [("X-CSRF-Token", page.csrf), ("X-CSRF-Token", page.csrf)]
    answer = await page.http.post("/auth/refresh", json={}, headers=headers)

    assert code(answer) == (400, "invalid_request")
    assert await page.still_works()


SITES: list[tuple[str | None, str | None, bool]] = [
    ("same-origin", "https://ledger.test", True),
    ("same-origin", None, True),
    ("same-origin", "https://evil.test", False),
    ("same-origin", NEIGHBOUR, False),
    ("same-site", NEIGHBOUR, True),
    ("same-site", "https://other.ledger.test", False),
    ("same-site", "null", False),
    ("same-site", None, False),
    ("cross-site", "https://evil.test", False),
    ("cross-site", "https://ledger.test", False),
    ("cross-site", NEIGHBOUR, False),
    ("cross-site", None, False),
    ("none", None, False),
    ("none", "https://evil.test", False),
    ("SAME-ORIGIN", None, False),
    ("", None, False),
    (None, "https://ledger.test", True),
    (None, NEIGHBOUR, True),
    (None, "https://evil.test", False),
    (None, "null", False),
    (None, None, False),
    (None, "https://ledger.test.evil.test", False),
    (None, "https://evilledger.test", False),
    (None, "https://app.ledger.test.evil.test", False),
    (None, "http://ledger.test", False),
    (None, "https://ledger.test:444", False),
    (None, "https://ledger.test/", False),
    (None, "HTTPS://LEDGER.TEST", False),
    (None, "", False),
    (None, "*", False),
]


@pytest.mark.parametrize("route", ["/auth/refresh", "/auth/logout", "/auth/logout-all", "/auth/login", "/auth/csrf"])
async def test_attack_19_only_pages_that_may_use_the_cookies_do(make_settings: MakeSettings, route: str) -> None:
    """Every combination of Sec-Fetch-Site and Origin, though the CSRF token is right each time."""
    settings = make_settings(allowed_origins=("https://ledger.test", NEIGHBOUR), rate_limits=False, retry_leeway=0)
    body = {"username": "admin", "password": PASSWORD} if route == "/auth/login" else {}
    async with running(settings) as service, visiting(service) as http:
        for site, origin, may in SITES:
            page = Page(http, await page_sign_in(http))
            if route == "/auth/csrf":
                sent = {"cookie": f"{REFRESH}={page.token}", "sec-fetch-site": site, "origin": origin}
                answer = await http.get(route, headers={k: v for k, v in sent.items() if v is not None})
            else:
                answer = await page.send(route, json=body, sec_fetch_site=site, origin=origin)
            if may:
                assert answer.status_code in {200, 204}, (site, origin)
            else:
                assert code(answer) == (403, "csrf_failed"), (site, origin)
                assert "set-cookie" not in answer.headers
                assert await page.still_works(), (site, origin)


async def test_attack_19_what_a_form_can_send_is_415(page: Page) -> None:
    for kind, content in (
        ("text/plain", b"{}"),
        ("text/plain;application/json", b"{}"),
        ("application/x-www-form-urlencoded", b"a=b"),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("application/csp-report", b"{}"),
    ):
        headers = PAGE | {"Cookie": f"{REFRESH}={page.token}", "X-CSRF-Token": page.csrf, "Content-Type": kind}
        for route in ("/auth/refresh", "/auth/logout", "/auth/logout-all", "/auth/login"):
            assert code(await page.http.post(route, content=content, headers=headers)) == (
                415,
                "unsupported_media_type",
            )
    assert await page.still_works()


async def test_attack_19_no_other_method_and_no_override_uses_the_cookie(page: Page) -> None:
    headers = PAGE | {"Cookie": f"{REFRESH}={page.token}", "X-CSRF-Token": page.csrf, "X-HTTP-Method-Override": "POST"}
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"):
        for route in ("/auth/refresh", "/auth/logout", "/auth/logout-all", "/auth/login"):
            answer = await page.http.request(method, f"{route}?_method=POST", headers=headers)
            assert answer.status_code == (204 if method == "OPTIONS" else 405)
            assert "set-cookie" not in answer.headers
            assert "POST" in answer.headers["allow"]
    assert await page.still_works()


async def test_attack_18_a_token_in_cookie_and_body_at_once_is_400(page: Page) -> None:
    for route in ("/auth/refresh", "/auth/logout", "/auth/logout-all"):
        assert code(await page.send(route, json={"refresh_token": page.token})) == (400, "invalid_request")
    assert await page.still_works()


async def test_attack_18_a_session_begun_in_a_body_is_not_carried_on_in_a_cookie(http: httpx.AsyncClient) -> None:
    first = await sign_in(http)
    csrf = await http.get("/auth/csrf", headers=PAGE | {"Cookie": f"{REFRESH}={first['refresh_token']}"})
    headers = PAGE | {"Cookie": f"{REFRESH}={first['refresh_token']}", "X-CSRF-Token": csrf.json()["csrf_token"]}
    answer = await http.post("/auth/refresh", json={}, headers=headers)

    assert code(answer) == (401, "refresh_refused")
    assert "set-cookie" not in answer.headers
    assert (await refresh(http, first["refresh_token"])).status_code == 200


NO_TOKEN = """
{name}={token}; {name}={other}
{name}={other}; {name}={token}
{name}={token}; {name}={token}
{name}={token};{name}={token}
{name}={token}; {name}=
refresh-web={token}
__host-refresh-web={token}
__HOST-REFRESH-WEB={token}
__Secure-refresh-web={token}
__Host-refresh-mobile={token}
__Host-refresh-web-2={token}
{name}="{token}"
{name}={token}x
{name}={token},x
{name}=%73{cut}
{name}
{name}=
={token}
{token}
{name} ={token}
a={name}={token}
""".strip().splitlines()
"""Cookie headers without an unambiguous cookie of the right name."""


async def test_attack_21_an_ambiguous_or_misnamed_cookie_is_no_token(page: Page) -> None:
    for cookie in NO_TOKEN:
        sent = cookie.format(name=REFRESH, token=page.token, other="slr_" + "A" * 92, cut=page.token[1:])
        answers = [await page.send(cookie=sent), await page.http.get("/auth/csrf", headers=PAGE | {"Cookie": sent})]

        assert [(401, "token_unknown")] * 2 == [code(answer) for answer in answers], cookie
        assert not [answer for answer in answers if "set-cookie" in answer.headers]
    assert await page.still_works()


async def test_attack_21_two_cookie_headers_are_read_as_one(page: Page) -> None:
    headers = [("Cookie", f"{REFRESH}={page.token}"), ("Cookie", f"{REFRESH}={page.token}"), *PAGE.items()]
    answer = await page.http.post("/auth/refresh", json={}, headers=[*headers, ("X-CSRF-Token", page.csrf)])

    assert code(answer) == (401, "token_unknown")


async def test_attack_21_signing_out_with_two_cookies_does_not_claim_to_have_signed_out(page: Page) -> None:
    for route in ("/auth/logout", "/auth/logout-all"):
        twice = await page.send(route, cookie=f"{REFRESH}={page.token}; {REFRESH}={page.token}")
        assert code(twice) == (401, "token_unknown")
    assert await page.still_works()


async def test_attack_21_many_and_long_cookies_break_nothing(page: Page) -> None:
    many = "; ".join(f"c{number}=x" for number in range(200))

    assert (await page.send(cookie=f"{many}; {REFRESH}={page.token}")).status_code == 200
    assert code(await page.send(cookie=f"{REFRESH}={'x' * 7000}")) == (401, "token_unknown")
    assert code(await page.send(cookie=f"{REFRESH}={'x' * 9000}")) == (431, "headers_too_large")
    assert code(await page.send(cookie=b"\xff\xfe=\x80; " + REFRESH.encode() + b"=\xff")) == (401, "token_unknown")


async def test_attack_33_only_pages_that_may_use_the_cookies_may_read_the_answers(make_settings: MakeSettings) -> None:
    """Exactly those, never with a wildcard; the keys are for everybody, without credentials."""
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-csrf-token"}
    settings = make_settings(allowed_origins=("https://ledger.test", NEIGHBOUR))
    async with running(settings) as service, visiting(service) as http:
        for origin, may in (
            (NEIGHBOUR, True),
            ("https://evil.test", False),
            ("null", False),
            ("*", False),
            (f"{NEIGHBOUR}.evil.test", False),
            (f"{NEIGHBOUR}:444", False),
            (NEIGHBOUR.upper(), False),
            (NEIGHBOUR.replace("https", "http"), False),
            ("https://xapp.ledger.test", False),
        ):
            answers = [
                await http.options("/auth/refresh", headers=asks | {"Origin": origin}),
                await http.post("/auth/refresh", json={}, headers={"Origin": origin, "Sec-Fetch-Site": "same-site"}),
                await http.get("/auth/me", headers={"Origin": origin}),
                await http.post("/auth/login", content=b"x" * 20_000, headers=JSON | {"Origin": origin}),
                await http.post("/oauth/token", data={"grant_type": "refresh_token"}, headers={"Origin": origin}),
            ]
            for answer in answers:
                assert answer.headers.get("access-control-allow-origin") == (origin if may else None), origin
                assert answer.headers.get("access-control-allow-credentials") == ("true" if may else None)
                assert answer.headers["vary"] == "Origin"
            assert answers[0].status_code == 204
            assert ("x-csrf-token" in answers[0].headers.get("access-control-allow-headers", "").lower()) == may
        for path in ("/", "/v1/checkpoint", "/health/ready", "/dashboard", "/oauth/introspect"):
            answer = await http.get(path, headers={"Origin": NEIGHBOUR})
            assert not [name for name in answer.headers if name.startswith("access-control")]
        keys = await http.get("/.well-known/jwks.json", headers={"Origin": "https://evil.test"})

    assert keys.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in keys.headers


async def test_a_page_of_a_neighbour_refreshes_as_browsers_do_it(make_settings: MakeSettings) -> None:
    """Ask first, fetch the CSRF token, refresh: with each answer readable to the page."""
    settings = make_settings(allowed_origins=("https://ledger.test", NEIGHBOUR))
    came = {"Origin": NEIGHBOUR, "Sec-Fetch-Site": "same-site"}
    async with running(settings) as service, visiting(service) as http:
        await page_sign_in(http)
        csrf = await http.get("/auth/csrf", headers=came)
        refreshed = await http.post(
            "/auth/refresh", json={}, headers=came | {"X-CSRF-Token": csrf.json()["csrf_token"]}
        )

    assert [200, 200] == [csrf.status_code, refreshed.status_code]
    assert [NEIGHBOUR] * 2 == [one.headers["access-control-allow-origin"] for one in (csrf, refreshed)]


async def test_the_csrf_token_can_be_asked_for_and_that_uses_nothing_up(service: app.Service, page: Page) -> None:
    before = len(await facts(service))
    for _ in range(3):
        answer = await page.http.get("/auth/csrf", headers=PAGE | {"Cookie": f"{REFRESH}={page.token}"})
        assert (answer.json(), answer.headers["cache-control"]) == ({"csrf_token": page.csrf}, "no-store")
        assert "set-cookie" not in answer.headers

    assert before == len(await facts(service))
    assert await page.still_works()


async def test_who_has_no_cookie_has_no_csrf_token(http: httpx.AsyncClient) -> None:
    assert code(await http.get("/auth/csrf", headers=PAGE)) == (401, "token_unknown")
    assert code(await http.get("/auth/csrf?client_id=dashboard", headers=PAGE)) == (400, "unknown_client")
    assert code(await http.get("/auth/csrf?client_id=nobody", headers=PAGE)) == (400, "unknown_client")


@pytest.mark.parametrize("route", ["/auth/logout", "/auth/logout-all"])
async def test_signing_out_clears_the_cookies_however_often_and_with_whatever_in_them(page: Page, route: str) -> None:
    out = await page.send(route)
    again = await page.send(route)
    garbage = await page.send(route, cookie=f"{REFRESH}=garbage", x_csrf_token=None)
    nothing = await page.send(route, cookie=None, x_csrf_token=None)

    for answer in (out, again, garbage, nothing):
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["clear-site-data"] == '"cache", "storage"'
        assert "content-type" not in answer.headers
        for name in (REFRESH, CSRF):
            morsel = SimpleCookie(next(t for t in answer.headers.get_list("set-cookie") if t.startswith(name)))[name]
            assert (morsel.value, morsel["max-age"], morsel["path"], morsel["secure"]) == ("", "0", "/", True)
    assert code(await page.send()) == (401, "session_revoked")


async def test_an_older_cookie_signs_out_without_an_alarm(service: app.Service, page: Page) -> None:
    first = page.token
    for _ in range(3):
        assert await page.still_works()
    out = await page.send("/auth/logout", cookie=f"{REFRESH}={first}")

    assert out.status_code == 204
    assert (await story(service, page.family)).count("token.reuse_detected") == 0
    assert code(await page.send()) == (401, "session_revoked")


async def test_a_password_change_in_a_browser_sets_new_cookies_and_wants_an_own_page(page: Page) -> None:
    typed = {"current": PASSWORD, "new": "gravel-topaz-stork-44-bassoon"}
    strange = await page.http.post("/auth/password", json=typed, headers=bearer(page.access))
    evil = {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}
    foreign = await page.http.post("/auth/password", json=typed, headers=bearer(page.access) | evil)
    changed = await page.http.post("/auth/password", json=typed, headers=bearer(page.access) | PAGE)

    assert [(403, "csrf_failed")] * 2 == [code(strange), code(foreign)]
    assert changed.status_code == 200
    assert page.csrf != changed.json()["csrf_token"]
    assert page.family != changed.json()["family_id"]
    assert await Page(page.http, changed).still_works()
    assert code(await page.send()) == (401, "session_revoked")


async def test_on_localhost_the_cookies_are_the_same(make_settings: MakeSettings) -> None:
    """Browsers accept Secure there, and one name everywhere is one name less to get wrong."""
    async with running(make_settings(public_url="http://localhost:8000")) as service, visiting(service) as http:
        headers = {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}
        answer = await http.post("/auth/login", json={"username": "admin", "password": PASSWORD}, headers=headers)

    assert "secure" in attributes(answer, REFRESH)
