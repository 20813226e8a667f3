"""Who visits in the tests of the API: a page with cookies, a program without, from wherever; and how to look."""

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

import app
from core.token import mint
from events import ids
from events.commit import Clock
from events.history import Event
from tests.conftest import PASSWORD
from tests.databases import set_clock
from tests.edges import app_of

OWN = "https://ledger.test"
PAGE = {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}
"""What a browser says of a request from our own page."""
ALICE = "maple-copper-heron-57-violin"
BOB = "thistle-amber-walrus-12-flute"


async def register(service: app.Service, name: str = "alice", password: str = ALICE) -> None:
    await service.subjects.register(name, password, "", "system")


async def sign_in(
    http: httpx.AsyncClient, username: str = "admin", password: str = PASSWORD, **more: Any
) -> dict[str, Any]:
    """Tokens, in body mode."""
    answer = await http.post("/auth/login", json={"username": username, "password": password, "mode": "body"} | more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refresh(http: httpx.AsyncClient, token: str, **more: Any) -> httpx.Response:
    return await http.post("/auth/refresh", json={"refresh_token": token, **more})


async def me(http: httpx.AsyncClient, access_token: str) -> httpx.Response:
    return await http.get("/auth/me", headers=bearer(access_token))


def bearer(access_token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token}"}


async def page_sign_in(
    http: httpx.AsyncClient, username: str = "admin", password: str = PASSWORD, **more: Any
) -> httpx.Response:
    """In cookie mode. The client keeps the cookies, as a browser does."""
    answer = await http.post("/auth/login", json={"username": username, "password": password} | more, headers=PAGE)
    assert answer.status_code == 200, answer.text
    return answer


def cookie_of(answer: httpx.Response, name: str) -> str:
    """The value of a cookie that the answer sets."""
    (found,) = [text for text in answer.headers.get_list("set-cookie") if text.startswith(f"{name}=")]
    return found.partition("=")[2].partition(";")[0]


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, which must have the one shape that all have."""
    said = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "request_id"} == set(said)
    assert f"urn:session-ledger:problem:{said['code']}" == said["type"]
    assert answer.status_code == said["status"]
    assert answer.headers["x-request-id"] == said["request_id"]
    assert answer.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
    return answer.status_code, said["code"]


@asynccontextmanager
async def visiting_from(service: app.Service, address: str, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client at another address."""
    transport = httpx.ASGITransport(app_of(service), client=(address, 50000))
    async with httpx.AsyncClient(transport=transport, base_url=OWN, **options) as client:
        yield client


def let_pass(service: app.Service, seconds: float) -> None:
    """From now on the service's clock is so much later than the machine's: time has passed, or it was set back."""

    def wall() -> float:
        return time.time() + seconds

    pace = service.writer._pace
    passed = wall() - pace._clock.wall()
    if pace._last is not None and passed > 0:  # a clock that was set is told by what passed on the monotonic one
        pace._last = (pace._last[0] + int(passed * 1_000_000), pace._last[1])
    pace._clock = Clock(wall)
    set_clock(service.store, ahead=seconds)


def forged(service: app.Service, genuine: str, **changed: object) -> str:
    """A token with a right MAC that we never gave to anybody: what a leaked key could make."""
    read = service.families.read_token(genuine)
    assert read is not None
    key = service.master.refresh_key(read.key)
    assert key is not None
    return mint(read._replace(**changed), key)  # type: ignore[arg-type]


async def facts(service: app.Service, family_id: str | None = None) -> list[Event]:
    """The whole log, or a family's story, oldest first."""
    if family_id is None:
        return await service.history.after(-1, 5000)
    return await service.history.of_stream(stream_of(family_id), 0, 5000)


async def story(service: app.Service, family_id: str) -> list[str]:
    """What happened to a family, by type."""
    return [event.fact.TYPE for event in await facts(service, family_id)]


def unpacked(segment: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return found


def packed(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def stream_of(family_id: str) -> bytes:
    found = ids.from_text("fam", family_id)
    assert found is not None
    return found
