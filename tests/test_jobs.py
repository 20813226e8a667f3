"""What runs beside the requests: the sweeper ends what has lapsed, jobs outlive their failures, readiness is proved."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import app
from core import jobs
from core.jobs import Count, Job, Sweeper
from core.policy import Policy
from core.verdict import Verdict
from events import sqlite
from events.client import Client, ClientUpdated, stream_of
from events.clients import read_clients
from events.decision import Change, Decision, Moment, States, Streams
from events.families import FamilyReader
from events.ledger import Ledger, Unavailable
from events.sqlite_store import SqliteStore
from events.store import Store
from tests import holders, tables
from tests.check import check, events_of, family_rows
from tests.conftest import TestClock

DAY = 86_400


class House:
    """A ledger with people, its readers and its sweeper, under the test's clock."""

    def __init__(self, store: Store, clock: TestClock) -> None:
        self.store, self.clock = store, clock
        self.engine = store.readers()
        self.reader = FamilyReader(self.engine)
        self.policies: dict[str, Client] = {}
        self.open()

    def open(self) -> None:
        self.writer = self.store.writer(self.clock.clock)
        self.ledger = Ledger(self.writer)
        self.sweeper = Sweeper(self.ledger, self.reader, Policy(), self.now, self.policies.get)

    async def restart(self) -> None:
        """A new process, which has done nothing yet."""
        await self.ledger.close()
        self.open()

    def now(self) -> int:
        return int(self.clock.wall_now * 1_000_000)

    async def close(self) -> None:
        await self.ledger.close()
        await self.engine.dispose()

    def statuses(self) -> dict[bytes, tuple[str, str]]:
        return {row.id: (row.status, row.ended_reason) for row in family_rows(self.store).values()}

    async def client_was(self, fact: ClientUpdated) -> None:
        """The policy of `web`, as the sweeper and the rules see it from now on."""

        stream = stream_of(fact.client)

        def decide(_states: States, _moment: Moment) -> Decision:
            return Decision(None, (Change(stream, fact),))

        await self.ledger.submit(Streams(clients=frozenset((stream,))), decide)
        self.policies = {one.client: one for one in await read_clients(self.engine)}
        self.sweeper = Sweeper(self.ledger, self.reader, Policy(), self.now, self.policies.get)


@pytest.fixture
async def house(store: Store, clock: TestClock) -> AsyncIterator[House]:
    built = House(store, clock)
    await holders.people(built.ledger)
    yield built
    await built.close()
    check(store)


async def test_the_sweeper_ends_idle_and_over_aged_families_and_spares_those_in_use(house: House) -> None:
    idle = await holders.begin(house.ledger)
    used = await holders.begin(house.ledger)
    for _ in range(5):
        house.clock.pass_(6 * DAY)
        answer = await holders.refresh(house.ledger, used, arrived=house.clock.monotonic_now)
        if answer.verdict is Verdict.ROTATED:
            used = holders.successor(used, answer)
    fresh = await holders.begin(house.ledger)

    assert 1 == await house.sweeper.run()
    assert {
        idle.family: ("expired", "absolute"),
        used.family: ("expired", "absolute"),
        fresh.family: ("living", ""),
    } == house.statuses()


async def test_the_sweeper_says_idle_where_it_was_idleness(house: House) -> None:
    idle = await holders.begin(house.ledger)
    house.clock.pass_(7 * DAY + 1)

    assert 1 == await house.sweeper.run()
    assert {idle.family: ("expired", "idle")} == house.statuses()
    assert "system" == events_of(house.store)[-1].actor


async def test_a_second_before_the_limit_nothing_ends(house: House) -> None:
    await holders.begin(house.ledger)
    house.clock.pass_(7 * DAY - 1)

    assert 0 == await house.sweeper.run()


async def test_the_sweeper_goes_by_todays_policy_of_the_client(house: House) -> None:
    await holders.begin(house.ledger)
    house.clock.pass_(3600)
    assert 0 == await house.sweeper.run()

    await house.client_was(ClientUpdated(actor="cli", client="web", idle_ttl=1800))

    assert 1 == await house.sweeper.run()


async def test_the_sweeper_does_not_ask_again_and_again_for_a_client_that_allows_more(house: House) -> None:
    await house.client_was(ClientUpdated(actor="cli", client="web", idle_ttl=20 * DAY, absolute_ttl=90 * DAY))
    await holders.begin(house.ledger)
    house.clock.pass_(10 * DAY)
    before = house.ledger.batches

    assert 0 == await house.sweeper.run()
    assert before == house.ledger.batches


async def test_many_families_end_in_few_commits(house: House) -> None:
    await asyncio.gather(*(holders.begin(house.ledger) for _ in range(100)))
    house.clock.pass_(8 * DAY)
    before = house.ledger.batches

    assert 100 == await house.sweeper.run()
    assert 2 == house.ledger.batches - before


async def test_the_sweeper_goes_round_in_slices(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SWEEP_SLICE", 4)
    await asyncio.gather(*(holders.begin(house.ledger) for _ in range(10)))
    house.clock.pass_(8 * DAY)

    assert [4, 4, 2, 0] == [await house.sweeper.run() for _ in range(4)]


async def test_a_family_that_was_used_after_it_was_read_lives_on(house: House) -> None:
    token = await holders.begin(house.ledger)
    house.clock.pass_(7 * DAY - 5)
    ahead = Sweeper(house.ledger, house.reader, Policy(), lambda: house.now() + 60_000_000)

    assert 0 == await ahead.run()
    answer = await holders.refresh(house.ledger, token, arrived=house.clock.monotonic_now)
    assert Verdict.ROTATED is answer.verdict


# Jobs and their failures


async def test_a_job_that_fails_is_logged_and_runs_again() -> None:
    runs: list[Exception] = [Unavailable(), OSError("/secret/path"), ZeroDivisionError()]
    done = asyncio.Event()

    async def work() -> None:
        if runs:
            raise runs.pop(0)
        done.set()

    with capture_logs() as lines:
        job = asyncio.create_task(jobs.every(Job("checkpoint", 0.001, work)))
        await asyncio.wait_for(done.wait(), 5)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)

    assert [("job_postponed", "checkpoint"), ("job_failed", "checkpoint"), ("job_failed", "checkpoint")] == [
        (line["event"], line["job"]) for line in lines
    ]
    assert "/secret/path" not in str(lines)


async def test_a_job_whose_run_loses_the_cancel_ends_all_the_same() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        with suppress(asyncio.CancelledError):  # as asyncio.wait_for of Python 3.11 does where the answer has come
            await asyncio.sleep(60)

    job = asyncio.create_task(jobs.every(Job("checkpoint", 0.001, work)))
    await asyncio.wait_for(begun.wait(), 5)
    job.cancel()
    ended, _ = await asyncio.wait({job}, timeout=5)
    assert {job} == ended


async def test_a_service_runs_each_of_its_jobs(service: app.Service) -> None:
    names = [job.name for job in service._table()]

    assert len(set(names)) == len(names)
    assert {"checkpoint", "expire families", "rotate keys", "expire contexts"} <= set(names)
    for job in service._table():
        await job.run()
    check(service.store)


# Who has just started cannot know that it can commit


async def moment_of(house: House) -> Moment:
    seen: list[Moment] = []

    def decide(_states: States, moment: Moment) -> Decision:
        seen.append(moment)
        return Decision(None)

    await house.ledger.submit(Streams(), decide, arrived=house.clock.monotonic_now)
    return seen[-1]


def written(store: Store) -> int:
    """What grows when something is written: the write-ahead log, or the number of the head's last writer."""
    if isinstance(store, SqliteStore):
        return store.database.with_name("ledger.db-wal").stat().st_size
    return int(tables.rows(store, "SELECT xmin::text::bigint FROM head")[0][0])


async def test_a_quiet_ledger_proves_that_it_can_commit_and_its_leeways_run_from_there(house: House) -> None:
    token = await holders.begin(house.ledger)
    await holders.refresh(house.ledger, token, arrived=house.clock.monotonic_now)
    await house.restart()
    await house.writer.maintain(lambda _connection: None)
    house.clock.pass_(3600)

    thief = await holders.refresh(house.ledger, token, arrived=house.clock.monotonic_now)

    assert Verdict.REUSED is thief.verdict, "the night after the restart is no leeway"


async def test_only_the_first_upkeep_has_to_prove_it(house: House) -> None:
    await house.restart()
    await house.writer.maintain(lambda _connection: None)
    proved, ready = written(house.store), (await moment_of(house)).ready
    house.clock.pass_(60)
    await house.writer.maintain(lambda _connection: None)

    assert (ready, proved) == ((await moment_of(house)).ready, written(house.store))
    assert 0 < proved


async def test_a_probe_proves_it_too(house: House) -> None:
    await house.restart()
    await house.ledger.probe()
    proved, first = written(house.store), await moment_of(house)
    house.clock.pass_(60)
    later = await moment_of(house)

    assert first.ready == later.ready < later.now - 59_000_000
    assert 0 < proved == written(house.store)


async def test_a_count_of_all_families_that_was_cut_off_is_not_begun_again_at_once(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    nothing_there = sqlite.read_engine(tmp_path / "ledger.db", 1)
    count = Count(FamilyReader(nothing_there))
    with pytest.raises(Unavailable):
        await count.run()

    assert math.isnan(await count.run())
    await nothing_there.dispose()
