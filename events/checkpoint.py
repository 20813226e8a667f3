"""Signed statements of how long the log was and what it held: C2SP signed notes, and the folder that keeps the last.

Knows neither the database nor when to sign; the rule that nothing contradictory is ever signed lives here.
"""

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from events.merkle import Tree

MAX_NOTE = 16 * 1024
"""Characters of a note that is read at all; ours have about 300."""
ED25519 = b"\x01"
_NAME = r"([^\s+\x00-\x20\x7f-\x9f\ud800-\udfff]+)"
_BODY = re.compile(_NAME + r"\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n")
_SIGNATURE = re.compile(r"\u2014 " + _NAME + r" ([A-Za-z0-9+/]+={0,2})")


class Checkpoint(NamedTuple):
    """At this size the log of this name had this root."""

    origin: str
    """Name of the log, and of its key: no spaces, no `+`."""
    size: int
    root: bytes


class Head(NamedTuple):
    """The committed end of the log that is to be signed."""

    origin: str
    size: int
    frontier: bytes


Leaves: TypeAlias = Callable[[int, int], Iterable[bytes]]
"""`leaves(first, end)`: the stored leaf hashes of the positions first ≤ p < end, in order."""


class Contradiction(Exception):  # noqa: N818 - it names what was found, in the words of the log
    """The log does not continue what was signed before; signing it would vouch for two histories."""


def public_of(seed: bytes) -> bytes:
    """The 32-byte Ed25519 public key of a 32-byte seed (RFC 8032 §5.1.5)."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def key_id(origin: str, public: bytes) -> bytes:
    """The four bytes that name a key in a signature line (C2SP signed-note)."""
    return sha256(origin.encode() + b"\n" + ED25519 + public).digest()[:4]


def vkey(origin: str, public: bytes) -> str:
    """The verifier key, as auditors take it: `name+hexkeyid+base64(0x01 ‖ public key)`."""
    return f"{origin}+{key_id(origin, public).hex()}+{_base64(ED25519 + public)}"


def sign(checkpoint: Checkpoint, seed: bytes) -> str:
    """The signed note. Raises ValueError for a checkpoint that could not be read back."""
    body = f"{checkpoint.origin}\n{checkpoint.size}\n{_base64(checkpoint.root)}\n"
    if not _BODY.fullmatch(body):
        msg = f"not a checkpoint: {checkpoint!r}"
        raise ValueError(msg)
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(body.encode())
    named = key_id(checkpoint.origin, public_of(seed)) + signature
    return f"{body}\n\u2014 {checkpoint.origin} {_base64(named)}\n"


def verify(text: str, public: bytes) -> Checkpoint | None:
    """What the note states, if this key signed it; else None. Never raises, whatever the text is.

    Signatures by other keys are ignored, so that a second algorithm can be added; a line that is no signature,
    a wrong signature in the name of our key, or an extension line makes the whole note invalid.
    """
    body, separator, lines = text[: MAX_NOTE + 1].partition("\n\n")
    body += "\n"
    found = _BODY.fullmatch(body)
    if not found or not separator or len(text) > MAX_NOTE or not lines.endswith("\n"):
        return None
    root = _unbase64(found[3])
    if root is None or not _signed(body, lines[:-1].split("\n"), found[1], public):
        return None
    return Checkpoint(found[1], int(found[2]), root)


def _signed(body: str, lines: list[str], origin: str, public: bytes) -> bool:
    ours = 0
    for line in lines:
        found = _SIGNATURE.fullmatch(line)
        raw = _unbase64(found[2]) if found else None
        if found is None or raw is None or len(raw) <= 4:
            return False
        if found[1] != origin or raw[:4] != key_id(origin, public):
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], body.encode())
        except (InvalidSignature, ValueError):
            return False
        ours += 1
    return ours == 1


class CheckpointStore:
    """The folder outside the database's backup. One signer at a time: callers hold the ledger's lock.

    `checkpoint` is the last note and is replaced in one step; `checkpoint.previous` is the one before;
    `vkey` is what an auditor needs; `frontier` spares reading the log from its beginning and is never trusted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def last(self) -> str | None:
        """The last note as it stands there, or None where none was written. Raises OSError if it cannot be read."""
        raw = self._read("checkpoint")
        return None if raw is None else raw.decode(errors="replace")

    def frontier(self, checkpoint: Checkpoint) -> bytes | None:
        """The frontier of the tree at that checkpoint, if the stored one folds to the signed root."""
        raw = self._read("frontier")
        with suppress(ValueError):
            if raw is not None and Tree(checkpoint.size, raw).root() == checkpoint.root:
                return raw
        return None

    def write(self, text: str, verifier: str = "", frontier: bytes = b"") -> None:
        """Make this note the last one. When it returns, the note survives a power cut. Raises OSError.

        If we crash before the second-last line, the older checkpoint still stands, at worst with a frontier that
        does not fit it, which costs one reading of the whole log. If we crash after it, the new one stands.
        Only that note is synced: the other files prove themselves when they are read, or are made again.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if verifier and self._read("vkey") != f"{verifier}\n".encode():
            self._replace("vkey", f"{verifier}\n".encode())
        self._replace("frontier", frontier)
        before = self._read("checkpoint")
        if before is not None:
            self._replace("checkpoint.previous", before)
        self._replace("checkpoint", text.encode(), sync=True)
        self._sync_folder()

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def _replace(self, name: str, data: bytes, *, sync: bool = False) -> None:
        """If we crash inside, the old file stands, and a `.new` beside it that the next call overwrites."""
        new = self.folder / f"{name}.new"
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        new.replace(self.folder / name)

    def _sync_folder(self) -> None:
        """Without this a power cut may undo the renaming: the older checkpoint would stand again."""
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def advance(store: CheckpointStore, head: Head, seed: bytes, leaves: Leaves) -> str:
    """Sign the head, if it continues what was signed before, and store it. Answers the note that stands now.

    C2SP tlog-checkpoint: nothing inconsistent with an earlier checkpoint may ever be signed. The proof is the log
    itself: the tree of the last checkpoint, grown by the leaves since, must be the tree of the head. That reads only
    what is new; the whole log is read where the stored frontier is missing or does not fit. Nothing is written when
    nothing changed. The head must be read after the caller became the only signer.

    Raises Contradiction, with a sentence for the operator, and OSError where the folder cannot be used.
    """
    tree = _tree_of(head)
    text = store.last()
    if text is not None:
        last = _read_back(text, head, public_of(seed))
        if last == Checkpoint(head.origin, head.size, tree.root()):
            return text
        _demand_continuation(last, head, store.frontier(last), leaves)
    note = sign(Checkpoint(head.origin, head.size, tree.root()), seed)
    # If we crash here, a note was signed that nobody saw; the next one continues the older one all the same.
    store.write(note, vkey(head.origin, public_of(seed)), head.frontier)
    return note


def _tree_of(head: Head) -> Tree:
    try:
        return Tree(head.size, head.frontier)
    except ValueError as damage:
        msg = f"The head of the ledger is damaged: {damage}."
        raise Contradiction(msg) from damage


def _read_back(text: str, head: Head, public: bytes) -> Checkpoint:
    last = verify(text, public)
    if last is None:
        msg = "The last checkpoint is damaged or was signed by another key."
        raise Contradiction(msg)
    if last.origin != head.origin:
        msg = f"The last checkpoint is of the log {last.origin}, not of {head.origin}."
        raise Contradiction(msg)
    if last.size > head.size:
        msg = f"The log ends at size {head.size}, but a checkpoint of size {last.size} was signed: events are gone."
        raise Contradiction(msg)
    return last


def _demand_continuation(last: Checkpoint, head: Head, frontier: bytes | None, leaves: Leaves) -> None:
    if frontier is None:
        tree = Tree()
        tree.extend(leaves(0, last.size))
    else:
        tree = Tree(last.size, frontier)
    if (tree.size, tree.root()) != (last.size, last.root):
        msg = f"The events before size {last.size} are not those of the checkpoint that was signed there."
        raise Contradiction(msg)
    tree.extend(leaves(last.size, head.size))
    if (tree.size, tree.frontier()) != (head.size, head.frontier):
        msg = f"The head of size {head.size} does not continue the checkpoint of size {last.size}."
        raise Contradiction(msg)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str) -> bytes | None:
    """Strict: exactly one text for each value."""
    with suppress(binascii.Error):
        data = base64.b64decode(text, validate=True)
        if _base64(data) == text:
            return data
    return None
