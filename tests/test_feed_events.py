"""The audit log for programs: pages, cursors, formats, whose events one sees, and the stream."""

import asyncio
import csv
import io
import json
from typing import Any

import httpx
import pytest

import app
from api import streams
from tests.applications import application, issued_to, own_token
from tests.test_feed_revocations import messages
from tests.visitors import bearer, code, sign_in, stream_of

FEED = "/v1/events"


async def reader(service: app.Service, http: httpx.AsyncClient, name: str = "siem", **policy: Any) -> dict[str, str]:
    given = {"scopes": "events:read", "operator": 1} | policy
    return bearer(await own_token(http, await application(service, name, **given)))


async def read(http: httpx.AsyncClient, headers: dict[str, str], **query: Any) -> dict[str, Any]:
    answer = await http.get(FEED, headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert {"events", "query", "bound_added", "after", "before"} == set(found)
    return found


def types(found: dict[str, Any]) -> list[str]:
    return [one["type"] for one in found["events"]]


async def test_the_newest_events_that_match_come_first(service: app.Service, http: httpx.AsyncClient) -> None:
    headers = await reader(service, http)
    session = await sign_in(http)
    await service.families.revoke(stream_of(session["family_id"]), "cli", "stolen_token")

    told = await read(http, headers, q=f"family:{session['family_id']}")

    assert ["family.revoked", "token.issued"] == types(told)
    newest = told["events"][0]
    assert (session["family_id"], "stolen_token", "cli") == (newest["family"], newest["reason"], newest["actor"])
    assert newest["body"]["reason"] == "stolen_token"
    assert told["before"] is None


async def test_cursors_lead_through_everything_once_in_both_directions(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    headers = await reader(service, http)
    for _ in range(3):
        await sign_in(http)
    everything = [one["position"] for one in (await read(http, headers, limit=1000))["events"]]

    older, before = [], None
    while True:
        part = await read(http, headers, limit=4, **({"before": before} if before else {}))
        older += [one["position"] for one in part["events"]]
        before = part["before"]
        if not before:
            break
    newer, after = [], "start"
    while part := await read(http, headers, limit=4, after=after):
        newer += [one["position"] for one in part["events"]]
        after = part["after"]
        if not part["events"]:
            break

    assert list(range(len(everything)))[::-1] == everything == older
    assert everything[::-1] == newer


async def test_who_follows_learns_of_what_is_committed_later_and_misses_nothing_while_away(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    headers = await reader(service, http)
    place = (await read(http, headers, q="type:token.issued"))["after"]
    nothing = await read(http, headers, q="type:token.issued", after=place)

    one, two = await sign_in(http), await sign_in(http)
    told = await read(http, headers, q="type:token.issued", after=nothing["after"])
    again = await read(http, headers, q="type:token.issued", after=told["after"])

    assert [] == nothing["events"]
    assert [one["family_id"], two["family_id"]] == [event["family"] for event in told["events"]]
    assert [] == again["events"]
    assert not told["bound_added"]


async def test_a_client_sees_events_of_its_own_only_unless_it_is_an_operator(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    own = bearer(await own_token(http, await application(service, "shop", scopes="events:read orders")))
    everybodys = await reader(service, http)
    foreign, mine = await sign_in(http), await issued_to(service, "shop")

    seen = await read(http, own, q="type:token.issued")
    asked_for = await read(http, own, q=f"family:{foreign['family_id']}")
    everything = await read(http, everybodys, q="type:token.issued")

    assert ["shop"] == [one["client"] for one in seen["events"]]
    assert [] == asked_for["events"]
    assert {"shop", "web"} == {one["client"] for one in everything["events"]}
    assert mine.family.client == "shop"


@pytest.mark.parametrize("how", ["accept", "format"])
async def test_the_same_page_as_json_ndjson_and_csv(service: app.Service, http: httpx.AsyncClient, how: str) -> None:
    headers = await reader(service, http)
    await sign_in(http)
    media = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}

    found = {}
    for name, kind in media.items():
        wanted = headers | ({"Accept": f"{kind}, */*"} if how == "accept" else {})
        query = {"limit": 3} | ({"format": name} if how == "format" else {})
        found[name] = await http.get(FEED, params=query, headers=wanted)

    as_json = found["json"].json()
    lines = [json.loads(line) for line in found["ndjson"].text.splitlines()]
    table = list(csv.DictReader(io.StringIO(found["csv"].text)))
    assert [media[name] for name in media] == [one.headers["content-type"].split(";")[0] for one in found.values()]
    assert as_json["events"] == lines
    assert [str(one["position"]) for one in lines] == [row["position"] for row in table]
    assert f'<?before={as_json["before"]}>; rel="next"' in found["csv"].headers["link"]
    assert f'<?after={as_json["after"]}>; rel="prev"' in found["ndjson"].headers["link"]


async def test_what_cannot_be_asked_is_refused(service: app.Service, http: httpx.AsyncClient) -> None:
    headers = await reader(service, http)
    place = (await read(http, headers))["after"]

    async def asked(**query: Any) -> tuple[int, str]:
        return code(await http.get(FEED, headers=headers, params=query))

    assert (422, "bad_filter") == await asked(q="nonsense:1")
    assert (400, "invalid_request") == await asked(limit=0)
    assert (400, "invalid_request") == await asked(limit=1001)
    assert (400, "invalid_request") == await asked(limit="x")
    assert (400, "invalid_request") == await asked(format="xml")
    assert (400, "invalid_request") == await asked(after=place, before=place)
    assert (400, "invalid_request") == await asked(after="7")
    assert (422, "bad_filter") == code(await http.get(f"{FEED}/stream", headers=headers, params={"q": "nonsense:1"}))


@pytest.mark.parametrize("path", [FEED, f"{FEED}/stream"])
async def test_the_log_takes_a_token_with_its_scope(service: app.Service, http: httpx.AsyncClient, path: str) -> None:
    other = await application(service, "other", scopes="revocations:read")
    users = (await sign_in(http))["access_token"]

    too_little = await http.get(path, headers=bearer(await own_token(http, other)))

    assert (401, "invalid_token") == code(await http.get(path))
    assert (401, "invalid_token") == code(await http.get(path, headers=bearer(users)))
    assert 403 == too_little.status_code


async def test_no_name_is_in_the_answer(service: app.Service, http: httpx.AsyncClient) -> None:
    headers = await reader(service, http)
    await service.subjects.register("alice", "maple-copper-heron-57-violin", "", "cli")

    told = json.dumps(await read(http, headers, limit=1000))

    assert "subject.registered" in told
    assert "alice" not in told


async def test_the_stream_tells_what_matches_from_now_on_and_resumes(
    service: app.Service, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SECONDS", 2.0)
    headers = await reader(service, http)
    await sign_in(http)

    streaming = asyncio.create_task(http.get(f"{FEED}/stream", headers=headers, params={"q": "type:token.issued"}))
    await asyncio.sleep(0.5)
    during = await sign_in(http)
    told = messages((await streaming).text)
    after = [await sign_in(http) for _ in range(3)]
    again = headers | {"Last-Event-ID": told[-1][0]}
    resumed = await http.get(f"{FEED}/stream", headers=again, params={"q": "type:token.issued"})

    assert [during["family_id"]] == [data["family"] for _, data in told]
    assert [one["family_id"] for one in after] == [data["family"] for _, data in messages(resumed.text)]


async def test_a_silent_stream_pings_and_moves_its_cursor(
    service: app.Service, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SECONDS", 1.5)
    monkeypatch.setattr(streams, "PING", 0.4)
    headers = await reader(service, http)
    asked = asyncio.create_task(http.get(f"{FEED}/stream", headers=headers, params={"q": "type:family.expired"}))
    await asyncio.sleep(0.3)
    await sign_in(http)

    text = (await asked).text

    ids = [line for line in text.split("\n") if line.startswith("id: ")]
    assert ": still here" in text
    assert ids[0] != ids[-1]
    assert "data:" not in text


async def test_a_stream_ends_when_the_service_stops(service: app.Service, http: httpx.AsyncClient) -> None:
    headers = await reader(service, http)
    asked = asyncio.create_task(http.get(f"{FEED}/stream", headers=headers))
    await asyncio.sleep(0.4)

    service.stopping.set()

    async with asyncio.timeout(2):
        assert 200 == (await asked).status_code
