"""Revoking a signing key as an action of staff: confirmed, revoked and finished in one commit. Pure."""

from core import key
from core.action import Confirmed
from core.key import Revoke, Verdict
from events import action, ids
from events.decision import Change, Decide, Decision, Moment, Need, States, Streams, knowing
from events.key import KeyRevoked
from events.private import Account

KIND = "revoke_key"


def revoke(confirmed: Confirmed, command: Revoke) -> Decide:
    """What `core.key.revoke` answers, or `REPEATED`. Without a revocation there is no action either."""
    part_of = ids.to_text(action.PREFIX, confirmed.action)
    revoked = key.revoke(command._replace(actor=confirmed.actor, reason=confirmed.reason, note="", action=part_of))

    def decide(states: States, moment: Moment) -> Decision | Need:
        if states.action(confirmed.action) is not None:
            return Decision(Verdict.REPEATED)
        decided = revoked(states, moment)
        if isinstance(decided, Need) or decided.verdict is not Verdict.REVOKED:
            return decided
        return Decision(Verdict.REVOKED, _around(confirmed, decided.changes))

    return knowing(Streams(actions=frozenset((confirmed.action,))), decide)


def _around(confirmed: Confirmed, changes: tuple[Change, ...]) -> tuple[Change, ...]:
    kid = next(one.fact.key for one in changes if isinstance(one.fact, KeyRevoked))
    started = action.ActionStarted(
        actor=confirmed.actor,
        kind=KIND,
        planned=0,
        position=confirmed.position,
        reason=confirmed.reason,
        ticket=confirmed.ticket,
        target=kid,
    )
    note = Account(note=confirmed.note) if confirmed.note else None
    finished = action.ActionFinished(actor=confirmed.actor, ended=0, spared=0)
    return (Change(confirmed.action, started, note), *changes, Change(confirmed.action, finished))
