"""A ledger of twenty events, written by the writer of the service, and what somebody with the file could do to it."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

from events import family, ids, key, log, migrate, sqlite, subject
from events.checkpoint import public_of
from events.checkpoints import CheckpointStore, Head, Signed, advance
from events.client import ClientRegistered, stream_of
from events.commit import Clock
from events.decision import Change, Decide, Decision, Origin, Streams
from events.ledger import Ledger
from events.merkle import Tree, leaf_hash
from events.private import Account, Context
from events.verify import Finding, Intact
from events.verify import verify as verified

ORIGIN = "ledger.example"
SEED = bytes(range(32))
STARTED = 1_700_000_000


def stream(number: int) -> bytes:
    return ids.new_id(STARTED * 1_000_000, bytes([number] * ids.RANDOM_BYTES))


ALICE, BOB, FIRST, SECOND, KEY = (stream(number) for number in range(1, 6))
WEB = stream_of("web")
LAPTOP = Origin("AAAAAAAAAAAAAAAA", Context(ip="192.0.2.7", agent="Firefox"))
PHONE = Origin("BBBBBBBBBBBBBBBB", Context(ip="2001:db8::7", agent="Safari"))


def registered(who: bytes, name: str) -> Change:
    fact = subject.SubjectRegistered(actor="cli", subject=ids.to_text("sub", who))
    return Change(who, fact, Account(name=name, password="$argon2id$" + name))


def issued(which: bytes, who: bytes) -> Change:
    fact = family.TokenIssued(
        actor="subject",
        subject=ids.to_text("sub", who),
        client="web",
        key=1,
        nonce="n" * 43,
        carriage="cookie",
        jti="A" * 22,
        exp=STARTED + 900,
        idle_until=STARTED * 1_000_000 + 10**12,
        ends_at=STARTED * 1_000_000 + 10**13,
        auth_time=STARTED,
        amr="pwd",
        device_tag="d" * 11,
        network_tag="n" * 11,
    )
    return Change(which, fact, Account(device="a laptop"))


def rotated(which: bytes, who: bytes, generation: int) -> Change:
    fact = family.TokenRotated(
        actor="subject",
        subject=ids.to_text("sub", who),
        client="web",
        generation=generation,
        jti="B" * 22,
        exp=STARTED + 900 + generation,
        idle_until=STARTED * 1_000_000 + 10**12 + generation,
    )
    return Change(which, fact)


def reused(which: bytes, who: bytes) -> tuple[Change, Change]:
    named = ids.to_text("sub", who)
    detected = family.TokenReuseDetected(
        actor="subject", subject=named, client="web", generation=1, current=6, kind="older"
    )
    revoked = family.FamilyRevoked(actor="policy", subject=named, client="web", reason="reuse")
    return Change(which, detected), Change(which, revoked)


BATCHES: tuple[tuple[Origin, tuple[Change, ...]], ...] = (
    (Origin(), (Change(log.STREAM, log.LogStarted(actor="system", origin=ORIGIN)),)),  # 0
    (Origin(), (Change(WEB, ClientRegistered(actor="cli", client="web")),)),  # 1
    (Origin(), (registered(ALICE, "alice"), registered(BOB, "bob"))),  # 2, 3
    (Origin(), (Change(KEY, key.KeyCreated(actor="system", key="k1", algorithm="ES256", public="{}", wrapped_by=1)),)),
    (LAPTOP, (issued(FIRST, ALICE),)),  # 5
    (PHONE, (issued(SECOND, BOB),)),  # 6
    *((LAPTOP, (rotated(FIRST, ALICE, generation),)) for generation in range(2, 7)),  # 7 to 11
    *((PHONE, (rotated(SECOND, BOB, generation),)) for generation in range(2, 8)),  # 12 to 17
    (PHONE, reused(FIRST, ALICE)),  # 18, 19
)
SIZE = sum(len(changes) for _, changes in BATCHES)


def created(folder: Path) -> Path:
    """An empty ledger of today's schema."""
    database = folder / "ledger.db"
    with sqlite.transaction(database) as connection:
        migrate.upgrade(connection)
    return database


def append(database: Path, *batches: tuple[Origin, tuple[Change, ...]], begins: int = 0) -> None:
    """Write each batch in one commit, a second after the one before."""
    asyncio.run(_append(database, batches, begins))


async def _append(database: Path, batches: tuple[tuple[Origin, tuple[Change, ...]], ...], begins: int) -> None:
    seconds = count(STARTED + begins)
    ledger = Ledger(sqlite.SqliteWriter(database, Clock(wall=lambda: next(seconds))))
    try:
        for origin, changes in batches:
            await ledger.submit(_streams(changes), _decided(changes), origin)
    finally:
        await ledger.close()


def _decided(changes: tuple[Change, ...]) -> Decide:
    return lambda _states, _now: Decision(None, changes)


def _streams(changes: tuple[Change, ...]) -> Streams:
    of = frozenset(change.stream for change in changes)
    return Streams(
        families=of & {FIRST, SECOND},
        subjects=of & {ALICE, BOB},
        clients=of & {WEB},
        keys=of & {KEY},
        logs=of & {log.STREAM},
    )


def small_ledger(folder: Path) -> Path:
    """The twenty events."""
    database = created(folder)
    append(database, *BATCHES)
    return database


def signed(database: Path, store: CheckpointStore) -> Signed:
    """Sign what the ledger holds now, as the service does."""
    with closing(sqlite3.connect(database)) as connection:
        size, frontier = connection.execute("SELECT size, frontier FROM head").fetchone()
        leaves = [leaf for (leaf,) in connection.execute("SELECT leaf FROM events ORDER BY position")]
    advance(store, Head(ORIGIN, size, frontier), SEED, lambda first, end: leaves[first:end])
    found = store.signed(public_of(SEED))
    assert found is not None
    return found


def check(database: Path, last: Signed | None = None) -> Intact | Finding:
    """What verify says of it."""
    engine = sqlite.sync_read_engine(database)
    with engine.connect() as connection:
        return verified(connection, last)


@contextmanager
def tampering(database: Path) -> Iterator[sqlite3.Connection]:
    """The file in the hands of somebody who knows SQLite: no triggers, no keys held back."""
    with closing(sqlite3.connect(database)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        connection.commit()


def insert_copy(file: sqlite3.Connection, of: int, verb: str = "INSERT", **changes: object) -> None:
    """Insert the event at this position once more, with these columns changed."""
    file.execute("CREATE TEMP TABLE copied AS SELECT * FROM events WHERE position = ?", (of,))
    for column, value in changes.items():
        file.execute(f"UPDATE copied SET {column} = ?", (value,))
    file.execute(f"{verb} INTO events SELECT * FROM copied")


def forge_leaves(connection: sqlite3.Connection) -> None:
    """Make every leaf fit its row again."""
    rows = connection.execute("SELECT position, at, stream, version, type, body FROM events").fetchall()
    for position, *fields in rows:
        connection.execute("UPDATE events SET leaf = ? WHERE position = ?", (leaf_hash(*fields), position))


def forge_head(connection: sqlite3.Connection) -> None:
    """Make the head fit the leaves again."""
    rows = connection.execute("SELECT leaf, at FROM events ORDER BY position").fetchall()
    tree = Tree()
    tree.extend(leaf for leaf, _ in rows)
    connection.execute("UPDATE head SET size = ?, frontier = ?, last_at = ?", (tree.size, tree.frontier(), rows[-1][1]))


def close_gaps(connection: sqlite3.Connection) -> None:
    """Number events and private rows from 0 again."""
    positions = connection.execute("SELECT position FROM events ORDER BY position").fetchall()
    for dense, (position,) in enumerate(positions):
        connection.execute("UPDATE event_private SET position = ? WHERE position = ?", (dense, position))
        connection.execute("UPDATE events SET position = ? WHERE position = ?", (dense, position))
