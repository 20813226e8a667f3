"""What the writer remembers of the streams that its last batches read and changed, so that the next need not read them.

Holds only while nobody else writes, and only from one committed batch to the next: whatever goes wrong in between,
everything is forgotten and read again. Keeps nothing on disk and decides nothing.
"""

from collections.abc import Mapping
from itertools import chain

from events.decision import State, Streams
from events.family import Family
from events.heads import Head

MOST = 32_768
"""States, but for those of one batch more, about 1 KiB each: half of what SQLite may take for its own pages."""


class Remembered:
    """States by stream, as they were committed, in two generations: the older one goes when the younger one is full."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._left: Head | None = None
        self._young: dict[bytes, State | None] = {}
        self._old: dict[bytes, State | None] = {}

    def recall(self, head: Head, streams: Streams) -> dict[bytes, State]:
        """The states of these streams, and of whose the families are, if the head is the one that `keep` was told.

        From here on nothing is known until the next `keep`: a batch that does not come so far leaves no memory.
        """
        left, self._left = self._left, None
        if left is None or left.mark != head.mark:
            self.forget()
        found: dict[bytes, State] = {}
        for stream in chain(streams.families, streams.subjects, streams.clients, streams.keys, streams.logs):
            state = self._state(stream)
            if state is None:
                continue
            if isinstance(state, Family):
                owner = self._state(state.subject)
                if owner is None:
                    continue  # it is read again with its owner: what is kept of an event depends on whose it is
                found[owner.id] = owner
            found[stream] = state
        return found

    def keep(self, head: Head, states: Mapping[bytes, State | None]) -> None:
        """What a batch read and changed, once it is committed, and the head that it left."""
        self._young.update(states)
        if len(self._young) > self._most // 2:
            self._old, self._young = self._young if self._most else {}, {}
        self._left = head

    def forget(self) -> None:
        """Somebody else has written, and not only to the log; or somebody was erased."""
        self._left = None
        self._young, self._old = {}, {}

    def _state(self, stream: bytes) -> State | None:
        return self._young.get(stream) or self._old.get(stream)
