"""Who acts while the pictures are taken: staff in a browser, somebody with a phone, and who has a copy of its token."""

import time
from base64 import b32decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import httpx
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from playwright.async_api import Page

from core.demo_world import MINUTE
from core.policy import SECOND
from core.totp import DIGITS, PERIOD
from docs.picture_ledger import URL

AGENT: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/26.1 Mobile/15E148 Safari/604.1"
)
PHONE: Final = {"X-Forwarded-For": "100.72.18.203", "User-Agent": AGENT}
THIEF: Final = {"X-Forwarded-For": "198.51.100.77", "User-Agent": "python-requests/2.32.5"}
MOBILE: Final = PHONE | {"X-Forwarded-For": "100.81.7.40"}
ABROAD: Final = PHONE | {"X-Forwarded-For": "192.0.2.61"}
STRICT: Final = {"client": "bank", "on_country_change": "require_login", "on_device_change": "revoke"}
"""An application, and what it wants; it lets networks be."""
STAFF: Final = {"X-Forwarded-For": "203.0.113.97"}
RAID: Final = 150 * MINUTE
"""So long before its end the story has one that nobody has seen to."""


class Found(NamedTuple):
    """Things of the story that have a page, as the path of each."""

    event: str
    stolen: str
    owner: str
    thief: str
    living: str
    """Another session of the same owner."""
    raid: str
    """A query: sessions that a stranger began this night with passwords from elsewhere."""
    key: str


@dataclass
class Phone:
    """A session of somebody; a copy of each of its tokens is somewhere else."""

    http: httpx.AsyncClient
    token: str
    family: str
    client: str

    @classmethod
    async def signed_in(cls, http: httpx.AsyncClient, name: str, password: str, client: str = "ios") -> "Phone":
        """Raises httpx.HTTPStatusError."""
        asked = {"username": name, "password": password, "client_id": client, "mode": "body"}
        answer = (await http.post("/auth/login", json=asked, headers=PHONE)).raise_for_status().json()
        return cls(http, answer["refresh_token"], answer["family_id"], client)

    async def refreshes(self, where: Mapping[str, str]) -> str:
        """From there: what the answer says, empty where it gives another token."""
        answer = await self.http.post(
            "/auth/refresh", json={"refresh_token": self.token, "client_id": self.client}, headers=dict(where)
        )
        self.token = answer.json().get("refresh_token", self.token)
        return str(answer.json().get("code", ""))

    async def is_tried_by_the_thief(self) -> str:
        """What the answer says."""
        return await self.refreshes(THIEF)


async def signs_in(page: Page, password: str) -> None:
    """The admin, from the page that is open."""
    await page.fill("#name", "admin")
    await page.fill("#password", password)
    await page.click("main button[type=submit]")
    await page.wait_for_selector("header.frame")


async def moved_about(http: httpx.AsyncClient, name: str, password: str) -> str:
    """A session whose changes were answered in every way: let be, refused abroad, ended elsewhere. Its page's path."""
    phone = await Phone.signed_in(http, name, password, STRICT["client"])
    said = [await phone.refreshes(where) for where in (PHONE, PHONE, MOBILE, ABROAD, MOBILE, PHONE, THIEF)]
    assert said == ["", "", "", "refresh_refused", "", "", "session_revoked"], said  # noqa: S101 - or the picture lies
    return f"/families/{phone.family}"


async def registers_the_strict_one(page: Page) -> None:
    """The admin, with the form of the page."""
    await page.goto(f"{URL}/dashboard/clients")
    await page.click(".title .tools a")
    for field, value in STRICT.items():
        if field == "client":
            await page.fill("#client", value)
        else:
            await page.select_option(f"#{field}", value)
    await page.click("main form button.primary")
    await page.wait_for_url(f"**/clients/{STRICT['client']}*")


async def registers_a_webhook(page: Page) -> str:
    """The admin, with the form of the page; its receiver is not there yet. The webhook's page's path."""
    await page.goto(f"{URL}/dashboard/webhooks")
    await page.click(".title .tools a")
    await page.fill("#url", "https://alerts.example.com/session-ledger")
    await page.fill("#query", "type:token.reuse_detected,family.revoked")
    await page.click("main form button.primary")
    await page.wait_for_selector("#secret")
    [one] = (await _asked(page, "/webhooks"))["webhooks"]
    await page.goto(f"{URL}/dashboard/webhooks/{one['webhook']}")
    await page.click("form[action$='/ping'] button")
    return f"/webhooks/{one['webhook']}"


async def adds_one_time_codes(page: Page) -> None:
    """As an authenticator app does it, to whoever is signed in."""
    await page.goto(f"{URL}/dashboard/me/totp")
    secret = b32decode("".join((await page.inner_text("#secret")).split()))
    await page.fill("#name", "Phone")
    await page.fill("#code", HOTP(secret, DIGITS, SHA1()).generate(int(time.time()) // PERIOD).decode())  # noqa: S303
    await page.click("main form button.primary")
    await page.wait_for_selector("#codes")


async def gives_the_password(page: Page, password: str) -> None:
    """Somebody who is asked for a second factor then."""
    await page.goto(f"{URL}/dashboard/sign-in")
    await page.fill("#name", "admin")
    await page.fill("#password", password)
    await page.click("main button[type=submit]")
    await page.wait_for_url("**/sign-in/second*")


async def what_there_is(page: Page, ended: int) -> Found:
    """Ask the twins of the pages, as a program would. `ended` is when the story did."""
    [theft, *_] = (await _asked(page, "/events?q=type:token.reuse_detected"))["events"]
    [living, *_] = (await _asked(page, f"/families?q=is:living user:{theft['subject']}"))["families"]
    [active] = [one for one in (await _asked(page, "/keys"))["keys"] if one["status"] == "active"]
    [guesser, *_] = (await _asked(page, ""))["guessers"]
    began = datetime.fromtimestamp((ended - RAID) // SECOND, UTC)
    return Found(
        f"/events/{theft['position']}",
        f"/families/{theft['family']}",
        f"/subjects/{theft['subject']}",
        f"/network/{guesser['ip']}",
        f"/families/{living['family']}",
        f"client:web is:living started:{began:%Y-%m-%dT%H:%MZ}..5m",
        f"/keys/{active['kid']}",
    )


async def counted(page: Page) -> None:
    """Wait until the service has counted who is signed in, which it does every few seconds."""
    for _ in range(60):
        if (await _asked(page, ""))["families_living"] is not None:
            return
        await page.wait_for_timeout(1_000)


async def _asked(page: Page, path: str) -> Any:
    answer = await page.request.get(f"{URL}/dashboard{path}", headers={"Accept": "application/json"})
    return await answer.json()
