"""Webhooks in the dashboard: looked at by all staff, tested and replayed by responders, set up by admins."""

import re
from collections.abc import AsyncIterator

import pytest

import app
from core.delivering import Delivering
from core.webhook import Plan
from events import deliveries, ids
from events.deliveries import Cursor, Delivery
from events.webhook import PREFIX, STANDARD
from tests.browsers import Browser, signed_in
from tests.conftest import PASSWORD, MakeSettings, running
from tests.receivers import Receiver
from tests.visitors import facts

pytestmark = pytest.mark.usefixtures("sqlite_store")

PLACE = "/dashboard/webhooks"
SECRET = re.compile(r'value="(whsec_[A-Za-z0-9+/=]{44})"')


@pytest.fixture
async def service(make_settings: MakeSettings) -> AsyncIterator[app.Service]:
    async with running(make_settings(webhook_http=True, webhook_networks="127.0.0.0/8")) as started:
        for job in started._jobs:
            job.cancel()
        yield started


@pytest.fixture
async def browser(service: app.Service) -> AsyncIterator[Browser]:
    """The admin's, signed in."""
    async with signed_in(service, "admin") as one:
        yield one


async def deliver(service: app.Service) -> None:
    delivering = Delivering(service.delivery_tools._replace(leads=lambda: True))
    await delivering.run()
    await delivering.settle()


async def hook(service: app.Service, url: str = "http://127.0.0.1:9/hooks") -> str:
    made = await service.webhooks.register("", "cli", Plan(STANDARD, url=url, query="type:client.*"))
    return ids.to_text(PREFIX, made.webhook)


async def with_a_dead_letter(service: app.Service, name: str) -> int:
    """An event that was given up, as it stands after a day of failures."""
    stream = ids.parse(PREFIX, name)
    position = await service.history.newest()
    await service.webhooks.dead_letter(stream, position, 12, "http_500")
    row = Delivery(stream, position, b"lane", deliveries.DEAD, 12, 0, service.writer.now(), "http_500", 500)
    await service.writer.maintain(deliveries.save(Cursor(stream, position + 1), [row]))
    return position


async def test_a_webhook_is_added_and_its_secret_is_shown_once(service: app.Service, browser: Browser) -> None:
    receiver = Receiver()
    await browser.opens(PLACE)
    form = {"csrf": browser.csrf, "url": receiver.url, "format": "standard-webhooks", "query": "type:client.*"}
    answer = await browser.sends(PLACE, form | {"client": ""})

    (secret,) = SECRET.findall(answer.text)
    (state,) = await service.webhooks.all()
    name = ids.to_text(PREFIX, state.id)
    pinged = await browser.sends(f"{PLACE}/{name}/ping", {"csrf": browser.csrf})
    await deliver(service)
    receiver.close()
    page = await browser.opens(f"{PLACE}/{name}")
    assert (200, "no-store") == (answer.status_code, answer.headers["cache-control"])
    assert f"{PLACE}/{name}?done=pinged" == pinged.headers["location"]
    assert receiver.arrived[0].verified(secret)
    assert f">#{receiver.arrived[0].event['position']}</a>" in page.text
    assert receiver.url in (await browser.opens(PLACE)).text
    for path in (PLACE, f"{PLACE}/{name}", f"{PLACE}/{name}?format=json", "/dashboard/events?q=type:webhook.*"):
        assert secret not in (await browser.opens(path)).text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"url": "https://10.0.0.1/"}, "This address is not on the internet, and no setting allows it."),
        ({"query": "typ:x"}, "At character 1: There is no field `typ` for events."),
        ({"client": "nobody"}, "There is no application of this name."),
    ],
)
async def test_what_cannot_be_is_said_beside_its_field_and_what_was_typed_stays(
    browser: Browser, changes: dict[str, str], sentence: str
) -> None:
    await browser.opens(PLACE)
    form = {
        "csrf": browser.csrf,
        "url": "http://127.0.0.1:9/x",
        "format": "standard-webhooks",
        "query": "",
        "client": "",
    }

    answer = await browser.sends(PLACE, form | changes)

    assert 422 == answer.status_code
    assert sentence in answer.text
    for value in changes.values():
        assert f'value="{value}"' in answer.text


async def test_a_dead_letter_is_shown_with_its_reason_and_replayed(service: app.Service, browser: Browser) -> None:
    name = await hook(service)
    position = await with_a_dead_letter(service, name)

    page = await browser.opens(f"{PLACE}/{name}")
    answer = await browser.sends(f"{PLACE}/{name}/replay", {"csrf": browser.csrf, "position": str(position)})
    again = await browser.sends(f"{PLACE}/{name}/replay", {"csrf": browser.csrf, "position": "999999"})

    assert "It answered 500" in page.text
    assert f'aria-label="Replay event {position}"' in page.text
    assert (303, f"{PLACE}/{name}?done=replayed") == (answer.status_code, answer.headers["location"])
    assert f"{PLACE}/{name}?done=same" == again.headers["location"]
    told = [one.fact for one in await facts(service) if one.fact.TYPE == "webhook.replayed"]
    assert [position] == [fact.position for fact in told]  # type: ignore[attr-defined]
    await deliver(service)
    assert "Dead letters</h2>" not in (await browser.opens(f"{PLACE}/{name}")).text


async def test_the_twin_says_the_same_without_secrets(service: app.Service, browser: Browser) -> None:
    name = await hook(service)
    position = await with_a_dead_letter(service, name)

    told = (await browser.opens(f"{PLACE}/{name}?format=json")).json()
    listed = (await browser.opens(f"{PLACE}?format=json")).json()["webhooks"]

    assert (name, 1, 0) == (told["webhook"], told["dead"], told["waiting"])
    assert [position] == [one["position"] for one in told["deliveries"]["dead"]]
    assert [name] == [one["webhook"] for one in listed]
    assert "wrapped" not in str(told)


async def test_an_admin_rotates_disables_enables_and_removes(service: app.Service, browser: Browser) -> None:
    name = await hook(service)
    await browser.opens(f"{PLACE}/{name}")
    csrf = {"csrf": browser.csrf}

    rotated = await browser.sends(f"{PLACE}/{name}/secret", csrf | {"keep": "3600"})
    places = [
        (await browser.sends(f"{PLACE}/{name}/switch", csrf | {"to": to})).headers["location"]
        for to in ("disabled", "enabled", "enabled", "removed")
    ]

    assert 1 == len(SECRET.findall(rotated.text))
    assert [f"{PLACE}/{name}?done=disabled", f"{PLACE}/{name}?done=enabled", f"{PLACE}/{name}?done=same"] == places[:3]
    assert f"{PLACE}?done=removed" == places[3]
    assert 404 == (await browser.opens(f"{PLACE}/{name}")).status_code
    assert "There is no webhook yet." in (await browser.opens(PLACE)).text


@pytest.mark.parametrize(
    ("role", "allowed"), [("viewer", set()), ("responder", {"ping", "replay"})], ids=["viewer", "responder"]
)
async def test_a_role_does_what_it_may_and_sees_no_other_form(
    service: app.Service, role: str, allowed: set[str]
) -> None:
    name = await hook(service)
    await with_a_dead_letter(service, name)
    await service.subjects.register("alice", PASSWORD, role, "cli")
    async with signed_in(service, "alice") as one:
        page = (await one.opens(f"{PLACE}/{name}")).text
        forms = {deed for deed in ("ping", "replay", "secret", "switch") if f'action="{PLACE}/{name}/{deed}"' in page}
        fields = {"csrf": one.csrf, "position": "all", "keep": "0", "to": "removed"}
        may = {
            deed
            for deed in ("ping", "replay", "secret", "switch")
            if (await one.sends(f"{PLACE}/{name}/{deed}", fields)).status_code == 303
        }

    assert (allowed, allowed) == (forms, may)
