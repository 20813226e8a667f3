"""The rules of a client: register, change its policy, rotate its secret, disable, enable. Pure: secrets are given."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from core.application import flaw, refused_change
from events import client
from events.client import Client
from events.decision import Change, Decide, Decision, Moment, Need, States, Streams
from events.fact import Fact
from events.private import Account

MAX_KEEP = 30 * 86_400
"""Seconds for which a secret can be used after its successor was made."""


class Outcome(StrEnum):
    """What became of a command about a client."""

    DONE = "done"
    UNCHANGED = "unchanged"
    UNKNOWN = "unknown"
    PUBLIC = "public"
    """A public client has no secret."""


class Rotate(NamedTuple):
    """Give a client another secret."""

    client: str
    hashed: str
    keep: int
    """Seconds for which the secret before it is good."""
    actor: str

    def __repr__(self) -> str:
        return f"Rotate(client={self.client!r})"


def register(fact: client.ClientRegistered, hashed: str = "") -> Decide:
    """Create the client, unless there is one of this name. `hashed` is its first secret's hash, where it has one."""
    stream = client.stream_of(fact.client)

    def decide(states: States, _moment: Moment) -> Decision | Need:
        lacking = states.lacking(Streams(clients=frozenset((stream,))))
        if lacking is not None:
            return Need(lacking)
        if states.client(stream) is not None:
            return Decision(Outcome.UNCHANGED)
        return Decision(Outcome.DONE, (Change(stream, fact, Account(secret=hashed) if hashed else None),))

    return decide


def update(name: str, actor: str, changes: Mapping[str, Any]) -> Decide:
    """Change some of the client's policy; answers a Flaw where it could not be so."""

    def decide(state: Client, _moment: Moment) -> Decision:
        policy = state.policy | dict(changes)
        if policy == state.policy:
            return Decision(Outcome.UNCHANGED)
        fact = client.ClientUpdated(actor=actor, client=name, **policy)
        wrong = refused_change(state, fact) or flaw(fact)
        return Decision(wrong) if wrong else _done(state, fact)

    return _about(name, decide)


def rotate_secret(command: Rotate) -> Decide:
    """Replace the secret. At most two are good at a time: the one before the one before ends now."""

    def decide(state: Client, moment: Moment) -> Decision:
        if not state.confidential:
            return Decision(Outcome.PUBLIC)
        until = moment.now + command.keep * 1_000_000 if command.keep and state.secret else 0
        fact = client.ClientSecretRotated(actor=command.actor, client=command.client, until=until)
        return _done(state, fact, Account(secret=command.hashed))

    return _about(command.client, decide)


def revoke_access(name: str, actor: str) -> Decide:
    """Refuse all access tokens that the client holds for itself."""

    def decide(state: Client, moment: Moment) -> Decision:
        issued = moment.wall // 1_000_000
        if state.access_revoked >= issued:
            return Decision(Outcome.UNCHANGED)
        return _done(state, client.AccessRevoked(actor=actor, client=name, issued=issued))

    return _about(name, decide)


def set_enabled(name: str, actor: str, *, enabled: bool) -> Decide:
    """Disable a client, whose families then refuse to refresh; or enable it, which brings none back that ended."""

    def decide(state: Client, _moment: Moment) -> Decision:
        if state.enabled == enabled:
            return Decision(Outcome.UNCHANGED)
        return _done(state, (client.ClientEnabled if enabled else client.ClientDisabled)(actor=actor, client=name))

    return _about(name, decide)


def _about(name: str, decide: Callable[[Client, Moment], Decision]) -> Decide:
    """A rule about a client that there is."""
    stream = client.stream_of(name)

    def loaded(states: States, moment: Moment) -> Decision | Need:
        lacking = states.lacking(Streams(clients=frozenset((stream,))))
        if lacking is not None:
            return Need(lacking)
        state = states.client(stream)
        return Decision(Outcome.UNKNOWN) if state is None else decide(state, moment)

    return loaded


def _done(state: Client, fact: Fact, account: Account | None = None) -> Decision:
    return Decision(Outcome.DONE, (Change(state.id, fact, account),))
