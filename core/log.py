"""The rule of the log itself: it starts once, with the name that its checkpoints carry. Pure."""

from events import log
from events.decision import Change, Decide, Decision, Moment, Need, States, Streams


def start(origin: str) -> Decide:
    """Write the first event of an empty ledger; answers the log's name."""

    def decide(states: States, _moment: Moment) -> Decision | Need:
        lacking = states.lacking(Streams(logs=frozenset((log.STREAM,))))
        if lacking is not None:
            return Need(lacking)
        state = states.log()
        if state is not None:
            return Decision(state.origin)
        return Decision(origin, (Change(log.STREAM, log.LogStarted(actor="system", origin=origin)),))

    return decide
