"""What belongs to no single route: types of answers, files, cookies, fields for passwords, SQL, the log, packages."""

import ast
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import app
from dashboard.cookie import NAME
from events.store import Store
from tests.applications import application, own_token
from tests.browsers import FIRST, HOME, Browser, Seen, browser, second
from tests.check import check
from tests.chromium import EXAMPLES, a_world
from tests.conftest import PASSWORD, MakeSettings, running, visiting
from tests.logged import logged
from tests.tables import opened
from tests.test_layout import ROOT, sources
from tests.visitors import PAGE, bearer, let_pass, page_sign_in, refresh, sign_in, unpacked

__all__ = ("browser", "second")
"""Fixtures that pytest looks for here."""

TEXT = "; charset=utf-8"
TYPES = {"application/json", "application/problem+json", "application/jwk-set+json", f"text/plain{TEXT}"}
SQL = ("x' or '1'='1", 'x" or "1"="1', "x'); drop table events; --", "x%' union select 1 --", "x\\' or 1=1 /*")
RUNS = {"eval", "exec", "compile", "__import__"}
STARTS = {"pickle", "marshal", "shelve", "subprocess", "pty", "commands", "yaml", "dill"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; "
    "upgrade-insecure-requests"
).split("; ")
HEADERS = {"x-frame-options": "DENY", "x-content-type-options": "nosniff", "referrer-policy": "same-origin"}
SIGNED_OUT = {"/dashboard/sign-in", "/dashboard/sign-in/second"}


async def test_every_body_says_its_type_and_text_its_charset(service: app.Service, http: httpx.AsyncClient) -> None:
    token = (await sign_in(http))["access_token"]
    paths = ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/v1/checkpoint", "/health/live")
    refused = [await http.request(method, "/auth/me") for method in ("GET", "PUT", "TRACE", "BREW")]
    answers = [await http.get(path, headers=bearer(token)) for path in (*paths, "/auth/me", "/auth/sessions", "/none")]
    empty = await http.options("/auth/me")
    pages = [
        await http.get(path, headers={"Accept": "text/html"}) for path in ("/", "/dashboard/sign-in", "/dashboard/x")
    ]

    assert set() == {answer.headers["content-type"] for answer in answers + refused} - TYPES
    assert {f"text/html{TEXT}"} == {page.headers["content-type"] for page in pages if page.content}
    assert (204, b"", False) == (empty.status_code, empty.content, "content-type" in empty.headers)


async def test_no_file_is_served_but_those_of_the_pages(browser: Browser) -> None:
    await browser.signs_in()
    below = ("", "vendor", "vendor/", "routes.py", "..%2froutes.py", "%2e%2e%2froutes.py", ".git", "VENDOR.md")
    paths = [
        f"/dashboard/static/{name}" for name in (*below, "vendor%2fVENDOR.md", "dashboard.css.map", "dashboard.js~")
    ]

    for path in (*paths, "/dashboard/static", "/dashboard/.git/config", "/.git/HEAD", "/static/", "/templates/"):
        assert 404 == (await browser.http.get(path)).status_code, path


async def test_every_page_of_the_dashboard_has_a_way_out(service: app.Service, browser: Browser) -> None:
    await browser.signs_in()
    world = await a_world(service)
    pages = [example(world) or route for route, example in EXAMPLES.items() if route not in SIGNED_OUT]
    out = ("form", {"method": "post", "action": "/dashboard/sign-out"})

    assert [] == [page for page in pages if out not in Seen((await browser.opens(page)).text).elements]


async def test_no_page_is_framed_and_none_loads_from_elsewhere(browser: Browser) -> None:
    pages = [await browser.opens(path) for path in ("/dashboard/sign-in", "/dashboard/nothing")]
    pages += [await browser.signs_in(password="wrong"), await browser.signs_in(), await browser.opens(HOME)]
    pages += [await browser.opens("/dashboard/families/fam_x"), await browser.sends("/dashboard/sign-out", {})]
    given = [set(page.headers["content-security-policy"].split("; ")) for page in pages]

    assert [200, 404, 422, 303, 200, 404, 403] == [page.status_code for page in pages]
    assert [] == [policy for policy in given if set(POLICY) != policy]
    for page in pages:
        assert HEADERS.items() <= dict(page.headers).items()


async def test_a_proof_once_more_begins_another_session_in_the_place_of_this_one(
    browser: Browser, second: Browser
) -> None:
    await browser.signs_in()
    before = browser.cookie
    await browser.opens("/dashboard/re-authenticate")
    answer = await browser.sends("/dashboard/re-authenticate", browser.hidden | {"password": PASSWORD})
    second.http.cookies.set(NAME, before, domain="ledger.test")

    assert (303, True) == (answer.status_code, before != browser.cookie)
    assert (200, 303) == ((await browser.opens(HOME)).status_code, (await second.opens(HOME)).status_code)


async def test_signing_out_at_the_dashboard_empties_the_browser_s_cache(browser: Browser) -> None:
    await browser.signs_in()
    await browser.opens(FIRST)
    answer = await browser.sends("/dashboard/sign-out", {"csrf": browser.csrf})

    assert '"cache"' == answer.headers["clear-site-data"]


async def test_no_cookie_with_its_name_is_longer_than_4096_bytes(http: httpx.AsyncClient, browser: Browser) -> None:
    """A client's name has at most 64 characters."""
    answers = [await page_sign_in(http), await browser.signs_in()]
    pairs = [pair.partition(";")[0] for answer in answers for pair in answer.headers.get_list("set-cookie")]

    assert 3 == len(pairs)
    assert max(len(pair) for pair in pairs) + 64 < 4096


def test_every_field_for_a_password_is_masked_and_takes_what_a_manager_pastes() -> None:
    found = []
    for template in sorted((ROOT / "dashboard" / "templates").glob("*.html")):
        fields = re.findall(r"<input [^>]*\bname=\"(?:password|new|again|current)\"[^>]*>", template.read_text("utf-8"))
        found += [(template.stem, field) for field in fields]
    scripts = [path.read_text("utf-8") for path in (ROOT / "dashboard" / "static").glob("*.js")]

    assert {"sign_in", "prove", "own_password"} == {name for name, _ in found}
    assert [] == [field for _, field in found if 'type="password"' not in field]
    assert [] == [field for _, field in found if not re.search(r'autocomplete="(current|new)-password"', field)]
    assert [] == [script for script in scripts if "paste" in script]


@pytest.mark.parametrize("text", SQL)
async def test_what_would_be_sql_is_text_that_finds_itself(service: app.Service, browser: Browser, text: str) -> None:
    await service.subjects.register(text, PASSWORD, "viewer", "cli")
    await browser.signs_in(text)
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    asked = {"q": f"user:{quoted}", "format": "json"}
    events = (await browser.http.get(HOME, params=asked)).json()["events"]
    families = (await browser.http.get("/dashboard/families", params=asked)).json()["families"]
    others = [
        await browser.http.get(HOME, params={"q": f"{field}:{quoted}", "format": "json"})
        for field in ("family", "client", "ip", "reason", "type")
    ]
    looked = await browser.http.get("/dashboard/network/" + text.replace("/", "%2f"), params={"format": "json"})
    owner = await service.subjects.find(text)

    assert owner is not None
    assert 1 <= len(events) <= 3
    assert 1 == len(families)
    assert [] == [answer.text for answer in others if answer.status_code != 422 and answer.json()["events"]]
    assert {422, 404, 400} >= {looked.status_code}
    check(service.store)


def test_nothing_of_the_service_runs_text_as_code_or_starts_a_program() -> None:
    rooms = ("events", "core", "api", "dashboard", "terminal", "edge", "service", "app", "settings", "cli")
    found = [(path.name, name) for room in rooms for path in sources(room) for name in _dangerous(path)]

    assert [] == found


def _dangerous(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] in STARTS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in STARTS:
            yield node.module or ""
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RUNS:
            yield node.func.id
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("os.system", "os.popen", "os.exec")):
            yield node.attr


async def test_every_way_around_a_control_leaves_a_line_with_its_code(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    shop = await application(service, "shop", scopes="families:read")
    mine = await sign_in(http)
    own = bearer(await own_token(http, shop))
    wrong = {"username": "admin", "password": "wrong-wrong-wrong", "mode": "body"}
    with logged("info") as written:
        async with visiting(service) as page:
            csrf = {"X-CSRF-Token": (await page_sign_in(page)).json()["csrf_token"][::-1]}
            await page.post("/auth/refresh", json={}, headers=PAGE | {"Origin": "https://evil.test"})
            await page.post("/auth/refresh", json={}, headers=PAGE | csrf)
        await refresh(http, mine["refresh_token"][:-1])
        await http.get("/auth/me", headers=bearer(mine["access_token"][:-2]))
        await http.post("/v1/subjects", json={}, headers=own)
        await http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("shop", "wrong"))
        await http.post("/auth/login", content=b"{}", headers={"Content-Type": "text/plain"})
        await http.post("/auth/login", json={"username": 1})
        await http.get("/auth/sessions", params=[("a", "1"), ("a", "2")])
        for _ in range(11):
            await http.post("/auth/login", json=wrong)
    told = _told(written)

    assert [
        ("/auth/login", None),
        ("/auth/refresh", "csrf_failed"),
        ("/auth/refresh", "csrf_failed"),
        ("/auth/refresh", "token_unknown"),
        ("/auth/me", "invalid_token"),
        ("/v1/subjects", "insufficient_scope"),
        ("/oauth/token", "invalid_client"),
        ("", "unsupported_media_type"),
        ("/auth/login", "invalid_request"),
        ("", "invalid_request"),
    ] == told[:10]
    assert {"invalid_credentials", "rate_limited"} == {code for _, code in told[10:]}


def _told(written: io.StringIO) -> list[tuple[str, str | None]]:
    """Route and code of each request that was logged."""
    lines = [json.loads(text) for text in written.getvalue().splitlines()]
    return [(line["route"], line.get("code")) for line in lines if line["event"] == "request"]


async def test_after_refreshes_a_token_says_the_same_of_the_sign_in(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    tokens = await sign_in(http)
    said = []
    for passed in (100, 200, 300):
        said.append(unpacked(tokens["access_token"].split(".")[1]))
        let_pass(service, passed)
        tokens = (await refresh(http, tokens["refresh_token"])).json()

    assert 1 == len({(one["auth_time"], one["sid"], one["sub"], one.get("acr"), str(one.get("amr"))) for one in said})
    assert 3 == len({one["jti"] for one in said})


async def test_before_its_first_start_a_ledger_has_no_account_and_then_one_with_a_random_password(
    store: Store, make_settings: MakeSettings
) -> None:
    with opened(store) as tables:
        assert [(0,)] == tables.run("SELECT count(*) FROM subjects")
    settings = make_settings(admin_password=None)
    async with running(settings) as service, visiting(service) as http:
        made = (settings.data_dir / "admin-password").read_text("utf-8").strip()
        known = [await _status(http, "admin", word) for word in ("admin", "password", "", "session-ledger", PASSWORD)]
        others = [await _status(http, name, made) for name in ("root", "test", "demo", "web")]
        right = await _status(http, "admin", made)
    with opened(store) as tables:
        assert [(1,)] == tables.run("SELECT count(*) FROM subjects")

    assert {401} == {*known, *others}
    assert (200, True) == (right, len(made) >= 24)


async def _status(http: httpx.AsyncClient, name: str, password: str) -> int:
    asked = {"username": name, "password": password, "mode": "body"}
    return (await http.post("/auth/login", json=asked)).status_code


def test_every_package_is_pinned_to_one_version_by_its_hashes() -> None:
    files = sorted(ROOT.glob("requirements*.txt"))
    for file in files:
        pins = re.split(r"(?m)^(?=[a-z0-9])", file.read_text("utf-8"))
        loose = [
            pin.partition("\n")[0]
            for pin in pins
            if pin.strip()
            and not pin.startswith("#")
            and not (re.match(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+", pin) and "--hash=sha256:" in pin)
        ]
        assert [] == loose, file.name

    assert {"requirements.txt", "requirements-dev.txt", "requirements-build.txt"} <= {file.name for file in files}
