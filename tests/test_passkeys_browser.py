"""Passkeys in a real browser with a virtual authenticator: add, sign in, confirm; a copy of one; another origin.

What is about the browser more than about the ledger is seen once, on SQLite; the rules have tests of their own.
"""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import CDPSession, Page, expect

from events.subject import Subject
from tests.check import check, events_of
from tests.chromium import Chrome, chrome, violations
from tests.conftest import PASSWORD, MakeSettings

DEVICE = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}

WRONG: list[dict[str, Any]] = [
    {"origin": "https://evil.test"},
    {"challenge": "AAAA"},
    {"type": "webauthn.create"},
    {"crossOrigin": True},
]
"""What an assertion may say that is not for us."""


class Authenticator:
    """A virtual one in a page's browser; it says yes to everything."""

    def __init__(self, devtools: CDPSession, number: str) -> None:
        self._devtools, self.number = devtools, number

    @classmethod
    async def on(cls, page: Page, **changes: Any) -> "Authenticator":
        devtools = await page.context.new_cdp_session(page)
        await devtools.send("WebAuthn.enable")
        options = DEVICE | {"isUserVerified": True, "automaticPresenceSimulation": True} | changes
        made = await devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return cls(devtools, made["authenticatorId"])

    async def credentials(self) -> list[dict[str, Any]]:
        found = await self._devtools.send("WebAuthn.getCredentials", {"authenticatorId": self.number})
        credentials: list[dict[str, Any]] = found["credentials"]
        return credentials

    async def takes(self, credential: dict[str, Any]) -> None:
        """A passkey as another authenticator had it."""
        await self._devtools.send("WebAuthn.addCredential", {"authenticatorId": self.number, "credential": credential})


@pytest.fixture
async def opened(make_settings: MakeSettings) -> AsyncIterator[Chrome]:
    async with chrome(make_settings) as started:
        yield started
        assert [] == started.complaints
        check(started.service.store)


async def admin_of(opened: Chrome) -> Subject:
    found = await opened.service.subjects.find("admin")
    assert found is not None
    return found


async def with_passkey(opened: Chrome, **changes: Any) -> tuple[Page, Authenticator]:
    """The admin has added one, and is signed in."""
    page = await opened.page()
    key = await Authenticator.on(page, **changes)
    await page.goto("/dashboard/me/passkey")
    await page.fill("#name", "Blue key")
    await page.click("text=Add it")
    await expect(page.locator("#codes li")).to_have_count(10)
    return page, key


async def signs_out(page: Page) -> None:
    await page.click("text=Sign out")
    await page.wait_for_url("**/sign-in?why=signed-out")


async def password(page: Page) -> None:
    await page.goto("/dashboard/sign-in")
    await page.fill("#name", "admin")
    await page.fill("#password", PASSWORD)
    await page.click("form[action$='/sign-in'] button")
    await page.wait_for_url("**/sign-in/second")


async def at_home(page: Page) -> None:
    await page.wait_for_url("**/dashboard")


async def at_access(page: Page) -> None:
    """By the path alone: the page before names this one in its query."""
    await page.wait_for_url(lambda url: urlsplit(url).path == "/dashboard/access")


async def last_sign_in(opened: Chrome) -> str:
    issued = [one for one in events_of(opened.service.store) if one.name == "token.issued"][-1]
    amr: str = json.loads(issued.body)["amr"]
    return amr


async def test_a_passkey_is_added_signs_in_and_confirms(opened: Chrome) -> None:
    page, key = await with_passkey(opened)
    (held,) = (await admin_of(opened)).second.held
    (stored,) = await key.credentials()
    await signs_out(page)

    await password(page)
    second = await violations(page)
    await page.click("text=Use a passkey")
    await at_home(page)
    with_password = await last_sign_in(opened)
    await page.goto("/dashboard/re-authenticate?next=/dashboard/access")
    again = await violations(page)
    await page.click("text=Use a passkey")
    await at_access(page)
    confirmed = await last_sign_in(opened)
    await signs_out(page)
    await page.click("text=Sign in with a passkey")
    await at_home(page)

    assert ("passkey", "Blue key") == (held.kind, held.name)
    assert base64.b64decode(stored["credentialId"]) == base64.urlsafe_b64decode(held.credential + "==")
    assert "pwd hwk" == with_password
    assert "hwk mfa" == confirmed == await last_sign_in(opened)
    assert [] == second + again
    assert 4 == (await key.credentials())[0]["signCount"]
    used = [
        json.loads(one.body)["purpose"] for one in events_of(opened.service.store) if one.name == "subject.factor_used"
    ]
    assert ["sign_in", "again", "sign_in"] == used
    assert [] == await page.evaluate("window.blocked")


async def test_a_copy_of_a_passkey_is_noticed_by_its_counter(opened: Chrome) -> None:
    page, key = await with_passkey(opened)
    (copied,) = await key.credentials()
    await signs_out(page)
    await page.click("text=Sign in with a passkey")
    await at_home(page)

    thief = await (await opened.context()).new_page()
    # First to the site: an empty page is left for one of another process, and its authenticator may be left with it.
    await thief.goto("/dashboard/sign-in")
    await (await Authenticator.on(thief)).takes(copied)
    await thief.click("text=Sign in with a passkey")
    await thief.wait_for_url("**/sign-in?why=passkey")

    failed = [json.loads(one.body) for one in events_of(opened.service.store) if one.name == "subject.factor_failed"]
    assert [("passkey", "cloned")] == [(one["kind"], one["reason"]) for one in failed]
    assert "__Host-dashboard" not in {one["name"] for one in await thief.context.cookies()}
    await page.goto("/dashboard/events?q=type:subject.factor_failed+at:1h")
    await expect(page.locator("td.said")).to_contain_text("there may be a copy of it")


async def test_a_key_that_does_not_know_its_owner_needs_the_password(on_sqlite: None, opened: Chrome) -> None:
    page, _key = await with_passkey(opened, hasUserVerification=False, isUserVerified=False)
    await signs_out(page)
    await page.click("text=Sign in with a passkey")
    await expect(page.locator("[data-said]")).not_to_be_empty()
    await password(page)
    await page.click("text=Use a passkey")
    await at_home(page)
    await page.goto("/dashboard/re-authenticate?next=/dashboard/access")
    await page.fill("#password", PASSWORD)
    await page.click("text=Use a passkey")
    await at_access(page)

    assert "pwd hwk" == await last_sign_in(opened)


async def test_the_same_authenticator_is_not_added_twice_and_names_are_kept(on_sqlite: None, opened: Chrome) -> None:
    page, _key = await with_passkey(opened)
    await page.goto("/dashboard/me/passkey")
    await page.click("text=Add it")
    await expect(page.locator("[data-said]")).to_have_text("This passkey is there already.")
    await Authenticator.on(page, transport="usb")
    await page.fill("#name", "Red key")
    await page.click("text=Add it")
    await page.wait_for_url("**/dashboard/me")

    assert ["Blue key", "Red key"] == [one.name for one in (await admin_of(opened)).second.held]


async def test_what_was_signed_for_another_origin_or_step_is_worth_nothing(on_sqlite: None, opened: Chrome) -> None:
    page, _key = await with_passkey(opened)
    await signs_out(page)
    await password(page)
    taken = await page.evaluate(
        """async () => {
          const { dataset } = document.querySelector("[data-passkey]");
          const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(dataset.options));
          return (await navigator.credentials.get({ publicKey })).toJSON();
        }"""
    )
    said = json.loads(base64.urlsafe_b64decode(taken["response"]["clientDataJSON"] + "=="))

    async def sends(credential: dict[str, Any]) -> str:
        async with page.expect_navigation():
            await page.evaluate(
                """(text) => {
                  const form = document.querySelector("form.passkey");
                  form.elements.credential.value = text;
                  form.submit();
                }""",
                json.dumps(credential),
            )
        return await page.inner_text("#wrong") if await page.locator("#wrong").count() else page.url

    def told(**changes: Any) -> dict[str, Any]:
        text = base64.urlsafe_b64encode(json.dumps(said | changes, separators=(",", ":")).encode()).decode()
        changed: dict[str, Any] = taken | {"response": taken["response"] | {"clientDataJSON": text.rstrip("=")}}
        return changed

    for changes in (
        {"origin": "https://evil.test"},
        {"challenge": "AAAA"},
        {"type": "webauthn.create"},
        {"crossOrigin": True},
    ):
        assert "does not fit" in await sends(told(**changes)), changes
    assert "does not fit" in await sends({"id": "x"})
    await password(page)
    assert "does not fit" in await sends(taken), "it was signed for the step before"
