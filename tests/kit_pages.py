"""Pages of a real browser that hold a client of the kit and nothing else, for both kinds of client."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.conftest import PASSWORD
from tests.example import Example, Visitor, browser, visitor

KIT = Path(__file__).parent.parent / "clients" / "browser"
ME = "(base) => ledger.fetch(new URL('/auth/me', base)).then((answer) => answer.json())"
FAILURE = "({ name, code, status, retryAfter }) => (status ? { code, status, retryAfter } : { code: name })"
"""A refusal of the service, or what else went wrong."""


def opening(module: str, maker: str) -> str:
    """JavaScript that makes a client and notes what it says of the session."""
    return f"""async ([baseUrl, options]) => {{
  const {{ {maker} }} = await import('/kit/{module}');
  window.heard = [];
  window.ledger = {maker}({{ baseUrl, ...options }});
  ledger.onChange((change) => heard.push(change.reason ?? change.type));
}}"""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    made = Example(tmp_path_factory.mktemp("kit"))
    with made.serving():
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened() -> AsyncIterator[Browser]:
    async with browser() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def one(opened: Browser, example: Example) -> AsyncIterator[Visitor]:
    """A browser profile that has been nowhere."""
    made = await visitor(opened, example)
    yield made
    await made.context.close()


async def bare_page(opens: str, one: Visitor, **options: Any) -> Page:
    """A page that has a client of the kit and nothing else."""
    page = await one.tab("/ledger.js")
    await page.evaluate(opens, [one.example.ledger, options])
    return page


async def signed_in_page(opens: str, one: Visitor, **options: Any) -> Page:
    page = await bare_page(opens, one, **options)
    await page.evaluate("(password) => ledger.signIn({ username: 'admin', password })", PASSWORD)
    return page


async def heard(page: Page) -> list[str]:
    await page.wait_for_timeout(100)
    found: list[str] = await page.evaluate("heard")
    return found
