"""The question of gateways: what /v1/verify answers, and a real nginx that asks it with `auth_request`."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent

import httpx
import pytest

import app
from api.dpop import ALGS
from core.issued import Present
from events import reads
from tests.applications import application, issued_to
from tests.conftest import PASSWORD
from tests.keyholders import KeyHolder, bound_sign_in
from tests.kit import Served
from tests.ports import free_port
from tests.processes import PATIENCE
from tests.visitors import ALICE, bearer, code, register, sign_in, stream_of

VERIFY = "/v1/verify"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


async def test_a_good_token_is_200_and_the_headers_say_whose_it_is(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    session = await sign_in(http)
    answer = await http.get(VERIFY, headers=bearer(session["access_token"]))
    present = await service.families.authenticate(session["access_token"])

    assert isinstance(present, Present)
    assert (200, b"") == (answer.status_code, answer.content)
    assert {
        "x-session-subject": present.claims.sub,
        "x-session-family": session["family_id"],
        "x-session-client": "web",
        "x-session-scope": "",
        "x-session-roles": "admin",
        "x-session-expires": str(present.claims.exp),
    } == {name: value for name, value in answer.headers.items() if name.startswith("x-session-")}
    assert "no-store" == answer.headers["cache-control"]


async def test_gateways_may_ask_with_the_method_and_path_of_what_they_hold(http: httpx.AsyncClient) -> None:
    token = (await sign_in(http))["access_token"]
    address = f"{VERIFY}/orders/17?tag=a&tag=b"

    good = [(await http.request(method, address, headers=bearer(token))).status_code for method in METHODS]
    bad = [(await http.request(method, address, headers=bearer("nonsense"))).status_code for method in METHODS]

    assert ([200] * 7, [401] * 7) == (good, bad)


async def test_roles_are_those_of_now_and_not_of_when_the_token_was_made(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await register(service, "alice", ALICE)
    owner = await service.subjects.find("alice")
    assert owner is not None
    await service.subjects.change_roles(owner, "responder viewer", "cli")
    token = (await sign_in(http, "alice", ALICE))["access_token"]
    had = await http.get(VERIFY, headers=bearer(token))
    await service.subjects.change_roles(owner, "viewer", "cli")
    has = await http.get(VERIFY, headers=bearer(token))

    assert ("responder viewer", "viewer") == (had.headers["x-session-roles"], has.headers["x-session-roles"])
    assert ["viewer"] == (await http.get("/auth/me", headers=bearer(token))).json()["roles"]


async def test_a_session_that_ended_a_moment_ago_is_refused_at_once(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    session = await sign_in(http)
    headers = bearer(session["access_token"])
    assert 200 == (await http.get(VERIFY, headers=headers)).status_code

    await service.families.revoke(stream_of(session["family_id"]), "cli", "stolen_token")
    answer = await http.get(VERIFY, headers=headers)

    assert (401, "invalid_token") == code(answer)
    assert 'Bearer error="invalid_token"' == answer.headers["www-authenticate"]


async def test_a_bound_token_counts_with_a_proof_of_the_request_that_the_gateway_holds(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    alice, app_ = KeyHolder(), "https://app.example.com"
    token = (await bound_sign_in(http, alice, PASSWORD))["access_token"]

    def held(method: str = "GET", uri: str = "/orders?page=2", url: str = f"{app_}/orders") -> dict[str, str]:
        forwarded = {"X-Forwarded-Method": method, "X-Forwarded-Uri": uri}
        return forwarded | {"Authorization": f"DPoP {token}", "DPoP": alice.proof("GET", url, token, nonce=None)}

    told, asked = {"origin": app_}, held()
    answers = [
        await http.get("/v1/verify", params=told, headers=asked),
        await http.get("/v1/verify", params=told, headers=asked),
        await http.get("/v1/verify", params=told, headers=held(method="POST")),
        await http.get("/v1/verify", params=told, headers=held(uri="/admin")),
        await http.get("/v1/verify", params=told, headers=held(url="https://other.example.com/orders")),
        await http.get("/v1/verify", headers=held()),
        await http.get("/v1/verify", params=told, headers=held() | bearer(token)),
        await http.get("/v1/verify/orders", headers=held()),
    ]

    assert [200] + [401] * 7 == [one.status_code for one in answers]
    assert answers[1].headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof"')


async def test_without_a_token_the_challenge_says_so(http: httpx.AsyncClient) -> None:
    answer = await http.get(VERIFY)

    assert (401, f'Bearer, DPoP algs="{ALGS}"') == (answer.status_code, answer.headers["www-authenticate"])


async def test_a_scope_that_the_token_lacks_is_403(service: app.Service, http: httpx.AsyncClient) -> None:
    await application(service, "shop", scopes="orders:read orders:write")
    token = (await issued_to(service, "shop")).access_token

    good = await http.get(VERIFY, headers=bearer(token), params={"scope": "orders:read"})
    lacking = await http.get(VERIFY, headers=bearer(token), params={"scope": "orders:read refunds"})

    assert (200, "orders:read orders:write") == (good.status_code, good.headers["x-session-scope"])
    assert (403, "insufficient_scope") == (lacking.status_code, lacking.json()["code"])
    assert 'Bearer error="insufficient_scope", scope="orders:read refunds"' == lacking.headers["www-authenticate"]


async def test_a_scope_that_is_none_is_not_echoed(http: httpx.AsyncClient) -> None:
    headers = bearer((await sign_in(http))["access_token"])

    for scope in ('a"b', "a\\b", "é", "a\r\nX-Evil: 1"):
        answer = await http.get(VERIFY, headers=headers, params={"scope": scope})
        assert (400, "invalid_request") == code(answer)


async def test_a_token_for_another_audience_takes_the_gateway_to_say_so(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await application(service, "shop", audiences="https://orders.test")
    headers = bearer((await issued_to(service, "shop")).access_token)

    answers = [
        await http.get(VERIFY, headers=headers),
        await http.get(VERIFY, headers=headers, params={"audience": "https://orders.test"}),
        await http.get(VERIFY, headers=headers, params={"audience": "https://other.test"}),
    ]

    assert [401, 200, 401] == [one.status_code for one in answers]


async def test_what_stands_behind_the_path_is_the_callers_and_decides_nothing(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    await application(service, "shop", audiences="https://orders.test")
    foreign = bearer((await issued_to(service, "shop")).access_token)
    own = bearer((await sign_in(http))["access_token"])
    query = {"audience": "https://orders.test", "scope": "refunds"}

    assert 401 == (await http.get(f"{VERIFY}/orders", headers=foreign, params=query)).status_code
    assert 200 == (await http.get(f"{VERIFY}/orders", headers=own, params=query)).status_code


@pytest.mark.parametrize("root", ["/", "//", "///", "//orders//17"])
async def test_a_request_for_the_root_of_its_application_chooses_no_audience_either(
    service: app.Service, http: httpx.AsyncClient, root: str
) -> None:
    await application(service, "shop", audiences="https://orders.test")
    foreign = bearer((await issued_to(service, "shop")).access_token)
    own = bearer((await sign_in(http))["access_token"])
    query = {"audience": "https://orders.test", "scope": "refunds"}

    assert 401 == (await http.get(f"{VERIFY}{root}", headers=foreign, params=query)).status_code
    assert 200 == (await http.get(f"{VERIFY}{root}", headers=own, params=query)).status_code


async def test_a_token_of_a_client_itself_is_nobodys_session(service: app.Service, http: httpx.AsyncClient) -> None:
    machine = await application(service, "machine", scopes="orders:read")
    answer = await http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=machine.basic)

    assert 401 == (await http.get(VERIFY, headers=bearer(answer.json()["access_token"]))).status_code


async def test_many_that_ask_together_share_a_reading(
    service: app.Service, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    token = (await sign_in(http))["access_token"]
    taken = 0
    snapshot = reads.snapshot

    def counted(*arguments: object) -> object:
        nonlocal taken
        taken += 1
        return snapshot(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reads, "snapshot", counted)
    answers = await asyncio.gather(*(http.get(VERIFY, headers=bearer(token)) for _ in range(64)))

    assert {200} == {one.status_code for one in answers}
    assert taken <= 16


CONFIGURATION = """
    pid {folder}/nginx.pid;
    error_log {folder}/error.log;
    worker_processes 1;
    daemon off;
    events {{ worker_connections 64; }}
    http {{
      access_log off;
      client_body_temp_path {folder}/body;
      proxy_temp_path {folder}/proxy;
      fastcgi_temp_path {folder}/fastcgi;
      uwsgi_temp_path {folder}/uwsgi;
      scgi_temp_path {folder}/scgi;
      server {{
        listen 127.0.0.1:{port};
    {snippet}
      }}
    }}
"""


def snippet(ledger: str, application: str) -> str:
    """What docs/clients.md tells people to write, with the addresses of this test."""
    page = (Path(__file__).parent.parent / "docs" / "clients.md").read_text("utf-8")
    text = page.partition("```nginx\n")[2].partition("```")[0]
    return text.replace("https://auth.example.com", ledger).replace("http://app.internal:8080", application)


class Echo(BaseHTTPRequestHandler):
    """The application behind the gateway: answers with the headers that reached it."""

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        told = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps(told | {"body": self.rfile.read(length).decode()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def gateway(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of nginx before the application."""
    echo = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=echo.serve_forever, args=(0.05,))
    thread.start()
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    inside = snippet(served.place.url, f"http://127.0.0.1:{echo.server_port}")
    written = dedent(CONFIGURATION).format(folder=folder, port=port, snippet=inside)
    (folder / "nginx.conf").write_text(written, "utf-8")
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert nginx, "the tests need nginx"
    started = [nginx, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "error.log")]
    with subprocess.Popen(started) as process:
        try:
            answers(f"http://127.0.0.1:{port}/", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(PATIENCE)
            echo.shutdown()
            thread.join()
            echo.server_close()


def answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nginx does not answer")


def test_nginx_lets_good_tokens_through_and_says_whose_they_are(served: Served, gateway: str) -> None:
    session = served.sign_in()
    lies = {"X-Session-Subject": "sub_evil", "X-Session-Roles": "admin admin", "X-Session-Family": "fam_evil"}

    answer = httpx.post(f"{gateway}/orders", content="hello", headers=session.headers | lies, trust_env=False)

    seen = answer.json()
    assert (200, "hello") == (answer.status_code, seen["body"])
    assert (session.family_id, "web", "admin") == tuple(
        seen[f"x-session-{name}"] for name in ("family", "client", "roles")
    )
    assert seen["x-session-subject"].startswith("sub_aa")
    assert "authorization" not in seen


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"X-Session-Subject": "sub_evil"}])
def test_nginx_refuses_the_rest(gateway: str, headers: dict[str, str]) -> None:
    answer = httpx.get(f"{gateway}/orders", headers=headers, trust_env=False)

    assert 401 == answer.status_code
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_nginx_refuses_a_token_without_the_scope(served: Served, gateway: str) -> None:
    answer = httpx.get(f"{gateway}/admin/", headers=served.sign_in().headers, trust_env=False)

    assert 403 == answer.status_code


def test_behind_nginx_a_killed_session_is_dead_at_once(served: Served, gateway: str) -> None:
    session = served.sign_in()
    assert 200 == httpx.get(f"{gateway}/orders", headers=session.headers, trust_env=False).status_code

    served.kill(session)

    assert 401 == httpx.get(f"{gateway}/orders", headers=session.headers, trust_env=False).status_code


def test_nginx_lets_no_word_of_the_caller_through_where_it_asks_for_a_scope(served: Served, gateway: str) -> None:
    served.place.done("client", "add", "office", "--scope", "orders:admin")
    asked = {"username": "admin", "password": PASSWORD, "mode": "body", "client_id": "office"}
    deadline = time.monotonic() + PATIENCE
    while (answer := httpx.post(f"{served.place.url}/auth/login", json=asked, trust_env=False)).status_code == 400:
        assert time.monotonic() < deadline, "the service hears of the client within two seconds"
        time.sleep(0.1)
    session = answer.json()
    lies = {f"X-Session-{name}": "evil" for name in ("Subject", "Family", "Client", "Scope", "Roles", "Expires")}

    seen = httpx.get(f"{gateway}/admin/", headers=bearer(session["access_token"]) | lies, trust_env=False).json()

    assert (session["family_id"], "office", "orders:admin") == tuple(
        seen[f"x-session-{name}"] for name in ("family", "client", "scope")
    )
    assert "evil" not in seen.values()
    assert "authorization" not in seen
