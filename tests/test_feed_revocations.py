"""The revocation feed: what is in it and for whom, cursors, waiting, streams, and who has caught up."""

import asyncio
import json
import sqlite3
import time
from datetime import datetime
from typing import Any

import httpx
import pytest
from sqlalchemy.dialects import sqlite

import app
from api import streams
from core.issued import Present
from core.recovery import recover
from core.revocations import FRESH
from events import cursor, revocations
from events.cursor import Unread
from events.revocations import RevocationReader
from events.sqlite_store import SqliteStore
from events.verifiers import MOST, Verifier, VerifierReader, heard
from tests.applications import application, issued_to, own_token
from tests.visitors import bearer, code, let_pass, sign_in, stream_of

FEED = "/v1/revocations"
STATED = {"revocations", "cursor", "more", "as_of", "issued_before"}


async def follower(
    service: app.Service, http: httpx.AsyncClient, name: str = "orders", **policy: Any
) -> dict[str, str]:
    """The headers of a resource server that sees everything, unless said otherwise."""
    given = {"scopes": "revocations:read", "operator": 1} | policy
    return bearer(await own_token(http, await application(service, name, **given)))


async def read(http: httpx.AsyncClient, headers: dict[str, str], **query: Any) -> dict[str, Any]:
    answer = await http.get(FEED, headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert STATED == set(found)
    return found


async def end(service: app.Service, family_id: str, reason: str = "stolen_token") -> None:
    await service.families.revoke(stream_of(family_id), "cli", reason)


async def test_an_entry_says_which_session_why_and_until_when_its_tokens_may_be_alive(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    headers = await follower(service, http)
    session = await sign_in(http)
    present = await service.families.authenticate(session["access_token"])
    assert isinstance(present, Present)

    await end(service, session["family_id"])
    told = await read(http, headers)

    (entry,) = told["revocations"]
    assert ("session", session["family_id"], "stolen_token") == (entry["kind"], entry["sid"], entry["reason"])
    assert present.claims.exp == datetime.fromisoformat(entry["until"]).timestamp()
    assert entry["at"].endswith("Z")
    assert {"kind", "at", "reason", "until", "sid"} == set(entry)
    assert (False, None) == (told["more"], told["issued_before"])


async def test_a_cursor_leads_to_what_came_behind_it_and_to_nothing_twice(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    headers = await follower(service, http)
    first, second = await sign_in(http), await sign_in(http)

    await end(service, first["family_id"])
    once = await read(http, headers)
    nothing = await read(http, headers, after=once["cursor"])
    await end(service, second["family_id"])
    behind = await read(http, headers, after=nothing["cursor"])

    assert [first["family_id"]] == [one["sid"] for one in once["revocations"]]
    assert [] == nothing["revocations"]
    assert [second["family_id"]] == [one["sid"] for one in behind["revocations"]]


@pytest.mark.alone
async def test_a_long_poll_is_answered_when_something_is_revoked(service: app.Service, http: httpx.AsyncClient) -> None:
    headers = await follower(service, http)
    session = await sign_in(http)
    before = await read(http, headers)

    waiting = asyncio.create_task(read(http, headers, after=before["cursor"], wait=15))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    began = time.monotonic()
    await end(service, session["family_id"])
    told = await waiting

    assert [session["family_id"]] == [one["sid"] for one in told["revocations"]]
    assert time.monotonic() - began < 1.5


@pytest.mark.alone
async def test_a_long_poll_that_nothing_answers_ends_and_says_how_fresh_it_is(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    headers = await follower(service, http)
    before = await read(http, headers)
    await sign_in(http)  # an event, but nothing to refuse

    began = time.monotonic()
    told = await read(http, headers, after=before["cursor"], wait=1)

    assert 0.9 < time.monotonic() - began < 3
    assert [] == told["revocations"]
    assert before["as_of"] < told["as_of"]


@pytest.mark.alone
async def test_waiting_ends_when_the_service_stops(service: app.Service, http: httpx.AsyncClient) -> None:
    headers = await follower(service, http)
    before = await read(http, headers)

    waiting = asyncio.create_task(read(http, headers, after=before["cursor"], wait=15))
    await asyncio.sleep(0.3)
    began = time.monotonic()
    service.stopping.set()
    await waiting

    assert time.monotonic() - began < 1


async def test_many_who_wait_share_one_look_at_the_log(
    service: app.Service, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = await follower(service, http)
    before = await read(http, headers)
    looks = 0
    newest = RevocationReader.newest

    async def counted(self: RevocationReader) -> int:
        nonlocal looks
        looks += 1
        return await newest(self)

    monkeypatch.setattr(RevocationReader, "newest", counted)
    # the door was made before: its watch holds the method that it was given
    http._transport.app.app.state.door.revocations._watch._look = counted.__get__(RevocationReader(service.engine))  # type: ignore[attr-defined]

    await asyncio.gather(*(read(http, headers, after=before["cursor"], wait=1) for _ in range(20)))

    assert looks <= 8


async def test_an_entry_goes_when_its_tokens_have_expired_and_a_minute_has_passed(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    told = await application(service, "orders", scopes="revocations:read", operator=1)
    session = await sign_in(http)
    await end(service, session["family_id"])

    let_pass(service, 955)
    there = await read(http, bearer(await own_token(http, told)))
    let_pass(service, 965)
    gone = await read(http, bearer(await own_token(http, told)))

    assert [session["family_id"]] == [one["sid"] for one in there["revocations"]]
    assert [] == gone["revocations"]


async def test_a_revoked_signing_key_is_in_the_feed_for_everybody(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    told = await application(service, "orders", scopes="revocations:read")
    kid = service.keys.signing.kid

    await service.keys.revoke(kid, "compromised", "cli")
    entries = (await read(http, bearer(await own_token(http, told))))["revocations"]

    assert [("key", kid, "compromised")] == [(one["kind"], one["kid"], one["reason"]) for one in entries]


async def test_tokens_that_a_client_gave_up_are_in_the_feed(service: app.Service, http: httpx.AsyncClient) -> None:
    machine = await application(service, "machine", scopes="things")
    headers = await follower(service, http)
    token = await own_token(http, machine)

    await http.post("/oauth/revoke", data={"token": token}, auth=machine.basic)
    (entry,) = (await read(http, headers))["revocations"]

    assert ("client", "machine", "access_revoked") == (entry["kind"], entry["client_id"], entry["reason"])


async def test_a_client_sees_its_own_sessions_only_unless_it_is_an_operator(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    own = await application(service, "shop", scopes="revocations:read orders")
    all_of_them = await follower(service, http)
    foreign, mine = await sign_in(http), await issued_to(service, "shop")
    await end(service, foreign["family_id"])
    await service.families.revoke(mine.family.id, "cli", "lost_device")

    seen = await read(http, bearer(await own_token(http, own)))
    everything = await read(http, all_of_them)

    assert ["lost_device"] == [one["reason"] for one in seen["revocations"]]
    assert ["stolen_token", "lost_device"] == [one["reason"] for one in everything["revocations"]]


@pytest.mark.parametrize("path", [FEED, f"{FEED}/stream"])
async def test_the_feed_takes_a_token_with_its_scope(service: app.Service, http: httpx.AsyncClient, path: str) -> None:
    other = await application(service, "other", scopes="events:read")
    users = (await sign_in(http))["access_token"]

    too_little = await http.get(path, headers=bearer(await own_token(http, other)))

    assert (401, "invalid_token") == code(await http.get(path))
    assert (401, "invalid_token") == code(await http.get(path, headers=bearer(users)))
    assert (403, "insufficient_scope") == (too_little.status_code, too_little.json()["code"])


async def test_more_than_one_answer_holds_comes_in_several(service: app.Service, http: httpx.AsyncClient) -> None:
    reader = RevocationReader(service.engine)
    sessions = [await sign_in(http) for _ in range(5)]
    for one in sessions:
        await end(service, one["family_id"])

    found, given, rounds = [], None, 0
    while True:
        part = await reader.after(given, service.writer.now(), limit=2)
        assert not isinstance(part, Unread)
        found += [one.name for one in part.entries]
        given, rounds = part.cursor, rounds + 1
        if not part.more:
            break

    assert [one["family_id"] for one in sessions] == found
    assert 3 == rounds


async def test_a_cursor_of_before_a_recovery_is_gone(service: app.Service, http: httpx.AsyncClient) -> None:
    told = await application(service, "orders", scopes="revocations:read events:read", operator=1)
    session = await sign_in(http)
    before = (await read(http, bearer(await own_token(http, told))))["cursor"]
    await service.checkpointing.run()
    signed = service.checkpointing.signed()
    assert signed is not None
    store = service.checkpointing.store
    await recover(service.ledger, service.history, store, signed, keep_sessions=False, actor="cli")
    headers = bearer(await own_token(http, told))

    answers = [
        await http.get(FEED, headers=headers, params={"after": before}),
        await http.get(f"{FEED}/stream", headers=headers | {"Last-Event-ID": before}),
        await http.post(f"{FEED}/ack", headers=headers, json={"verifier": "one", "cursor": before}),
        await http.get("/v1/events", headers=headers, params={"after": before}),
        await http.get("/v1/events/stream", headers=headers, params={"after": before}),
    ]
    anew = await read(http, headers)

    assert [(410, "cursor_gone")] * 5 == [code(one) for one in answers]
    issued = (await service.history.after(-1, 5000))[-1].at
    assert issued // 1_000_000 == datetime.fromisoformat(anew["issued_before"]).timestamp()
    assert session["family_id"]


async def test_what_is_no_cursor_is_refused(service: app.Service, http: httpx.AsyncClient) -> None:
    headers = await follower(service, http)

    for given in ("1", "é" * 20, "A" * 21, "-" * 19):
        assert (400, "invalid_request") == code(await http.get(FEED, headers=headers, params={"after": given}))


def test_a_cursor_is_good_for_its_own_log_only() -> None:
    text = cursor.text("one", 41)

    assert 41 == cursor.read(text, "one", 42)
    assert Unread.FORMER is cursor.read(text, "one", 41)
    assert Unread.FORMER is cursor.read(text, "two", 42)
    assert -1 == cursor.read(cursor.text("one", -1), "one", 0)


def messages(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a stream that has ended: id and data."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in lines:
            found.append((lines["id"], json.loads(lines["data"])))
    return found


async def test_a_stream_begins_with_everything_goes_on_and_ends_by_itself(
    service: app.Service, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SECONDS", 1.5)
    headers = await follower(service, http)
    first, second, third = [await sign_in(http) for _ in range(3)]
    await end(service, first["family_id"])

    streaming = asyncio.create_task(http.get(f"{FEED}/stream", headers=headers))
    await asyncio.sleep(0.5)
    await end(service, second["family_id"])
    streamed = await streaming
    told = messages(streamed.text)
    await end(service, third["family_id"])
    resumed = await http.get(f"{FEED}/stream", headers=headers | {"Last-Event-ID": told[-1][0]})

    assert "text/event-stream" in streamed.headers["content-type"]
    assert "no" == streamed.headers["x-accel-buffering"]
    assert [first["family_id"], second["family_id"]] == [one["sid"] for _, data in told for one in data["revocations"]]
    assert [third["family_id"]] == [one["sid"] for _, data in messages(resumed.text) for one in data["revocations"]]


async def test_a_silent_stream_says_that_it_is_still_there(
    service: app.Service, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SECONDS", 1.2)
    monkeypatch.setattr(streams, "PING", 0.3)
    headers = await follower(service, http)

    told = messages((await http.get(f"{FEED}/stream", headers=headers)).text)

    assert 3 <= len(told) <= 6
    assert sorted(data["as_of"] for _, data in told) == [data["as_of"] for _, data in told]


async def test_one_client_cannot_hold_all_connections(
    service: app.Service, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST", 2)
    headers = await follower(service, http)
    before = await read(http, headers)

    waiting = [asyncio.create_task(read(http, headers, after=before["cursor"], wait=1)) for _ in range(2)]
    await asyncio.sleep(0.2)
    crowded = await http.get(f"{FEED}/stream", headers=headers)
    await asyncio.gather(*waiting)

    assert (429, "too_many_streams") == code(crowded)
    assert "5" == crowded.headers["retry-after"]
    assert 200 == (await http.get(FEED, headers=headers)).status_code


@pytest.mark.parametrize("path", [f"{FEED}/stream", "/v1/events/stream"])
async def test_many_streams_that_are_asked_for_at_once_are_not_more_than_there_may_be(
    service: app.Service, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(streams, "MOST", 2)
    monkeypatch.setattr(streams, "SECONDS", 1.0)
    reader = await application(service, "reader", scopes="revocations:read events:read", operator=1)
    headers = bearer(await own_token(http, reader))

    answers = await asyncio.gather(*(http.get(path, headers=headers) for _ in range(8)))

    served = [one for one in answers if one.status_code == 200 and one.content != streams.FULL]
    assert 2 == len(served)
    assert {"retry: 5000\n\n"} >= {one.text for one in answers if one.status_code == 200 and one not in served}
    assert 200 == (await http.get(FEED, headers=headers)).status_code, "the places are free again"


async def said(http: httpx.AsyncClient, headers: dict[str, str], verifier: str, place: str) -> int:
    answer = await http.post(f"{FEED}/ack", headers=headers, json={"verifier": verifier, "cursor": place})
    return answer.status_code


async def test_verifiers_that_say_how_far_they_are_have_caught_up_or_not(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    headers = await follower(service, http)
    session = await sign_in(http)
    before = (await read(http, headers))["cursor"]
    await end(service, session["family_id"])
    after = (await read(http, headers))["cursor"]
    revoked = await service.history.newest()

    assert [204, 204] == [await said(http, headers, "a", after), await said(http, headers, "b", before)]
    one = await app.revocations_of(service).caught_up(revoked)
    await said(http, headers, "b", after)
    both = await app.revocations_of(service).caught_up(revoked)

    assert (["a", "b"], ["b"]) == ([v.name for v in one.known], [v.name for v in one.behind])
    assert [] == both.behind
    assert {"orders"} == {v.client for v in both.known}


async def test_a_verifier_that_falls_silent_does_not_count_for_long(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    headers = await follower(service, http)
    await said(http, headers, "a", (await read(http, headers))["cursor"])

    let_pass(service, FRESH / 1_000_000 + 1)

    assert [] == (await app.revocations_of(service).caught_up(0)).known


async def test_many_verifiers_that_speak_together_are_all_heard(service: app.Service, http: httpx.AsyncClient) -> None:
    headers = await follower(service, http)
    place = (await read(http, headers))["cursor"]

    statuses = await asyncio.gather(*(said(http, headers, f"v{number}", place) for number in range(40)))

    assert {204} == set(statuses)
    assert 40 == len((await app.revocations_of(service).caught_up(0)).known)


async def test_only_so_many_verifiers_of_a_client_are_kept(service: app.Service) -> None:
    await service.writer.maintain(heard([Verifier("a", f"{n:05}", 1, 5_000_000 + n) for n in range(MOST + 5)]))
    await service.writer.maintain(heard([Verifier("b", "other", 1, 5_000_000)]))

    kept = await VerifierReader(service.engine).heard_since(0)

    assert MOST + 1 == len(kept)
    assert "00005" == kept[0].name


async def test_a_verifier_has_a_short_plain_name(service: app.Service, http: httpx.AsyncClient) -> None:
    headers = await follower(service, http)
    place = (await read(http, headers))["cursor"]

    assert [400] * 5 == [await said(http, headers, name, place) for name in ("", "a b", "x" * 65, "a\n", "é")]


@pytest.mark.parametrize("client", [None, "web"])
def test_the_feed_goes_along_the_few_that_were_revoked(sqlite_store: SqliteStore, client: str | None) -> None:
    entries = revocations._entries(5, 100, client, 1001)
    query = entries.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})

    with sqlite3.connect(sqlite_store.database) as connection:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    connection.close()

    found = [step for step in steps if step.startswith(("SEARCH events", "SCAN events"))]
    assert ["SEARCH events USING INDEX events_type (type=? AND rowid>?)"] * 4 == found
