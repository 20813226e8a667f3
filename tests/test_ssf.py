"""Shared signals: a client's stream, what is in it, polled and pushed, each token checked by a library of others."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from sqlalchemy.event import listen, remove

import app
from api import streams
from core import polling, secevent, waits
from core.delivering import Delivering
from core.webhook import Plan
from events import deliveries, ids
from events.webhook import POLL, SET, stream_for
from tests import visitors
from tests.applications import Application, application, issued_to, own_token
from tests.check import check
from tests.conftest import VISIT, MakeSettings, TestClock, running, visiting
from tests.receivers import Answer, Receiver
from tests.visitors import bearer, code

REVOKED, CHANGED = secevent.URIS.values()
POLLED = "urn:ietf:rfc:8936"
PUSHED = "urn:ietf:rfc:8935"
NEW = "juniper-basalt-plover-83-harp"


class World:
    """A service with a client `shop` that has the scopes, and another one."""

    def __init__(self, service: app.Service, http: httpx.AsyncClient, clock: TestClock) -> None:
        self.service, self.http, self.clock = service, http, clock
        self.headers: dict[str, dict[str, str]] = {}
        self.shop = Application("shop")

    async def begin(self) -> None:
        for name in ("shop", "bank"):
            made = await application(self.service, name, scopes="ssf.read ssf.manage", first_party=1)
            self.headers[name] = bearer(await own_token(self.http, made))
            self.shop = made if name == "shop" else self.shop

    async def ask(self, method: str, path: str, body: Any = None, of: str = "shop", **more: Any) -> httpx.Response:
        return await self.http.request(method, f"/v1/ssf{path}", json=body, headers=self.headers[of], **more)

    async def stream(self, of: str = "shop", **said: Any) -> dict[str, Any]:
        answer = await self.ask("POST", "/streams", said, of)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def poll(self, of: str = "shop", **said: Any) -> dict[str, Any]:
        answer = await self.ask("POST", "/poll", {"returnImmediately": True} | said, of)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def ended(self, client: str = "shop", user: str = "alice", reason: str = "stolen_token") -> str:
        """A session that staff ended."""
        issued = await issued_to(self.service, client, user)
        await self.service.families.revoke(issued.family.id, "cli", reason)
        return ids.to_text("fam", issued.family.id)

    async def checked(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and claims, once a library of others has verified them against the published keys."""
        keys = KeySet.import_key_set((await self.http.get("/.well-known/jwks.json")).json())
        found = jws.deserialize_compact(token, keys, algorithms=["ES256"])

        return found.headers(), json.loads(found.payload)

    async def deliver(self, after: float = 0) -> None:
        self.clock.pass_(after)
        delivering = Delivering(self.service.delivery_tools._replace(leads=lambda: True, chance=lambda: 0.5))
        await delivering.run()
        await delivering.settle()


@pytest.fixture
async def world(make_settings: MakeSettings, clock: TestClock) -> AsyncIterator[World]:
    own = {"webhook_http": True, "webhook_networks": "127.0.0.0/8", "signing_algorithm": "ES256"}
    settings = make_settings(retry_leeway=0, access_ttl=3600, **own)
    async with running(settings) as service, visiting(service) as http:
        for job in service._jobs:
            job.cancel()
        clock.rules_service(service)
        made = World(service, http, clock)
        await made.begin()
        yield made
        check(service.store)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    made.answers = lambda _: Answer(202)
    yield made
    made.close()


async def test_the_configuration_says_where_everything_is(world: World) -> None:
    told = await world.http.get("/.well-known/ssf-configuration")

    assert "application/json" == told.headers["content-type"]
    assert {
        "spec_version": "1_0",
        "issuer": "https://ledger.test",
        "jwks_uri": "https://ledger.test/.well-known/jwks.json",
        "delivery_methods_supported": [PUSHED, POLLED],
        "configuration_endpoint": "https://ledger.test/v1/ssf/streams",
        "status_endpoint": "https://ledger.test/v1/ssf/status",
        "verification_endpoint": "https://ledger.test/v1/ssf/verification",
        "critical_subject_members": ["user", "session"],
        "default_subjects": "ALL",
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
    } == told.json()
    assert 404 == (await world.http.get("/.well-known/ssf-configuration/other")).status_code


async def test_an_ended_session_is_told_as_a_signed_token_with_exactly_one_event(world: World) -> None:
    stream = await world.stream()
    family = await world.ended()

    ((name, token),) = (await world.poll())["sets"].items()

    header, claims = await world.checked(token)
    (event,) = [one for one in await visitors.facts(world.service, family) if one.fact.TYPE == "family.revoked"]
    assert {"alg", "kid", "typ"} == set(header)
    assert "secevent+jwt" == header["typ"]
    assert {"sub", "exp"}.isdisjoint(claims)
    assert {
        "iss": "https://ledger.test",
        "jti": name,
        "iat": event.at // 1_000_000,
        "aud": "shop",
        "txn": event.fact.request or name,
        "sub_id": {
            "format": "complex",
            "session": {"format": "opaque", "id": family},
            "user": {"format": "iss_sub", "iss": "https://ledger.test", "sub": event.fact.subject},  # type: ignore[attr-defined]
        },
        "events": {
            REVOKED: {
                "event_timestamp": event.at // 1_000_000,
                "initiating_entity": "admin",
                "reason_admin": {"en": "Stolen token"},
            }
        },
    } == claims
    assert stream["aud"] == claims["aud"]


async def test_a_reuse_is_told_as_the_end_of_its_session_by_policy(world: World) -> None:
    await world.stream()
    issued = await issued_to(world.service, "shop")
    first = world.service.families.read_token(issued.refresh_token)
    assert first is not None
    for _ in range(2):
        world.clock.pass_(60)
        await world.service.families.refresh(first, "shop", "body", VISIT)

    (token,) = (await world.poll())["sets"].values()

    event = (await world.checked(token))[1]["events"][REVOKED]
    assert ("policy", {"en": "Refresh token reuse detected"}) == (event["initiating_entity"], event["reason_admin"])


async def test_a_changed_password_is_told_to_the_clients_that_know_the_person(world: World) -> None:
    await world.stream()
    await world.stream(of="bank")
    await issued_to(world.service, "shop", "alice")
    await issued_to(world.service, "bank", "bob")
    owner = await world.service.subjects.find("alice")
    assert owner is not None
    await world.service.subjects.set_password(owner, NEW, "cli")

    told = [(await world.checked(token))[1] for token in (await world.poll())["sets"].values()]

    kinds = [next(iter(claims["events"])) for claims in told]
    assert {REVOKED, CHANGED} == set(kinds)
    (change,) = [claims for claims in told if CHANGED in claims["events"]]
    assert {"credential_type": "password", "change_type": "update"}.items() <= change["events"][CHANGED].items()
    assert ids.to_text("sub", owner.id) == change["sub_id"]["user"]["sub"]
    assert {} == (await world.poll(of="bank"))["sets"]


async def test_a_client_never_sees_sessions_of_another(world: World) -> None:
    await world.stream()
    await world.stream(of="bank")
    await world.ended("bank")

    assert {} == (await world.poll())["sets"]
    assert 1 == len((await world.poll(of="bank"))["sets"])


async def test_a_token_comes_again_until_it_is_acknowledged(world: World) -> None:
    await world.stream()
    for _ in range(3):
        await world.ended()

    first = await world.poll(maxEvents=2)
    again = await world.poll(maxEvents=2)
    rest = await world.poll(ack=list(first["sets"]))
    only_acknowledged = await world.poll(maxEvents=0, ack=list(rest["sets"]))
    nothing = await world.poll()

    assert (2, True) == (len(first["sets"]), first["moreAvailable"])
    assert list(first["sets"]) == list(again["sets"])
    assert (1, False) == (len(rest["sets"]), rest["moreAvailable"])
    assert {"sets": {}, "moreAvailable": False} == only_acknowledged == nothing


async def test_a_token_that_is_refused_is_a_dead_letter_with_the_receivers_code(world: World) -> None:
    stream = await world.stream()
    await world.ended()
    (name,) = (await world.poll())["sets"]

    left = await world.poll(setErrs={name: {"err": "invalid_audience", "description": "not me"}})

    hook = ids.parse("whk", stream["stream_id"])
    (dead,) = await world.service.deliveries.of(hook, deliveries.DEAD)
    assert {} == left["sets"]
    assert "invalid_audience" == dead.reason
    assert "not me" not in str([one.body for one in await visitors.facts(world.service)])
    await world.service.webhooks.replay(hook, "cli", dead.position)
    assert [name] == list((await world.poll())["sets"])


async def test_who_waits_is_answered_as_soon_as_something_happens(world: World) -> None:
    await world.stream()
    asked = asyncio.create_task(world.poll(returnImmediately=False))
    await asyncio.sleep(0.3)

    await world.ended()

    assert 1 == len((await asyncio.wait_for(asked, 10))["sets"])


async def test_a_verification_comes_back_with_its_state_and_not_too_often(world: World) -> None:
    stream = await world.stream()
    asked = {"stream_id": stream["stream_id"], "state": "VGhpcyBpcw=="}

    first = await world.ask("POST", "/verification", asked)
    second = await world.ask("POST", "/verification", asked)
    world.clock.pass_(61)
    third = await world.ask("POST", "/verification", {"stream_id": stream["stream_id"]})

    told = [(await world.checked(token))[1] for token in (await world.poll())["sets"].values()]
    assert (204, (429, "rate_limited"), 204) == (first.status_code, code(second), third.status_code)
    assert [{secevent.VERIFICATION: {"state": "VGhpcyBpcw=="}}, {secevent.VERIFICATION: {}}] == [
        claims["events"] for claims in told
    ]
    assert {"format": "opaque", "id": stream["stream_id"]} == told[0]["sub_id"]


async def test_a_client_has_one_stream_and_reads_changes_and_ends_it(world: World) -> None:
    stream = await world.stream(events_requested=[REVOKED, "https://example.com/unknown"])
    name = stream["stream_id"]
    second = await world.ask("POST", "/streams", {})
    read = await world.ask("GET", "/streams", params={"stream_id": name})
    listed = await world.ask("GET", "/streams")
    changed = await world.ask("PATCH", "/streams", {"stream_id": name, "events_requested": [CHANGED]})
    replaced = await world.ask("PUT", "/streams", {"stream_id": name})
    wrong = await world.ask("PATCH", "/streams", {"stream_id": name, "iss": "https://other.test"})
    gone = await world.ask("DELETE", "/streams", params={"stream_id": name})
    after = await world.ask("GET", "/streams", params={"stream_id": name})

    assert (409, "stream_exists") == code(second)
    assert stream == read.json() == listed.json()[0]
    assert [REVOKED] == stream["events_delivered"]
    assert {"method": POLLED, "endpoint_url": "https://ledger.test/v1/ssf/poll"} == stream["delivery"]
    assert [CHANGED] == changed.json()["events_requested"]
    assert [REVOKED, CHANGED] == replaced.json()["events_requested"]
    assert (400, "invalid_request") == code(wrong)
    assert (204, (404, "stream_not_found")) == (gone.status_code, code(after))
    assert name != (await world.stream())["stream_id"]


async def test_two_that_begin_a_stream_at_once_get_one(world: World) -> None:
    answers = await asyncio.gather(*(world.ask("POST", "/streams", {}) for _ in range(4)))

    assert [201, 409, 409, 409] == sorted(one.status_code for one in answers)


async def test_a_stream_of_another_client_is_not_found(world: World) -> None:
    name = (await world.stream())["stream_id"]

    asked = [
        await world.ask("GET", "/streams", of="bank", params={"stream_id": name}),
        await world.ask("PATCH", "/streams", {"stream_id": name}, of="bank"),
        await world.ask("DELETE", "/streams", of="bank", params={"stream_id": name}),
        await world.ask("GET", "/status", of="bank", params={"stream_id": name}),
        await world.ask("POST", "/verification", {"stream_id": name}, of="bank"),
        await world.ask("POST", "/poll", {}, of="bank"),
    ]

    assert {(404, "stream_not_found")} == {code(one) for one in asked}


async def test_a_token_in_the_address_opens_nothing(world: World) -> None:
    token = world.headers["shop"]["Authorization"].removeprefix("Bearer ")

    answer = await world.http.get("/v1/ssf/streams", params={"access_token": token})

    assert (401, "invalid_token") == code(answer)


async def test_a_security_event_token_is_no_access_token(world: World) -> None:
    await world.stream()
    await world.ended()
    (token,) = (await world.poll())["sets"].values()

    assert (401, "invalid_token") == code(await world.http.get("/auth/me", headers=bearer(token)))
    assert (401, "invalid_token") == code(await world.http.get("/v1/events", headers=bearer(token)))


async def test_what_happens_while_a_stream_is_paused_comes_later_and_while_it_is_disabled_never(world: World) -> None:
    name = (await world.stream())["stream_id"]

    async def status(wanted: str) -> str:
        answer = await world.ask("POST", "/status", {"stream_id": name, "status": wanted})
        found: str = answer.json()["status"]
        return found

    paused = await status("paused")
    held = await world.ended()
    silent = (await world.poll())["sets"]
    disabled = await status("disabled")
    await world.ended()
    enabled = await status("enabled")
    later = await world.ended()
    told = [(await world.checked(token))[1] for token in (await world.poll())["sets"].values()]

    assert ("paused", "disabled", "enabled") == (paused, disabled, enabled)
    assert {} == silent
    assert [held, later] == [claims["sub_id"]["session"]["id"] for claims in told]
    assert "enabled" == (await world.ask("GET", "/status", params={"stream_id": name})).json()["status"]
    assert 400 == (await world.ask("POST", "/status", {"stream_id": name, "status": "gone"})).status_code


async def test_a_stream_is_pushed_with_the_receivers_own_header(world: World, receiver: Receiver) -> None:
    delivery = {"method": PUSHED, "endpoint_url": receiver.url, "authorization_header": "Bearer of-the-receiver"}
    stream = await world.stream(delivery=delivery)
    family = await world.ended()

    await world.deliver()

    (arrived,) = receiver.arrived
    _, claims = await world.checked(arrived.body.decode())
    assert family == claims["sub_id"]["session"]["id"]
    assert "application/secevent+jwt" == arrived.headers["content-type"]
    assert "application/json" == arrived.headers["accept"]
    assert "Bearer of-the-receiver" == arrived.headers["authorization"]
    assert {"method": PUSHED, "endpoint_url": receiver.url} == stream["delivery"]
    assert (409, "stream_is_pushed") == code(await world.ask("POST", "/poll", {}))
    check(world.service.store, secrets=["of-the-receiver"])


async def test_a_pushed_token_that_is_refused_for_good_is_not_sent_again(world: World, receiver: Receiver) -> None:
    stream = await world.stream(delivery={"method": PUSHED, "endpoint_url": receiver.url})
    left = sorted(secevent.ERRORS)
    receiver.answers = lambda _: Answer(400, body=f'{{"err":"{left.pop()}"}}'.encode())
    for _ in secevent.ERRORS:
        await world.ended()
        await world.deliver()

    await world.deliver(3600)

    dead = await world.service.deliveries.of(ids.parse("whk", stream["stream_id"]), deliveries.DEAD)
    assert sorted(secevent.ERRORS) == [one.reason for one in dead]
    assert len(dead) == len(receiver.arrived)


async def test_a_pushed_token_whose_receiver_fails_comes_again_as_the_same_token(
    world: World, receiver: Receiver
) -> None:
    await world.stream(delivery={"method": PUSHED, "endpoint_url": receiver.url})
    receiver.answers = lambda _: Answer(500 if len(receiver.arrived) == 1 else 202)
    await world.ended()

    await world.deliver()
    await world.deliver(15)

    first, second = [(await world.checked(one.body.decode()))[1] for one in receiver.arrived]
    assert first == second


async def test_the_address_of_a_push_is_judged_as_that_of_every_webhook(world: World) -> None:
    for url in ("http://10.0.0.1/", "http://169.254.169.254/latest", "ftp://app.example.com/", ""):
        answer = await world.ask("POST", "/streams", {"delivery": {"method": PUSHED, "endpoint_url": url}})
        assert (400, "invalid_request") == code(answer)


async def test_a_client_without_the_scope_is_told_which_one(world: World) -> None:
    reader = await application(world.service, "reader", scopes="ssf.read")
    headers = bearer(await own_token(world.http, reader))

    answer = await world.http.post("/v1/ssf/streams", json={}, headers=headers)

    assert (403, "insufficient_scope") == (answer.status_code, answer.json()["code"])
    assert 'scope="ssf.manage"' in answer.headers["www-authenticate"]


class Asked:
    """What the service's readers are asked while something happens, told by the database's own driver."""

    def __init__(self, service: app.Service) -> None:
        self._engine = service.engine.sync_engine
        self.statements: list[str] = []

    def __enter__(self) -> Self:
        listen(self._engine, "before_cursor_execute", self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        remove(self._engine, "before_cursor_execute", self._hear)

    def _hear(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.statements.append(statement)

    def of(self, table: str) -> int:
        """How many of them read this table."""
        return sum(f"FROM {table}" in one for one in self.statements)


async def test_polls_of_one_stream_that_come_at_once_share_a_look(world: World) -> None:
    await world.stream()
    await world.ended()

    with Asked(world.service) as asked:
        answers = await asyncio.gather(*(world.poll() for _ in range(30)))

    assert 1 == len({tuple(one["sets"].items()) for one in answers})
    assert 1 == len(answers[0]["sets"])
    assert asked.of("webhook_deliveries") < 10
    assert asked.of("webhooks") < 10


async def test_a_session_that_is_refreshed_wakes_nobody_who_waits_for_a_token(world: World) -> None:
    await world.stream()
    issued = await issued_to(world.service, "shop")
    first = world.service.families.read_token(issued.refresh_token)
    assert first is not None
    waiting = asyncio.create_task(world.poll(returnImmediately=False))
    await asyncio.sleep(0.5)

    with Asked(world.service) as asked:
        await world.service.families.refresh(first, "shop", "body", VISIT)
        await asyncio.sleep(0.7)
    await world.service.families.revoke(issued.family.id, "cli", "stolen_token")

    assert 0 == asked.of("webhook_deliveries")
    assert 1 == len((await asyncio.wait_for(waiting, 10))["sets"])


async def test_a_newer_poll_ends_the_oldest_of_those_that_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "SHORTEST", 0.5)
    await world.stream()
    polls = []
    for _ in range(waits.AT_ONCE + 1):
        polls.append(asyncio.create_task(world.poll(returnImmediately=False)))
        await asyncio.sleep(0.1)

    done, still = await asyncio.wait(polls, timeout=3)
    await world.ended()

    assert {polls[0]} == done
    assert {"sets": {}, "moreAvailable": False} == polls[0].result()
    assert [1] * waits.AT_ONCE == [len(one["sets"]) for one in await asyncio.gather(*still)]


async def test_a_client_has_no_more_polls_open_than_other_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST", 2)
    await world.stream()
    await world.stream(of="bank")
    waiting = [asyncio.create_task(world.poll(returnImmediately=False)) for _ in range(2)]
    await asyncio.sleep(0.3)

    crowded = await world.ask("POST", "/poll", {"returnImmediately": True})
    of_another = await world.ask("POST", "/poll", {"returnImmediately": True}, of="bank")
    await world.ended()

    assert (429, "too_many_streams") == code(crowded)
    assert "5" == crowded.headers["retry-after"]
    assert 200 == of_another.status_code
    assert [1, 1] == [len(one["sets"]) for one in await asyncio.gather(*waiting)]
    assert 200 == (await world.ask("POST", "/poll", {"returnImmediately": True})).status_code


async def test_a_poll_that_was_refused_has_acknowledged_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.stream()
    await world.ended()
    (name,) = (await world.poll())["sets"]
    monkeypatch.setattr(streams, "MOST", 0)

    refused = await world.ask("POST", "/poll", {"returnImmediately": True, "ack": [name]})

    monkeypatch.undo()
    assert 429 == refused.status_code
    assert [name] == list((await world.poll())["sets"])


@pytest.mark.parametrize("how", ["disabled", "removed"])
async def test_a_poll_that_waits_hands_out_nothing_of_a_stream_that_was_ended_meanwhile(
    world: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "LONGEST", 2.0)
    hook = ids.parse("whk", (await world.stream())["stream_id"])
    waiting = asyncio.create_task(world.poll(returnImmediately=False))
    await asyncio.sleep(0.5)
    if how == "disabled":
        await world.service.webhooks.disable(hook, "system", "staff")
    else:
        await world.service.webhooks.remove(hook, "cli")
    await asyncio.sleep(0.3)

    await world.ended()

    assert {"sets": {}, "moreAvailable": False} == await waiting


async def test_what_a_stream_costs_does_not_grow_with_those_that_were_before_it(world: World) -> None:
    for _ in range(70):
        made = await world.service.webhooks.open_stream("shop", "cli", Plan(SET, method=POLL))
        await world.service.webhooks.remove(made.webhook, "cli")
    name = (await world.stream())["stream_id"]

    with Asked(world.service) as asked:
        read = await world.ask("GET", "/status", params={"stream_id": name})

    assert 200 == read.status_code
    assert asked.of("webhooks") <= 3


async def test_of_all_streams_of_a_client_the_last_is_found_however_many_there_were(world: World) -> None:
    found = []
    for number in range(70):
        made = await world.service.webhooks.open_stream("shop", "cli", Plan(SET, method=POLL))
        state = await world.service.webhooks.stream_of("shop")
        found.append((stream_for("shop", number), state.id if state else None) == (made.webhook, made.webhook))
        await world.service.webhooks.remove(made.webhook, "cli")

    assert [True] * 70 == found
    assert await world.service.webhooks.stream_of("shop") is None
    assert await world.service.webhooks.stream_of("bank") is None


@pytest.mark.parametrize("said", [{"ack": ["x"] * 1001}, {"setErrs": {str(n): {"err": "x"} for n in range(1001)}}])
async def test_a_poll_settles_a_thousand_tokens_at_most(world: World, said: dict[str, Any]) -> None:
    await world.stream()

    refused = await world.ask("POST", "/poll", {"returnImmediately": True} | said)
    taken = await world.ask("POST", "/poll", {"returnImmediately": True, "ack": ["x"] * 1000})

    assert (400, "invalid_request") == code(refused)
    assert "1000" in refused.text
    assert 200 == taken.status_code
