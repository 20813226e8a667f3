"""The folder of checkpoints, outside the database's backup, and the rule that nothing contradictory is ever signed.

Knows neither the database nor when to sign.
"""

import base64
import fcntl
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

from events.checkpoint import Checkpoint, public_of, sign, verify, vkey
from events.merkle import Tree


class Head(NamedTuple):
    """The committed end of the log that is to be signed."""

    origin: str
    size: int
    frontier: bytes


class Signed(NamedTuple):
    """The last checkpoint, its signature verified, and its frontier if that was kept (it narrows down a place)."""

    checkpoint: Checkpoint
    frontier: bytes | None = None
    note: str = ""
    """As it stands in the folder."""


Leaves: TypeAlias = Callable[[int, int], Iterable[bytes]]
"""`leaves(first, end)`: the stored leaf hashes of the positions first ≤ p < end, in order."""


class Contradiction(Exception):
    """The log does not continue what was signed before; signing it would vouch for two histories."""


class CheckpointStore:
    """The folder outside the database's backup. One signer at a time: the process that leads.

    `checkpoint` is the last note and is replaced in one step; `checkpoint.previous` is the one before;
    `vkey` is what an auditor needs; `frontier` spares reading the log from its beginning and is never trusted;
    `signer.lock` is held by the process that signs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lead: int | None = None

    def lead(self) -> bool:
        """Whether this process is the one that signs here, from now on until it resigns or dies. Raises OSError."""
        if self._lead is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.folder / "signer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            self._lead = lock
        return True

    def resign(self) -> None:
        """Let another process sign."""
        if self._lead is not None:
            lock, self._lead = self._lead, None
            os.close(lock)

    def last(self) -> str | None:
        """The last note as it stands there, or None where none was written. Raises OSError if it cannot be read."""
        raw = self._read("checkpoint")
        return None if raw is None else raw.decode(errors="replace")

    def signed(self, *publics: bytes) -> Signed | None:
        """The last checkpoint for who has the public key, None where there is none yet.

        Several keys: those of all master keys, any of which may have signed it.
        Raises Contradiction where it is damaged or another key signed it, and OSError.
        """
        text = self.last()
        if text is None:
            return None
        checkpoint = _verified(text, publics)
        if checkpoint is None:
            msg = "The last checkpoint is damaged or was signed by another key."
            raise Contradiction(msg)
        return Signed(checkpoint, self.frontier(checkpoint), text)

    def before(self, *publics: bytes) -> Signed | None:
        """The checkpoint before the last one with its frontier, None where one of the two is not there or damaged.

        Raises OSError.
        """
        raw = self._read("checkpoint.previous")
        text = "" if raw is None else raw.decode(errors="replace")
        checkpoint = _verified(text, publics)
        frontier = None if checkpoint is None else self.frontier(checkpoint, "frontier.previous")
        return None if checkpoint is None or frontier is None else Signed(checkpoint, frontier, text)

    def public(self) -> bytes | None:
        """The public key as `vkey` states it: who can write here could have put another there. Raises OSError."""
        raw = self._read("vkey")
        with suppress(ValueError, IndexError):
            return None if raw is None else base64.b64decode(raw.split(b"+", 2)[2], validate=False)[1:]
        return None

    def frontier(self, checkpoint: Checkpoint, name: str = "frontier") -> bytes | None:
        """The frontier of the tree at that checkpoint, if the stored one folds to the signed root."""
        raw = self._read(name)
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
        for name in ("frontier", "checkpoint"):
            before = self._read(name)
            if before is not None:
                self._replace(f"{name}.previous", before)
        self._replace("frontier", frontier)
        self._replace("checkpoint", text.encode(), sync=True)
        self._sync_folder()

    def signed_at(self) -> float:
        """When the last note was written, seconds since the epoch. Raises OSError."""
        return (self.folder / "checkpoint").stat().st_mtime

    def set_aside(self, origin: str) -> None:
        """Keep the last note of a log that goes on under another name; it stays as evidence, and nothing follows it."""
        kept = self.folder / f"checkpoint.{origin.rpartition('/')[2]}"
        with suppress(FileNotFoundError):
            # first, because it says nothing of the log that goes on: if we crash here, this is done again
            (self.folder / "checkpoint.previous").replace(f"{kept}.previous")
        (self.folder / "checkpoint").replace(kept)
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


def _verified(text: str, publics: Iterable[bytes]) -> Checkpoint | None:
    return next((found for public in publics if (found := verify(text, public))), None)


def continues(signed: Signed, head: Head, leaves: Leaves) -> bool:
    """Whether the log at `head` goes on from what was signed. Reads only what came since. Needs the frontier."""
    try:
        _demand_continuation(signed, head, leaves)
    except Contradiction:
        return False
    return True


def advance(store: CheckpointStore, head: Head, seed: bytes, leaves: Leaves, older: Iterable[bytes] = ()) -> str:
    """Sign the head, if it continues what was signed before, and store it. Answers the note that stands now.

    C2SP tlog-checkpoint: nothing inconsistent with an earlier checkpoint may ever be signed. The proof is the log
    itself: the tree of the last checkpoint, grown by the leaves since, must be the tree of the head. That reads only
    what is new; the whole log is read where the stored frontier is missing or does not fit. Nothing is written when
    nothing changed. The head must be read after the caller became the only signer. `older` are the public keys of
    master keys that signed before; what one of them signed is continued, and signed anew.

    Raises Contradiction, with a sentence for the operator, and OSError where the folder cannot be used.
    """
    tree = _tree_of(head)
    here = Checkpoint(head.origin, head.size, tree.root())
    public = public_of(seed)
    signed = store.signed(public, *older)
    if signed is not None:
        if signed.checkpoint == here and verify(signed.note, public):
            return signed.note
        _demand_same_log(signed.checkpoint, head)
        _demand_continuation(signed, head, leaves)
    note = sign(here, seed)
    # If we crash here, a note was signed that nobody saw; the next one continues the older one all the same.
    store.write(note, vkey(head.origin, public), head.frontier)
    return note


def _tree_of(head: Head) -> Tree:
    try:
        return Tree(head.size, head.frontier)
    except ValueError as damage:
        msg = f"The head of the ledger is damaged: {damage}."
        raise Contradiction(msg) from damage


def _demand_same_log(last: Checkpoint, head: Head) -> None:
    if last.origin != head.origin:
        msg = f"The last checkpoint is of the log {last.origin}, not of {head.origin}."
        raise Contradiction(msg)
    if last.size > head.size:
        msg = f"The log ends at size {head.size}, but a checkpoint of size {last.size} was signed: events are gone."
        raise Contradiction(msg)


def _demand_continuation(signed: Signed, head: Head, leaves: Leaves) -> None:
    last, frontier = signed.checkpoint, signed.frontier
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
