"""What the writer remembers of the streams that its last batches read and changed, so that the next need not read them.

Holds only while nobody else writes, and only from one committed batch to the next: whatever goes wrong in between,
everything is forgotten and read again. Keeps nothing on disk and decides nothing.
"""

from collections import OrderedDict
from collections.abc import Mapping
from itertools import chain

from events.commit import Head
from events.decision import State, Streams
from events.family import Family

MOST = 32_768
"""States at most, about 1 KiB each: half of what SQLite may take for its own pages."""


class Remembered:
    """States by stream, as they were committed; those that no batch named for the longest time go first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._left: Head | None = None
        self._states: OrderedDict[bytes, State] = OrderedDict()

    def recall(self, head: Head, streams: Streams) -> dict[bytes, State]:
        """The states of these streams, and of whose the families are, if the head is the one that `keep` was told.

        From here on nothing is known until the next `keep`: a batch that does not come so far leaves no memory.
        """
        left, self._left = self._left, None
        if left is None or left.mark != head.mark:
            self._states.clear()
        found: dict[bytes, State] = {}
        for stream in chain(streams.families, streams.subjects, streams.clients, streams.keys, streams.logs):
            state = self._states.get(stream)
            if state is None:
                continue
            if isinstance(state, Family):
                owner = self._states.get(state.subject)
                if owner is None:
                    continue  # it is read again with its owner: what is kept of an event depends on whose it is
                found[owner.id] = owner
            found[stream] = state
        return found

    def keep(self, head: Head, states: Mapping[bytes, State | None]) -> None:
        """What a batch read and changed, once it is committed, and the head that it left."""
        for stream, state in states.items():
            if state is not None:
                self._states[stream] = state
                self._states.move_to_end(stream)
        while len(self._states) > self._most:
            self._states.popitem(last=False)
        self._left = head

    def forget(self) -> None:
        """Somebody else has written, and not only to the log; or somebody was erased."""
        self._left = None
        self._states.clear()
