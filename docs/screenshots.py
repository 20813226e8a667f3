"""Takes the pictures in docs/dashboard/: a demonstration, a service on it and a real browser.

    python -m docs.screenshots [FOLDER]

Needs Chromium: CHROMIUM names its path where it is not /usr/bin/chromium. Where pngquant is installed the files get a
third of their size; with the font Inter (fonts-inter) they look as on the systems of most people.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import httpx
import structlog
from playwright.async_api import Browser, Page, async_playwright

from docs.picture_ledger import URL, Filled, filled, serving_it
from docs.picture_pages import LOOKS, shot, still_shots, visitor
from docs.picture_people import (
    Found,
    Phone,
    adds_one_time_codes,
    counted,
    gives_the_password,
    moved_about,
    registers_a_webhook,
    registers_the_strict_one,
    signs_in,
    what_there_is,
)

HERE: Final = Path(__file__).parent / "dashboard"


async def main(folder: Path) -> None:
    """The ledger, the service, the pictures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    with tempfile.TemporaryDirectory() as place:
        told = await filled(Path(place))
        async with serving_it(told.settings), async_playwright() as playwright:
            fonts: dict[str, str | float | bool] = {
                **os.environ,
                "FONTCONFIG_FILE": str(lettered(Path(place) / "fonts.conf")),
            }
            browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], env=fonts)
            await pictures(browser, told, folder)
            await browser.close()
    make_smaller(folder)


def lettered(file: Path) -> Path:
    """The system's fonts, with Inter as its own where that is installed: near to what most people see."""
    families = "".join(
        f'<alias binding="strong"><family>{name}</family><prefer><family>Inter</family></prefer></alias>'
        for name in ("system-ui", "sans", "sans-serif")
    )
    included = '<include ignore_missing="yes">/etc/fonts/fonts.conf</include>'
    file.write_text(f"<fontconfig>{families}{included}</fontconfig>", "utf-8")
    return file


async def pictures(browser: Browser, told: Filled, folder: Path) -> None:
    """Every page in every look; then what is done, and its receipts."""
    async with AsyncExitStack() as stack:
        pages = {look: await stack.enter_async_context(visitor(browser, how)) for look, how in LOOKS.items()}
        for look, page in pages.items():
            await page.goto(f"{URL}/dashboard/sign-in")
            await shot(page, folder / f"sign-in-{look}.png")
            await signs_in(page, told.password)
        found = await what_there_is(pages["light"], told.ended)
        await counted(pages["light"])
        for look, page in pages.items():
            await still_shots(page, found, folder, look)
        places = await deeds(pages["light"], told, found)
        for look, page in pages.items():
            for name, place in places.items():
                await page.goto(place)
                await shot(page, folder / f"{name}-{look}.png")
            await page.goto(f"{URL}/dashboard/families?q={found.raid}")
            await page.click("button[value=matching]")
            await shot(page, folder / f"bulk-{look}.png")
        await second_factor(browser, pages, told.password, folder)


async def second_factor(browser: Browser, pages: Mapping[str, Page], password: str, folder: Path) -> None:
    """The admin with one, and the step that it makes of the next sign-in."""
    await adds_one_time_codes(pages["light"])
    await shot(pages["light"], folder / "recovery-codes-light.png")
    await pages["light"].goto(f"{URL}/dashboard/me")
    await shot(pages["light"], folder / "second-factors-light.png")
    for look in pages:  # the other sessions ended with the new factor
        async with visitor(browser, LOOKS[look]) as another:
            await gives_the_password(another, password)
            await shot(another, folder / f"second-step-{look}.png")


async def deeds(page: Page, told: Filled, found: Found) -> dict[str, str]:
    """What is done while the pictures are taken, by a policy and by staff, and where it is seen."""
    async with httpx.AsyncClient(base_url=URL) as http:
        await registers_the_strict_one(page)
        webhook = await registers_a_webhook(page)
        moved = await moved_about(http, told.somebody, told.password)
        phone = await Phone.signed_in(http, told.somebody, told.password)
        receipt = await revoke(page, f"/families/{phone.family}/kill", "stolen_token", "The phone was left in a taxi.")
        await phone.is_tried_by_the_thief()
    key = await revoke(page, f"{found.key}/revoke", "compromised", "A copy of the backup was on the laptop.")
    seen = {"family-moved": moved, "webhook": webhook, "webhooks": "/webhooks"}
    return {"receipt": receipt, "key-receipt": key, **{name: f"{URL}/dashboard{path}" for name, path in seen.items()}}


async def revoke(page: Page, path: str, reason: str, note: str) -> str:
    """As a person does it; answers where the receipt is."""
    await page.goto(f"{URL}/dashboard{path}")
    await page.select_option("#reason", reason)
    await page.fill("#ticket", "INC-4711")
    await page.fill("#note", note)
    await page.click("button.danger")
    await page.wait_for_url("**/actions/act_*")
    return page.url


def make_smaller(folder: Path) -> None:
    """Fewer colours, which nobody can tell."""
    tool, files = shutil.which("pngquant"), sorted(folder.glob("*.png"))
    if tool:
        subprocess.run([tool, "--force", "--ext", ".png", "--skip-if-larger", *files], check=False)  # noqa: S603 - ours


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if sys.argv[1:] else HERE))
