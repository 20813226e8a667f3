"""Takes the pictures in docs/dashboard/: a service with a day of life in it, a theft included, and a real browser.

    python docs/screenshots.py

Everything comes in through the service's own doors; only its clock is set back, so that a day passes in a second.
Needs Chromium: CHROMIUM names its path where it is not /usr/bin/chromium. Where pngquant is installed the files get
a third of their size.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import httpx
import structlog
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import app  # noqa: E402 - found by the line above
from core import serving  # noqa: E402
from events import migrate, sqlite  # noqa: E402
from events.commit import Clock  # noqa: E402
from events.sqlite import SqliteWriter  # noqa: E402
from settings import Settings  # noqa: E402

HERE = Path(__file__).parent / "dashboard"
PORT = 8977
URL = f"http://localhost:{PORT}"
PASSWORD = "plum-violet-otter-93-lantern"  # noqa: S105 - of people who live for a minute
DAY = 6 * 3600

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) {WEBKIT} Version/26.1 Mobile/15E148 Safari/604.1"
MAC = f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/26.1 Safari/605.1.15"
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/142.0.0.0 Safari/537.36"
EDGE = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0"
ANDROID = f"Mozilla/5.0 (Linux; Android 16; Pixel 10) {BLINK} Chrome/142.0.0.0 Mobile Safari/537.36"
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


PAGES = {
    "overview": "",
    "events": "/events",
    "families": "/families",
    "family": "/families/{stolen}",
    "kill": "/families/{living}/kill",
    "network": "/network/{thief}",
    "lookup": "/lookup",
    "keys": "/keys",
    "system": "/system",
    "access": "/access",
}
"""Those that change nothing, by the name of their picture."""


class Place(NamedTuple):
    """Where somebody sits, and with what."""

    ip: str
    agent: str

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Forwarded-For": self.ip, "User-Agent": self.agent}


ALICE, ALICE_TRAIN = Place("203.0.113.7", IPHONE), Place("192.0.2.88", IPHONE)
BOB = Place("2001:db8:4:1200::42", ANDROID)
CAROL, DAVE = Place("192.0.2.31", MAC), Place("203.0.113.140", LINUX)
ERIN, STAFF = Place("203.0.113.21", EDGE), Place("192.0.2.10", LINUX)
THIEF = Place("198.51.100.9", WINDOWS)


class Past:
    """A clock that runs, `behind` seconds ago."""

    def __init__(self, behind: float) -> None:
        self.behind = behind

    def wall(self) -> float:
        return time.time() - self.behind

    def monotonic(self) -> float:
        return time.monotonic() - self.behind

    def passes(self, minutes: float) -> None:
        """Minutes go by, but never beyond now."""
        self.behind = max(0.0, self.behind - minutes * 60)


class Person:
    """Somebody with an application that keeps its tokens."""

    def __init__(self, http: httpx.AsyncClient, place: Place) -> None:
        self.http = http
        self.place = place
        self.tokens: list[str] = []
        self.family = ""

    async def signs_in(self, name: str, password: str = PASSWORD) -> None:
        asked = {"username": name, "password": password, "mode": "body"}
        answer = await self.http.post("/auth/login", json=asked, headers=self.place.headers)
        if answer.status_code == httpx.codes.OK:
            self.family = answer.json()["family_id"]
            self.tokens.append(answer.json()["refresh_token"])

    async def refreshes(self, *, with_token: int = -1, from_: Place | None = None) -> None:
        asked = {"refresh_token": self.tokens[with_token]}
        answer = await self.http.post("/auth/refresh", json=asked, headers=(from_ or self.place).headers)
        if answer.status_code == httpx.codes.OK and with_token == -1:
            self.tokens.append(answer.json()["refresh_token"])

    async def signs_out(self) -> None:
        asked = {"refresh_token": self.tokens[-1]}
        await self.http.post("/auth/logout", json=asked, headers=self.place.headers)


async def a_day(service: app.Service, http: httpx.AsyncClient, past: Past) -> tuple[Person, Person]:
    """What happened until now. Answers the victim, and somebody whose family still lives."""
    for name in ("alice", "bob", "carol", "dave", "erin"):
        await service.subjects.register(name, PASSWORD, "", "cli")
    await service.subjects.register("charlie", PASSWORD, "admin", "cli")
    alice, bob, carol, dave, erin = (Person(http, place) for place in (ALICE, BOB, CAROL, DAVE, ERIN))
    past.passes(42)
    await alice.signs_in("alice")
    past.passes(3.2)
    await carol.signs_in("carol")
    past.passes(11)
    await bob.signs_in("bob", "not-the-password-of-bob")
    past.passes(0.3)
    await bob.signs_in("bob", "nor-is-this-the-password")
    past.passes(0.4)
    await bob.signs_in("bob")
    for minutes in (14.2, 15.1, 37, 14.6):
        past.passes(minutes)
        for person in (alice, carol, bob):
            await person.refreshes()
            past.passes(0.7)
    await dave.signs_in("dave")
    past.passes(21)
    await carol.signs_out()
    alice.place = ALICE_TRAIN
    past.passes(48)
    await alice.refreshes()
    past.passes(0.05)
    await alice.refreshes(with_token=-2)
    past.passes(9)
    await erin.signs_in("erin")
    for minutes in (18, 15, 31, 15.4):
        past.passes(minutes)
        for person in (erin, dave, bob):
            await person.refreshes()
            past.passes(0.4)
    await the_theft(alice, erin, past)
    past.passes(1000)
    await bob.refreshes()
    return alice, bob


async def the_theft(alice: Person, erin: Person, past: Past) -> None:
    """Somebody else uses a copy of a token that alice's application has used up meanwhile; ten minutes ago."""
    past.passes(past.behind / 60 - 31)
    await alice.refreshes()
    past.passes(15)
    await alice.refreshes()
    past.passes(2.1)
    await erin.refreshes()
    past.passes(2.2)
    await alice.refreshes(with_token=-2, from_=THIEF)
    past.passes(0.6)
    await alice.refreshes(with_token=-2, from_=THIEF)
    past.passes(1.7)
    await alice.refreshes()


@contextmanager
def set_back(seconds: float) -> Iterator[Past]:
    """Until this ends, a service that starts writes on a clock that is behind."""
    past = Past(seconds)
    behind = partial(SqliteWriter, clock=Clock(past.wall, past.monotonic))
    with patch.object(app, "SqliteWriter", behind):
        yield past


async def main() -> None:
    """The service, its day, the pictures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, set_back(DAY) as past:
        service = app.prepare(settings_in(Path(folder)))
        await service.start()
        stop, ready = asyncio.Event(), asyncio.Event()
        server = asyncio.create_task(serving.serve(app.create_app(service), "127.0.0.1", PORT, stop, ready.set))
        try:
            await ready.wait()
            async with httpx.AsyncClient(base_url=URL) as http:
                alice, bob = await a_day(service, http, past)
            await pictures(alice.family, bob.family)
        finally:
            stop.set()
            await server
            await service.stop()
    make_smaller()


def settings_in(folder: Path) -> Settings:
    """Over an empty ledger that trusts the addresses that this script makes up."""
    (folder / "data").mkdir()
    with sqlite.transaction(folder / "data" / "ledger.db") as connection:
        migrate.upgrade(connection)
    given = {"data_dir": folder / "data", "checkpoint_dir": folder / "checkpoints", "public_url": URL}
    given |= {"admin_password": PASSWORD, "trusted_proxies": "127.0.0.1", "port": PORT}
    return Settings.model_validate(given)


async def pictures(stolen: str, living: str) -> None:
    """Every page in light, dark and as wide as a phone."""
    looks: dict[str, dict[str, Any]] = {
        "light": {"color_scheme": "light", "viewport": {"width": 1360, "height": 850}},
        "dark": {"color_scheme": "dark", "viewport": {"width": 1360, "height": 850}},
        "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
    }
    path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        shown = {name: await visitor(browser, look) for name, look in looks.items()}
        for name, (_, page) in shown.items():
            await still_pages(page, name, stolen, living)
        receipt = await revoke(shown["light"][1], living)
        for name, (_, page) in shown.items():
            await page.goto(receipt)
            await shot(page, f"receipt-{name}")
            await page.goto(f"{URL}/dashboard/families?q=is:living")
            await page.click("button[value=matching]")
            await shot(page, f"bulk-{name}")
        await browser.close()


async def visitor(browser: Browser, look: dict[str, Any]) -> tuple[BrowserContext, Page]:
    """A browser of its own for each look. What the content security policy blocks fails the script."""
    context = await browser.new_context(**look, extra_http_headers=STAFF.headers, user_agent=STAFF.agent)
    page = await context.new_page()
    page.on("console", lambda message: sys.exit(f"The browser says: {message.text}"))
    return context, page


async def still_pages(page: Page, look: str, stolen: str, living: str) -> None:
    """The pages that change nothing."""
    await page.goto(f"{URL}/dashboard/sign-in")
    await shot(page, f"sign-in-{look}")
    await page.fill("#name", "charlie")
    await page.fill("#password", PASSWORD)
    await page.click("main button[type=submit]")
    await page.wait_for_selector("header.frame")
    for name, path in PAGES.items():
        await page.goto(f"{URL}/dashboard{path.format(stolen=stolen, living=living, thief=THIEF.ip)}")
        await shot(page, f"{name}-{look}")
    await page.goto(f"{URL}/dashboard/families/{stolen}")
    await page.click("h1 a")
    await shot(page, f"subject-{look}")


async def revoke(page: Page, living: str) -> str:
    """As a person does it; answers where the receipt is."""
    await page.goto(f"{URL}/dashboard/families/{living}/kill")
    await page.select_option("#reason", "lost_device")
    await page.fill("#ticket", "INC-4711")
    await page.fill("#note", "Left the phone in a taxi, called at noon.")
    await page.click("button.danger")
    await page.wait_for_url("**/actions/act_*")
    return page.url


async def shot(page: Page, name: str) -> None:
    """One picture of what is seen without scrolling on a desk, and a long one on a phone."""
    limit = 1700 if name.endswith("phone") else 1220 if name.startswith("family") else 850
    height = min(limit, await page.evaluate("document.documentElement.scrollHeight"))
    width = page.viewport_size["width"] if page.viewport_size else 0
    area = {"x": 0, "y": 0, "width": width, "height": height}
    await page.screenshot(path=HERE / f"{name}.png", full_page=True, clip=area)  # type: ignore[arg-type]


def make_smaller() -> None:
    """Fewer colours, which nobody can tell."""
    tool = shutil.which("pngquant")
    if tool:
        subprocess.run([tool, "--force", "--ext", ".png", "--skip-if-larger", *sorted(HERE.glob("*.png"))], check=False)  # noqa: S603 - our own files


if __name__ == "__main__":
    asyncio.run(main())
