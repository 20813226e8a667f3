"""The feeds over a real port: what is sent arrives at once, and open answers do not hold up a service that stops."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.store import Store
from tests.kit import Served, own_token

FEED = "/v1/revocations"


@pytest.fixture
def served(tmp_path: Path, store: Store) -> Served:
    return Served(tmp_path, store)


def token(served: Served) -> dict[str, str]:
    return {"Authorization": f"Bearer {own_token(served).json()['access_token']}"}


def told(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_a_revocation_reaches_an_open_stream_at_once(served: Served) -> None:
    with served.serving(), httpx.Client(base_url=served.place.url, trust_env=False, timeout=10) as http:
        session = served.sign_in()
        with http.stream("GET", f"{FEED}/stream", headers=token(served)) as response:
            messages = told(response)
            snapshot = next(messages)
            killing = threading.Thread(target=served.kill, args=(session,))
            killing.start()
            entry = next(one for one in messages if one["revocations"])
            arrived = time.monotonic()
            killing.join()
            committed = time.monotonic()

    assert [] == snapshot["revocations"]
    assert [session.family_id] == [one["sid"] for one in entry["revocations"]]
    assert arrived - committed < 1


def test_a_service_with_open_answers_stops_quickly(served: Served) -> None:
    ended: list[float] = []

    def hold(path: str, headers: dict[str, str]) -> None:
        with httpx.Client(base_url=served.place.url, trust_env=False, timeout=30) as http:
            try:
                with http.stream("GET", path, headers=headers) as response:
                    response.read()
            except httpx.TransportError:
                pass
        ended.append(time.monotonic())

    with served.serving():
        headers = token(served)
        cursor = httpx.get(f"{served.place.url}{FEED}", headers=headers, trust_env=False).json()["cursor"]
        paths = [f"{FEED}/stream", f"{FEED}?after={cursor}&wait=20"] * 3
        holding = [threading.Thread(target=hold, args=(path, headers)) for path in paths]
        for one in holding:
            one.start()
        time.sleep(1)
        began = time.monotonic()
    for one in holding:
        one.join()

    assert 6 == len(ended)
    assert max(ended) - began < 5
