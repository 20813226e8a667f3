"""Which pages there are pictures of, in which looks, and how one is taken. Serves nothing."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Page, ViewportSize

from docs.picture_ledger import URL
from docs.picture_people import STAFF, Found

BROWSER: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
DESK: Final[ViewportSize] = {"width": 1360, "height": 850}
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "light": {"color_scheme": "light", "viewport": DESK},
    "dark": {"color_scheme": "dark", "viewport": DESK},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}
LONGEST: Final = {"desk": 1300, "phone": 1700}
"""Points of height; what is below is cut."""


def still(found: Found) -> dict[str, str]:
    """The pages that change nothing, by the name of their picture."""
    return {
        "overview": "",
        "events": "/events",
        "event": found.event,
        "families": "/families",
        "family": found.stolen,
        "subject": found.owner,
        "network": found.thief,
        "kill": f"{found.living}/kill",
        "disable": f"{found.owner}/switch",
        "lookup": "/lookup",
        "actions": "/actions",
        "applications": "/clients",
        "application": "/clients/web",
        "keys": "/keys",
        "key-revoke": f"{found.key}/revoke",
        "master-key-revoke": "/keys/master/1/revoke",
        "erase": f"{found.owner}/erase",
        "me": "/me",
        "one-time-codes": "/me/totp",
        "passkey": "/me/passkey",
        "password": "/me/password",
        "system": "/system",
        "access": "/access",
        "filters": "/help/filters",
        "re-authenticate": "/re-authenticate?next=/dashboard/keys",
        "nothing": "/nothing",
    }


@asynccontextmanager
async def visitor(browser: Browser, look: dict[str, Any]) -> AsyncIterator[Page]:
    """A browser of its own. What the content security policy blocks, or a script says, fails the run."""
    context = await browser.new_context(**look, extra_http_headers=STAFF, user_agent=BROWSER)
    page = await context.new_page()
    page.on("console", lambda message: _told(message.text))
    yield page
    await context.close()


def _told(text: str) -> None:
    if "404" not in text:  # there is a picture of a page that does not exist
        sys.exit(f"The browser says: {text}")


async def shot(page: Page, path: Path) -> None:
    """From the top as far as the page goes, but not for ever."""
    seen = page.viewport_size or DESK
    width = seen["width"]
    longest = LONGEST["phone" if width < 600 else "desk"]
    height = min(longest, await page.evaluate("document.documentElement.scrollHeight"))
    await page.set_viewport_size({"width": width, "height": height})  # what sticks to the bottom is at the bottom
    await page.screenshot(path=path)
    await page.set_viewport_size(seen)


async def still_shots(page: Page, found: Found, folder: Path, look: str) -> None:
    """One picture of each page, by somebody who is signed in."""
    for name, path in still(found).items():
        await page.goto(f"{URL}/dashboard{path}")
        await page.wait_for_timeout(150)
        await shot(page, folder / f"{name}-{look}.png")
