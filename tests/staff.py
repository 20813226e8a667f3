"""Staff with second factors: an app that others wrote, and what the pages of adding and signing in come to."""

import html
import re
from urllib.parse import unquote

import httpx
import pyotp

from tests.browsers import Browser
from tests.conftest import PASSWORD

ME = "/dashboard/me"
SECOND = "/dashboard/sign-in/second"


class App:
    """An authenticator app on somebody's phone."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self._totp = pyotp.TOTP(secret)

    def code(self, at: float) -> str:
        return self._totp.at(int(at))


def secret_of(page: str) -> str:
    found = re.search(r'id="secret">([A-Z2-7 ]+)<', page)
    assert found is not None
    return found[1].replace(" ", "")


def codes_of(page: str) -> list[str]:
    """Recovery codes that a page shows."""
    return re.findall(r"<li><code>([a-z2-7-]{27})</code></li>", page)


def refusal_of(page: str) -> str:
    """What a page says against what was typed."""
    found = re.search(r'role="alert" id="wrong"><span[^>]*>▲</span> ([^<]*)<', page)
    return html.unescape(found[1]) if found else ""


async def add_app(browser: Browser, at: float, name: str = "Phone") -> tuple[App, list[str]]:
    """Somebody who is signed in adds an app; gives it, and the recovery codes that were shown."""
    opened = await browser.opens(f"{ME}/totp")
    assert opened.status_code == 200, opened.headers
    app = App(secret_of(browser.page))
    answer = await browser.sends(f"{ME}/totp", browser.hidden | {"name": name, "code": app.code(at)})
    assert answer.status_code in {200, 303}, answer.text
    return app, codes_of(answer.text)


async def password_step(browser: Browser, name: str = "admin", **more: str) -> httpx.Response:
    """The first step; opens the page of the second."""
    answer = await browser.signs_in(name, PASSWORD, **more)
    assert answer.status_code == 303, answer.text
    assert unquote(answer.headers["location"]).startswith(SECOND), answer.headers
    return await browser.opens(answer.headers["location"])


async def second_step(browser: Browser, code: str, **changes: str) -> httpx.Response:
    """Send the form of the second step with a code."""
    answer = await browser.sends(SECOND, browser.hidden | {"code": code} | changes)
    browser.page = answer.text or browser.page
    return answer
