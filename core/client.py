"""The rules of a client: register, replace its policy, disable, enable. Pure."""

import re
from enum import StrEnum

from events import client
from events.decision import Change, Decide, Decision, Moment, Need, States, Streams
from events.fact import Fact

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A client's id: what stands in tokens, cookie names and requests."""


class Outcome(StrEnum):
    """What became of a command about a client."""

    DONE = "done"
    UNCHANGED = "unchanged"
    UNKNOWN = "unknown"


def register(fact: client.ClientRegistered) -> Decide:
    """Create the client, unless there is one of this name."""
    stream = client.stream_of(fact.client)

    def decide(states: States, _moment: Moment) -> Decision | Need:
        lacking = states.lacking(Streams(clients=frozenset((stream,))))
        if lacking is not None:
            return Need(lacking)
        if states.client(stream) is not None:
            return Decision(Outcome.UNCHANGED)
        return Decision(Outcome.DONE, (Change(stream, fact),))

    return decide


def set_enabled(name: str, actor: str, *, enabled: bool) -> Decide:
    """Disable a client, whose families then refuse to refresh; or enable it, which brings none back that ended."""
    stream = client.stream_of(name)

    def decide(states: States, _moment: Moment) -> Decision | Need:
        lacking = states.lacking(Streams(clients=frozenset((stream,))))
        if lacking is not None:
            return Need(lacking)
        state = states.client(stream)
        if state is None:
            return Decision(Outcome.UNKNOWN)
        if state.enabled == enabled:
            return Decision(Outcome.UNCHANGED)
        fact: Fact = (client.ClientEnabled if enabled else client.ClientDisabled)(actor=actor, client=name)
        return Decision(Outcome.DONE, (Change(stream, fact),))

    return decide
