"""What a rule is given and what it answers. Pure values; the ledger carries them, core makes them."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias, cast

from events.action import Action
from events.client import Client
from events.fact import Fact
from events.family import Family
from events.key import Key
from events.log import STREAM, Log
from events.private import Account, Context
from events.subject import Subject

State: TypeAlias = Family | Subject | Client | Key | Log | Action


class Moment(NamedTuple):
    """The one reading of time of a batch, in microseconds since the epoch of the ledger's clock."""

    now: int
    """Never behind the last event."""
    wall: int
    """The wall clock: what `iat` and `exp` of an access token count from."""
    arrived: int
    """When the request behind this command arrived."""
    ready: int
    """When this process became able to commit again (start, or the end of a fault)."""
    unable: int = 0
    """Since when it was not: what was over by then did not suffer by it."""


class Change(NamedTuple):
    """One fact for one stream, with what people typed beside it."""

    stream: bytes
    fact: Fact
    account: Account | None = None


class Streams(NamedTuple):
    """What a command has to see: things by stream, and things that are found by what they say."""

    families: frozenset[bytes] = frozenset()
    subjects: frozenset[bytes] = frozenset()
    clients: frozenset[bytes] = frozenset()
    keys: frozenset[bytes] = frozenset()
    logs: frozenset[bytes] = frozenset()
    """Empty, or the log's own stream."""
    actions: frozenset[bytes] = frozenset()
    living_of: frozenset[bytes] = frozenset()
    """Subjects, all of whose living families are wanted."""
    names: frozenset[str] = frozenset()
    """Login names, in their compared form."""


class Decision(NamedTuple):
    """A verdict for the caller and the changes that are committed before it is answered."""

    verdict: Any
    changes: tuple[Change, ...] = ()


class Need(NamedTuple):
    """More must be read, under the same lock, before this can be decided; then the rule is asked again."""

    streams: Streams


class Origin(NamedTuple):
    """Where a command came from: our request id, and the private context of the request."""

    request: str = ""
    context: Context | None = None


class States:
    """What one batch has read and evolved so far. A rule reads it and never changes it.

    A stream that does not exist counts as read once it was asked for.
    """

    def __init__(self) -> None:
        self.by_stream: dict[bytes, State | None] = {}
        self.living: dict[bytes, set[bytes]] = {}
        self.named: dict[str, bytes | None] = {}
        # one for each field of `Streams`
        self._known: tuple[dict[Any, Any], ...] = (*[self.by_stream] * 6, self.living, self.named)

    def family(self, stream: bytes) -> Family | None:
        return cast("Family | None", self.by_stream[stream])

    def subject(self, stream: bytes) -> Subject | None:
        return cast("Subject | None", self.by_stream[stream])

    def client(self, stream: bytes) -> Client | None:
        return cast("Client | None", self.by_stream[stream])

    def key(self, stream: bytes) -> Key | None:
        return cast("Key | None", self.by_stream[stream])

    def action(self, stream: bytes) -> Action | None:
        return cast("Action | None", self.by_stream[stream])

    def log(self) -> Log | None:
        return cast("Log | None", self.by_stream[STREAM])

    def living_of(self, subject: bytes) -> tuple[Family, ...]:
        """The subject's living families, oldest first."""
        found = (self.family(stream) for stream in self.living[subject])
        return tuple(sorted((f for f in found if f and f.living), key=lambda f: (f.started_at, f.id)))

    def owner_of(self, name: str) -> Subject | None:
        """Who holds this login name."""
        stream = self.named[name]
        return None if stream is None else self.subject(stream)

    def knows(self, *streams: bytes) -> bool:
        """Whether all of these were read, found or not."""
        return all(stream in self.by_stream for stream in streams)

    def lacking(self, streams: Streams) -> Streams | None:
        """Those of the streams that were not read yet, or None."""
        wanted: Iterable[tuple[frozenset[Any], dict[Any, Any]]] = zip(streams, self._known, strict=True)
        lacking = Streams(*[streams.difference(known) if streams else streams for streams, known in wanted])
        return lacking if any(lacking) else None


Decide: TypeAlias = Callable[[States, Moment], Decision | Need]


class Submission(NamedTuple):
    """One command on its way to the ledger."""

    streams: Streams
    decide: Decide
    origin: Origin
    arrived: float
    """`time.monotonic()` at the edge, in seconds."""
