"""The rules of the log itself: it starts once, and goes on under a new name after a loss. Pure."""

from events import log
from events.decision import Change, Decide, Decision, Moment, States, Streams, knowing

_LOG = Streams(logs=frozenset((log.STREAM,)))


def start(origin: str) -> Decide:
    """Write the first event of an empty ledger; answers the log's name."""

    def decide(states: States, _moment: Moment) -> Decision:
        state = states.log()
        if state is not None:
            return Decision(state.origin)
        return Decision(origin, (Change(log.STREAM, log.LogStarted(actor="system", origin=origin)),))

    return knowing(_LOG, decide)


def recover(size: int, lost: int, origin: str, actor: str, *, keep_sessions: bool) -> Decide:
    """An older copy is taken into use: from here on it is another log. Families that began before it have ended."""

    def decide(states: States, _moment: Moment) -> Decision:
        if states.log() is None:
            return Decision(None)
        fact = log.LedgerRecovered(actor=actor, size=size, lost=lost, origin=origin, keep_sessions=keep_sessions)
        return Decision(origin, (Change(log.STREAM, fact),))

    return knowing(_LOG, decide)
