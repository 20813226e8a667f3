"""The rules of an erasure: what is written when all that is known of a subject goes. Pure; `erasures.py` does it."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from core import ending
from core.subject import Outcome
from core.verdict import STAFF_ROLES
from events import action, ids, subject
from events.decision import Change, Decide, Decision, Erase, Moment, States, Streams, knowing
from events.family import Family

KIND: Final = "erase_subject"
"""Of the action."""
REASON: Final = "erased"
"""Of the families that end with it."""
TEXTS: Final = 800
"""Positions in one event: at most twelve characters each, well under the cap on a body."""


class Erasure(NamedTuple):
    """Erase a subject. Nothing is typed with it: a note would be about somebody of whom nothing is to stay."""

    action: bytes
    subject: bytes
    actor: str
    reason: str
    ticket: str = ""
    position: int = 0
    """Size of the log that the preview showed."""
    texts: tuple[int, ...] = ()
    """Positions of events of others whose typed texts are about this subject."""
    staff: bool = True
    """Whether it may be somebody with a role in the dashboard."""


def erase(command: Erasure) -> Decide:
    """End the subject's families, say that it is erased, and delete what fits into one commit.

    The action stays started until the rest is gone, too.
    """
    owner = command.subject
    wanted = Streams(subjects=frozenset((owner,)), actions=frozenset((command.action,)), living_of=frozenset((owner,)))

    def decide(states: States, _moment: Moment) -> Decision:
        state = states.subject(owner)
        if state is None:
            return Decision(Outcome.UNKNOWN)
        if state.erased or states.action(command.action) is not None:
            return Decision(Outcome.UNCHANGED)
        if state.role_set & STAFF_ROLES and not command.staff:
            return Decision(Outcome.STAFF)
        return Decision(Outcome.DONE, _erased(command, states.living_of(owner)), Erase(owner, command.texts))

    return knowing(wanted, decide)


def _erased(command: Erasure, living: Sequence[Family]) -> tuple[Change, ...]:
    started = action.ActionStarted(
        actor=command.actor,
        kind=KIND,
        planned=len(living),
        position=command.position,
        reason=command.reason,
        ticket=command.ticket,
        target=ids.to_text(subject.PREFIX, command.subject),
    )
    part_of = ids.to_text(action.PREFIX, command.action)
    # the subject first: from there on nothing private is kept beside its events, these revocations included
    said = _said(command.subject, command.actor, command.reason, part_of, command.texts)
    ended = [ending.revocation(one, command.actor, REASON, "", command.ticket, part_of) for one in living]
    return (Change(command.action, started), *said, *ended)


def _said(owner: bytes, actor: str, reason: str, part_of: str, texts: Sequence[int]) -> Iterator[Change]:
    named = ids.to_text(subject.PREFIX, owner)
    for start in range(0, max(1, len(texts)), TEXTS):
        some = " ".join(map(str, texts[start : start + TEXTS]))
        fact = subject.SubjectErased(actor=actor, subject=named, reason=reason, action=part_of, texts=some)
        yield Change(owner, fact)


def erase_rest(stream: bytes, whose: bytes, texts: tuple[int, ...]) -> Decide:
    """Of an erasure under way: what was typed about the subject, or done by it, while it was decided goes as well."""

    def decide(states: States, _moment: Moment) -> Decision:
        state, owner = states.action(stream), states.subject(whose)
        if state is None or state.status != action.STARTED or owner is None or not owner.erased:
            return Decision(Outcome.UNCHANGED)
        said = tuple(_said(whose, state.actor, state.reason, ids.to_text(action.PREFIX, stream), texts))
        return Decision(Outcome.DONE, said, Erase(whose, texts))

    return knowing(Streams(actions=frozenset((stream,)), subjects=frozenset((whose,))), decide)
