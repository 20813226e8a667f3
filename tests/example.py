"""The example before a served service, and a real browser that opens its page in many tabs."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, Request, async_playwright, expect

from examples.__main__ import serving_notes
from examples.notes import CLIENT
from tests.chromium import CHROMIUM
from tests.conftest import PASSWORD
from tests.ports import free_port
from tests.processes import PATIENCE, Place

REFRESH = "/auth/refresh"


class Example:
    """A place with the service, the resource server and the page."""

    def __init__(self, folder: Path, **settings: str) -> None:
        port = free_port()
        self.page = f"http://localhost:{port}"
        self.port = port
        self.place = Place(folder, **{"LEDGER_ALLOWED_ORIGINS": self.page} | settings)
        self.ledger = f"http://localhost:{self.place.port}"
        self.place.done("migrate")

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Both servers answer, and the resource server follows revocations."""
        asked = ("client", "add", CLIENT, "--confidential", "--operator", "--scope", "revocations:read")
        with self.place.serving():
            secret = self.place.done(*asked).split()[-1]
            with serving_notes(self.port, self.ledger, secret):
                yield


class Visitor:
    """One browser profile with tabs of the page; every refresh that any of them sends is noted."""

    def __init__(self, context: BrowserContext, example: Example) -> None:
        self.context = context
        self.example = example
        self.sent: list[tuple[float, Page]] = []
        self.statuses: list[int] = []
        self.complaints: list[str] = []
        self._noted = asyncio.Event()

    async def tab(self, path: str = "/") -> Page:
        page = await self.context.new_page()
        page.on("request", lambda request: self._note(page, request))
        page.on("response", lambda answer: self.statuses.append(answer.status) if _refreshes(answer.request) else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto(self.example.page + path)
        return page

    async def sign_in(self, page: Page, name: str = "admin", password: str = PASSWORD) -> None:
        await page.fill("[name=username]", name)
        await page.fill("[name=password]", password)
        await page.click("#sign-in button")
        await expect(page.locator("body")).to_have_attribute("data-state", "in")

    async def refreshes(self, times: int) -> Page:
        """Wait until so many more are sent; the tab that sent the last."""
        wanted = len(self.sent) + times
        while len(self.sent) < wanted:
            self._noted.clear()
            await asyncio.wait_for(self._noted.wait(), PATIENCE)
        return self.sent[-1][1]

    def _note(self, page: Page, request: Request) -> None:
        if _refreshes(request):
            self.sent.append((time.monotonic(), page))
            self._noted.set()


def _refreshes(request: Request) -> bool:
    return request.method == "POST" and request.url.endswith(REFRESH)


async def state(page: Page) -> str | None:
    return await page.get_attribute("body", "data-state")


async def reason(page: Page) -> str | None:
    return await page.get_attribute("body", "data-reason")


@asynccontextmanager
async def browser(*arguments: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments])
        try:
            yield opened
        finally:
            await opened.close()


async def visitor(opened: Browser, example: Example, *scripts: str, **options: Any) -> Visitor:
    context = await opened.new_context(**options)
    context.set_default_timeout(10_000)
    for script in scripts:
        await context.add_init_script(script)
    return Visitor(context, example)
