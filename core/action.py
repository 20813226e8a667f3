"""The rules of an action: kill one or all of a subject at once; freeze a selection, start it, finish it. Pure."""

from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from core.ending import revocation
from events import action, family, ids, subject
from events.decision import Change, Decide, Decision, Moment, States, Streams, knowing
from events.fact import Fact
from events.family import Family
from events.private import Account

MAX_SELECTION = 10_000
"""Families in one action. More are killed by a second one; a selection that nobody can look over is no selection."""


class Outcome(StrEnum):
    """What became of a command about an action."""

    DONE = "done"
    REPEATED = "repeated"
    """The same action was confirmed before: its receipt is the answer."""
    UNKNOWN = "unknown"
    UNCHANGED = "unchanged"
    """It was so already."""
    CONFLICT = "conflict"
    """It would hit another subject than was shown."""
    MORE = "more"
    """More live than this person may end with what they confirmed."""
    ERASED = "erased"
    """The subject was erased meanwhile: nothing of it lives, and nothing is typed about it any more."""


class Confirmed(NamedTuple):
    """What somebody confirmed on a preview."""

    action: bytes
    """Made with the preview, so that a second click is the same action."""
    actor: str
    reason: str
    ticket: str
    note: str
    position: int
    """Size of the log that the preview showed."""


class Kill(NamedTuple):
    """End families of one subject: those that were shown, or all that live when it is decided."""

    confirmed: Confirmed
    subject: bytes
    shown: tuple[bytes, ...]
    everything: bool
    most: int | None = None
    """So many may end by it, whatever was shown; None for no limit."""


def kill(command: Kill) -> Decide:
    """Start, end the families and finish, in one commit. Never held off by a rotation."""
    wanted = Streams(
        families=frozenset(command.shown),
        subjects=frozenset((command.subject,)),
        actions=frozenset((command.confirmed.action,)),
        living_of=frozenset((command.subject,) if command.everything else ()),
    )

    def decide(states: States, _moment: Moment) -> Decision:
        if states.action(command.confirmed.action) is not None:
            return Decision(Outcome.REPEATED)
        shown = [found for stream in command.shown if (found := states.family(stream))]
        if not shown and not command.everything:
            return Decision(Outcome.UNKNOWN)
        if any(one.subject != command.subject for one in shown):
            return Decision(Outcome.CONFLICT)
        if is_erased(states, command.subject):
            return Decision(Outcome.ERASED)
        living = list(states.living_of(command.subject)) if command.everything else [one for one in shown if one.living]
        if command.most is not None and len(living) > command.most:
            return Decision(Outcome.MORE)
        return Decision(Outcome.DONE, _killed(command, living))

    return knowing(wanted, decide)


def is_erased(states: States, stream: bytes) -> bool:
    """Whether there was somebody of this id."""
    owner = states.subject(stream)
    return owner is not None and owner.erased


def _killed(command: Kill, living: Sequence[Family]) -> tuple[Change, ...]:
    confirmed = command.confirmed
    added = sum(one.id not in command.shown for one in living)
    target = ids.to_text(subject.PREFIX, command.subject)
    if not command.everything and len(command.shown) == 1:
        target = ids.to_text(family.PREFIX, command.shown[0])
    started = action.ActionStarted(
        actor=confirmed.actor,
        kind="revoke_subject" if command.everything else "revoke_family",
        planned=len(command.shown),
        position=confirmed.position,
        reason=confirmed.reason,
        ticket=confirmed.ticket,
        target=target,
    )
    finished = action.ActionFinished(
        actor=confirmed.actor, ended=len(living), spared=len(command.shown) - (len(living) - added), added=added
    )
    part_of = ids.to_text(action.PREFIX, confirmed.action)
    ended = [revocation(one, confirmed.actor, confirmed.reason, "", confirmed.ticket, part_of) for one in living]
    note = Account(note=confirmed.note) if confirmed.note else None
    return (Change(confirmed.action, started, note), *ended, Change(confirmed.action, finished))


def set_enabled(confirmed: Confirmed, owner: bytes, *, enabled: bool) -> Decide:
    """Allow or stop somebody's sign-in as an action: stopping ends all families of it in the same commit."""
    wanted = Streams(
        subjects=frozenset((owner,)),
        actions=frozenset((confirmed.action,)),
        living_of=frozenset(() if enabled else (owner,)),
    )

    def decide(states: States, _moment: Moment) -> Decision:
        if states.action(confirmed.action) is not None:
            return Decision(Outcome.REPEATED)
        state = states.subject(owner)
        if state is None:
            return Decision(Outcome.UNKNOWN)
        if state.erased:
            return Decision(Outcome.ERASED)
        if state.enabled == enabled:
            return Decision(Outcome.UNCHANGED)
        return Decision(Outcome.DONE, _switched(confirmed, owner, None if enabled else states.living_of(owner)))

    return knowing(wanted, decide)


def _switched(confirmed: Confirmed, owner: bytes, living: Sequence[Family] | None) -> tuple[Change, ...]:
    """`living` is None where sign-in is allowed again: then nothing ends."""
    name, actor, part_of = (
        ids.to_text(subject.PREFIX, owner),
        confirmed.actor,
        ids.to_text(action.PREFIX, confirmed.action),
    )
    gone = living or ()
    started = action.ActionStarted(
        actor=actor,
        kind="enable_subject" if living is None else "disable_subject",
        planned=len(gone),
        position=confirmed.position,
        reason=confirmed.reason,
        ticket=confirmed.ticket,
        target=name,
    )
    switched: Fact = (
        subject.SubjectEnabled(actor=actor, subject=name, action=part_of)
        if living is None
        else subject.SubjectDisabled(actor=actor, subject=name, reason=confirmed.reason, action=part_of)
    )
    ended = [revocation(one, actor, "subject_disabled", "", confirmed.ticket, part_of) for one in gone]
    note = Account(note=confirmed.note) if confirmed.note else None
    finished = action.ActionFinished(actor=actor, ended=len(gone), spared=0)
    return (
        Change(confirmed.action, started, note),
        Change(owner, switched),
        *ended,
        Change(confirmed.action, finished),
    )


class Selection(NamedTuple):
    """A frozen selection: these families and no others, whatever matches later."""

    action: bytes
    actor: str
    query: str
    position: int
    families: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        """What the confirmation is held against."""
        return digest(self.families)


def digest(families: Sequence[bytes]) -> str:
    """Hexadecimal SHA-256 over the ids in order."""
    return sha256(b"".join(families)).hexdigest()


def plan(selection: Selection) -> Decide:
    """Write the selection down. Raises ValueError for more than `MAX_SELECTION` families."""

    def decide(states: States, _moment: Moment) -> Decision:
        if len(selection.families) > MAX_SELECTION:
            msg = f"one action takes at most {MAX_SELECTION} families"
            raise ValueError(msg)
        if states.action(selection.action) is not None:
            return Decision(Outcome.REPEATED)
        planned = action.ActionPlanned(
            actor=selection.actor,
            kind="revoke_selection",
            position=selection.position,
            planned=len(selection.families),
            digest=selection.digest,
        )
        texts = [ids.to_text(family.PREFIX, one) for one in selection.families]
        chunks = [texts[start : start + action.CHUNK] for start in range(0, len(texts), action.CHUNK)]
        targeted = [action.ActionTargeted(actor=selection.actor, families=" ".join(chunk)) for chunk in chunks]
        opening = Change(selection.action, planned, Account(note=selection.query))
        return Decision(Outcome.DONE, (opening, *(Change(selection.action, one) for one in targeted)))

    return knowing(Streams(actions=frozenset((selection.action,))), decide)


def start(confirmed: Confirmed, *, include_new: bool) -> Decide:
    """Confirm a frozen selection; from here on it is carried out, also after a crash."""

    def decide(states: States, _moment: Moment) -> Decision:
        state = states.action(confirmed.action)
        if state is None:
            return Decision(Outcome.UNKNOWN)
        if state.status != action.PLANNED:
            return Decision(Outcome.REPEATED)
        fact = action.ActionStarted(
            actor=confirmed.actor,
            kind=state.kind,
            planned=state.planned,
            position=state.position,
            reason=confirmed.reason,
            ticket=confirmed.ticket,
            include_new=int(include_new),
        )
        return Decision(
            Outcome.DONE,
            (Change(confirmed.action, fact, Account(note=confirmed.note) if confirmed.note else None),),
        )

    return knowing(Streams(actions=frozenset((confirmed.action,))), decide)


def finish(stream: bytes, ended: int, spared: int, added: int) -> Decide:
    """Everything of it was done; counted from the log, so that a second run states the same."""

    def decide(states: States, _moment: Moment) -> Decision:
        state = states.action(stream)
        if state is None or state.status != action.STARTED:
            return Decision(Outcome.UNKNOWN if state is None else Outcome.REPEATED)
        fact = action.ActionFinished(actor=state.actor, ended=ended, spared=spared, added=added)
        return Decision(Outcome.DONE, (Change(stream, fact),))

    return knowing(Streams(actions=frozenset((stream,))), decide)
