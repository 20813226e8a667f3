"""Delivering webhooks to real receivers, under a clock that the tests move: at least once, in order, or dead."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from hashlib import sha256

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

import app
from core import backoff, outbound
from core.delivering import Delivering
from core.master import MasterKeys
from core.webhook import Outcome, Plan
from events import deliveries, ids
from events.deliveries import Delivery
from events.webhook import ALL, PREFIX, STANDARD, Webhook
from tests import visitors
from tests.applications import application, issued_to
from tests.check import check
from tests.conftest import MASTER_KEY, VISIT, MakeSettings, TestClock, running
from tests.receivers import Answer, Arrived, Receiver, in_order

DAY = 86_400


class World:
    """A service whose deliveries are made when a test says so, and a receiver."""

    def __init__(self, service: app.Service, clock: TestClock, receiver: Receiver) -> None:
        self.service, self.clock, self.receiver = service, clock, receiver
        self.hooks = service.webhooks
        self.delivering = Delivering(service.delivery_tools._replace(leads=lambda: True, chance=lambda: 0.5))

    async def hook(self, query: str = "type:token.*,family.*", owner: str = "", url: str = "") -> tuple[Webhook, str]:
        made = await self.hooks.register(owner, "cli", Plan(STANDARD, url=url or self.receiver.url, query=query))
        assert made.outcome is Outcome.DONE
        return await self.state(made.webhook), made.secret

    async def state(self, stream: bytes) -> Webhook:
        found = await self.hooks.get(stream)
        assert found is not None
        return found

    async def turn(self, after: float = 0) -> None:
        """Let so many seconds pass, then deliver what is due."""
        self.clock.pass_(after)
        await self.delivering.run()
        await self.delivering.settle()

    async def until_still(self, step: float = 0, most: int = 60) -> None:
        """Turns until nothing waits and the log was followed to its end."""
        for _ in range(most):
            await self.turn(step)
            cursors = await self.service.deliveries.cursors()
            newest = await self.service.history.newest()
            waits = any(one.waiting for one in (await self.service.deliveries.tallies()).values())
            if not waits and all(one.position >= newest for one in cursors.values()):
                return
        raise AssertionError("it never came to rest")

    async def sessions(self, count: int = 1, rotations: int = 2, client: str = "web") -> list[str]:
        """Sessions that are refreshed a few times, one after the other."""
        found = []
        for _ in range(count):
            issued = await issued_to(self.service, client)
            presented = issued.refresh_token
            for _ in range(rotations):
                presented = await self.refreshed(presented, client)
            found.append(ids.to_text("fam", issued.family.id))
        return found

    async def refreshed(self, token: str, client: str = "web") -> str:
        families = self.service.families
        read = families.read_token(token)
        assert read is not None
        issued = await families.refresh(read, client, "body", VISIT)
        self.clock.pass_(0.001)
        return issued.refresh_token  # type: ignore[union-attr]

    async def rows(self, hook: Webhook, status: str) -> list[Delivery]:
        return await self.service.deliveries.of(hook.id, status, 1000)

    async def told(self, kind: str) -> list[object]:
        return [one.fact for one in await visitors.facts(self.service) if one.fact.TYPE == kind]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
async def world(make_settings: MakeSettings, clock: TestClock, receiver: Receiver) -> AsyncIterator[World]:
    own = {"webhook_http": True, "webhook_networks": "127.0.0.0/8", "master_key": MASTER_KEY}
    settings = make_settings(retry_leeway=0, **own)
    async with running(settings) as service:
        for job in service._jobs:
            job.cancel()
        clock.rules_service(service)
        made = World(service, clock, receiver)
        yield made
        await made.delivering.close()
        check(service.store)


def answering(*statuses: int) -> "Script":
    return Script([Answer(status) for status in statuses])


class Script:
    """These answers in this order, the last one for ever."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = answers

    def __call__(self, _arrived: Arrived) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def test_each_event_arrives_once_in_order_and_the_library_of_the_standard_takes_its_signature(
    world: World,
) -> None:
    hook, secret = await world.hook()
    families = await world.sessions(count=3)

    await world.until_still()

    arrived = world.receiver.arrived
    assert 9 == len(arrived) == len({one.id for one in arrived})
    assert set(families) == {one.event["family"] for one in arrived}
    assert in_order(arrived)
    for one in arrived:
        body = one.verified(secret)
        assert (body["type"], body["timestamp"]) == (one.event["type"], one.event["at"])
        assert one.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        arrived[0].verified("whsec_" + "A" * 44)
    with pytest.raises(WebhookVerificationError):
        arrived[0]._replace(body=arrived[0].body.replace(b"web", b"wob")).verified(secret)
    assert [] == await world.rows(hook, deliveries.WAITING)


async def test_what_came_before_a_webhook_is_no_matter_of_it(world: World) -> None:
    await world.sessions()
    await world.hook()
    await world.sessions(rotations=0)

    await world.until_still()

    assert ["token.issued"] == world.receiver.types()


async def test_an_event_has_the_shape_that_the_api_gives_it(world: World) -> None:
    from events import export

    await world.hook("type:token.issued")
    await world.sessions()

    await world.until_still()

    (arrived,) = world.receiver.arrived
    (event,) = await world.service.history.at((arrived.event["position"],))
    assert export.as_json(export.row(event)) in arrived.body.decode()


async def test_a_receiver_that_is_down_for_minutes_gets_everything_in_order(world: World) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    hook, secret = await world.hook(url=f"http://127.0.0.1:{port}/hooks")
    for _ in range(4):
        await world.sessions(count=2)
        await world.turn(30)
    (failed, *_) = [one for one in await world.rows(hook, deliveries.WAITING) if one.tries]
    up = Receiver(port=port)

    await world.until_still(60)

    expected = [one.position for one in await visitors.facts(world.service) if one.fact.TYPE.startswith("token.")]
    first = up.first_of_each()
    up.close()
    assert ("connection_failed", 0) == (failed.reason, failed.answer)
    assert 24 == len(first)
    assert sorted(expected) == sorted(one.event["position"] for one in first)
    assert in_order(first)
    assert all(one.verified(secret) for one in up.arrived)


async def test_a_session_whose_event_fails_waits_and_the_others_go_on(world: World) -> None:
    hook, _ = await world.hook()
    bad, *good = await world.sessions(count=3)
    world.receiver.answers = lambda one: Answer(500 if one.event["family"] == bad else 204)

    await world.turn()

    received = [(one.event["family"], one.event["type"]) for one in world.receiver.arrived]
    assert [(bad, "token.issued")] == [one for one in received if one[0] == bad]
    assert 6 == len([one for one in received if one[0] in good])
    waiting = sorted((one.tries, one.reason) for one in await world.rows(hook, deliveries.WAITING))
    assert [(0, ""), (0, ""), (1, "http_500")] == waiting
    world.receiver.answers = lambda _: Answer()
    await world.turn(15)
    assert ["token.issued", "token.rotated", "token.rotated"] == [
        one.event["type"] for one in world.receiver.first_of_each() if one.event["family"] == bad
    ]


async def test_a_slow_receiver_is_left_after_a_while_and_holds_up_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "SECONDS", 0.2)
    released = threading.Event()
    slow = Receiver()
    slow.answers = lambda _: Answer(204 if released.wait(5) else 500)
    late, _ = await world.hook("type:token.issued", url=slow.url)
    await world.hook("type:token.issued")
    await world.sessions(count=2)

    await world.turn()

    assert ["timed_out"] * 2 == [one.reason for one in await world.rows(late, deliveries.WAITING)]
    assert 2 == len(world.receiver.arrived)
    released.set()
    await world.turn(15)
    slow.close()
    assert [] == await world.rows(late, deliveries.WAITING)
    assert 2 == len(slow.first_of_each())


async def test_410_disables_a_webhook_as_an_event_and_nothing_is_lost(world: World) -> None:
    hook, _ = await world.hook("type:token.issued")
    world.receiver.answers = answering(410)
    await world.sessions()
    await world.turn()
    gone = await world.state(hook.id)
    await world.sessions()
    await world.turn(DAY)
    asked = len(world.receiver.arrived)

    world.receiver.answers = answering(204)
    await world.hooks.enable(hook.id, "cli")
    await world.until_still(3600)

    assert ("disabled", "gone") == (gone.status, gone.reason)
    assert 1 == asked
    assert 2 == len(world.receiver.first_of_each())
    assert ["system"] == [fact.actor for fact in await world.told("webhook.disabled")]  # type: ignore[attr-defined]


async def test_a_redirect_is_not_followed(world: World) -> None:
    other, statuses = Receiver(), [301, 302, 303, 307, 308]
    left = statuses[::-1]
    hook, _ = await world.hook("type:token.issued")
    world.receiver.answers = lambda _: Answer(left.pop(), {"Location": other.url})
    for _ in range(5):
        await world.sessions(rotations=0)
        await world.turn()

    rows = await world.rows(hook, deliveries.WAITING)
    other.close()
    assert [] == other.arrived
    assert {("redirected", status) for status in (301, 302, 303, 307, 308)} == {
        (one.reason, one.answer) for one in rows
    }


async def test_an_event_whose_answer_was_lost_comes_again_under_its_id(world: World) -> None:
    _, secret = await world.hook("type:token.issued")
    world.receiver.answers = answering(500, 502, 204)
    await world.sessions()

    await world.until_still(60)

    assert 3 == len(world.receiver.arrived)
    assert 1 == len({one.id for one in world.receiver.arrived}) == len({one.body for one in world.receiver.arrived})
    assert all(one.verified(secret) for one in world.receiver.arrived)


async def test_a_second_answer_to_one_request_is_not_taken_for_that_to_the_next(world: World) -> None:
    seen: list[bytes] = []
    twice = b"HTTP/1.1 204 No Content\r\n\r\n" + b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    seen.append(connection.recv(65536))
                    connection.sendall(twice)

        threading.Thread(target=serve, daemon=True).start()
        hook, _ = await world.hook(url=f"http://127.0.0.1:{server.getsockname()[1]}/")
        await world.sessions(count=2)
        await world.until_still()
    assert 6 == len(seen)
    assert (await world.state(hook.id)).enabled


async def test_an_event_that_fails_for_a_day_is_a_dead_letter_and_its_session_goes_on(world: World) -> None:
    hook, _ = await world.hook()
    (family,) = await world.sessions(rotations=1)
    world.receiver.answers = lambda one: Answer(500 if one.event["type"] == "token.issued" else 204)
    began = world.clock.wall_now
    while not (found := await world.rows(hook, deliveries.DEAD)):
        await world.turn(1200)
    took = world.clock.wall_now - began
    (dead,) = found

    await world.until_still(10)

    assert (backoff.TRIES, "http_500", 500) == (dead.tries, dead.reason, dead.answer)
    assert 0.9 * DAY < took < 1.5 * DAY
    (fact,) = await world.told("webhook.dead_lettered")
    assert (dead.position, backoff.TRIES, "http_500") == (fact.position, fact.tries, fact.reason)  # type: ignore[attr-defined]
    assert ["token.issued"] * backoff.TRIES + ["token.rotated"] == world.receiver.types()
    assert {family} == {one.event["family"] for one in world.receiver.arrived}


async def test_a_dead_letter_is_replayed_under_the_same_id(world: World) -> None:
    hook, secret = await world.hook("type:token.issued")
    world.receiver.answers = answering(500)
    await world.sessions(count=2)
    while len(found := await world.rows(hook, deliveries.DEAD)) < 2:
        await world.turn(3600)
    world.receiver.answers = answering(204)
    before = len(world.receiver.arrived)

    await world.hooks.replay(hook.id, "cli", found[0].position)
    await world.until_still()
    one = world.receiver.arrived[before:]
    await world.hooks.replay(hook.id, "cli", ALL)
    await world.until_still()

    assert [found[0].position] == [arrived.event["position"] for arrived in one]
    assert {arrived.id for arrived in world.receiver.arrived[before:]} == {
        a.id for a in world.receiver.arrived[:before]
    }
    assert [] == await world.rows(hook, deliveries.DEAD)
    assert one[0].verified(secret)


@pytest.mark.parametrize(("asked", "waited"), [("120", 120), ("999999", 3600)])
async def test_a_receiver_that_asks_for_time_gets_it_within_bounds(world: World, asked: str, waited: int) -> None:
    await world.hook("type:token.issued")
    world.receiver.answers = Script([Answer(503, {"Retry-After": asked}), Answer()])
    await world.sessions()
    await world.turn()

    await world.turn(waited - 5)
    early = len(world.receiver.arrived)
    await world.turn(10)

    assert (1, 2) == (early, len(world.receiver.arrived))


async def test_a_receiver_that_fails_for_days_is_given_up_and_misses_nothing_when_it_is_enabled(world: World) -> None:
    hook, _ = await world.hook("type:token.issued")
    world.receiver.answers = answering(500)
    for _ in range(15):
        await world.sessions(rotations=0)
        await world.turn(10 * 3600)
    given_up = await world.state(hook.id)
    world.receiver.answers = answering(204)
    await world.hooks.enable(hook.id, "cli")
    await world.hooks.replay(hook.id, "cli", ALL)

    await world.until_still(3600)

    assert ("disabled", "unreachable") == (given_up.status, given_up.reason)
    assert 15 == len(world.receiver.first_of_each())


async def test_many_failing_sessions_wait_in_the_log_and_not_beside_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.delivering.MOST_WAITING", 10)
    hook, _ = await world.hook("type:token.issued")
    world.receiver.answers = answering(500)
    await world.sessions(count=13, rotations=0)
    for _ in range(5):
        await world.turn(120)
    waiting = await world.rows(hook, deliveries.WAITING)
    world.receiver.answers = answering(204)

    await world.until_still(3600)

    assert 10 == len(waiting)
    assert 13 == len(world.receiver.first_of_each())


async def test_both_secrets_sign_while_one_takes_over_from_the_other(world: World) -> None:
    hook, old = await world.hook("type:token.issued")
    made = await world.hooks.rotate_secret(hook, "cli", keep=3600)
    await world.sessions()
    await world.turn()
    await world.sessions()

    await world.turn(3700)

    both, later = world.receiver.arrived
    assert both.verified(old)
    assert both.verified(made.secret)
    assert later.verified(made.secret)
    with pytest.raises(WebhookVerificationError):
        later.verified(old)


async def test_a_secret_comes_under_the_new_master_key_and_stays_the_same(world: World) -> None:
    hook, secret = await world.hook("type:token.issued")
    new = "9:" + sha256(b"another").hexdigest()
    world.service.master = MasterKeys.parse(f"{new},{MASTER_KEY}")
    changed, again = await world.hooks.rewrap(), await world.hooks.rewrap()
    world.service.master = MasterKeys.parse(new)  # the old one is gone
    await world.sessions(rotations=0)

    await world.until_still()

    assert (1, 0) == (changed, again)
    assert 9 == (await world.state(hook.id)).wrapped_by
    assert world.receiver.arrived[0].verified(secret)


async def test_a_ping_is_sent_to_its_own_webhook_only(world: World) -> None:
    hook, secret = await world.hook("type:token.issued")
    await world.hook("type:token.issued")

    await world.hooks.ping(hook.id, "cli")
    await world.until_still()

    (arrived,) = world.receiver.arrived
    assert "webhook.pinged" == arrived.verified(secret)["type"]
    assert ids.to_text(PREFIX, hook.id) == arrived.event["body"]["webhook"]


async def test_a_webhook_of_a_client_is_told_of_that_client_only(world: World) -> None:
    await application(world.service, "shop")
    await application(world.service, "bank")
    await world.hook("type:token.issued", owner="shop")
    await world.sessions(client="shop", rotations=0)
    await world.sessions(client="bank", rotations=0)

    await world.until_still()

    assert ["shop"] == [one.event["client"] for one in world.receiver.arrived]


async def test_nothing_is_sent_for_a_client_that_is_disabled(world: World) -> None:
    await application(world.service, "shop")
    await world.hook("type:token.issued", owner="shop")
    await world.sessions(client="shop", rotations=0)
    await world.service.clients.set_enabled("shop", "cli", enabled=False)
    await world.turn()
    silent = len(world.receiver.arrived)
    await world.service.clients.set_enabled("shop", "cli", enabled=True)

    await world.until_still()

    assert (0, 1) == (silent, len(world.receiver.arrived))


async def test_a_removed_webhook_leaves_nothing_beside_the_log(world: World) -> None:
    hook, _ = await world.hook("type:token.issued")
    world.receiver.answers = answering(500)
    await world.sessions()
    await world.turn()

    await world.hooks.remove(hook.id, "cli")
    await world.turn()

    assert {} == await world.service.deliveries.cursors()
    assert {} == await world.service.deliveries.tallies()
    assert Outcome.UNKNOWN == await world.hooks.ping(hook.id, "cli")


async def test_a_process_that_leads_no_more_sends_no_more(world: World) -> None:
    await world.hook()
    await world.sessions()
    tools = world.service.delivery_tools._replace(leads=lambda: not world.receiver.arrived)
    other = Delivering(tools)

    await other.run()
    await other.settle()

    before = len(world.receiver.arrived)
    await world.until_still()
    assert 1 == before
    assert 3 == len(world.receiver.first_of_each())
