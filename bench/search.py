"""How long pages and searches of the audit log take: `python -m bench.search [EVENTS]`, 200,000 unless told.

Writes a log through the ledger, with its own clock: some weeks of people who sign in, refresh and leave, and a few
thefts. Then asks each kind of question again and again, one after the other, and prints p50 and p95.
"""

import asyncio
import random
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from events import family, ids, migrate, sqlite, subject
from events.client import ClientRegistered, stream_of
from events.commit import Clock
from events.decision import Change, Decision, Origin, Streams
from events.family_search import FamilySearch
from events.fields import FAMILIES
from events.filters import Query, parse
from events.history import HistoryReader
from events.ledger import Ledger
from events.private import Account, Context
from events.search import EventSearch
from events.sqlite_store import SqliteStore

BEGAN = 1_790_000_000
WEEKS = 6
CLIENTS = ("web", "mobile", "desktop", "partner")
AGENTS = tuple(
    f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{n}.0 Safari/537.36" for n in range(120, 141)
)
TIMES = 40


class World:
    """Who lives in the log, by chance, the same each time."""

    def __init__(self, events: int) -> None:
        self.chance = random.Random(1)
        self.events = events
        self.step = WEEKS * 7 * 86_400 / events
        self.now = float(BEGAN)
        self.people = [self.stream() for _ in range(max(10, events // 60))]
        self.homes = {who: f"10.{self.chance.randrange(64)}.{self.chance.randrange(256)}.7" for who in self.people}
        self.families: list[tuple[bytes, bytes, str, int]] = []

    def stream(self) -> bytes:
        return ids.new_id(int(self.now * 1_000_000), self.chance.randbytes(ids.RANDOM_BYTES))

    def code(self, size: int) -> str:
        return urlsafe_b64encode(self.chance.randbytes(size)).decode().rstrip("=")

    def origin(self, who: bytes) -> Origin:
        return Origin(self.code(12), Context(self.homes[who], self.chance.choice(AGENTS)))

    def next(self) -> tuple[Change, Origin]:
        """One more thing that happens."""
        self.now += self.step
        if len(self.families) < 10 or self.chance.random() < 0.1:
            return self._issued()
        place = self.chance.randrange(max(0, len(self.families) - 20_000), len(self.families))
        stream, who, client, generation = self.families[place]
        self.families[place] = (stream, who, client, generation + 1)
        return Change(stream, self._fact(who, client, generation)), self.origin(who)

    def _issued(self) -> tuple[Change, Origin]:
        who, client = self.chance.choice(self.people), self.chance.choices(CLIENTS, (80, 15, 4, 1))[0]
        at, stream = int(self.now), self.stream()
        self.families.append((stream, who, client, 1))
        fact = family.TokenIssued(
            actor="subject",
            subject=ids.to_text("sub", who),
            client=client,
            key=1,
            nonce=self.code(32),
            carriage="cookie",
            jti=self.code(16),
            exp=at + 900,
            idle_until=(at + 604_800) * 1_000_000,
            ends_at=(at + 2_592_000) * 1_000_000,
            auth_time=at,
            amr="pwd",
            device_tag=self.code(8),
            network_tag=self.code(8),
        )
        return Change(stream, fact), self.origin(who)

    def _fact(self, who: bytes, client: str, generation: int) -> family.FamilyChange:
        whose: Any = {"subject": ids.to_text("sub", who), "client": client}
        chance = self.chance.random()
        if chance < 0.0005:
            return family.TokenReuseDetected(actor="subject", generation=1, current=generation, kind="older", **whose)
        if chance < 0.06:
            staff = f"staff:{ids.to_text('sub', self.people[0])}"
            actor, reason = self.chance.choice((("subject", "logout"), ("policy", "reuse"), (staff, "stolen_token")))
            return family.FamilyRevoked(actor=actor, reason=reason, **whose)
        return family.TokenRotated(
            actor="subject",
            generation=generation + 1,
            jti=self.code(16),
            exp=int(self.now) + 900,
            idle_until=int(self.now + 604_800) * 1_000_000,
            **whose,
        )


async def fill(database: Path, events: int) -> World:
    """Write the log, 250 commands at a time."""
    world = World(events)
    ledger = Ledger(SqliteStore(database).writer(Clock(wall=lambda: world.now)))
    await asyncio.gather(*(_begun(ledger, change) for change in _beginning(world)))
    for _ in range(events // 250):
        happened = [world.next() for _ in range(250)]
        await asyncio.gather(*(_written(ledger, change, origin) for change, origin in happened))
    await ledger.close()
    return world


def _beginning(world: World) -> list[Change]:
    clients = [Change(stream_of(name), ClientRegistered(actor="cli", client=name)) for name in CLIENTS]
    people = [
        Change(
            who, subject.SubjectRegistered(actor="cli", subject=ids.to_text("sub", who)), Account(name=f"person-{n}")
        )
        for n, who in enumerate(world.people[:1500])
    ]
    return clients + people


async def _begun(ledger: Ledger, change: Change) -> None:
    of = frozenset((change.stream,))
    streams = Streams(clients=of) if isinstance(change.fact, ClientRegistered) else Streams(subjects=of)
    await ledger.submit(streams, lambda _states, _moment: Decision(None, (change,)))


async def _written(ledger: Ledger, change: Change, origin: Origin) -> None:
    streams = Streams(families=frozenset((change.stream,)))
    await ledger.submit(streams, lambda _states, _moment: Decision(None, (change,)), origin)


def questions(world: World, jti: str) -> dict[str, str]:
    """A query of each kind."""
    which = ids.to_text("fam", world.families[len(world.families) // 2][0])
    return {
        "nothing asked (24 h)": "",
        "one user": "user:person-7",
        "one family": f"family:{which}",
        "one jti": f"jti:{jti}",
        "rare type": "type:token.reuse_detected",
        "frequent type": "type:token.rotated",
        "types by pattern": "type:token.*",
        "operation": "op:revoke",
        "frequent client": "client:web",
        "rare client, frequent type": "client:partner type:token.rotated",
        "one address": f"ip:{world.homes[world.people[7]]}",
        "/24": "ip:10.7.7.0/24",
        "/12": "ip:10.16.0.0/12",
        "/8, all of them": "ip:10.0.0.0/8",
        "staff": "actor:staff:*",
        "rare reason": "reason:stolen_token",
        "type but not client": "type:token.* -client:web -ip:10.0.0.0/11",
        "one week": "at:7d",
        "one day long ago": "at:2026-10-01",
        "agent in 24 h": "ua:Chrome/133",
        "agent never seen, 7 d": "ua:Netscape at:7d",
        "user in a day": "user:person-9 at:21d..20d",
    }


FAMILY_QUESTIONS = {
    "families, newest": "",
    "families, suspicious": "is:suspicious",
    "families of a user": "user:person-7",
    "families, living and old": "is:living age:>30d",
    "families, none match": "reason:never",
}


def asked(words: str, **options: Any) -> Query:
    query = parse(words, **options)
    assert isinstance(query, Query), query
    return query


class Taken(NamedTuple):
    """Milliseconds: two quantiles of what a caller waits, and what this process works in the median."""

    p50: float
    p95: float
    cpu: float

    def told(self) -> str:
        """`4.1 / 5.5 (3.9)`."""
        return f"{self.p50:7.1f} / {self.p95:5.1f} ({self.cpu:5.1f})"


async def measured(question: Callable[[], Awaitable[Any]]) -> Taken:
    """The same question again and again, one after the other."""
    waited, worked = [], []
    await question()
    for _ in range(TIMES):
        begin, cpu = time.perf_counter(), time.process_time()
        await question()
        waited.append((time.perf_counter() - begin) * 1000)
        worked.append((time.process_time() - cpu) * 1000)
    parts = quantiles(waited, n=20)
    return Taken(parts[9], parts[18], median(worked))


async def main(events: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "ledger.db"
        with sqlite.transaction(database) as connection:
            migrate.upgrade(connection)
        begin = time.perf_counter()
        world = await fill(database, events)
        print(f"{events:,} events, {len(world.families):,} families, written in {time.perf_counter() - begin:.0f} s")
        engine = sqlite.read_engine(database)
        await _table(world, EventSearch(engine), HistoryReader(engine))
        await _families(world, FamilySearch(engine))
        await engine.dispose()


async def _table(world: World, search: EventSearch, history: HistoryReader) -> None:
    now = int(world.now * 1_000_000)
    some = await history.after(world.events // 2, 50)
    middle, jti = some[-1], next(e.fact.jti for e in some if isinstance(e.fact, family.TokenRotated))
    print(f"{'p50 / p95 (CPU), ms':28}{'page':>24}{'page+count':>24}{'histogram':>24}{'facets':>24}")
    for name, words in questions(world, jti).items():
        query = asked(words)
        kinds: tuple[Callable[[], Awaitable[Any]], ...] = (
            lambda q=query: search.page(q, now),  # type: ignore[misc]
            lambda q=query: search.page(q, now, counted=True),  # type: ignore[misc]
            lambda q=query: search.histogram(q, now),  # type: ignore[misc]
            lambda q=query: search.facets(q, now),  # type: ignore[misc]
        )
        print(f"{name:28}" + "".join([f"{(await measured(kind)).told():>24}" for kind in kinds]), flush=True)
    for name, question in (
        ("around a moment", lambda: search.around(middle.position)),
        ("neighbours", lambda: search.neighbours(middle)),
    ):
        print(f"{name:28}{(await measured(question)).told():>24}")


async def _families(world: World, search: FamilySearch) -> None:
    now = int(world.now * 1_000_000)
    for name, words in FAMILY_QUESTIONS.items():
        query = asked(words, fields=FAMILIES)
        taken = await measured(lambda q=query: search.page(q, now, counted=True))  # type: ignore[misc]
        print(f"{name:28}{taken.told():>48}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
