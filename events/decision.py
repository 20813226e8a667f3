"""What a rule is given and what it answers. Pure values; the ledger carries them, core makes them."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

from events.client import Client
from events.fact import Fact
from events.family import Family
from events.key import Key
from events.private import Account, Context
from events.subject import Subject

State: TypeAlias = Family | Subject | Client | Key


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


class Change(NamedTuple):
    """One fact for one stream, with what people typed beside it."""

    stream: bytes
    fact: Fact
    account: Account | None = None


class Decision(NamedTuple):
    """A verdict for the caller and the changes that are committed before it is answered."""

    verdict: Any
    changes: tuple[Change, ...] = ()


class Need(NamedTuple):
    """Other things must be read, under the same lock, before this can be decided; then the rule is asked again."""

    streams: frozenset[bytes] = frozenset()
    families_of: frozenset[bytes] = frozenset()
    """Subjects, all of whose living families are wanted."""
    names: frozenset[str] = frozenset()
    """Login names, in their compared form."""


class Origin(NamedTuple):
    """Where a command came from: our request id, and the private context of the request."""

    request: str = ""
    context: Context | None = None


class States:
    """What one batch has read and evolved so far. A rule reads it and never changes it."""

    def __init__(self) -> None:
        self.by_stream: dict[bytes, State | None] = {}
        self.living: dict[bytes, set[bytes]] = {}
        self.named: dict[str, bytes | None] = {}

    def family(self, stream: bytes) -> Family | None:
        state = self.by_stream.get(stream)
        return state if isinstance(state, Family) else None

    def subject(self, stream: bytes) -> Subject | None:
        state = self.by_stream.get(stream)
        return state if isinstance(state, Subject) else None

    def client(self, stream: bytes) -> Client | None:
        state = self.by_stream.get(stream)
        return state if isinstance(state, Client) else None

    def key(self, stream: bytes) -> Key | None:
        state = self.by_stream.get(stream)
        return state if isinstance(state, Key) else None

    def has(self, *streams: bytes) -> bool:
        """Whether all of these were read (a stream that does not exist counts as read)."""
        return all(stream in self.by_stream for stream in streams)

    def families_of(self, subject: bytes) -> tuple[Family, ...] | None:
        """The subject's living families, oldest first; None until they were read (answer `Need`)."""
        streams = self.living.get(subject)
        if streams is None:
            return None
        found = (self.family(stream) for stream in streams)
        return tuple(sorted((f for f in found if f and f.living), key=lambda f: (f.started_at, f.id)))

    def owner_of(self, name: str) -> Subject | None:
        """Who holds this login name; only after `has_name`."""
        stream = self.named.get(name)
        return None if stream is None else self.subject(stream)

    def has_name(self, name: str) -> bool:
        return name in self.named


Decide: TypeAlias = Callable[[States, Moment], Decision | Need]


class Submission(NamedTuple):
    """One command on its way to the ledger."""

    streams: frozenset[bytes]
    decide: Decide
    origin: Origin
    arrived: float
    """`time.monotonic()` at the edge, in seconds."""


def streams(*ids: bytes | Iterable[bytes]) -> frozenset[bytes]:
    """The streams that a command names."""
    named: set[bytes] = set()
    for one in ids:
        named.update((one,) if isinstance(one, bytes) else one)
    return frozenset(named)


def missing(states: States, *ids: bytes) -> Need | None:
    """A `Need` for those of the streams that were not read yet."""
    absent = frozenset(i for i in ids if i not in states.by_stream)
    return Need(streams=absent) if absent else None
