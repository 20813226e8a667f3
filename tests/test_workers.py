"""Several processes on one ledger: only PostgreSQL takes them. Stopped, replaced and killed while clients go on."""

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from events.postgres_store import PostgresStore
from tests.check import check
from tests.conftest import PASSWORD
from tests.ports import free_port
from tests.processes import PATIENCE, Child, Place

HOLDERS = 6


@pytest.fixture
def place(postgres_store: PostgresStore, tmp_path: Path) -> Place:
    return Place(tmp_path, postgres_store, LEDGER_WORKERS="2", LEDGER_METRICS_PORT=str(free_port()))


class Holder:
    """An application's client: after a lost answer it asks again, with the same token, for as long as it takes."""

    def __init__(self, place: Place, signed_in: dict[str, str]) -> None:
        self.place = place
        self.family = signed_in["family_id"]
        self.token = signed_in["refresh_token"]
        self.rotations = 0
        self.refused: list[str] = []
        self.lost = 0

    async def go_on(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            async with httpx.AsyncClient(base_url=self.place.url, trust_env=False, timeout=10) as http:
                await self._some(http, stop)

    async def _some(self, http: httpx.AsyncClient, stop: asyncio.Event) -> None:
        for _ in range(20):
            if stop.is_set():
                return
            try:
                answer = await http.post("/auth/refresh", json={"refresh_token": self.token})
            except httpx.TransportError:
                self.lost += 1
                await asyncio.sleep(0.05)
                return
            if answer.status_code == 503:
                await asyncio.sleep(0.05)
            elif answer.status_code == 200:
                self.token, self.rotations = answer.json()["refresh_token"], self.rotations + 1
            else:
                self.refused.append(answer.text)


@asynccontextmanager
async def under_load(place: Place) -> AsyncIterator[list[Holder]]:
    """Holders that refresh until this is left; then none of them was refused, and what they hold is what is stored."""
    async with httpx.AsyncClient(base_url=place.url, trust_env=False, timeout=20) as http:
        asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
        one = [Holder(place, (await http.post("/auth/login", json=asked)).json()) for _ in range(HOLDERS)]
    stop = asyncio.Event()
    going = [asyncio.create_task(each.go_on(stop)) for each in one]
    for _ in range(int(PATIENCE / 0.1)):  # however slow the machine is, all of them are under way
        await asyncio.sleep(0.1)
        if min(each.rotations for each in one) > 3:
            break
    yield one
    stop.set()
    await asyncio.gather(*going)
    assert [] == [text for each in one for text in each.refused]
    assert min(each.rotations for each in one) > 3


async def got(url: str) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        return (await http.get(url)).raise_for_status().text


def workers_of(child: Child) -> list[int]:
    """The processes that serve; beside them Python keeps one that tracks resources."""
    found = subprocess.run(
        ["ps", "-ww", "--ppid", str(child.process.pid), "-o", "pid=,args="], capture_output=True, text=True, check=True
    )
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line]


async def until_there_are(child: Child, wanted: int, beside: set[int]) -> set[int]:
    """Wait for so many workers that are none of those."""
    deadline = time.monotonic() + 40
    while len(set(workers_of(child)) - beside) < wanted or set(workers_of(child)) & beside:
        assert time.monotonic() < deadline, (workers_of(child), beside, child.err)
        await asyncio.sleep(0.1)
    return set(workers_of(child))


async def test_workers_share_one_ledger_and_their_numbers_are_one_answer(place: Place) -> None:
    with place.serving() as child:
        async with under_load(place) as holders:
            await asyncio.sleep(1)
        text = await got(f"http://127.0.0.1:{place.settings['LEDGER_METRICS_PORT']}/metrics")
        assert 2 == len(workers_of(child))
        child.signal(signal.SIGTERM)
        ended = await asyncio.to_thread(child.ended)

    counted = re.findall(r'verdicts_total{route="/auth/refresh",verdict="(?:rotated|retried)"} ([0-9.]+)', text)
    assert sum(each.rotations for each in holders) == sum(map(float, counted))
    assert 0 == ended.status
    assert "Traceback" not in ended.out + ended.err
    check(place.store, place.folder / "checkpoints")


async def test_workers_are_replaced_one_after_the_other_and_nobody_is_refused(place: Place) -> None:
    with place.serving() as child:
        before = set(workers_of(child))
        async with under_load(place):
            child.signal(signal.SIGHUP)
            after = await until_there_are(child, 2, before)
            await asyncio.sleep(0.5)
        assert (2, set()) == (len(after), after & before)
        await got(f"{place.url}/health/ready")

    check(place.store, place.folder / "checkpoints")


async def test_a_worker_that_is_killed_is_replaced_and_nothing_acknowledged_is_lost(place: Place) -> None:
    with place.serving() as child:
        victim, other = workers_of(child)
        async with under_load(place) as holders:
            os.kill(victim, signal.SIGKILL)
            await until_there_are(child, 2, {victim})
            await asyncio.sleep(0.5)
        assert other in workers_of(child)

    held = sum(each.rotations for each in holders)
    assert held > 0
    check(place.store, place.folder / "checkpoints")


async def test_a_stop_under_load_answers_or_commits_everything(place: Place) -> None:
    with place.serving() as child:
        async with under_load(place):
            await asyncio.sleep(0.5)
            child.signal(signal.SIGTERM)
            ended = await asyncio.to_thread(child.ended)
            with place.serving():
                await asyncio.sleep(1)

    assert 0 == ended.status
    check(place.store, place.folder / "checkpoints")


def test_what_keeps_a_worker_from_serving_is_one_sentence(place: Place) -> None:
    place.done("migrate")
    ended = place.run("serve", LEDGER_GEO_DATABASES="/nowhere.mmdb")

    assert 2 == ended.status
    assert "/nowhere.mmdb" in ended.err
    assert "Traceback" not in ended.out + ended.err


def test_sqlite_takes_one_process_and_says_why(tmp_path: Path) -> None:
    ended = Place(tmp_path).run("serve", "--workers", "2")

    assert (2, "Set LEDGER_WORKERS to 1, because on SQLite only one process may serve a ledger.") == (
        ended.status,
        ended.err.strip(),
    )
