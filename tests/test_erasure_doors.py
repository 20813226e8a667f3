"""Erasing somebody through the doors: by a backend, and by an admin, who sees first what goes and has a proof."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

import app
from events import ids
from events.store import Store
from tests.applications import Application, application, own_token
from tests.browsers import Browser, signed_in
from tests.check import check
from tests.conftest import PASSWORD, MakeSettings, running, visiting
from tests.visitors import bearer, code, let_pass, sign_in, visiting_from

EXTERNAL = "customer-8472-lefevre"
NAME, LEFEVRES = "marguerite.lefevre@example.org", "cobalt-lantern-68-meadow"
HOME, AGENT = "198.51.100.23", "Lefevre's browser"
SCOPES = "families:read families:write subjects:read subjects:write subjects:erase"


class Shop:
    """A backend, its token, and a user of it."""

    def __init__(self, service: app.Service, http: httpx.AsyncClient, app_: Application, token: str) -> None:
        self.service, self.http, self.application = service, http, app_
        self.headers = bearer(token)

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.http.post(path, json=body, headers=self.headers)

    async def user(self) -> str:
        made = await self.post("/v1/subjects", external_id=EXTERNAL)
        subject: str = made.json()["subject"]
        context = {"ip": HOME, "user_agent": AGENT}
        begun = await self.post("/v1/families", subject=subject, context=context)
        assert begun.status_code == 201, begun.text
        return subject


@pytest.fixture
async def shop(make_settings: MakeSettings) -> AsyncIterator[Shop]:
    async with running(make_settings(rate_limits=False)) as service, visiting(service) as http:
        app_ = await application(service, "shop", scopes=SCOPES)
        yield Shop(service, http, app_, await own_token(http, app_))


async def test_a_backend_erases_its_user_and_is_told_when_it_is_done(shop: Shop, store: Store) -> None:
    subject = await shop.user()

    first = await shop.post(f"/v1/subjects/{subject}/erase", reason="user_request", ticket="GDPR-7")
    again = await shop.post(f"/v1/subjects/{subject}/erase")

    assert {"subject": subject, "status": "erased", "finished": True} == first.json()
    assert first.json() == again.json()
    check(store, shop.service.settings.checkpoint_dir, [EXTERNAL, HOME, AGENT])


async def test_an_erased_user_is_shown_as_such_and_the_external_id_is_free(shop: Shop) -> None:
    subject = await shop.user()
    await shop.post(f"/v1/subjects/{subject}/erase")

    shown = (await shop.http.get(f"/v1/subjects/{subject}", headers=shop.headers)).json()
    begun = await shop.post("/v1/families", subject=subject)
    enabled = await shop.post(f"/v1/subjects/{subject}/enable")
    another = await shop.post("/v1/subjects", external_id=EXTERNAL)

    assert ("erased", None, None) == (shown["status"], shown["username"], shown["external_id"])
    assert [(409, "subject_erased")] * 2 == [code(begun), code(enabled)]
    assert another.status_code == 201
    assert another.json()["subject"] != subject


async def test_the_scope_to_erase_is_one_of_its_own(shop: Shop) -> None:
    subject = await shop.user()
    less = bearer(await own_token(shop.http, shop.application, scope="subjects:write"))

    refused = await shop.http.post(f"/v1/subjects/{subject}/erase", json={}, headers=less)

    assert (403, "insufficient_scope") == (refused.status_code, refused.json()["code"])


@pytest.fixture
async def browser(service: app.Service) -> AsyncIterator[Browser]:
    """The admin's, signed in; and there is somebody to erase."""
    await service.subjects.register(NAME, LEFEVRES, "", "cli")
    async with visiting_from(service, HOME, headers={"user-agent": AGENT}) as http:
        await sign_in(http, NAME, LEFEVRES, device="Lefevre's phone")
    async with signed_in(service, "admin") as one:
        yield one


async def place_of(service: app.Service) -> str:
    owner = await service.subjects.find(NAME)
    assert owner is not None
    return f"/dashboard/subjects/{ids.to_text('sub', owner.id)}"


async def test_an_admin_sees_what_would_go_before_anything_does(service: app.Service, browser: Browser) -> None:
    place = await place_of(service)

    page = await browser.opens(f"{place}/erase")
    twin = (await browser.opens(f"{place}/erase?format=json")).json()

    assert 200 == page.status_code
    assert "Nothing has changed yet" in page.text
    assert ("enabled", 1) == (twin["status"], len(twin["living"]))
    assert twin["contexts"] >= 1
    assert twin["accounts"] >= 2  # the account itself, and the name of the phone


async def test_the_receipt_proves_that_nothing_is_left_and_the_person_is_shown_as_erased(
    service: app.Service, browser: Browser
) -> None:
    place = await place_of(service)
    await browser.opens(f"{place}/erase")

    done = await browser.sends(
        f"{place}/erase", browser.hidden | {"reason": "user_request", "ticket": "GDPR-7", "name": NAME}
    )

    receipt = await browser.opens(done.headers["location"])
    proof = (await browser.opens(f"{done.headers['location']}?format=json")).json()
    person = await browser.opens(place)
    twin = (await browser.opens(f"{place}?format=json")).json()
    assert "No private row is left" in receipt.text
    assert ("finished", True, 0, 1) == (
        proof["status"],
        proof["sign_in_refused"],
        proof["private_rows_left"],
        proof["ended"],
    )
    assert "Everything known of this person was deleted" in person.text
    assert ("erased", "admin") == (twin["status"], twin["erased"]["actor"])
    for text in (receipt.text, person.text):
        assert "Lefevre" not in text.replace(NAME, "")
        assert NAME not in text
    check(service.store, service.settings.checkpoint_dir, [NAME, HOME, AGENT, "Lefevre's phone"])


async def test_the_name_must_be_typed_and_a_reason_given(service: app.Service, browser: Browser) -> None:
    place = await place_of(service)
    await browser.opens(f"{place}/erase")

    answer = await browser.sends(f"{place}/erase", browser.hidden | {"name": "somebody else"})

    assert 422 == answer.status_code
    assert "Type the name as it stands here." in answer.text
    assert "Choose a reason." in answer.text
    assert (await service.subjects.find(NAME)) is not None


async def test_erasing_is_for_admins_with_a_fresh_password(service: app.Service, browser: Browser) -> None:
    place = await place_of(service)
    await service.subjects.register("rosa", PASSWORD, "responder", "cli")
    await browser.opens(f"{place}/erase")
    form = browser.hidden | {"reason": "left", "name": NAME}
    async with signed_in(service, "rosa") as responder:
        looked = await responder.opens(f"{place}/erase")
        await responder.opens(place)
        tried = await responder.sends(f"{place}/erase", form | {"csrf": responder.csrf})
    let_pass(service, 11 * 60)
    page = await browser.opens(f"{place}/erase")
    stale = await browser.sends(f"{place}/erase", browser.hidden | {"reason": "left", "name": NAME})

    assert (403, 403) == (looked.status_code, tried.status_code)
    assert "Your role does not allow this" in tried.text
    assert "Give your password again first" in page.text
    assert stale.headers["location"].startswith("/dashboard/re-authenticate")
    assert (await service.subjects.find(NAME)) is not None
