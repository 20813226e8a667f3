"""A ledger of twenty events, written by the writer of the service, and what somebody could do to its tables."""

from events import family, ids, key, log, subject
from events.checkpoint import public_of
from events.checkpoints import CheckpointStore, Head, Signed, advance
from events.client import ClientRegistered, stream_of
from events.commit import Clock
from events.decision import Change, Decide, Decision, Origin, Streams
from events.ledger import Ledger
from events.merkle import Tree, leaf_hash
from events.private import Account, Context
from events.schema import events
from events.store import Store
from events.verify import Finding, Intact
from events.verify import verify as verified
from tests.databases import Stores
from tests.tables import Tables, beside, rows

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


def append(store: Store, *batches: tuple[Origin, tuple[Change, ...]], begins: int = 0) -> None:
    """Write each batch in one commit, a second after the one before."""
    beside(_append(store, batches, begins))


async def _append(store: Store, batches: tuple[tuple[Origin, tuple[Change, ...]], ...], begins: int) -> None:
    seconds = float(STARTED + begins)
    ledger = Ledger(store.writer(Clock(wall=lambda: seconds, shared=False)))
    try:
        for origin, changes in batches:
            await ledger.submit(_streams(changes), _decided(changes), origin)
            seconds += 1
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


def small_ledger(stores: Stores) -> Store:
    """The twenty events."""
    store = stores.fresh()
    append(store, *BATCHES)
    return store


def signed(store: Store, checkpoints: CheckpointStore) -> Signed:
    """Sign what the ledger holds now, as the service does."""
    (size, frontier), *_ = rows(store, "SELECT size, frontier FROM head")
    leaves = [leaf for (leaf,) in rows(store, "SELECT leaf FROM events ORDER BY position")]
    advance(checkpoints, Head(ORIGIN, size, frontier), SEED, lambda first, end: leaves[first:end])
    found = checkpoints.signed(public_of(SEED))
    assert found is not None
    return found


def check(store: Store, last: Signed | None = None) -> Intact | Finding:
    """What verify says of it."""
    return store.read(lambda connection: verified(connection, last))


def insert_copy(tables: Tables, of: int, verb: str = "INSERT", **changes: object) -> None:
    """Insert the event at this position once more, with these columns changed."""
    (row,) = tables.run("SELECT * FROM events WHERE position = ?", of)
    copied = dict(zip(events.columns.keys(), row, strict=True)) | changes
    tables.run(f"{verb} INTO events VALUES ({', '.join('?' for _ in copied)})", *copied.values())


def forge_leaves(tables: Tables) -> None:
    """Make every leaf fit its row again."""
    rows = tables.run("SELECT position, at, stream, version, type, body FROM events")
    for position, *fields in rows:
        tables.run("UPDATE events SET leaf = ? WHERE position = ?", leaf_hash(*fields), position)


def forge_head(tables: Tables) -> None:
    """Make the head fit the leaves again."""
    rows = tables.run("SELECT leaf, at FROM events ORDER BY position")
    tree = Tree()
    tree.extend(leaf for leaf, _ in rows)
    tables.run("UPDATE head SET size = ?, frontier = ?, last_at = ?", tree.size, tree.frontier(), rows[-1][1])


def close_gaps(tables: Tables) -> None:
    """Number events and private rows from 0 again."""
    positions = tables.run("SELECT position FROM events ORDER BY position")
    for dense, (position,) in enumerate(positions):
        tables.run("UPDATE event_private SET position = ? WHERE position = ?", dense, position)
        tables.run("UPDATE events SET position = ? WHERE position = ?", dense, position)
