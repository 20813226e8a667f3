"""Families that a trusted backend begins: what they carry, repeated calls, step-up, looking and ending."""

import asyncio
from typing import Any

import httpx
import pytest

import app
from core.repeat import MEMORY
from events import ids
from tests.applications import Application, application, own_token, renewed
from tests.conftest import MASTER_KEY, MakeSettings, running, visiting
from tests.visitors import bearer, code, facts, let_pass, me, story, unpacked

SCOPES = "read families:read families:write subjects:read subjects:write"
CONTEXT = {"ip": "198.51.100.23", "user_agent": "Mozilla/5.0 (Windows NT 10.0) Chrome/142.0.0.0"}
OTHER_KEY = f"2:{'8f1e3a5c7b9d0246' * 2}{'13579bdf02468ace'}{'fedcba9876543210'}"


class Shop:
    """A confidential client at work, with one user of its own."""

    def __init__(self, http: httpx.AsyncClient, client: Application, token: str, subject: str) -> None:
        self.http, self.client, self.headers, self.subject = http, client, bearer(token), subject

    async def begin(self, key: str | None = None, **body: Any) -> httpx.Response:
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        return await self.http.post("/v1/families", json={"subject": self.subject} | body, headers=headers)

    async def begun(self, key: str | None = None, **body: Any) -> dict[str, Any]:
        answer = await self.begin(key, **body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def seen(self, family_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/families/{family_id}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def post(self, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return await self.http.post(path, json=body or {}, headers=self.headers)


async def a_shop(service: app.Service, http: httpx.AsyncClient, name: str = "shop", **policy: Any) -> Shop:
    client = await application(service, name, **({"scopes": SCOPES} | policy))
    token = await own_token(http, client)
    made = await http.post("/v1/subjects", json={"external_id": "42"}, headers=bearer(token))
    assert made.status_code == 201, made.text
    return Shop(http, client, token, made.json()["subject"])


@pytest.fixture
async def shop(service: app.Service, http: httpx.AsyncClient) -> Shop:
    return await a_shop(service, http)


async def test_a_family_carries_what_the_backend_says_of_the_authentication(service: app.Service, shop: Shop) -> None:
    begun = await shop.begun(
        auth_time="2026-01-02T03:04:05+01:00",
        amr=["pwd", "otp"],
        acr="urn:example:gold",
        context=CONTEXT,
        device="till",
    )

    claims = unpacked(begun["access_token"].split(".")[1])
    assert {
        "sub": shop.subject,
        "client_id": "shop",
        "sid": begun["family_id"],
        "scope": "read",
    }.items() <= claims.items()
    assert (["pwd", "otp"], "urn:example:gold", 1767319445) == (claims["amr"], claims["acr"], claims["auth_time"])
    seen = await shop.seen(begun["family_id"])
    assert ("living", "2026-01-02T02:04:05Z", ["pwd", "otp"], "urn:example:gold", "till") == (
        seen["status"], seen["auth_time"], seen["amr"], seen["acr"], seen["device"],
    )  # fmt: skip
    (event,) = await facts(service, begun["family_id"])
    assert ("client:shop", "198.51.100.23") == (event.fact.actor, event.context.ip)
    assert 200 == (await me(shop.http, begun["access_token"])).status_code


async def test_its_client_refreshes_it_at_the_token_endpoint_and_acr_stays(shop: Shop) -> None:
    begun = await shop.begun(acr="gold", context=CONTEXT)

    answer = await renewed(shop.http, shop.client, begun["refresh_token"])

    assert 200 == answer.status_code
    assert "gold" == unpacked(answer.json()["access_token"].split(".")[1])["acr"]
    assert 401 == (await shop.http.post("/auth/refresh", json={"refresh_token": begun["refresh_token"]})).status_code


async def test_what_is_not_said_of_the_user_is_not_made_up_from_the_backend(service: app.Service, shop: Shop) -> None:
    begun = await shop.begun()

    (event,) = await facts(service, begun["family_id"])
    assert ("", "", "") == (event.context.ip, event.context.agent, event.fact.amr)  # type: ignore[attr-defined]


# Repeated calls


async def test_a_repeated_call_answers_with_the_same_tokens_and_begins_nothing(
    service: app.Service, shop: Shop
) -> None:
    first = await shop.begun("6f1c", amr=["pwd"], context=CONTEXT)
    before = await service.history.newest()

    again = await shop.begun("6f1c", amr=["pwd"], context=CONTEXT)

    same = ("family_id", "refresh_token", "access_token")
    assert [first[name] for name in same] == [again[name] for name in same]
    assert before == await service.history.newest()
    assert 200 == (await renewed(shop.http, shop.client, again["refresh_token"])).status_code


async def test_many_calls_at_once_begin_one_family(shop: Shop) -> None:
    async def begun() -> dict[str, Any]:
        answer = await shop.begin("storm")
        if answer.status_code == 503:  # who is told to try again does
            return await begun()
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    answers = await asyncio.gather(*(begun() for _ in range(20)))

    assert 1 == len({one["refresh_token"] for one in answers})


async def test_a_key_is_remembered_across_a_restart_and_under_a_newer_master_key(
    make_settings: MakeSettings,
) -> None:
    async with running(make_settings(master_key=MASTER_KEY)) as service, visiting(service) as http:
        before = await a_shop(service, http)
        first = await before.begun("k")
    async with running(make_settings(master_key=f"{OTHER_KEY},{MASTER_KEY}")) as service, visiting(service) as http:
        after = Shop(http, before.client, await own_token(http, before.client), before.subject)
        again = await after.begun("k")
        answer = await renewed(http, before.client, again["refresh_token"])

    assert first["refresh_token"] == again["refresh_token"]
    assert 200 == answer.status_code


@pytest.mark.parametrize("change", [{"amr": ["otp"]}, {"acr": "gold"}, {"device": "phone"}, {"context": CONTEXT}])
async def test_a_key_for_another_request_is_refused(shop: Shop, change: dict[str, Any]) -> None:
    first = await shop.begun("k", amr=["pwd"])

    other = await shop.begin("k", **({"amr": ["pwd"]} | change))

    assert (422, "idempotency_key_reused") == code(other)
    assert "living" == (await shop.seen(first["family_id"]))["status"]


async def test_a_key_for_another_user_is_refused(shop: Shop) -> None:
    await shop.begun("k")
    other = (await shop.post("/v1/subjects", {"external_id": "43"})).json()["subject"]

    assert (422, "idempotency_key_reused") == code(await shop.begin("k", subject=other))


async def test_the_same_key_of_two_clients_are_two_keys(service: app.Service, http: httpx.AsyncClient) -> None:
    one, two = await a_shop(service, http, "one"), await a_shop(service, http, "two")

    assert (await one.begun("k"))["family_id"] != (await two.begun("k"))["family_id"]


async def test_a_repeated_call_for_a_family_that_ended_or_was_used_is_a_conflict(shop: Shop) -> None:
    ended, used = await shop.begun("ended"), await shop.begun("used")
    await shop.post(f"/v1/families/{ended['family_id']}/revoke")
    await renewed(shop.http, shop.client, used["refresh_token"])

    assert (409, "family_ended") == code(await shop.begin("ended"))
    assert (409, "family_used") == code(await shop.begin("used"))


async def test_a_family_that_lapsed_is_a_conflict_too(service: app.Service, http: httpx.AsyncClient) -> None:
    shop = await a_shop(service, http, idle_ttl=600, absolute_ttl=1200, access_ttl=300)
    await shop.begun("k")
    let_pass(service, 700)
    shop.headers = bearer(await own_token(http, shop.client))

    assert (409, "family_ended") == code(await shop.begin("k"))


async def test_a_key_is_forgotten_after_a_day(service: app.Service, http: httpx.AsyncClient, shop: Shop) -> None:
    first = await shop.begun("k")
    let_pass(service, MEMORY / 1_000_000 - 60)
    shop.headers = bearer(await own_token(http, shop.client))
    within = await shop.begun("k")
    let_pass(service, MEMORY / 1_000_000 + 1300)
    shop.headers = bearer(await own_token(http, shop.client))
    later = await shop.begun("k")

    assert (first["family_id"], 0) == (within["family_id"], within["expires_in"])
    assert first["family_id"] != later["family_id"]


async def test_an_id_that_is_derived_still_begins_with_the_time(service: app.Service, shop: Shop) -> None:
    derived = ids.parse("fam", (await shop.begun("k"))["family_id"])

    started = (await shop.seen(ids.to_text("fam", derived)))["started_at"]
    behind = service.writer.now() - int.from_bytes(derived[1:7]) * 1000
    assert 0 <= behind <= 660_000_000, started


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
async def test_a_key_that_cannot_be_is_refused(shop: Shop, key: str) -> None:
    headers = [*shop.headers.items(), ("Idempotency-Key", key.encode())]

    answer = await shop.http.post("/v1/families", json={"subject": shop.subject}, headers=headers)  # type: ignore[arg-type]

    assert (400, "invalid_request") == code(answer)


# Step-up


async def test_a_step_up_ends_one_family_and_begins_the_next_in_one_commit(service: app.Service, shop: Shop) -> None:
    first = await shop.begun(amr=["pwd"])

    second = await shop.begun(amr=["pwd", "otp"], replaces=first["family_id"])

    assert ["token.issued", "family.revoked"] == await story(service, first["family_id"])
    seen = await shop.seen(first["family_id"])
    assert ("revoked", "client:shop", "replaced") == (seen["status"], seen["ended_by"], seen["ended_reason"])
    (begun,) = await facts(service, second["family_id"])
    assert first["family_id"] == begun.fact.replaces  # type: ignore[attr-defined]
    assert 401 == (await me(shop.http, first["access_token"])).status_code
    assert "living" == (await shop.seen(second["family_id"]))["status"]


async def test_a_step_up_can_be_repeated(shop: Shop) -> None:
    first = await shop.begun()

    second = await shop.begun("up", amr=["otp"], replaces=first["family_id"])
    again = await shop.begun("up", amr=["otp"], replaces=first["family_id"])

    assert second["refresh_token"] == again["refresh_token"]


async def test_a_step_up_from_what_is_not_a_living_family_of_this_user_is_refused(shop: Shop) -> None:
    ended = await shop.begun()
    await shop.post(f"/v1/families/{ended['family_id']}/revoke")
    other = (await shop.post("/v1/subjects", {"external_id": "43"})).json()["subject"]
    foreign = await shop.begun(subject=other)

    assert (409, "family_ended") == code(await shop.begin(replaces=ended["family_id"]))
    for replaced in (foreign["family_id"], "fam_" + "a" * 26, "nonsense"):
        assert (404, "family_not_found") == code(await shop.begin(replaces=replaced))
    assert "living" == (await shop.seen(foreign["family_id"]))["status"]


# What is refused


@pytest.mark.parametrize(
    "body",
    [
        {"amr": ["magic"]},
        {"amr": "pwd"},
        {"acr": "two words"},
        {"acr": ""},
        {"auth_time": "2126-01-01T00:00:00Z"},
        {"auth_time": "2026-01-01T00:00:00"},
        {"auth_time": "soon"},
        {"context": {"ip": "nowhere"}},
        {"context": {"roles": "admin"}},
        {"roles": ["admin"]},
        {"scope": "admin"},
        {"device": "x" * 101},
    ],
)
async def test_what_cannot_be_is_refused_and_begins_nothing(
    service: app.Service, shop: Shop, body: dict[str, Any]
) -> None:
    before = await service.history.newest()

    assert (400, "invalid_request") == code(await shop.begin(**body))
    assert before == await service.history.newest()


async def test_a_disabled_user_gets_no_family(shop: Shop) -> None:
    await shop.post(f"/v1/subjects/{shop.subject}/disable", {"reason": "suspicious"})

    assert (409, "subject_disabled") == code(await shop.begin())


async def test_a_disabled_client_gets_nothing_more(service: app.Service, shop: Shop) -> None:
    begun = await shop.begun()
    await service.clients.set_enabled("shop", "cli", enabled=False)

    assert 401 == (await shop.begin()).status_code
    assert 401 == (await renewed(shop.http, shop.client, begun["refresh_token"])).status_code


async def test_an_operator_begins_families_of_other_clients_but_never_of_the_dashboard(
    service: app.Service, http: httpx.AsyncClient, shop: Shop
) -> None:
    ops = await a_shop(service, http, "ops", operator=1)

    begun = await ops.begun(subject=shop.subject, client_id="shop")

    assert 200 == (await renewed(http, shop.client, begun["refresh_token"])).status_code
    for client in ("dashboard", "nobody"):
        assert (404, "client_not_found") == code(await ops.begin(client_id=client))
    assert (404, "client_not_found") == code(await shop.begin(client_id="ops"))


# Looking


async def test_a_list_has_ones_own_families_by_user_and_status(
    service: app.Service, http: httpx.AsyncClient, shop: Shop
) -> None:
    other = (await shop.post("/v1/subjects", {"external_id": "43"})).json()["subject"]
    first, second, third = await shop.begun(), await shop.begun(), await shop.begun(subject=other)
    await (await a_shop(service, http, "stranger")).begun()
    await shop.post(f"/v1/families/{first['family_id']}/revoke", {"reason": "lost_device", "ticket": "INC-1"})

    async def listed(**query: Any) -> list[str]:
        answer = await http.get("/v1/families", params=query, headers=shop.headers)
        assert answer.status_code == 200, answer.text
        return [one["family_id"] for one in answer.json()["families"]]

    everything = [third["family_id"], second["family_id"], first["family_id"]]
    assert everything == await listed()
    assert everything[1:] == await listed(subject=shop.subject)
    assert [first["family_id"]] == await listed(status="revoked")
    assert [second["family_id"]] == await listed(status="living", subject=shop.subject)
    assert [] == await listed(client_id="stranger") + await listed(subject="sub_x") + await listed(status="expired")


async def test_a_list_is_told_in_pages(http: httpx.AsyncClient, shop: Shop) -> None:
    begun = [(await shop.begun())["family_id"] for _ in range(5)]

    found: list[str] = []
    before: str | None = ""
    while before is not None:
        query = {"limit": 2} | ({"before": before} if before else {})
        page = (await http.get("/v1/families", params=query, headers=shop.headers)).json()
        found += [one["family_id"] for one in page["families"]]
        before = page["before"]

    assert sorted(begun) == sorted(found)
    for wrong in ({"limit": 0}, {"limit": 201}, {"before": "x"}, {"status": "dead"}):
        assert 400 == (await http.get("/v1/families", params=wrong, headers=shop.headers)).status_code


# Ending


async def test_a_family_is_ended_at_once_and_again_changes_nothing(service: app.Service, shop: Shop) -> None:
    begun = await shop.begun()
    path = f"/v1/families/{begun['family_id']}/revoke"

    answers = [await shop.post(path, {"reason": "stolen_token", "ticket": "INC-7"}), await shop.post(path)]

    assert [204, 204] == [one.status_code for one in answers]
    assert 401 == (await me(shop.http, begun["access_token"])).status_code
    issued, revoked = await facts(service, begun["family_id"])
    assert ("client:shop", "stolen_token", "INC-7") == (
        revoked.fact.actor, revoked.fact.reason, revoked.fact.ticket,  # type: ignore[attr-defined]
    )  # fmt: skip
    assert "token.issued" == issued.fact.TYPE
    assert 400 == (await shop.post(path, {"reason": "whim"})).status_code
