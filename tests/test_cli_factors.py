"""The commands about second factors, in processes beside a running service: for the last admin who is locked out."""

import asyncio
import time
from pathlib import Path

import app
from tests.browsers import HOME, Browser, browser
from tests.check import check
from tests.processes import Place
from tests.staff import add_app, password_step

__all__ = ("browser",)
"""A fixture that pytest looks for here."""


async def test_who_has_which_is_listed_and_a_reset_lets_the_last_admin_in_again(
    service: app.Service, browser: Browser, tmp_path: Path
) -> None:
    place = Place(tmp_path, service.store)

    async def said(*arguments: str) -> str:
        return await asyncio.to_thread(place.done, "user", *arguments)

    await browser.signs_in()
    await add_app(browser, time.time(), "Old phone")
    listed = await said("factors")
    await password_step(browser)
    refused = await asyncio.to_thread(place.run, "user", "reset-factors", "admin", "--ticket", "not a ticket")
    done = await said("reset-factors", "admin", "--ticket", "INC-9")
    again = await said("reset-factors", "admin")
    after = [await said("factors", "admin"), await said("factors")]
    told = await asyncio.to_thread(place.done, "events", "--limit", "3")
    answer = await browser.signs_in()
    page = await browser.opens(HOME)

    assert [True] * 3 == [word in listed for word in ("totp      Old phone", "master key 1", "recovery codes left: 10")]
    assert (2, True) == (refused.status, refused.err.startswith("A ticket has letters"))
    assert "admin signs in with the password alone" in done
    assert "admin has no second factor.\n" == again
    assert ["admin                     none\n"] * 2 == after
    assert "because of lost_device, ticket INC-9" in told
    assert (303, 200) == (answer.status_code, page.status_code)
    check(service.store)
