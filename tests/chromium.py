"""A real browser before the real server, on a port of its own; and an example of every page of the dashboard."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from litestar import Litestar
from litestar.routes import HTTPRoute
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

import app
from core import serving
from core.action import Confirmed, Kill, Selection
from events import ids
from events.decision import Origin
from settings import Settings
from tests.conftest import PASSWORD, running
from tests.test_dashboard import a_family, a_theft

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
RULES = "axe.run(document, { resultTypes: ['violations'] })"
WATCH = """
window.blocked = [];
document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.violatedDirective));
"""
EXPECTED = "Failed to load resource: the server responded with a status of"
"""What Chromium says of every refusal; all else that it says is a complaint."""


class Chrome:
    """A browser, and the service that it visits. What it complains of is kept."""

    def __init__(self, browser: Browser, service: app.Service, url: str, stop: Callable[[], Awaitable[float]]) -> None:
        self.browser = browser
        self.service = service
        self.url = url
        self.stop = stop
        """Tell the service to stop; answers how many seconds it took."""
        self.complaints: list[str] = []

    async def context(self, **options: Any) -> BrowserContext:
        context = await self.browser.new_context(base_url=self.url, **options)
        context.set_default_timeout(10_000)
        if options.get("java_script_enabled", True):
            await context.add_init_script(WATCH)
        return context

    async def page(self, name: str = "admin", **options: Any) -> Page:
        """A page of somebody who has signed in, in a browser profile of its own."""
        page = await (await self.context(**options)).new_page()
        page.on("console", lambda said: self._note(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto("/dashboard/sign-in?next=/dashboard/events")
        await page.fill("#name", name)
        await page.fill("#password", PASSWORD)
        await page.click("button[type=submit]")
        await page.wait_for_url("**/dashboard/events")
        return page

    def _note(self, said: str) -> None:
        if not said.startswith(EXPECTED):
            self.complaints.append(said)


@asynccontextmanager
async def chrome(make_settings: Callable[..., Settings]) -> AsyncIterator[Chrome]:
    """Server and browser, ended afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://localhost:{port}"
    async with running(make_settings(public_url=url, port=port)) as service, async_playwright() as playwright:
        stop, ready = asyncio.Event(), asyncio.Event()
        service.stopping = stop
        server = asyncio.create_task(serving.serve(app.create_app(service), "127.0.0.1", port, stop, ready.set))
        await ready.wait()
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        async def end() -> float:
            begun = time.monotonic()
            stop.set()
            await server
            return time.monotonic() - begun

        try:
            yield Chrome(browser, service, url, end)
        finally:
            await browser.close()
            await end()


async def violations(page: Page) -> list[str]:
    """What axe finds on the page as it is shown."""
    await page.evaluate(AXE)
    found = await page.evaluate(RULES)
    return [f"{one['id']}: {node['html'][:160]}" for one in found["violations"] for node in one["nodes"]]


class World(NamedTuple):
    """Things that pages can be about."""

    stolen: str
    living: str
    subject: str
    action: str
    key: str
    event: int
    plan: str
    """A frozen selection that nobody confirmed."""


async def a_world(service: app.Service) -> World:
    """A theft, a family that lives, an action that ended another."""
    stolen = await a_theft(service)
    living, ended = (await a_family(service))["family_id"], (await a_family(service))["family_id"]
    admin = await service.subjects.find("admin")
    assert admin is not None
    stream, subject = service.actions.new_id(), ids.to_text("sub", admin.id)
    confirmed = Confirmed(stream, f"staff:{subject}", "stolen_token", "INC-4711", "seen in a log", 1)
    await service.actions.kill(Kill(confirmed, admin.id, (ids.parse("fam", ended),), everything=False), Origin())
    (key, *_) = service.keys.ring.verifying
    plan = service.actions.new_id()
    selection = Selection(plan, f"staff:{subject}", "is:living", 1, (ids.parse("fam", living),))
    await service.actions.plan(selection, Origin())
    return World(stolen, living, subject, ids.to_text("act", stream), key, 5, ids.to_text("act", plan))


EXAMPLES: dict[str, Callable[[World], str]] = {
    "/dashboard": lambda _: "",
    "/dashboard/access": lambda _: "",
    "/dashboard/actions": lambda _: "",
    "/dashboard/actions/{action_id:str}": lambda world: f"/dashboard/actions/{world.action}",
    "/dashboard/events": lambda _: "/dashboard/events?facets=1",
    "/dashboard/events/{position:int}": lambda world: f"/dashboard/events/{world.event}",
    "/dashboard/families": lambda _: "",
    "/dashboard/families/{family_id:str}": lambda world: f"/dashboard/families/{world.stolen}",
    "/dashboard/families/{family_id:str}/kill": lambda world: f"/dashboard/families/{world.living}/kill",
    "/dashboard/help/filters": lambda _: "",
    "/dashboard/keys": lambda _: "",
    "/dashboard/keys/{kid:str}/revoke": lambda world: f"/dashboard/keys/{world.key}/revoke",
    "/dashboard/kills/{action_id:str}": lambda world: f"/dashboard/kills/{world.plan}",
    "/dashboard/lookup": lambda _: "",
    "/dashboard/network/{address:str}": lambda _: "/dashboard/network/203.0.113.7",
    "/dashboard/network/{address:str}/{prefix:int}": lambda _: "/dashboard/network/203.0.113.0/24",
    "/dashboard/re-authenticate": lambda _: "",
    "/dashboard/sign-in": lambda _: "",
    "/dashboard/subjects/{subject_id:str}": lambda world: f"/dashboard/subjects/{world.subject}",
    "/dashboard/subjects/{subject_id:str}/switch": lambda world: f"/dashboard/subjects/{world.subject}/switch",
    "/dashboard/system": lambda _: "",
}
"""Where each route can be seen; empty where the route itself is the address. A page that is added is added here."""
MORE = (
    "/dashboard/events?q=type:token.reuse_detected&live=1",
    "/dashboard/events?q=usr:alice",
    "/dashboard/events?around=5",
    "/dashboard/nothing",
)
"""Other looks of these pages."""
NO_PAGES = {
    "/dashboard/static/{name:str}",
    "/dashboard/events/stream",
    "/dashboard/events/head",
    "/dashboard/events/facets",
}
"""Files and parts of pages."""


def routes_of(service: app.Service) -> set[str]:
    """Every address of the dashboard that can be opened."""
    inner = app.create_app(service).app
    assert isinstance(inner, Litestar)
    ours = [one for one in inner.routes if isinstance(one, HTTPRoute) and one.path.startswith("/dashboard")]
    return {one.path for one in ours if "GET" in one.methods}
