"""The Python client follows revocations of a served service: how fast, and what happens when it cannot."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from session_ledger_client import FAIL_CLOSED, FAIL_OPEN, AsyncVerifier, Feed, InvalidToken, Rules, Unavailable
from session_ledger_client.feed import Follower
from tests.conftest import PASSWORD, TestClock
from tests.kit import Served, Session

WITHIN = 2.0
"""Seconds from the end of the kill to the first refusal."""


def refused_after(verify: Callable[[], object], patience: float = 5.0) -> float:
    """Seconds until a token is refused as revoked."""
    began = time.monotonic()
    assert "revoked" == until_refused(verify, InvalidToken, patience)
    return time.monotonic() - began


def until_refused(verify: Callable[[], object], how: type[InvalidToken | Unavailable], patience: float) -> str:
    """The reason of the first refusal of this kind."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            verify()
        except how as refused:
            return refused.reason
        time.sleep(0.01)
    raise AssertionError(f"still accepted after {patience} s")


@pytest.mark.alone
@pytest.mark.parametrize("on_stale", [FAIL_OPEN, FAIL_CLOSED])
def test_after_a_kill_the_old_access_token_is_refused_within_two_seconds(served: Served, on_stale: str) -> None:
    session, other = served.sign_in(), served.sign_in()
    with served.verifier(served.feed(on_stale)) as verifier:
        assert session.family_id == verifier.verify(session.access_token).session_id

        served.kill(session)
        took = refused_after(lambda: verifier.verify(session.access_token))

        assert took < WITHIN
        assert other.family_id == verifier.verify(other.access_token).session_id


@pytest.mark.alone
async def test_the_same_on_an_event_loop(served: Served) -> None:
    session = served.sign_in()
    async with served.async_verifier(served.feed(FAIL_CLOSED)) as verifier:
        assert session.family_id == (await verifier.verify(session.access_token)).session_id

        await asyncio.to_thread(served.kill, session)
        began = time.monotonic()
        while True:
            try:
                await verifier.verify(session.access_token)
            except InvalidToken:
                break
            assert time.monotonic() - began < WITHIN
            await asyncio.sleep(0.01)


def test_a_verifier_that_starts_later_refuses_what_was_revoked_before(served: Served) -> None:
    session = served.sign_in()
    served.kill(session)

    with served.verifier(served.feed(FAIL_OPEN)) as verifier, pytest.raises(InvalidToken) as refused:
        verifier.verify(session.access_token)
    assert "revoked" == refused.value.reason


@pytest.mark.alone
def test_a_replayed_refresh_token_ends_the_access_tokens_too(served: Served) -> None:
    session = served.sign_in()
    with served.verifier(served.feed(FAIL_CLOSED)) as verifier:
        verifier.verify(session.access_token)
        with httpx.Client(base_url=served.place.url, trust_env=False) as http:
            given = session.refresh_token
            for _ in range(2):
                given = http.post("/auth/refresh", json={"refresh_token": given}).json()["refresh_token"]
            replayed = http.post("/auth/refresh", json={"refresh_token": session.refresh_token})

        assert "token_reused" == replayed.json()["code"]
        assert refused_after(lambda: verifier.verify(session.access_token)) < WITHIN


def test_the_receipt_of_a_kill_knows_which_verifiers_have_caught_up(served: Served) -> None:
    session = served.sign_in()
    with served.verifier(served.feed(FAIL_CLOSED, name="orders/1")) as verifier:
        verifier.verify(session.access_token)
        served.kill(session)
        refused_after(lambda: verifier.verify(session.access_token))
        follower = verifier.follower
        assert follower is not None
        deadline = time.monotonic() + 5
        while follower.acknowledgement() is not None and time.monotonic() < deadline:
            time.sleep(0.05)

        assert follower.acknowledgement() is None
        assert "orders/1" == follower.name


def test_a_wrong_secret_is_a_feed_that_does_not_answer(served: Served) -> None:
    session = served.sign_in()
    wrong = Feed(client_id="orders-api", client_secret="slc_wrong", on_stale=FAIL_CLOSED)
    with served.verifier(wrong) as verifier, pytest.raises(Unavailable) as refused:
        verifier.verify(session.access_token)
    assert "revocations" == refused.value.reason


def test_while_the_service_is_down_the_policy_decides_and_afterwards_the_feed_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made = Served(tmp_path_factory.mktemp("down"))
    with made.serving():
        session = made.sign_in()
        opened = made.verifier(made.feed(FAIL_OPEN, max_age=4))
        closed = made.verifier(made.feed(FAIL_CLOSED, max_age=4))
        for one in (opened, closed):
            one.verify(session.access_token)
    with opened, closed:
        assert session.family_id == closed.verify(session.access_token).session_id  # as fresh as it must be
        gone = until_refused(lambda: closed.verify(session.access_token), Unavailable, 10)
        assert "revocations" == gone
        assert session.family_id == opened.verify(session.access_token).session_id

        made.kill(session)
        with made.serving():
            assert refused_after(lambda: accepted(opened.verify, session), 10) < 8
            assert refused_after(lambda: accepted(closed.verify, session), 10) < 8


def accepted(verify: Callable[[str], object], session: Session) -> None:
    try:
        verify(session.access_token)
    except Unavailable:
        return


def answer(**more: Any) -> bytes:
    told = {"revocations": [], "cursor": "c1", "more": False, "as_of": None, "issued_before": None}
    return json.dumps(told | more).encode()


def follower(clock: TestClock, **more: Any) -> Follower:
    feed = Feed(client_id="a", client_secret="b", on_stale=FAIL_CLOSED, **more)
    return Follower(feed, clock=lambda: clock.monotonic_now)


def test_what_a_follower_asks_and_says() -> None:
    clock = TestClock()
    one = follower(clock, name="v", max_age=30)

    assert {} == one.asks()[0]
    assert 0 == one.took(200, answer(more=True))
    assert not one.loaded
    assert 0 == one.took(200, answer(cursor="c2"))
    assert ({"after": "c2", "wait": "15"}, 22.5) == one.asks()
    told = one.acknowledgement()
    assert {"verifier": "v", "cursor": "c2"} == told == one.acknowledgement()
    one.acknowledged(told)
    assert one.acknowledgement() is None
    clock.pass_(31)
    assert {"verifier": "v", "cursor": "c2"} == one.acknowledgement()


def test_after_a_failure_a_follower_asks_without_waiting_and_then_less_and_less_often() -> None:
    one = follower(TestClock())
    one.took(200, answer())

    pauses = [one.took(503, b"") for _ in range(12)]

    assert "0" == one.asks()[0]["wait"]
    assert pauses[0] <= 0.4
    assert all(2.5 <= pause <= 5 for pause in pauses[6:])


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"revocations": 7}', answer(revocations=[{"kind": "session"}])])
def test_an_answer_that_is_none_makes_nothing_fresh(body: bytes) -> None:
    one = follower(TestClock())

    assert one.took(200, body) > 0
    assert not one.loaded


def test_after_410_a_follower_begins_anew_and_keeps_what_it_knew() -> None:
    one = follower(TestClock())
    until = "2999-01-01T00:00:00Z"
    one.took(200, answer(revocations=[{"kind": "session", "sid": "fam_1", "at": until, "until": until}]))

    assert 0 == one.took(410, b"")
    assert {} == one.asks()[0]
    assert {"fam_1"} == set(one.revocations.sessions)


def test_the_decision_about_staleness_must_be_made() -> None:
    with pytest.raises(TypeError):
        Feed(client_id="a", client_secret="b")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="FAIL_OPEN"):
        Feed(client_id="a", client_secret="b", on_stale="whatever")  # type: ignore[arg-type]


def test_the_secret_is_not_shown() -> None:
    assert PASSWORD not in repr(Feed(client_id="a", client_secret=PASSWORD, on_stale=FAIL_OPEN))


class Deaf(httpx.AsyncBaseTransport):
    """A connection that loses the first cancel and answers instead."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.lost = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if self.lost:
                raise
            self.lost = True
        return httpx.Response(503, request=request)


async def test_a_cancel_that_is_lost_on_the_way_ends_the_feed_a_second_later() -> None:
    connection = Deaf()
    feed = Feed(client_id="a", client_secret="b", on_stale=FAIL_OPEN)
    rules = Rules(issuer="https://auth.test", audience="https://api.test")
    verifier = AsyncVerifier(rules, feed, http=lambda: httpx.AsyncClient(transport=connection))
    verifier.start()
    await asyncio.wait_for(connection.asked.wait(), 5)

    async with asyncio.timeout(5):
        await verifier.close()
    assert connection.lost
