"""All invariants of a ledger, asserted after a scenario. Recomputes from definitions; trusts nothing stored."""

import base64
import hashlib
import ipaddress
import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from events import catalogue, log
from events.checkpoint import Checkpoint
from events.checkpoints import Signed
from events.family import Family
from events.private import Account
from events.projections import TABLES
from events.sqlite_store import SqliteStore
from events.store import Store
from events.verify import Intact, verify
from tests import tables
from tests.tables import REFUSED, Tables

CONTEXT, ACCOUNT = 1, 2
ORIGINS = {"ledger.started", "ledger.recovered"}
"""What gives the log its name; the last one counts."""
GUARDS = {
    "sqlite": {
        "events_dense",
        "events_no_update",
        "events_no_delete",
        "event_private_no_replace",
        "event_private_no_update",
        "head_no_delete",
        "head_no_second",
        "head_grows",
    },
    "postgresql": {
        "events_dense",
        "events_no_change",
        "events_no_truncate",
        "event_private_no_update",
        "event_private_no_truncate",
        "head_no_delete",
        "head_no_truncate",
        "head_grows",
    },
}
"""The triggers of each engine."""


class Event(NamedTuple):
    """A row of the table, in the order of its columns."""

    position: int
    stream: bytes
    version: int
    type: int
    at: int
    subject: bytes | None
    client: str | None
    actor: str
    request: bytes | None
    jti: bytes | None
    action: bytes | None
    body: bytes
    leaf: bytes

    @property
    def name(self) -> str:
        return catalogue.BY_CODE[self.type].TYPE


def check(store: Store, checkpoints: Path | None = None, secrets: Iterable[str | bytes] = ()) -> None:
    """Assert everything that must hold of this ledger whatever happened to it. It may be in use."""
    with tables.opened(store) as found:
        found.run("BEGIN" if isinstance(store, SqliteStore) else "BEGIN ISOLATION LEVEL REPEATABLE READ")
        events = _events(found)
        if isinstance(store, SqliteStore):
            assert [("ok",)] == found.run("PRAGMA integrity_check")
        _check_order(events)
        _check_bodies(events)
        _check_private_rows(found, events)
        _check_projections(found, events)
        leaves = [_leaf(event) for event in events]
        assert leaves == [event.leaf for event in events]
        _check_head(found, events, leaves)
        signed = _check_checkpoint(checkpoints, events, leaves) if checkpoints else None
        found.run("COMMIT")
        _check_append_only(found, store, bool(events))
    _check_with_verify(store, leaves, signed)
    assert set() == found_in_store(store, secrets)
    assert set() == found_in_files([checkpoints] if checkpoints else [], secrets)


def events_of(store: Store) -> list[Event]:
    """The whole log."""
    with tables.opened(store) as found:
        return _events(found)


def _events(found: Tables) -> list[Event]:
    return [Event(*row) for row in found.run("SELECT * FROM events ORDER BY position")]


def family_rows(store: Store) -> dict[bytes, Family]:
    """The projected families, by id."""
    return {row[0]: Family(*row) for row in tables.rows(store, "SELECT * FROM families")}


def found_in_store(store: Store, secrets: Iterable[str | bytes]) -> set[str | bytes]:
    """Which secrets stand in the ledger: in a file of its folder, or in a row of its tables on PostgreSQL."""
    if isinstance(store, SqliteStore):
        return found_in_files([store.database.parent], secrets)
    wanted = list(secrets)
    return _found_in(_contents(store), wanted) if wanted else set()


def _contents(store: Store) -> list[bytes]:
    with tables.opened(store) as found:
        rows = [row for name in tables.names(store) for row in found.run(f"SELECT * FROM {name}")]
    return [value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row]


def found_in_files(folders: Iterable[Path], secrets: Iterable[str | bytes]) -> set[str | bytes]:
    """Which secrets stand in any file below the folders, in whatever form; the master key's own file apart."""
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file() and file.name != "master-key"]
    return _found_in([file.read_bytes() for file in files], secrets)


def _found_in(contents: Sequence[bytes], secrets: Iterable[str | bytes]) -> set[str | bytes]:
    return {secret for secret in secrets if any(form in content for form in forms_of(secret) for content in contents)}


def forms_of(secret: str | bytes) -> set[bytes]:
    """How a secret could stand somewhere: as it is, in JSON, as Python shows it, in hexadecimal or base64."""
    plain = secret.encode() if isinstance(secret, str) else secret
    shown = {repr(secret).encode()[2:-1]} if isinstance(secret, bytes) else {json.dumps(secret)[1:-1].encode()}
    encoded = {encode(plain).rstrip(b"=") for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    return {plain, plain.hex().encode(), *shown, *encoded}


def _check_order(events: Sequence[Event]) -> None:
    versions: dict[bytes, int] = {}
    last_at = 0
    for expected, event in enumerate(events):
        assert expected == event.position
        assert versions.get(event.stream, 0) + 1 == event.version
        assert event.at >= last_at
        versions[event.stream], last_at = event.version, event.at


def _check_bodies(events: Sequence[Event]) -> None:
    """Compact, sorted, integers and text only; and the columns that are searched say what the body says."""
    for event in events:
        body = json.loads(event.body)
        assert event.body == json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert all(isinstance(value, (int, str)) for value in body.values())
        assert event.type in catalogue.BY_CODE
        subject, request, jti, action = (body.get(name) for name in ("subject", "request", "jti", "action"))
        assert event.subject == (_base32(subject[4:]) if subject else None)
        assert event.request == (_base64(request) if request else None)
        assert event.jti == (_base64(jti) if jti else None)
        assert event.action == (_base32(action[4:]) if action else None)
        assert (event.client, event.actor) == (body.get("client"), body["actor"])


def _base32(text: str) -> bytes:
    return base64.b32decode(text.upper() + "=" * (-len(text) % 8))


def _base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _check_private_rows(found: Tables, events: Sequence[Event]) -> None:
    rows = found.run("SELECT position, kind, salt, data, ip FROM event_private")
    kept = {(row[0], row[1]): row[2:] for row in rows}
    erased = {(e.subject, e.position) for e in events if e.name == "subject.erased"}
    expired = max((json.loads(e.body)["below"] for e in events if e.type == log.ContextExpired.CODE), default=0)
    for event in events:
        body = json.loads(event.body)
        for kind, name in ((CONTEXT, "context"), (ACCOUNT, "account")):
            stored = kept.pop((event.position, kind), None)
            if stored is None:
                aged = kind == CONTEXT and event.position < expired
                assert name not in body or aged or _was_erased(event, kind, events)
                continue
            assert not any(whose == event.subject and at <= event.position for whose, at in erased)
            salt, data, ip = stored
            assert len(salt) == 16
            assert body[name] == base64.urlsafe_b64encode(hashlib.sha256(salt + data).digest()).decode().rstrip("=")
            address = json.loads(data).get("ip") if kind == CONTEXT else None
            assert ip == (ipaddress.ip_address(address).packed if address else None)
    assert kept == {}, "private rows of no event"


def _was_erased(event: Event, kind: int, events: Sequence[Event]) -> bool:
    """Whether a later `subject.erased` is about its subject, or who did it as staff, or names its text."""
    for later in events[event.position + 1 :]:
        if later.name != "subject.erased":
            continue
        body = json.loads(later.body)
        listed = kind == ACCOUNT and str(event.position) in body.get("texts", "").split()
        staff = kind == CONTEXT and event.actor == f"staff:{body['subject']}"
        if event.subject == later.subject or listed or staff:
            return True
    return False


def _check_projections(found: Tables, events: Sequence[Event]) -> None:
    accounts: dict[int, bytes] = dict(found.run("SELECT position, data FROM event_private WHERE kind = 2"))
    states: dict[bytes, Any] = {}
    for event in events:
        stated = catalogue.decode(event.type, event.body)
        data = accounts.get(event.position)
        account = msgspec.json.decode(data, type=Account) if data else Account()
        states[event.stream] = catalogue.apply(states.get(event.stream), event.stream, event.at, stated, account)
    for kind, table in TABLES.items():
        stored = {row[0]: row for row in found.run(f"SELECT * FROM {table.name}")}
        folded = {s.id: msgspec.structs.astuple(s) for s in states.values() if type(s) is kind}
        assert folded == stored, table.name


def _leaf(event: Event) -> bytes:
    header = struct.pack(">q16sIH", event.at, event.stream, event.version, event.type)
    return hashlib.sha256(b"\x00" + header + event.body).digest()


def merkle_tree_hash(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, as it is written there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_tree_hash(leaves[:k]) + merkle_tree_hash(leaves[k:])).digest()


def _frontier(leaves: Sequence[bytes]) -> bytes:
    """The complete subtrees from the left, the largest first."""
    hashes, start = [], 0
    for bit in reversed(range(len(leaves).bit_length())):
        if len(leaves) >> bit & 1:
            hashes.append(merkle_tree_hash(leaves[start : start + (1 << bit)]))
            start += 1 << bit
    return b"".join(hashes)


def _check_head(found: Tables, events: Sequence[Event], leaves: Sequence[bytes]) -> None:
    heads = found.run("SELECT id, size, frontier, last_at FROM head")
    assert [(1, len(events), _frontier(leaves), events[-1].at if events else 0)] == heads


def _check_checkpoint(folder: Path, events: Sequence[Event], leaves: Sequence[bytes]) -> Signed | None:
    """What was signed is a beginning of this log, for the last note and the one before."""
    signed: Signed | None = None
    origin = next(json.loads(one.body)["origin"] for one in reversed(events) if one.name in ORIGINS)
    for name in ("checkpoint.previous", "checkpoint"):
        if (folder / name).exists():
            signed = Signed(_checked_note((folder / name).read_text(), (folder / "vkey").read_text()))
            assert signed.checkpoint.size <= len(events)
            assert merkle_tree_hash(leaves[: signed.checkpoint.size]) == signed.checkpoint.root
            assert origin == signed.checkpoint.origin
    return signed


def _checked_note(note: str, vkey: str) -> Checkpoint:
    """C2SP signed-note: the text with its last newline is signed; the signature follows four bytes of key id."""
    text, _, signature = note.partition("\n\n")
    origin, size, root = text.split("\n")
    public = base64.b64decode(vkey.strip().split("+", 2)[2])[1:]
    dash, name, encoded = signature.removesuffix("\n").split(" ")
    assert (dash, name) == ("\u2014", origin)
    Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(encoded)[4:], f"{text}\n".encode())
    return Checkpoint(origin, int(size), base64.b64decode(root))


def _check_append_only(found: Tables, store: Store, any_event: bool) -> None:
    if isinstance(store, SqliteStore):
        guards = found.run("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    else:
        guards = found.run("SELECT tgname::text FROM pg_trigger WHERE tgenabled = 'A' AND NOT tgisinternal")
    assert {name for (name,) in guards} >= GUARDS["sqlite" if isinstance(store, SqliteStore) else "postgresql"]
    if any_event:
        for statement in ("UPDATE events SET body = body", "DELETE FROM events", "DELETE FROM head"):
            with pytest.raises(REFUSED):
                found.run(statement)


def _check_with_verify(store: Store, leaves: Sequence[bytes], signed: Signed | None) -> None:
    """What the service itself says of the log; newer events than ours may have come meanwhile."""
    found = store.read(lambda connection: verify(connection, signed))
    assert isinstance(found, Intact), str(found)
    if found.size == len(leaves):
        assert found.root == merkle_tree_hash(leaves)
