"""Checkpoints: the signed note, the folder that keeps it, and that nothing contradictory is ever signed."""

import base64
import os
import stat
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from events.checkpoint import Checkpoint, public_of, sign, verify, vkey
from events.checkpoints import CheckpointStore, Contradiction, Head, advance
from events.merkle import Tree

SEED = bytes(range(32))
PUBLIC = public_of(SEED)
OTHER_SEED = bytes(range(1, 33))
ORIGIN = "ledger.example/test"
SIGNED = Checkpoint(ORIGIN, 17, sha256(b"root").digest())
NOTE = sign(SIGNED, SEED)


class Log:
    """A log of numbered leaves that counts how many of them were read."""

    def __init__(self, count: int, salt: bytes = b"") -> None:
        self.all = [sha256(salt + n.to_bytes(4, "big")).digest() for n in range(count)]
        self.read = 0

    def leaves(self, first: int, end: int) -> Iterable[bytes]:
        self.read += end - first
        return self.all[first:end]

    def head(self, size: int, origin: str = ORIGIN) -> Head:
        tree = Tree()
        tree.extend(self.all[:size])
        return Head(origin, size, tree.frontier())


def test_the_note_is_what_the_format_says_byte_for_byte() -> None:
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    body = f"{ORIGIN}\n17\n{base64.b64encode(SIGNED.root).decode()}\n"
    key_id = sha256(ORIGIN.encode() + b"\x0a\x01" + public).digest()[:4]
    signature = Ed25519PrivateKey.from_private_bytes(SEED).sign(body.encode())
    line = f"— {ORIGIN} {base64.b64encode(key_id + signature).decode()}\n"
    assert f"{body}\n{line}" == NOTE


def test_a_note_reads_back_as_what_was_signed() -> None:
    assert verify(NOTE, PUBLIC) == SIGNED


def test_the_verifier_key_names_the_key_that_signed_the_note() -> None:
    name, key_id, key = vkey(ORIGIN, PUBLIC).split("+", 2)
    raw = base64.b64decode(key)
    body, _, line = NOTE.partition("\n\n")
    signed = base64.b64decode(line.split(" ")[2])
    Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signed[4:], f"{body}\n".encode())
    assert (name, raw[:1], bytes.fromhex(key_id)) == (ORIGIN, b"\x01", signed[:4])


def test_another_key_does_not_verify_the_note() -> None:
    assert verify(NOTE, public_of(OTHER_SEED)) is None


def test_signature_lines_of_unknown_keys_are_ignored() -> None:
    witness = f"— witness.example {base64.b64encode(b'abcd' + b'x' * 64).decode()}\n"
    assert [verify(NOTE + witness, PUBLIC), verify(NOTE.replace("\n\n", "\n\n" + witness), PUBLIC)] == [SIGNED] * 2


def test_a_note_that_only_unknown_keys_signed_is_refused() -> None:
    assert verify(sign(SIGNED, OTHER_SEED), PUBLIC) is None


@given(st.integers(0, len(NOTE) - 1), st.characters())
def test_a_note_with_any_one_character_changed_is_refused(at: int, char: str) -> None:
    changed = NOTE[:at] + char + NOTE[at + 1 :]
    assert verify(changed, PUBLIC) == (SIGNED if changed == NOTE else None)


@given(st.integers(0, len(NOTE) - 1))
def test_a_note_cut_short_is_refused(at: int) -> None:
    assert verify(NOTE[:at], PUBLIC) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        NOTE + "\n",
        NOTE + "rubbish\n",
        "\n" + NOTE,
        NOTE.replace("\n17\n", "\n017\n"),
        NOTE.replace("\n17\n", "\n+17\n"),
        NOTE.replace("\n17\n", "\n\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT SEVEN}\n"),
        NOTE.replace("\n\n", "\nan extension\n\n"),
        NOTE.replace("\n", "\r\n"),
        NOTE + NOTE.split("\n\n")[1],
        NOTE.replace("—", "-"),
        NOTE + "x" * 20_000,
        "\ud800" + NOTE,
    ],
)
def test_any_other_way_to_write_a_note_is_refused(text: str) -> None:
    assert verify(text, PUBLIC) is None


@given(st.text(), st.binary(max_size=40))
def test_no_text_and_no_key_makes_the_reader_raise(text: str, public: bytes) -> None:
    assert [verify(text, PUBLIC), verify(NOTE, public)] == [None, None]


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "line\nbreak", "tab\t", "\x7f", "\ud800"])
def test_a_name_that_could_not_be_read_back_is_not_signed(origin: str) -> None:
    with pytest.raises(ValueError, match="not a checkpoint"):
        sign(SIGNED._replace(origin=origin), SEED)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def test_a_folder_that_does_not_exist_holds_no_checkpoint(store: CheckpointStore) -> None:
    assert (store.last(), store.signed(PUBLIC), store.frontier(SIGNED)) == (None, None, None)


def test_who_has_the_public_key_reads_the_last_checkpoint_with_its_frontier(store: CheckpointStore) -> None:
    log = Log(5)
    note = advance(store, log.head(5), SEED, log.leaves)
    assert store.signed(PUBLIC) == (verify(note, PUBLIC), log.head(5).frontier, note)


def test_a_checkpoint_of_another_key_is_not_taken_for_none(store: CheckpointStore) -> None:
    store.write(sign(SIGNED, OTHER_SEED))
    with pytest.raises(Contradiction, match=r"^The last checkpoint is damaged or was signed by another key\.$"):
        store.signed(PUBLIC)


def test_the_first_checkpoint_makes_a_folder_that_only_its_owner_enters(store: CheckpointStore) -> None:
    note = advance(store, Log(5).head(5), SEED, Log(5).leaves)
    assert (store.last(), stat.S_IMODE(store.folder.stat().st_mode)) == (note, 0o700)


def test_the_folder_holds_the_last_note_the_one_before_the_verifier_key_and_no_rest(store: CheckpointStore) -> None:
    log = Log(9)
    notes = [advance(store, log.head(size), SEED, log.leaves) for size in (3, 5, 9)]
    found = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    assert found == {
        "checkpoint": notes[2].encode(),
        "checkpoint.previous": notes[1].encode(),
        "vkey": f"{vkey(ORIGIN, PUBLIC)}\n".encode(),
        "frontier": log.head(9).frontier,
        "frontier.previous": log.head(5).frontier,
    }


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_a_log_that_grows_is_signed_at_every_size(tmp_path_factory: pytest.TempPathFactory, steps: list[int]) -> None:
    store, log = CheckpointStore(tmp_path_factory.mktemp("checkpoints")), Log(40)
    for size in sorted(steps):
        head = log.head(size)
        signed = verify(advance(store, head, SEED, log.leaves), PUBLIC)
        assert signed == Checkpoint(ORIGIN, size, Tree(size, head.frontier).root())


def test_only_the_leaves_since_the_last_checkpoint_are_read(store: CheckpointStore) -> None:
    log = Log(100)
    advance(store, log.head(90), SEED, log.leaves)
    log.read = 0
    advance(store, log.head(100), SEED, log.leaves)
    assert log.read == 10


@pytest.mark.parametrize("damage", [None, b"", b"x" * 32 * (90).bit_count()])
def test_a_frontier_that_is_lost_or_wrong_costs_one_full_reading(store: CheckpointStore, damage: bytes | None) -> None:
    log = Log(100)
    advance(store, log.head(90), SEED, log.leaves)
    (store.folder / "frontier").unlink()
    if damage is not None:
        (store.folder / "frontier").write_bytes(damage)
    note = advance(store, log.head(100), SEED, log.leaves)
    assert (store.last(), log.read) == (note, 100)


def test_nothing_is_written_when_nothing_changed(store: CheckpointStore) -> None:
    log = Log(5)
    first = advance(store, log.head(5), SEED, log.leaves)
    written = (store.folder / "checkpoint").stat()
    again = advance(store, log.head(5), SEED, log.leaves)
    after = (store.folder / "checkpoint").stat()
    assert (again, after.st_ino, after.st_mtime_ns, log.read) == (first, written.st_ino, written.st_mtime_ns, 0)


def refused(store: CheckpointStore, head: Head, log: Log, seed: bytes = SEED) -> str:
    """The sentence of the refusal, after it was seen that the folder is as it was."""
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    with pytest.raises(Contradiction) as found:
        advance(store, head, seed, log.leaves)
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before
    return str(found.value)


@pytest.mark.parametrize("size", [5, 9])
def test_what_an_older_master_key_signed_is_continued_and_signed_anew(size: int, store: CheckpointStore) -> None:
    log = Log(9)
    advance(store, log.head(5), OTHER_SEED, log.leaves)
    note = advance(store, log.head(size), SEED, log.leaves, [public_of(OTHER_SEED)])
    found = verify(note, PUBLIC)
    assert found is not None
    assert (found.size, (store.folder / "vkey").read_text()) == (size, f"{vkey(ORIGIN, PUBLIC)}\n")


def test_what_an_older_master_key_signed_must_be_continued_too(store: CheckpointStore) -> None:
    advance(store, Log(9).head(9), OTHER_SEED, Log(9).leaves)
    other = Log(12, b"another")
    with pytest.raises(Contradiction):
        advance(store, other.head(12), SEED, other.leaves, [public_of(OTHER_SEED)])


def test_a_log_that_became_shorter_is_not_signed(store: CheckpointStore) -> None:
    log = Log(9)
    advance(store, log.head(9), SEED, log.leaves)
    assert refused(store, log.head(8), log) == (
        "The log ends at size 8, but a checkpoint of size 9 was signed: events are gone."
    )


@pytest.mark.parametrize("size", [9, 12])
@pytest.mark.parametrize("frontier_is_lost", [False, True])
def test_a_log_with_another_past_is_not_signed(store: CheckpointStore, size: int, *, frontier_is_lost: bool) -> None:
    advance(store, Log(9).head(9), SEED, Log(9).leaves)
    if frontier_is_lost:
        (store.folder / "frontier").unlink()
    rewritten = Log(12, salt=b"rewritten")
    sentence = refused(store, rewritten.head(size), rewritten)
    assert sentence == (
        "The events before size 9 are not those of the checkpoint that was signed there."
        if frontier_is_lost
        else f"The head of size {size} does not continue the checkpoint of size 9."
    )


def test_a_log_that_lost_leaves_under_its_head_is_not_signed(store: CheckpointStore) -> None:
    log = Log(12)
    advance(store, log.head(9), SEED, log.leaves)
    head = log.head(12)
    del log.all[10]
    assert refused(store, head, log) == "The head of size 12 does not continue the checkpoint of size 9."


def test_a_damaged_head_is_not_signed(store: CheckpointStore) -> None:
    log = Log(9)
    advance(store, log.head(9), SEED, log.leaves)
    assert refused(store, Head(ORIGIN, 10, b"short"), log).startswith("The head of the ledger is damaged: 5 bytes")


def test_the_checkpoint_of_another_log_is_not_continued(store: CheckpointStore) -> None:
    log = Log(9)
    advance(store, log.head(5), SEED, log.leaves)
    sentence = refused(store, log.head(9, origin="other.example"), log)
    assert sentence == f"The last checkpoint is of the log {ORIGIN}, not of other.example."


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", sign(SIGNED, OTHER_SEED).encode(), NOTE[:-9].encode()])
def test_a_checkpoint_that_this_key_did_not_sign_is_not_replaced(store: CheckpointStore, text: bytes) -> None:
    log = Log(20)
    advance(store, log.head(5), SEED, log.leaves)
    (store.folder / "checkpoint").write_bytes(text)
    assert refused(store, log.head(20), log) == "The last checkpoint is damaged or was signed by another key."


class Crash(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", range(1, 4))
def test_a_crash_before_the_last_renaming_leaves_the_older_checkpoint(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    log = Log(12)
    older = advance(store, log.head(9), SEED, log.leaves)
    with monkeypatch.context() as patch:
        crash_at_renaming(patch, step)
        with pytest.raises(Crash):
            advance(store, log.head(12), SEED, log.leaves)
    found = store.last()
    newer = advance(store, log.head(12), SEED, log.leaves)
    assert (found, store.last(), verify(newer, PUBLIC)) == (
        older,
        newer,
        Checkpoint(ORIGIN, 12, Tree(12, log.head(12).frontier).root()),
    )


def test_a_crash_after_the_last_renaming_leaves_the_newer_checkpoint(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(12)
    advance(store, log.head(9), SEED, log.leaves)
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "_sync_folder", end_of_process)
        with pytest.raises(Crash):
            advance(store, log.head(12), SEED, log.leaves)
    found = store.last()
    assert (found, log.read) == (advance(store, log.head(12), SEED, log.leaves), 3)


def test_the_note_is_on_disk_before_it_takes_the_place_of_the_older_one(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, order = Log(9), list[str]()
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        order.append("sync")
        real_sync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        order.append(target.name)
        return real_replace(path, target)

    advance(store, log.head(5), SEED, log.leaves)
    monkeypatch.setattr("os.fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    advance(store, log.head(9), SEED, log.leaves)
    assert order == ["frontier.previous", "checkpoint.previous", "frontier", "sync", "checkpoint", "sync"]


def end_of_process(*_: object) -> None:
    raise Crash


def crash_at_renaming(patch: pytest.MonkeyPatch, step: int) -> None:
    """The process ends just before its renaming number `step`."""
    real, count = Path.replace, 0

    def replace(path: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == step:
            raise Crash
        return real(path, target)

    patch.setattr(Path, "replace", replace)
