"""A real browser before the real server, on a port of its own; and an example of every page of the dashboard."""

import asyncio
import atexit
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from litestar import Litestar
from litestar.routes import HTTPRoute
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

import app
from core.action import Confirmed, Kill, Selection
from core.webhook import Plan
from events import heads, ids
from events.decision import Origin
from events.webhook import POLL, PREFIX, SET
from settings import Settings
from tests.browsers import a_family, a_theft
from tests.conftest import PASSWORD, running
from tests.edges import app_of
from tests.ports import free_port
from tests.serving import Served, answering
from tests.tables import beside

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
RULES = "axe.run(document, { resultTypes: ['violations'] })"
WATCH = """
window.blocked = [];
document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.violatedDirective));
"""
EXPECTED = ("Failed to load resource: the server responded with a status of", "Clear-Site-Data header on")
"""What Chromium says of every refusal, and of signing out; all else that it says is a complaint."""


class Chrome:
    """A browser, and the service that it visits. What it complains of is kept."""

    def __init__(self, browser: Browser, service: app.Service, url: str, served: Served) -> None:
        self.browser = browser
        self.service = service
        self.url = url
        self._served = served
        self.contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    async def context(self, **options: Any) -> BrowserContext:
        context = await self.browser.new_context(base_url=self.url, **options)
        context.set_default_timeout(10_000)
        self.contexts.append(context)
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

    async def stop(self) -> float:
        """Tell the service to stop; answers how many seconds it took."""
        begun = time.monotonic()
        await self._served.end()
        return time.monotonic() - begun

    def _note(self, said: str) -> None:
        if not said.startswith(EXPECTED):
            self.complaints.append(said)


@cache
def devtools() -> str:
    """Where a Chromium answers that all tests of this process share: starting one takes longer than most of them."""
    port = free_port()

    async def launch() -> Browser:
        playwright = await async_playwright().start()
        told = ["--no-sandbox", f"--remote-debugging-port={port}"]
        return await playwright.chromium.launch(executable_path=CHROMIUM, args=told)

    browser = beside(launch())
    atexit.register(lambda: beside(browser.close()))
    return f"http://127.0.0.1:{port}"


@asynccontextmanager
async def chrome(make_settings: Callable[..., Settings]) -> AsyncIterator[Chrome]:
    """Server and browser, ended afterwards."""
    port = free_port()
    url = f"http://localhost:{port}"
    async with (
        running(make_settings(public_url=url, port=port)) as service,
        answering(app_of(service), port, service.stopping) as served,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.connect_over_cdp(devtools())
        opened = Chrome(browser, service, url, served)
        try:
            yield opened
        finally:
            for context in opened.contexts:
                await context.close()
            await browser.close()  # the connection; the browser goes on


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
    hook: str
    """A stream of shared signals that is polled."""


async def a_world(service: app.Service) -> World:
    """A theft, a family that lives, an action that ended another, a master key that was in use once."""
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
    await asyncio.to_thread(service.store.transact, lambda connection: heads.add_key_checks(connection, {9: "0" * 16}))
    hook = (await service.webhooks.register("web", "cli", Plan(SET, POLL))).webhook
    action, frozen = ids.to_text("act", stream), ids.to_text("act", plan)
    return World(stolen, living, subject, action, key, 5, frozen, ids.to_text(PREFIX, hook))


EXAMPLES: dict[str, Callable[[World], str]] = {
    "/dashboard": lambda _: "",
    "/dashboard/access": lambda _: "",
    "/dashboard/actions": lambda _: "",
    "/dashboard/actions/{action_id:str}": lambda world: f"/dashboard/actions/{world.action}",
    "/dashboard/clients": lambda _: "",
    "/dashboard/clients/{name:str}": lambda _: "/dashboard/clients/web",
    "/dashboard/clients/{name:str}/switch": lambda _: "/dashboard/clients/web/switch",
    "/dashboard/events": lambda _: "/dashboard/events?facets=1",
    "/dashboard/events/{position:int}": lambda world: f"/dashboard/events/{world.event}",
    "/dashboard/families": lambda _: "",
    "/dashboard/families/{family_id:str}": lambda world: f"/dashboard/families/{world.stolen}",
    "/dashboard/families/{family_id:str}/kill": lambda world: f"/dashboard/families/{world.living}/kill",
    "/dashboard/help/filters": lambda _: "",
    "/dashboard/keys": lambda _: "",
    "/dashboard/keys/master/{number:int}/revoke": lambda _: "/dashboard/keys/master/9/revoke",
    "/dashboard/keys/{kid:str}/revoke": lambda world: f"/dashboard/keys/{world.key}/revoke",
    "/dashboard/kills/{action_id:str}": lambda world: f"/dashboard/kills/{world.plan}",
    "/dashboard/lookup": lambda _: "",
    "/dashboard/me": lambda _: "",
    "/dashboard/me/passkey": lambda _: "",
    "/dashboard/me/password": lambda _: "",
    "/dashboard/me/totp": lambda _: "",
    "/dashboard/network/{address:str}": lambda _: "/dashboard/network/203.0.113.7",
    "/dashboard/network/{address:str}/{prefix:int}": lambda _: "/dashboard/network/203.0.113.0/24",
    "/dashboard/re-authenticate": lambda _: "",
    "/dashboard/sign-in": lambda _: "",
    "/dashboard/sign-in/second": lambda _: "",
    "/dashboard/subjects/{subject_id:str}": lambda world: f"/dashboard/subjects/{world.subject}",
    "/dashboard/subjects/{subject_id:str}/factors": lambda world: f"/dashboard/subjects/{world.subject}/factors",
    "/dashboard/subjects/{subject_id:str}/switch": lambda world: f"/dashboard/subjects/{world.subject}/switch",
    "/dashboard/subjects/{subject_id:str}/erase": lambda world: f"/dashboard/subjects/{world.subject}/erase",
    "/dashboard/system": lambda _: "",
    "/dashboard/webhooks": lambda _: "",
    "/dashboard/webhooks/{name:str}": lambda world: f"/dashboard/webhooks/{world.hook}",
}
"""Where each route can be seen; empty where the route itself is the address. A page that is added is added here."""
MORE = (
    "/dashboard/events?q=type:token.reuse_detected&live=1",
    "/dashboard/events?q=usr:alice",
    "/dashboard/events?around=5",
    "/dashboard/clients?new=1",
    "/dashboard/webhooks?new=1",
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
    inner = app_of(service).app
    assert isinstance(inner, Litestar)
    ours = [one for one in inner.routes if isinstance(one, HTTPRoute) and one.path.startswith("/dashboard")]
    return {one.path for one in ours if "GET" in one.methods}
