"""Revoking a master key as an action of staff: from its commit on, no refresh token under it is taken. Pure.

The families that stand under it are ended behind it, one after the other (`core/actions.py`); a refresh looks at the
log itself, so none of them can be used until then, either.
"""

from enum import StrEnum
from typing import NamedTuple

from core.action import Confirmed
from events import action, ids
from events.decision import Change, Decide, Decision, Moment, States, Streams, knowing
from events.log import STREAM, MasterKeyRevoked
from events.private import Account

KIND = "revoke_master_key"


class Outcome(StrEnum):
    """What became of it."""

    REVOKED = "revoked"
    REPEATED = "repeated"
    """The same action was confirmed before: its receipt is the answer."""
    UNCHANGED = "unchanged"
    """It is revoked already."""
    SIGNS = "signs"
    """A living process signs with it: another must sign first, or everybody would be signed out again and again."""


class Revoke(NamedTuple):
    """The master key of this number leaked."""

    confirmed: Confirmed
    number: int
    planned: int
    """Living families under it, as they were shown."""


def revoke(command: Revoke) -> Decide:
    """`REVOKED`, `REPEATED` or `UNCHANGED`."""
    confirmed = command.confirmed
    part_of = ids.to_text(action.PREFIX, confirmed.action)

    def decide(states: States, _moment: Moment) -> Decision:
        if states.action(confirmed.action) is not None:
            return Decision(Outcome.REPEATED)
        log = states.log()
        if log is None or log.has_revoked(command.number):
            return Decision(Outcome.UNCHANGED)
        started = action.ActionStarted(
            actor=confirmed.actor,
            kind=KIND,
            planned=command.planned,
            position=confirmed.position,
            reason=confirmed.reason,
            ticket=confirmed.ticket,
            target=str(command.number),
        )
        note = Account(note=confirmed.note) if confirmed.note else None
        revoked = MasterKeyRevoked(actor=confirmed.actor, number=command.number, action=part_of)
        return Decision(Outcome.REVOKED, (Change(confirmed.action, started, note), Change(STREAM, revoked)))

    return knowing(Streams(actions=frozenset((confirmed.action,)), logs=frozenset((STREAM,))), decide)
