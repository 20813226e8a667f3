"""Staff at the dashboard: a browser that reads pages and sends their forms, clocks that run ahead, and what to find."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

import app
from dashboard.cookie import NAME
from events import ids
from events.commit import Clock
from events.store import Store
from tests.conftest import PASSWORD, visiting
from tests.databases import set_clock
from tests.visitors import PAGE, refresh, sign_in

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
HOME = "/dashboard/events"
"""A page that shows something of everything."""
FIRST = "/dashboard"
"""Where signing in leads."""


class Browser:
    """Somebody's browser: keeps the cookie, reads pages, sends the forms that are on them."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.page = ""

    async def opens(self, path: str, **headers: str) -> httpx.Response:
        answer = await self.http.get(path, headers=BROWSER | headers)
        self.page = answer.text
        return answer

    async def sends(self, path: str, fields: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.http.post(path, data=fields, headers=BROWSER | (PAGE if headers is None else headers))

    async def signs_in(self, name: str = "admin", password: str = PASSWORD, **more: str) -> httpx.Response:
        return await self.sends("/dashboard/sign-in", {"name": name, "password": password, **more})

    async def revokes(self, family: str, **changes: str) -> httpx.Response:
        """Fill in and send the form of the preview; who gets none sends one all the same."""
        preview = await self.opens(f"/dashboard/families/{family}/kill")
        if preview.status_code != 200:
            await self.opens(HOME)
        given = {"reason": "stolen_token", "ticket": "INC-4711", "note": "", "scope": "family"}
        return await self.sends(f"/dashboard/families/{family}/kill", self.hidden | given | changes)

    @property
    def hidden(self) -> dict[str, str]:
        """What the forms of the page carry along, the last of each name."""
        return dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)"', self.page))

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([A-Za-z0-9_-]{43})"', self.page)
        assert found is not None
        return found[1]

    @property
    def cookie(self) -> str:
        return self.http.cookies[NAME]


ACTIVE = {"script", "style", "img", "iframe", "object", "embed"}


class Seen(HTMLParser):
    """What a browser makes of a page: its elements, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def foreign(self) -> list[str]:
        """Elements that could do something and are not our own files."""
        active = ((tag, attributes) for tag, attributes in self.elements if tag in ACTIVE)
        return [tag for tag, attributes in active if not (attributes.get("src") or "").startswith("/dashboard/static/")]


class Ahead:
    """The clocks of the whole service and its database, ahead of the real ones; stands where `time` is imported."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """How far ahead."""
        return self._seconds

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._seconds = seconds
        set_clock(self._store, ahead=seconds)

    def time(self) -> float:
        return time.time() + self.seconds

    def time_ns(self) -> int:
        return int(self.time() * 1_000_000_000)

    def monotonic(self) -> float:
        return time.monotonic() + self.seconds


@pytest.fixture
def ahead(service: app.Service, monkeypatch: pytest.MonkeyPatch) -> Ahead:
    clock = Ahead(service.store)
    service.writer._pace._clock = Clock(clock.time, clock.monotonic)
    for module in ("service", "edge", "core.families"):
        monkeypatch.setattr(f"{module}.time", clock)
    return clock


@pytest.fixture
async def browser(service: app.Service) -> AsyncIterator[Browser]:
    async with visiting(service) as http:
        yield Browser(http)


@pytest.fixture
async def second(service: app.Service) -> AsyncIterator[Browser]:
    async with visiting(service) as http:
        yield Browser(http)


@pytest.fixture
async def staff(service: app.Service) -> app.Service:
    """The service with one person for each role."""
    for name, roles in (("alice", "viewer"), ("bob", "responder"), ("charlie", "")):
        await service.subjects.register(name, PASSWORD, roles, "cli")
    return service


@asynccontextmanager
async def signed_in(service: app.Service, name: str) -> AsyncIterator[Browser]:
    """The browser of somebody who is signed in."""
    async with visiting(service) as http:
        one = Browser(http)
        await one.signs_in(name)
        yield one


async def a_family(service: app.Service, **more: Any) -> dict[str, Any]:
    async with visiting(service) as http:
        return await sign_in(http, **more)


async def a_theft(service: app.Service, name: str = "admin") -> str:
    """A family whose first token came back from elsewhere after two refreshes."""
    async with visiting(service) as http:
        first = await sign_in(http, name)
        next_one = (await refresh(http, first["refresh_token"])).json()
        await refresh(http, next_one["refresh_token"])
        thief = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0.0.0 Safari/537.36"}
        await http.post("/auth/refresh", json={"refresh_token": first["refresh_token"]}, headers=thief)
    family: str = first["family_id"]
    return family


async def status_of(service: app.Service, family: str) -> str:
    held = await service.family_reader.get(ids.parse("fam", family))
    assert held is not None
    return held.family.status


async def size(service: app.Service) -> int:
    return (await service.history.head()).size
