"""What a rule is given and what it answers. Pure values; the ledger carries them, core makes them."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec

from events.action import Action
from events.client import Client
from events.fact import Fact
from events.family import Family
from events.key import Key
from events.log import STREAM, Log
from events.private import Account, Context
from events.subject import Subject
from events.webhook import Webhook

State: TypeAlias = Family | Subject | Client | Key | Log | Action | Webhook


class Moment(msgspec.Struct, frozen=True):
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


class Change(msgspec.Struct, frozen=True):
    """One fact for one stream, with what people typed beside it."""

    stream: bytes
    fact: Fact
    account: Account | None = None


class Use(NamedTuple):
    """A value that counts once, for as long as it could come again."""

    value: bytes
    """A hash, 32 bytes."""
    until: int
    """From then on it is refused for its age, and may be forgotten: microseconds."""


class Streams(NamedTuple):
    """What a command has to see: things by stream, and things that are found by what they say."""

    families: frozenset[bytes] = frozenset()
    subjects: frozenset[bytes] = frozenset()
    clients: frozenset[bytes] = frozenset()
    keys: frozenset[bytes] = frozenset()
    logs: frozenset[bytes] = frozenset()
    """Empty, or the log's own stream."""
    actions: frozenset[bytes] = frozenset()
    webhooks: frozenset[bytes] = frozenset()
    living_of: frozenset[bytes] = frozenset()
    """Subjects, all of whose living families are wanted."""
    names: frozenset[str] = frozenset()
    """Login names, in their compared form, and what applications call subjects (`subject.external_key`)."""
    uses: frozenset[bytes] = frozenset()
    """Values that count once, of which it matters whether they were used (`Use`)."""


class Erase(NamedTuple):
    """Private rows that go in the commit of the decision that says so, as many of them as fit into one."""

    subject: bytes
    texts: tuple[int, ...] = ()
    """Positions of other events whose account rows are about it."""


class Decision(msgspec.Struct, frozen=True):
    """A verdict for the caller and the changes that are committed before it is answered."""

    verdict: Any
    changes: tuple[Change, ...] = ()
    erase: Erase | None = None
    """Whom the changes erase."""
    uses: tuple[Use, ...] = ()
    """Values that are used from now on: written beside the log, with the changes or without any. The rule has looked
    that none of them was (`States.was_used`); a second use of one does not commit."""


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
        self.used: dict[bytes, bool] = {}
        # one for each field of `Streams`
        self._known: tuple[dict[Any, Any], ...] = (*[self.by_stream] * 7, self.living, self.named, self.used)

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

    def webhook(self, stream: bytes) -> Webhook | None:
        return cast("Webhook | None", self.by_stream[stream])

    def log(self) -> Log | None:
        return cast("Log | None", self.by_stream[STREAM])

    def living_of(self, subject: bytes) -> tuple[Family, ...]:
        """The subject's living families, oldest first."""
        found = (self.family(stream) for stream in self.living[subject])
        return tuple(sorted((f for f in found if f and f.living), key=lambda f: (f.started_at, f.id)))

    def owner_of(self, name: str) -> Subject | None:
        """Who holds this login name, or is called so by an application."""
        stream = self.named[name]
        return None if stream is None else self.subject(stream)

    def was_used(self, value: bytes) -> bool:
        """Whether a value that counts once came before."""
        return self.used[value]

    def knows(self, *streams: bytes) -> bool:
        """Whether all of these were read, found or not."""
        return all(map(self.by_stream.__contains__, streams))

    def lacking(self, streams: Streams) -> Streams | None:
        """Those of the streams that were not read yet, or None."""
        wanted: Iterable[tuple[frozenset[Any], dict[Any, Any]]] = zip(streams, self._known, strict=True)
        lacking = Streams(*[streams.difference(known) if streams else streams for streams, known in wanted])
        return lacking if any(lacking) else None


Decide: TypeAlias = Callable[[States, Moment], Decision | Need]


def knowing(wanted: Streams, rule: Decide) -> Decide:
    """The rule, asked once all of these streams were read; until then, the need of what lacks."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        lacking = states.lacking(wanted)
        return rule(states, moment) if lacking is None else Need(lacking)

    return decide


class Submission(NamedTuple):
    """One command on its way to the ledger."""

    streams: Streams
    decide: Decide
    origin: Origin
    arrived: float
    """`time.monotonic()` at the edge, in seconds."""
