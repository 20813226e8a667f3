"""Webhooks under /v1: a client sets up its own, and what it is told of itself. Who reaches whose is in the matrix."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

import app
from core.delivering import Delivering
from tests.applications import application, issued_to, own_token
from tests.conftest import MakeSettings, running, visiting
from tests.receivers import Receiver
from tests.visitors import bearer, code

SCOPES = "webhooks:read webhooks:write"


@pytest.fixture
async def service(make_settings: MakeSettings) -> AsyncIterator[app.Service]:
    async with running(make_settings(webhook_http=True, webhook_networks="127.0.0.0/8")) as started:
        for job in started._jobs:
            job.cancel()
        yield started


@pytest.fixture
async def shop(service: app.Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the scopes of webhooks."""
    async with visiting(service) as http:
        http.headers.update(bearer(await own_token(http, await application(service, "shop", scopes=SCOPES))))
        yield http


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


async def deliver(service: app.Service) -> None:
    delivering = Delivering(service.delivery_tools._replace(leads=lambda: True))
    await delivering.run()
    await delivering.settle()


async def test_a_client_sets_one_up_tests_it_and_sees_what_became_of_it(
    service: app.Service, shop: httpx.AsyncClient, receiver: Receiver
) -> None:
    made = await shop.post("/v1/webhooks", json={"url": receiver.url, "filter": "type:token.issued"})
    name, secret = made.json()["webhook_id"], made.json()["secret"]
    await issued_to(service, "shop")
    await issued_to(service, "web")
    pinged = await shop.post(f"/v1/webhooks/{name}/ping")
    await deliver(service)

    shown = (await shop.get(f"/v1/webhooks/{name}")).json()
    delivered = await shop.get(f"/v1/webhooks/{name}/deliveries", params={"only": "delivered"})
    assert (201, 202, "no-store") == (made.status_code, pinged.status_code, made.headers["cache-control"])
    told = {one.verified(secret)["type"]: one.event["client"] for one in receiver.arrived}
    assert (2, {"token.issued": "shop", "webhook.pinged": "shop"}) == (len(receiver.arrived), told)
    assert {
        "status": "enabled",
        "client_id": "shop",
        "waiting": 0,
        "dead": 0,
        "url": receiver.url,
    }.items() <= shown.items()
    assert [204, 204] == [one["answer"] for one in delivered.json()["deliveries"]]
    assert secret not in str(shown)


async def test_what_is_named_changes_and_the_rest_stays(shop: httpx.AsyncClient, receiver: Receiver) -> None:
    made = await shop.post("/v1/webhooks", json={"url": receiver.url, "filter": "type:token.issued"})
    place = f"/v1/webhooks/{made.json()['webhook_id']}"

    changed = (await shop.patch(place, json={"filter": "type:family.*", "status": "paused"})).json()
    rotated = (await shop.post(f"{place}/secrets", json={"keep": 60})).json()
    enabled = (await shop.patch(place, json={"status": "enabled"})).json()
    gone = await shop.delete(place)

    assert (receiver.url, "type:family.*", "paused") == (changed["url"], changed["filter"], changed["status"])
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != made.json()["secret"]
    assert "enabled" == enabled["status"]
    assert enabled["secret_before_until"] is not None
    assert (204, (404, "webhook_not_found")) == (gone.status_code, code(await shop.get(place)))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"url": "http://10.0.0.1/"}, "url: This address is not on the internet, and no setting allows it."),
        ({"filter": "typ:x"}, "filter: At character 1"),
        ({"filter": "at:1h"}, "filter: A webhook follows the log from now on"),
        ({"signals": ["session-revoked"]}, "signals: Of set, kinds are"),
        ({"format": "set", "signals": ["session-revoked credential-change"]}, "signals: Of set, kinds are"),
        ({"format": "set", "authorization": "Bearer x\r\nHost: y"}, "authorization: The header is at most"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_name_of_its_field(
    shop: httpx.AsyncClient, receiver: Receiver, body: dict[str, object], said: str
) -> None:
    answer = await shop.post("/v1/webhooks", json={"url": receiver.url} | body)

    assert (400, "invalid_request") == code(answer)
    assert answer.json()["detail"].startswith(said)


async def test_there_are_so_many_of_one_client_and_no_more(shop: httpx.AsyncClient, receiver: Receiver) -> None:
    statuses = [(await shop.post("/v1/webhooks", json={"url": receiver.url})).status_code for _ in range(33)]

    assert [201] * 32 + [400] == statuses
