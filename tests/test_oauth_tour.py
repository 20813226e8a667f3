"""An application's afternoon, on every engine: registered, refreshed, asked about, narrowed, stolen from, revoked."""

import httpx

import app
from tests.applications import Application, application, issued_to, oauth_error, own_token, renewed
from tests.check import check
from tests.visitors import PAGE, bearer, story, unpacked

PASSWORD = "plum-violet-otter-93-lantern"
PAGES = "https://app.ledger.test"


async def test_a_confidential_client_lives_with_us(service: app.Service, http: httpx.AsyncClient) -> None:
    backend = await application(service, scopes="read write introspect", access_ttl=300, leeway=30)
    secret = await service.clients.rotate_secret("backend", "cli", keep=60)
    newer = Application("backend", secret.secret)
    first = await issued_to(service, "backend")
    second = (await renewed(http, newer, first.refresh_token, scope="read")).json()
    third = (await renewed(http, backend, second["refresh_token"])).json()
    asking = bearer(await own_token(http, newer, scope="introspect"))

    said = await http.post("/oauth/introspect", data={"token": third["access_token"]}, headers=asking)
    stolen = await renewed(http, backend, first.refresh_token)
    after = await http.post("/oauth/introspect", data={"token": third["access_token"]}, headers=asking)

    assert ("read", "read write", 300) == (second["scope"], third["scope"], third["expires_in"])
    assert (True, "read write") == (said.json()["active"], said.json()["scope"])
    assert (400, "invalid_grant") == oauth_error(stolen)
    assert {"active": False} == after.json()
    family = unpacked(first.access_token.split(".")[1])["sid"]
    assert ["token.issued", "token.rotated", "token.rotated", "token.reuse_detected", "family.revoked"] == [
        one for one in await story(service, family) if one != "family.context_changed"
    ]
    check(service.store, None, [backend.secret, newer.secret, third["refresh_token"]])


async def test_a_page_on_another_host_of_the_site_uses_its_clients_cookies(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await application(service, "spa", type="public", origins=PAGES)
    asked = {"username": "admin", "password": PASSWORD, "client_id": "spa"}
    page = {"Origin": PAGES, "Sec-Fetch-Site": "same-site"}

    signed_in = await http.post("/auth/login", json=asked, headers=page)
    csrf = await http.get("/auth/csrf?client_id=spa", headers=page)
    proved = page | {"X-CSRF-Token": csrf.json()["csrf_token"]}
    refreshed = await http.post("/auth/refresh", json={"client_id": "spa"}, headers=proved)
    others = await http.post("/auth/login", json=asked, headers=page | {"Origin": "https://evil.ledger.test"})
    webs = await http.post("/auth/login", json=asked | {"client_id": "web"}, headers=page)
    ours = await http.post("/auth/login", json=asked, headers=PAGE)

    assert [200] * 3 == [one.status_code for one in (signed_in, csrf, refreshed)]
    assert [PAGES] * 3 == [one.headers["access-control-allow-origin"] for one in (signed_in, csrf, refreshed)]
    assert [403, 403, 200] == [one.status_code for one in (others, webs, ours)]


async def test_a_ledger_that_cannot_commit_uses_no_refresh_token_up(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    backend = await application(service)
    first = await issued_to(service, "backend")
    await service.ledger.drain()

    answer = await renewed(http, backend, first.refresh_token)

    assert (503, "temporarily_unavailable") == oauth_error(answer)
    assert answer.headers["retry-after"].isdigit()


async def test_tokens_of_a_disabled_client_open_nothing_here(service: app.Service, http: httpx.AsyncClient) -> None:
    backend = await application(service)
    first = await issued_to(service, "backend")
    mine = bearer(first.access_token)
    assert [200, 200] == [(await http.get(path, headers=mine)).status_code for path in ("/auth/me", "/v1/verify")]

    await service.clients.set_enabled("backend", "cli", enabled=False)

    assert [401, 401] == [(await http.get(path, headers=mine)).status_code for path in ("/auth/me", "/v1/verify")]
    await service.clients.set_enabled("backend", "cli", enabled=True)
    assert 200 == (await renewed(http, backend, first.refresh_token)).status_code  # nothing was used meanwhile
