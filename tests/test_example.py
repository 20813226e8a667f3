"""The example as its README says: one command, a page that everybody can use, and it ends with all that it started."""

import asyncio
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, expect

from examples.__main__ import NAME, PASSWORD
from tests.chromium import violations
from tests.example import browser
from tests.ports import free_port
from tests.processes import PATIENCE

ROOT = Path(__file__).parent.parent


@pytest.fixture
async def opened() -> AsyncIterator[Browser]:
    async with browser() as started:
        yield started


async def toured(opened: Browser, url: str, look: Literal["light", "dark"]) -> list[str]:
    """What axe finds on the page while somebody signs in, writes something down and ends the other sessions."""
    page = await (await opened.new_context(bypass_csp=True, color_scheme=look)).new_page()
    page.set_default_timeout(10_000)
    await page.goto(url)
    await page.fill("[name=username]", NAME)
    found = await violations(page)
    await page.fill("[name=password]", PASSWORD)
    await page.click("#sign-in button")
    await page.fill("#write input", f"{look} <b>bread</b>")
    await page.click("#write button")
    await expect(page.locator("#notes li").first).to_have_text(f"{look} <b>bread</b>")
    found += await violations(page)
    await page.click("[data-scope=others]")
    await expect(page.locator("#told")).to_have_text("Every other session has ended.")
    await expect(page.locator("#sessions li")).to_have_count(1)
    return found


async def test_one_command_starts_all_and_the_page_is_for_everybody(opened: Browser) -> None:
    command = ["-m", "examples", "--page-port", str(free_port()), "--service-port", str(free_port())]
    example = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    assert example.stdout is not None
    try:
        async with asyncio.timeout(4 * PATIENCE):
            url = re.findall(r"Open (\S+)", (await example.stdout.readline()).decode())[0]
            told = (await example.stdout.readline()).decode()
        found = await toured(opened, url, "light") + await toured(opened, url, "dark")
    finally:
        example.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            _, complaints = await example.communicate()

    assert f"Sign in as {NAME} with {PASSWORD}. Nothing of this is kept.\n" == told
    assert [] == found
    assert (0, b"Traceback") == (example.returncode, b"Traceback" if b"Traceback" not in complaints else complaints)


async def test_a_port_that_is_in_use_is_named_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = ["-m", "examples", "--page-port", str(free_port()), "--service-port", str(port)]
        example = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
        told = await example.communicate()

    sentence = (
        f"Port {port} is in use: stop what uses it, or run .venv/bin/python -m examples --service-port {port + 1}."
    )
    assert (1, b"", f"{sentence}\n".encode()) == (example.returncode, *told)
