"""What goes wrong with a server: only PostgreSQL has one. Nothing is decided twice, nobody is signed out by it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from core.policy import Policy
from core.verdict import Verdict
from events import migrate
from events.ledger import Ledger, Unavailable
from events.postgres_store import PostgresStore
from events.store import Store
from tests import holders
from tests.check import check, events_of
from tests.clusters import Cluster
from tests.databases import Server
from tests.tables import url_of
from tests.wires import Wire

STRICT = Policy(leeway=0)


def driver(store: Store) -> str:
    """What asyncpg itself takes."""
    return url_of(store).replace("+asyncpg", "")


@asynccontextmanager
async def opened(store: Store, leeway: int = -1) -> AsyncIterator[Ledger]:
    ledger = Ledger(store.writer())
    try:
        await holders.people(ledger, leeway)
        yield ledger
    finally:
        await ledger.close()


@pytest.fixture
def wire(postgres_store: PostgresStore) -> Iterator[Wire]:
    with Wire(url_of(postgres_store)) as one:
        yield one


def types(store: Store, stream: bytes) -> Counter[str]:
    return Counter(one.name for one in events_of(store) if one.stream == stream)


# The answer to COMMIT is lost


async def test_a_commit_whose_answer_is_lost_is_found_and_decided_once(
    postgres_store: PostgresStore, wire: Wire
) -> None:
    async with opened(PostgresStore(wire.url), leeway=0) as ledger:
        current = await holders.begin(ledger, STRICT)
        for _ in range(10):
            wire.swallow_commits = 1
            answer = await holders.refresh(ledger, current, STRICT)
            assert Verdict.ROTATED is answer.verdict
            current = holders.successor(current, answer)

    assert 10 == wire.cuts
    assert {"token.issued": 1, "token.rotated": 10} == types(postgres_store, current.family)
    check(postgres_store)


async def test_many_whose_answers_are_lost_together_all_get_their_successor(
    postgres_store: PostgresStore, wire: Wire
) -> None:
    async with opened(PostgresStore(wire.url), leeway=0) as ledger:
        tokens = [await holders.begin(ledger, STRICT) for _ in range(20)]
        wire.swallow_commits = 1
        answers = await asyncio.gather(*(holders.refresh(ledger, one, STRICT) for one in tokens))

    assert 1 == wire.cuts
    assert {Verdict.ROTATED: 20} == Counter(one.verdict for one in answers)
    check(postgres_store)


async def test_a_second_lost_answer_while_the_first_is_looked_into_changes_nothing(
    postgres_store: PostgresStore, wire: Wire
) -> None:
    async with opened(PostgresStore(wire.url), leeway=0) as ledger:
        first = await holders.begin(ledger, STRICT)
        wire.swallow_commits = 1
        going = asyncio.create_task(holders.refresh(ledger, first, STRICT))
        while not wire.cuts:  # noqa: ASYNC110 - it is the wire that counts
            await asyncio.sleep(0.001)
        wire.cut()
        answer = await going

    assert Verdict.ROTATED is answer.verdict
    assert {"token.issued": 1, "token.rotated": 1} == types(postgres_store, first.family)


async def test_what_was_not_committed_when_the_connection_broke_is_decided_again(
    postgres_store: PostgresStore, wire: Wire
) -> None:
    async with opened(PostgresStore(wire.url)) as ledger:
        current = await holders.begin(ledger)
        for _ in range(20):
            going = asyncio.create_task(holders.refresh(ledger, current))
            await asyncio.sleep(0.002)
            wire.cut()
            try:
                answer = await going
            except Unavailable:
                answer = await holders.refresh(ledger, current)
            assert answer.verdict in {Verdict.ROTATED, Verdict.RETRIED}
            current = holders.successor(current, answer)

    assert current.generation - 1 == types(postgres_store, current.family)["token.rotated"]
    check(postgres_store)


async def test_a_server_that_cannot_be_reached_is_unavailable_and_used_again_when_it_can(
    postgres_store: PostgresStore, wire: Wire
) -> None:
    async with opened(PostgresStore(wire.url)) as ledger:
        current = await holders.begin(ledger)
        wire.refusing = True
        wire.cut()
        with pytest.raises(Unavailable):
            await holders.refresh(ledger, current)
        wire.refusing = False
        answer = await holders.refresh(ledger, current)

    assert Verdict.ROTATED is answer.verdict


# Locks and isolation


async def test_a_client_that_hangs_on_the_head_row_makes_others_wait_and_no_longer(
    postgres_store: PostgresStore,
) -> None:
    async with opened(postgres_store) as ledger:
        current = await holders.begin(ledger)
        hung = await asyncpg.connect(driver(postgres_store))
        transaction = hung.transaction()
        await transaction.start()
        await hung.fetch("SELECT size FROM head FOR UPDATE")
        with pytest.raises(Unavailable):
            await asyncio.wait_for(holders.refresh(ledger, current), 10)
        await transaction.rollback()
        await hung.close()
        answer = await holders.refresh(ledger, current)

    assert Verdict.ROTATED is answer.verdict
    check(postgres_store)


async def test_a_batch_that_is_the_victim_of_a_deadlock_is_decided_again(postgres_store: PostgresStore) -> None:
    """Somebody at the database holds a family and then wants the head; each batch takes them the other way round."""
    async with opened(postgres_store) as ledger:
        current = await holders.begin(ledger)
        before = await deadlocks(postgres_store)
        other = await asyncpg.connect(driver(postgres_store))
        transaction = other.transaction()
        await transaction.start()
        await other.fetch("SELECT 1 FROM families WHERE id = $1 FOR UPDATE", current.family)
        going = asyncio.create_task(holders.refresh(ledger, current))
        while not await waits(postgres_store):  # noqa: ASYNC110 - it is the server that knows
            await asyncio.sleep(0.01)
        await other.fetch("SELECT size FROM head FOR UPDATE")  # given once the batch was chosen and gave up the head
        await transaction.rollback()
        await other.close()
        answer = await asyncio.wait_for(going, 20)
        seen = await deadlocks(postgres_store)

    assert (Verdict.ROTATED, 1) == (answer.verdict, seen - before)
    assert {"token.issued": 1, "token.rotated": 1} == types(postgres_store, current.family)
    check(postgres_store)


async def waits(store: Store) -> bool:
    """Whether somebody waits for a lock."""
    return bool(await value(store, "SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def deadlocks(store: Store) -> int:
    """How many there were in this database; the server says so a moment later."""
    await asyncio.sleep(1.5)
    return int(await value(store, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))


async def value(store: Store, sql: str) -> Any:
    connection = await asyncpg.connect(driver(store))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_the_servers_default_isolation_changes_nothing(
    postgres_store: PostgresStore, server: Server, isolation: str
) -> None:
    name = postgres_store.place.rpartition("/")[2]
    server.cluster.psql(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{isolation}'")
    async with opened(postgres_store) as one, opened(postgres_store) as other:
        current = await holders.begin(one)
        for _ in range(30):
            answers = await asyncio.gather(holders.refresh(one, current), holders.refresh(other, current))
            assert {Verdict.ROTATED, Verdict.RETRIED} == {answer.verdict for answer in answers}
            current = holders.successor(current, answers[0])

    check(postgres_store)


async def test_two_connections_that_rotate_the_same_token_make_one_successor_each_time(
    postgres_store: PostgresStore,
) -> None:
    async with opened(postgres_store, leeway=0) as one, opened(postgres_store, leeway=0) as other:
        wins: Counter[Verdict] = Counter()
        for _ in range(100):
            first = await holders.begin(one, STRICT)
            answers = await asyncio.gather(holders.refresh(one, first, STRICT), holders.refresh(other, first, STRICT))
            wins.update(answer.verdict for answer in answers)

    assert {Verdict.ROTATED: 100, Verdict.REUSED: 100} == wins
    check(postgres_store)


# The server goes and comes back


async def test_a_server_that_is_restarted_under_load_loses_nothing_and_signs_nobody_out() -> None:
    with Cluster(durable=True) as cluster:
        store = PostgresStore(cluster.create_database("ledger"))
        migrate.bring_up(store)
        async with opened(store) as ledger:
            tokens = [await holders.begin(ledger) for _ in range(8)]
            acknowledged = dict.fromkeys(range(8), 1)
            stop = asyncio.Event()

            async def refresh_on(number: int) -> None:
                current = tokens[number]
                while not stop.is_set():
                    try:
                        answer = await holders.refresh(ledger, current)
                    except Unavailable:
                        await asyncio.sleep(0.05)
                        continue
                    assert answer.verdict in {Verdict.ROTATED, Verdict.RETRIED}
                    current = holders.successor(current, answer)
                    acknowledged[number] = current.generation

            going = [asyncio.create_task(refresh_on(number)) for number in range(8)]
            for mode in ("fast", "immediate"):
                await asyncio.sleep(0.7)
                await asyncio.to_thread(cluster.restart, mode)
            await asyncio.sleep(1.5)
            stop.set()
            await asyncio.gather(*going)
        stored = [types(store, one.family)["token.rotated"] + 1 for one in tokens]
        check(store)

    assert list(acknowledged.values()) == stored
    assert min(stored) > 10
