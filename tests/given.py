"""Given facts, when something is decided, then verdict and facts: the rules without a database, as a specification."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from core.beginning import Begin
from core.judgement import Refresh
from core.policy import SECOND, Policy
from core.token import Token, hash_nonce
from core.verdict import Tags, TagsFor, Verdict
from events import catalogue, client, family, ids, log, subject
from events.decision import Change, Decide, Decision, Moment, Need, States
from events.fact import Fact
from events.family import Family
from events.private import Account
from events.subject import Subject

START = 1_800_000_000 * SECOND
"""When the stories begin, microseconds."""
ALICE = ids.new_id(START, b"alice----")
BOB = ids.new_id(START, b"bob------")
FAMILY = ids.new_id(START, b"family---")
NONCE = b"nonce-of-family-"
WEB = client.stream_of("web")
DEFAULTS = Policy()


class Told(NamedTuple):
    """Something that happened before: a fact of a stream, so many seconds after the start."""

    stream: bytes
    fact: Fact
    after: float = 0
    account: Account = Account()


class Then(NamedTuple):
    """What was decided."""

    verdict: Any
    changes: tuple[Change, ...]
    now: int

    @property
    def facts(self) -> list[Fact]:
        return [change.fact for change in self.changes]

    @property
    def types(self) -> list[str]:
        return [fact.TYPE for fact in self.facts]

    def of(self, stream: bytes) -> list[str]:
        """Types of the facts of one stream."""
        return [change.fact.TYPE for change in self.changes if change.stream == stream]


def outcome(then: Then) -> tuple[Any, list[str]]:
    """What a command about one thing came to, and the facts that it left."""
    return then.verdict, then.types


def summary(then: Then) -> tuple[Verdict, list[str]]:
    """The same of a command whose answer says more than its verdict."""
    return then.verdict.verdict, then.types


class Past:
    """What a batch would have read: everything that was told, folded. A stream that was not told of does not exist."""

    def __init__(self, told: Iterable[Told]) -> None:
        self.told = tuple(told)

    def when(self, decide: Decide, after: float = 0, **moment: int) -> Then:
        """Decide so many seconds after the start; `arrived`, `ready` and `wall` follow unless given."""
        now = START + round(after * SECOND)
        at = msgspec.structs.replace(Moment(now, now, now, 0), **moment)
        states = self.states()
        for _ in range(8):
            answer = decide(states, at)
            if isinstance(answer, Decision):
                return Then(answer.verdict, answer.changes, now)
            _as_read(states, answer)
        raise AssertionError("a rule asked for more and more")

    def and_then(self, decide: Decide, after: float = 0, **moment: int) -> "Past":
        """The past after this was decided and committed, too."""
        then = self.when(decide, after, **moment)
        more = (Told(c.stream, c.fact, after, c.account or Account()) for c in then.changes)
        return Past((*self.told, *more))

    def states(self) -> States:
        """Everything folded."""
        states = States()
        for one in self.told:
            before = states.by_stream.get(one.stream)
            at = START + round(one.after * SECOND)
            states.by_stream[one.stream] = catalogue.apply(before, one.stream, at, one.fact, one.account)
        return states

    def family(self, stream: bytes = FAMILY) -> Family:
        state = self.states().by_stream[stream]
        assert isinstance(state, Family)
        return state

    def subject(self, stream: bytes = ALICE) -> Subject:
        state = self.states().by_stream[stream]
        assert isinstance(state, Subject)
        return state


def _as_read(states: States, need: Need) -> None:
    """What the rule asks for counts as read; what was never told of is None."""
    wanted = need.streams
    for stream in wanted.families | wanted.subjects | wanted.clients | wanted.keys | wanted.logs | wanted.actions:
        states.by_stream.setdefault(stream, None)
    states.used.update((value, states.used.get(value, False)) for value in wanted.uses)
    for owner in wanted.living_of:
        states.living[owner] = {s.id for s in states.by_stream.values() if isinstance(s, Family) and s.subject == owner}
    for name in wanted.names:
        holders = (s.id for s in states.by_stream.values() if isinstance(s, Subject) and name in (s.name, s.external))
        states.named[name] = next(holders, None)


def given(*told: Told) -> Past:
    """The ledger was started, and then this happened."""
    return Past((Told(log.STREAM, log.LogStarted(actor="system", origin="test")), *told))


def a_client(name: str = "web", **policy: Any) -> Told:
    """A client was registered, with a policy of its own where one is given."""
    return Told(client.stream_of(name), client.ClientRegistered(actor="system", client=name, **policy))


def a_subject(stream: bytes = ALICE, name: str = "alice", roles: str = "") -> Told:
    """A subject was registered."""
    fact = subject.SubjectRegistered(actor="cli", subject=sub(stream), roles=roles)
    return Told(stream, fact, account=Account(name=name, password="hash-1"))


def a_family(stream: bytes = FAMILY, owner: bytes = ALICE, name: str = "web", after: float = 0, **more: Any) -> Told:
    """A family began on the laptop at home; what differs is given by field name."""
    at = START + round(after * SECOND)
    fields: dict[str, Any] = {
        "actor": "subject",
        "subject": sub(owner),
        "client": name,
        "key": 1,
        "nonce": hash_nonce(NONCE),
        "carriage": "body",
        "jti": "j" * 22,
        "exp": at // SECOND + 900,
        "idle_until": at + DEFAULTS.idle_ttl * SECOND,
        "ends_at": at + DEFAULTS.absolute_ttl * SECOND,
        "auth_time": at // SECOND,
        "amr": "pwd",
        "device_tag": "laptop@1",
        "network_tag": "home@1",
    }
    return Told(stream, family.TokenIssued(**fields | more), after)


def seen(device: str = "laptop", network: str = "home") -> TagsFor:
    """Tags that say under which key they were made."""
    return lambda number, _owner: Tags(f"{device}@{number}", f"{network}@{number}")


def a_refresh(generation: int = 1, stream: bytes = FAMILY, **more: Any) -> Refresh:
    """The token of that generation is used from the laptop at home; what differs is given by field name."""
    fields: dict[str, Any] = {
        "token": Token(1, stream, NONCE, generation),
        "client": "web",
        "carriage": "body",
        "tags": seen(),
        "key": 1,
        "jti": "k" * 22,
        "defaults": DEFAULTS,
    }
    return Refresh(**fields | more)


def a_begin(number: int = 1, owner: bytes = ALICE, **more: Any) -> Begin:
    """Somebody whose password was verified signs in on the laptop at home."""
    fields: dict[str, Any] = {
        "family": numbered(number),
        "subject": owner,
        "client": "web",
        "carriage": "body",
        "nonce": hash_nonce(NONCE),
        "key": 1,
        "jti": "b" * 22,
        "tags": seen(),
        "defaults": DEFAULTS,
        "password_version": 1,
    }
    return Begin(**fields | more)


def numbered(number: int) -> bytes:
    """The id of the n-th of many families."""
    return ids.new_id(START, number.to_bytes(ids.RANDOM_BYTES))


def sub(stream: bytes = ALICE) -> str:
    return ids.to_text(subject.PREFIX, stream)


def fields_of(fact: Fact, *names: str) -> dict[str, Any]:
    """Some fields of a fact, to be compared."""
    everything = msgspec.structs.asdict(fact)
    return {name: everything[name] for name in names}
