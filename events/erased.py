"""Who was erased, kept outside the database: a restored copy of it does not know. Ids and times, no personal data.

A line is `sub_… position time number mac`. Only who has the master key can write one, or else whoever can write into
the folder could have anybody erased with the next restore.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from events import ids, subject

NAME = "erased"
_FIELDS = 5
_LONGEST = 160
"""Characters of a line: an id, two numbers of at most 19 digits, one of at most three, and a MAC."""


class Line(NamedTuple):
    """One erasure: of whom, where it stood in the log, when (microseconds since the epoch)."""

    subject: bytes
    position: int
    at: int


class ErasedList:
    """A file that only grows, in the folder of checkpoints. Everything raises OSError where it cannot be used."""

    def __init__(self, folder: Path, keys: Mapping[int, bytes]) -> None:
        """`keys`: by the number of their master key; the first one writes, all of them read."""
        self.path = folder / NAME
        self._keys = dict(keys)

    def all(self) -> list[Line]:
        """Those that we wrote; a line that nobody with our keys wrote, or half of one, counts for nothing."""
        return list(dict.fromkeys(line for _, line in self._numbered()))

    def follow(self, keys: Mapping[int, bytes]) -> None:
        """Another key writes from now on. What others wrote is written again under it, so that they may go.

        If we crash inside, the next start does it: a line that stands twice says no more than once.
        """
        self._keys = dict(keys)
        found = self._numbered()
        mine = {line for number, line in found if number == next(iter(self._keys))}
        self.add(sorted({line for _, line in found} - mine))

    def add(self, lines: list[Line]) -> None:
        """When this returns, they survive a power cut. Half a line of a crash before is ended first."""
        if not lines:
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = not self.path.exists()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, "".join(f"\n{self._written(line)}\n" for line in lines).encode())
            os.fsync(file)
        finally:
            os.close(file)
        if new:
            _sync(self.path.parent)

    def _numbered(self) -> list[tuple[int, Line]]:
        """Each with the number of the key that wrote it."""
        try:
            text = self.path.read_text("ascii", "replace")
        except FileNotFoundError:
            return []
        return [found for raw in text.splitlines() if (found := self._read(raw))]

    def _written(self, line: Line) -> str:
        number, key = next(iter(self._keys.items()))
        text = f"{ids.to_text(subject.PREFIX, line.subject)} {line.position} {line.at} {number}"
        return f"{text} {_mac(key, text)}"

    def _read(self, raw: str) -> tuple[int, Line] | None:
        if len(raw) > _LONGEST:
            return None
        text, _, mac = raw.rpartition(" ")
        parts = text.split(" ")
        if len(parts) != _FIELDS - 1 or not all(part.isdecimal() for part in parts[1:]):
            return None
        stream, key = ids.from_text(subject.PREFIX, parts[0]), self._keys.get(int(parts[3]))
        if stream is None or key is None or not hmac.compare_digest(mac, _mac(key, text)):
            return None
        return int(parts[3]), Line(stream, int(parts[1]), int(parts[2]))


def _mac(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _sync(folder: Path) -> None:
    """Without this a power cut may undo that the file was made."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
