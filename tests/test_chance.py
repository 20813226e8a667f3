"""What must not be guessed is drawn anew wherever a session begins: nonces, ids of families, ids of access tokens."""

from collections.abc import Iterable

import httpx

import app
from core.token import Token
from events.family import TokenIssued, TokenRotated
from tests.applications import application, own_token
from tests.browsers import Ahead, Browser, ahead
from tests.conftest import PASSWORD, visiting
from tests.staff import ME, add_app, password_step, second_step
from tests.test_api_families import a_shop
from tests.visitors import ALICE, BOB, bearer, cookie_of, facts, page_sign_in, refresh, register, sign_in, unpacked

__all__ = ("ahead",)
"""A fixture that pytest looks for here."""

TIMES = 8


class Begun:
    """The refresh tokens that families began with, as whoever holds them could read them."""

    def __init__(self, service: app.Service) -> None:
        self._service = service
        self.tokens: list[Token] = []

    def note(self, text: str) -> None:
        found = self._service.families.read_token(text)
        assert found is not None
        self.tokens.append(found)


async def of_people(http: httpx.AsyncClient, begun: Begun) -> None:
    """By password, in a body and in a cookie, after the one before was refreshed and ended; by a new password."""
    for old, new in ((ALICE, BOB), (BOB, ALICE)) * (TIMES // 2):
        mine = await sign_in(http, "alice", old)
        begun.note(mine["refresh_token"])
        await refresh(http, mine["refresh_token"])
        await http.delete(f"/auth/sessions/{mine['family_id']}", headers=bearer(mine["access_token"]))
        page = await page_sign_in(http, "alice", old)
        begun.note(cookie_of(page, "__Host-refresh-web"))
        mine = await sign_in(http, "alice", old)
        asked = {"current": old, "new": new}
        changed = await http.post("/auth/password", json=asked, headers=bearer(mine["access_token"]))
        begun.note(changed.json()["refresh_token"])


async def of_a_backend(service: app.Service, http: httpx.AsyncClient, begun: Begun) -> None:
    """For a user of its own, with an `Idempotency-Key` and without."""
    shop = await a_shop(service, http)
    for number in range(TIMES):
        begun.note((await shop.begun())["refresh_token"])
        begun.note((await shop.begun(f"key-{number}"))["refresh_token"])


async def of_staff(service: app.Service, clock: Ahead, begun: Begun) -> None:
    """At the dashboard: by password, by adding a second factor, by both, by a new password."""
    for name in ("bob", "carol"):
        await service.subjects.register(name, PASSWORD, "viewer", "cli")
        async with visiting(service) as http:
            browser = Browser(http)
            await browser.signs_in(name)
            begun.note(browser.cookie)
            phone, _ = await add_app(browser, clock.time())
            begun.note(browser.cookie)
            clock.seconds += 30
            await password_step(browser, name)
            await second_step(browser, phone.code(clock.time()))
            begun.note(browser.cookie)
            await browser.opens(f"{ME}/password")
            await browser.sends(f"{ME}/password", browser.hidden | {"new": BOB, "again": BOB})
            begun.note(browser.cookie)


async def test_no_session_begins_with_what_another_began_with(
    service: app.Service, http: httpx.AsyncClient, ahead: Ahead
) -> None:
    begun = Begun(service)
    await register(service)
    await of_people(http, begun)
    await of_a_backend(service, http, begun)
    await of_staff(service, ahead, begun)
    log = [event.fact for event in await facts(service)]
    issued = [fact for fact in log if isinstance(fact, TokenIssued)]
    jtis = [fact.jti for fact in log if isinstance(fact, TokenIssued | TokenRotated)]

    assert 5 * TIMES + 8 == len(begun.tokens)
    assert [] == twice(token.family for token in begun.tokens)
    assert [] == twice(token.nonce for token in begun.tokens)
    assert [] == twice(fact.nonce for fact in issued)
    assert [] == twice(jtis)
    assert {token.nonce_hash for token in begun.tokens} <= {fact.nonce for fact in issued}


async def test_each_bit_of_a_nonce_is_a_matter_of_chance(service: app.Service, http: httpx.AsyncClient) -> None:
    """That one of 128 never changes in 48 sessions is as likely as once in 10^12 runs."""
    begun = Begun(service)
    await register(service)
    await of_people(http, begun)
    await of_people(http, begun)
    ever, always = 0, 2**128 - 1
    for token in begun.tokens:
        ever |= int.from_bytes(token.nonce)
        always &= int.from_bytes(token.nonce)

    assert 48 == len(begun.tokens)
    assert (2**128 - 1, 0) == (ever, always)


async def test_no_token_of_a_client_itself_has_the_id_of_another(service: app.Service, http: httpx.AsyncClient) -> None:
    backend = await application(service, scopes="read")
    names = [unpacked((await own_token(http, backend)).split(".")[1])["jti"] for _ in range(TIMES)]

    assert [] == twice(names)


def twice(found: Iterable[object]) -> list[object]:
    listed = list(found)
    return [one for one in listed if listed.count(one) > 1]
