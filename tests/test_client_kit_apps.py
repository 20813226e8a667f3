"""Real Django, FastAPI, Starlette, Litestar and plain ASGI applications with the Python client, on a served service."""

import ast
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from django.conf import settings

from session_ledger_client import FAIL_CLOSED, AsyncVerifier
from session_ledger_client.asgi import SessionLedgerMiddleware
from tests.conftest import PASSWORD
from tests.kit import NAME, Served, Session, blocking
from tests.processes import PATIENCE

Asking = Callable[..., Awaitable[httpx.Response]]
BARE = "Bearer"
INVALID = 'Bearer error="invalid_token"'
LACKING = 'Bearer error="insufficient_scope", scope="orders:read"'


@pytest.fixture(scope="module")
def session(served: Served) -> Session:
    return served.sign_in()


def fastapi_app(verifier: AsyncVerifier) -> Any:
    from typing import Annotated

    from fastapi import Depends, FastAPI

    from session_ledger_client import Claims
    from session_ledger_client.starlette import Session as Required

    app = FastAPI()

    @app.get("/me")
    async def me(claims: Annotated[Claims, Depends(Required(verifier))]) -> dict[str, str | None]:
        return {"sid": claims.session_id}

    @app.get("/orders", dependencies=[Depends(Required(verifier, "orders:read"))])
    async def orders() -> list[str]:
        return []

    return app


def starlette_app(verifier: AsyncVerifier) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from session_ledger_client.starlette import Session as Required

    signed_in, reading = Required(verifier), Required(verifier, "orders:read")

    async def me(request: Request) -> JSONResponse:
        return JSONResponse({"sid": (await signed_in(request)).session_id})

    async def orders(request: Request) -> JSONResponse:
        await reading(request)
        return JSONResponse([])

    return Starlette(routes=[Route("/me", me), Route("/orders", orders)])


def litestar_app(verifier: AsyncVerifier) -> Any:
    from litestar import Litestar, Request, get
    from litestar.middleware import DefineMiddleware

    from session_ledger_client.litestar import SessionLedgerAuth, needs

    @get("/me")
    async def me(request: Request[Any, Any, Any]) -> dict[str, str]:
        return {"sid": request.auth.session_id}

    @get("/orders", guards=[needs("orders:read")])
    async def orders() -> list[str]:
        return []

    @get("/open", exclude_from_auth=True)
    async def anybody() -> str:
        return "open"

    middleware = [DefineMiddleware(SessionLedgerAuth, verifier=verifier)]
    return Litestar([me, orders, anybody], middleware=middleware, openapi_config=None, logging_config=None)


def plain_app(verifier: AsyncVerifier) -> Any:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        claims = scope.get("session_ledger")
        body = f'{{"sid": "{claims.session_id}"}}'.encode() if claims else b"open"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    everything = SessionLedgerMiddleware(inner, verifier, open_paths=frozenset({"/open"}))
    reading = SessionLedgerMiddleware(inner, verifier, needed="orders:read")

    async def routed(scope: Any, receive: Any, send: Any) -> None:
        await (reading if scope["path"] == "/orders" else everything)(scope, receive, send)

    return routed


def django_app(served: Served) -> Any:
    """One for the process, as Django is."""
    import django
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, JsonResponse
    from django.urls import path

    from session_ledger_client import django as kit

    @kit.session_required()
    def me(request: HttpRequest) -> JsonResponse:
        return JsonResponse({"sid": request.session_claims.session_id})

    @kit.session_required("orders:read")
    def orders(request: HttpRequest) -> JsonResponse:
        return JsonResponse([], safe=False)

    @kit.session_required()
    async def later(request: HttpRequest) -> JsonResponse:
        return JsonResponse({"sid": request.session_claims.session_id})

    urls = type("urls", (), {"urlpatterns": [path("me", me), path("orders", orders), path("later", later)]})
    if not settings.configured:
        settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"])
        django.setup()
    settings.ROOT_URLCONF = urls
    feed = served.feed(FAIL_CLOSED)
    settings.SESSION_LEDGER = {"rules": served.rules, "feed": feed, "url": served.place.url, "http": blocking}
    kit.verifier.cache_clear()
    return get_wsgi_application()


@asynccontextmanager
async def asking(served: Served, framework: str) -> AsyncIterator[Asking]:
    """Requests to an application of this framework."""
    if framework == "django":
        import anyio.to_thread

        from session_ledger_client import django as kit

        with httpx.Client(transport=httpx.WSGITransport(django_app(served)), base_url="http://api.test") as client:

            async def ask(path: str, **headers: str) -> httpx.Response:
                return await anyio.to_thread.run_sync(lambda: client.get(path, headers=headers))

            yield ask
        kit.verifier().close()
        return
    make = {"fastapi": fastapi_app, "starlette": starlette_app, "litestar": litestar_app, "asgi": plain_app}[framework]
    async with served.async_verifier(served.feed(FAIL_CLOSED)) as verifier:
        transport = httpx.ASGITransport(make(verifier))
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as http:

            async def ask_async(path: str, **headers: str) -> httpx.Response:
                return await http.get(path, headers=headers)

            yield ask_async


FRAMEWORKS = ["django", "fastapi", "starlette", "litestar", "asgi"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_an_application_takes_good_tokens_and_refuses_as_rfc_6750_says(
    served: Served, session: Session, framework: str
) -> None:
    async with asking(served, framework) as ask:
        good = await ask("/me", **session.headers)
        refused = [
            await ask("/me"),
            await ask("/me", Authorization="Bearer nonsense"),
            await ask("/me", Authorization="Basic YTpi"),
            await ask("/me?access_token=" + session.access_token),
            await ask("/orders", **session.headers),
        ]

    assert (200, {"sid": session.family_id}) == (good.status_code, good.json())
    assert [401, 401, 401, 401, 403] == [one.status_code for one in refused]
    assert [BARE, INVALID, INVALID, BARE, LACKING] == [one.headers["www-authenticate"] for one in refused]
    assert ["no-store"] * 5 == [one.headers["cache-control"] for one in refused]


@pytest.mark.alone
@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_an_application_refuses_a_killed_session_within_two_seconds(served: Served, framework: str) -> None:
    doomed = served.sign_in()
    async with asking(served, framework) as ask:
        assert 200 == (await ask("/me", **doomed.headers)).status_code
        await asyncio.to_thread(served.kill, doomed)
        began = time.monotonic()
        while (last := await ask("/me", **doomed.headers)).status_code == 200:
            assert time.monotonic() - began < 2
            await asyncio.sleep(0.01)  # a request inside the process waits for no network, so nothing else would run

    assert (401, INVALID) == (last.status_code, last.headers["www-authenticate"])


async def test_a_view_of_django_may_be_a_coroutine(served: Served, session: Session) -> None:
    async with asking(served, "django") as ask:
        good, refused = await ask("/later", **session.headers), await ask("/later")

    assert (200, {"sid": session.family_id}, 401) == (good.status_code, good.json(), refused.status_code)


@pytest.mark.parametrize("framework", ["litestar", "asgi"])
async def test_a_route_may_be_open_to_anybody(served: Served, framework: str) -> None:
    async with asking(served, framework) as ask:
        assert (200, "open") == ((found := await ask("/open")).status_code, found.text)


async def test_a_websocket_without_a_token_is_not_accepted(served: Served) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async with served.async_verifier() as verifier:
        await plain_app(verifier)({"type": "websocket", "path": "/", "headers": []}, None, send)

    assert [("websocket.close", 1008)] == [(one["type"], one["code"]) for one in sent]


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_where_nobody_knows_the_answer_is_503_and_no_sign_out(
    tmp_path_factory: pytest.TempPathFactory, session: Session, framework: str
) -> None:
    gone = Served(tmp_path_factory.mktemp("gone"))
    gone.secret = "slc_of_nobody"
    async with asking(gone, framework) as ask:
        answer = await ask("/me", **session.headers)

    assert (503, "2") == (answer.status_code, answer.headers["retry-after"])
    assert "www-authenticate" not in answer.headers


def test_what_the_page_shows_is_python_and_imports_what_there_is() -> None:
    page = (Path(__file__).parent.parent / "docs" / "clients.md").read_text("utf-8")
    blocks = [block.partition("```")[0] for block in page.split("```python\n")[1:]]
    imports = [
        ast.unparse(node)
        for block in blocks
        for node in ast.parse(block).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]

    exec("\n".join(imports), {})

    assert 4 == len(blocks)
    assert 5 == sum("session_ledger_client" in line for line in imports)


@pytest.mark.alone
@pytest.mark.parametrize("number", [1, 2], ids=["fastapi", "litestar"])
async def test_what_the_page_shows_works_as_it_stands(
    served: Served, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    page = (Path(__file__).parent.parent / "docs" / "clients.md").read_text("utf-8")
    blocks = [block.partition("```")[0] for block in page.split("```python\n")[1:]]
    shown = (blocks[0] + blocks[number]).replace("https://auth.example.com", served.issuer)
    module = ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", module)
    written = vars(module) | {"secret": served.secret, "orders_of": lambda subject: [subject]}
    exec(shown.replace('client_id="orders-api"', f'client_id="{NAME}"'), written)
    may, may_not = with_scope(served, f"shop-{number}", "orders:read"), served.sign_in()

    async with httpx.AsyncClient(transport=httpx.ASGITransport(written["app"]), base_url="http://api.test") as http:
        answers = [await http.get("/orders", headers=one) for one in ({}, may, may_not.headers)]
        served.kill(may_not)
        answers.append(await until_refused(http, may_not))
    await written["verifier"].close()

    assert [401, 200, 403, 401] == [one.status_code for one in answers]
    assert answers[1].json()[0].startswith("sub_")


def with_scope(served: Served, client: str, scope: str) -> dict[str, str]:
    """The header of somebody who signed in to an application that has this scope."""
    served.place.done("client", "add", client, "--scope", scope)
    asked = {"username": "admin", "password": PASSWORD, "mode": "body", "client_id": client}
    deadline = time.monotonic() + PATIENCE
    while (answer := httpx.post(f"{served.place.url}/auth/login", json=asked, trust_env=False)).status_code == 400:
        assert time.monotonic() < deadline, "a service hears of a client within two seconds"
        time.sleep(0.1)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def until_refused(http: httpx.AsyncClient, session: Session) -> httpx.Response:
    """The answer once the feed has told, or after two seconds."""
    deadline = time.monotonic() + 2
    while (answer := await http.get("/orders", headers=session.headers)).status_code == 403:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return answer
