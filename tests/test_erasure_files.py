"""After an erasure under load, no file holds anything of the person: database, write-ahead log, list, logs, exports.

On PostgreSQL all files are searched with the server stopped, after what docs/privacy.md says.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx

from events import ids, migrate
from events.decision import Change, Decision, Origin, Streams
from events.ledger import Ledger
from events.postgres_store import PostgresStore
from events.private import Context
from events.sqlite_store import SqliteStore
from events.store import Store
from events.subject import SubjectRegistered
from tests import clusters, holders
from tests.chains import Holder
from tests.check import check, found_in_files, found_in_store
from tests.clusters import Cluster
from tests.conftest import MASTER_KEY
from tests.processes import PATIENCE, Place
from tests.small_ledger import issued, registered, rotated
from tests.test_erasure_crash import Fate, erased, opened

PASSWORD = "cobalt-lantern-68-meadow"
BOBS = "thistle-amber-walrus-12-flute"


class Person:
    """Somebody whose name, agent and device are like nobody else's in any file of this machine."""

    def __init__(self) -> None:
        mark = secrets.token_hex(6)
        self.name = f"lefevre-{mark}@example.org"
        self.agent = f"Browser/{mark} (Lefevre)"
        self.device = f"tablet of {mark}"
        self.address = "2001:db8:77::f" + mark[:3]
        self.known = (self.name, self.agent, self.device, self.address)


@asynccontextmanager
async def sessions(place: Place, who: Person, name: str, password: str, count: int) -> AsyncIterator[list[Holder]]:
    headers = {"user-agent": who.agent, "x-forwarded-for": who.address}
    async with httpx.AsyncClient(base_url=place.url, timeout=PATIENCE, trust_env=False, headers=headers) as http:
        asked = {"username": name, "password": password, "mode": "body", "device": who.device}
        answers = [await http.post("/auth/login", json=asked) for _ in range(count)]
        yield [Holder(http, answer.json()) for answer in answers]


async def erased_under_load(place: Place, who: Person) -> str:
    """Several sessions of hers and some of Bob's rotate while she is erased; answers what the service logged."""
    bob = Person()
    with place.serving() as child:
        place.done("user", "add", who.name, "--password-stdin", typed=f"{PASSWORD}\n")
        place.done("user", "add", "bob", "--password-stdin", typed=f"{BOBS}\n")
        async with (
            sessions(place, who, who.name, PASSWORD, 4) as hers,
            sessions(place, bob, "bob", BOBS, 2) as his,
        ):
            going = [asyncio.create_task(one.go_on()) for one in (*hers, *his)]
            await asyncio.sleep(0.5)
            exported = await asyncio.to_thread(place.done, "events", "--json", "--limit", "5000")
            assert who.agent in exported, "nothing to lose"
            told = await asyncio.to_thread(place.done, "subject", "erase", who.name, "--yes")
            assert "is erased." in told
            await asyncio.wait(going[:4], timeout=10)
            rotated = his[0].generation
            await asyncio.sleep(0.3)
            assert his[0].generation > rotated, "Bob was held up"
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)
        assert all(one.refused for one in hers)
        assert [] == [text for one in his for text in one.refused]
        exported = place.done("events", "--json", "--limit", "5000")
        assert not any(one in exported for one in who.known)
        assert bob.agent in exported
    return child.out + child.err


async def test_no_file_holds_anything_of_her_afterwards(store: Store, tmp_path: Path) -> None:
    who = Person()
    place = Place(tmp_path, store, LEDGER_MASTER_KEY=MASTER_KEY, LEDGER_TRUSTED_PROXIES="127.0.0.1")

    logged = await erased_under_load(place, who)

    assert [] == [one for one in who.known if one in logged]
    assert set() == found_in_files([tmp_path / "data", tmp_path / "checkpoints"], who.known)
    check(store, tmp_path / "checkpoints", who.known)
    place.done("verify")


async def test_rows_that_were_moved_about_in_their_pages_leave_no_copy(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    chance = random.Random(7)
    people = {ids.new_id(10**15, bytes([number]) * 9): f"mark-of-{number:02d}-lefevre" for number in range(16)}
    ledger = Ledger(sqlite_store.writer())
    await holders.people(ledger)
    for who, mark in people.items():
        await submit(ledger, registered(who, mark), mark, 40)
        await submit(ledger, issued(family_of(who), who), mark, 40)
    gone: list[str] = []
    for number, (who, mark) in enumerate(people.items()):
        waiting = []
        for _ in range(240):
            other = chance.choice(list(people)[number:])
            change = rotated(family_of(other), other, 2)
            waiting.append(submit(ledger, change, people[other], chance.randrange(480)))
        await asyncio.gather(*waiting)
        async with opened(sqlite_store, tmp_path, Fate("")) as at:
            await erased(at, who)
        gone.append(mark)
        assert set() == found_in_store(sqlite_store, gone)
    await ledger.close()


def family_of(who: bytes) -> bytes:
    return ids.new_id(10**15, bytes([who[-1] + 100]) * 9)


async def submit(ledger: Ledger, change: Change, mark: str, length: int) -> None:
    """One event, with a user agent of about this length."""
    one = frozenset((change.stream,))
    streams = Streams(subjects=one) if isinstance(change.fact, SubjectRegistered) else Streams(families=one)
    origin = Origin("", Context(ip="192.0.2.7", agent=mark + "x" * length))
    await ledger.submit(streams, lambda _states, _now: Decision(None, (change,)), origin)


@contextmanager
def stopped_after_erasure(tmp_path: Path, who: Person, **settings: str) -> Iterator[Cluster]:
    """A server of its own with these settings: erased under load, compacted, its log of writes switched, stopped."""
    clusters.needed()
    cluster = Cluster(settings=settings)
    try:
        store = PostgresStore(cluster.start().create_database("ledger"))
        migrate.bring_up(store)
        place = Place(tmp_path, store, LEDGER_TRUSTED_PROXIES="127.0.0.1")
        asyncio.run(erased_under_load(place, who))
        assert "Nothing is left of deleted rows" in place.done("compact")
        cluster.psql("SELECT pg_switch_wal()")
        cluster.psql("CHECKPOINT")
        cluster.stop("fast")
        yield cluster
    finally:
        cluster.close()


def test_no_file_of_a_stopped_server_that_recycles_no_log_holds_anything_after_compact(
    tmp_path: Path, on_postgresql: None
) -> None:
    who = Person()
    with stopped_after_erasure(tmp_path, who, wal_recycle="off") as server:
        assert [] != list((server.data / "pg_wal").glob("0*"))
        assert set() == found_in_files([server.data], who.known)


def test_a_server_that_recycles_its_log_keeps_it_for_a_while_as_the_docs_say(
    tmp_path: Path, on_postgresql: None
) -> None:
    who = Person()
    with stopped_after_erasure(tmp_path, who) as server:
        wal = server.data / "pg_wal"
        others = [one for one in server.data.iterdir() if one != wal]
        assert set() == found_in_files(others, who.known)
        assert set(who.known) == found_in_files([wal], who.known), "docs/privacy.md says that it is here for a while"
