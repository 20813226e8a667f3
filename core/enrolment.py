"""The rules of having a second factor: adding, taking away, recovery codes. Pure; ids and hashes are given."""

from enum import StrEnum
from typing import NamedTuple

from core import beginning, ending
from core.beginning import Begin
from core.codes import COUNT
from core.policy import DASHBOARD
from core.verdict import HOLDER, Answer, Verdict
from events import client as clients
from events import factor, ids, subject
from events.decision import Change, Decide, Decision, Moment, States, Streams, knowing
from events.factor import TOTP
from events.private import Account
from events.subject import Subject

MOST = 12
"""Second factors of one person."""
MAX_NAME = 60
"""Characters of a factor's name."""
REMOVED = "removed"


class Outcome(StrEnum):
    """What became of a command about factors."""

    DONE = "done"
    UNCHANGED = "unchanged"
    UNKNOWN = "unknown"
    EXISTS = "exists"
    """There is one of this kind, or this very passkey."""
    FULL = "full"
    LAST = "last"
    """The role asks for a second factor, and this is the only one."""


class New(NamedTuple):
    """A factor that was proved just now."""

    id: str
    kind: str
    account: Account
    """Its name, and the wrapped secret or the public key."""
    key: int = 0
    step: int = 0
    counter: int = 0
    synced: bool = False

    def __repr__(self) -> str:
        return f"New(id={self.id!r}, kind={self.kind!r})"


class Add(NamedTuple):
    """Add a factor, and go on with the session as another."""

    begin: Begin
    """A new family in place of the own one."""
    new: New
    codes: tuple[str, ...]
    """Hashes of recovery codes, for somebody who has none."""

    def __repr__(self) -> str:
        return f"Add(new={self.new!r})"


class Added(NamedTuple):
    """What became of it; the session where it was done."""

    outcome: Outcome
    answer: Answer
    codes: bool = False
    """Whether the recovery codes count."""


def add(command: Add) -> Decide:
    """Add the factor. All other sessions at the dashboard end, and the own one goes on as a new one that says so."""
    begin = command.begin

    def decide(states: States, moment: Moment) -> Decision:
        owner, app = states.subject(begin.subject), states.client(clients.stream_of(begin.client))
        own = next((one for one in states.living_of(begin.subject) if one.id == begin.replaces), None)
        if owner is None or app is None or own is None or not beginning.may_begin(begin, owner, app):
            return Decision(Added(Outcome.UNKNOWN, Answer(Verdict.REVOKED)))
        refusal = _refusal(owner, command.new)
        if refusal is not None:
            return Decision(Added(refusal, Answer(Verdict.REFUSED)))
        others = [one for one in states.living_of(owner.id) if one.client == DASHBOARD and one.id != own.id]
        with_codes = not owner.second.left
        changes = [
            _added(owner, command.new),
            *([_codes(owner, command.codes)] if with_codes else []),
            *ending.revocations(others, HOLDER, "factor_added"),
            ending.revocation(own, HOLDER, "replaced"),
        ]
        begun = beginning.begun(begin, owner, app, own, changes, moment, ended=len(others))
        return Decision(Added(Outcome.DONE, begun.verdict, with_codes), begun.changes)

    return knowing(beginning.needs(begin), decide)


def _refusal(owner: Subject, new: New) -> Outcome | None:
    held = owner.second.held
    if len(held) >= MOST:
        return Outcome.FULL
    same = (one for one in held if one.kind == new.kind)
    if any(one.kind == TOTP or one.credential == new.account.credential for one in same):
        return Outcome.EXISTS
    return None


def _added(owner: Subject, new: New) -> Change:
    fact = factor.SubjectFactorAdded(
        actor=HOLDER,
        subject=ids.to_text(subject.PREFIX, owner.id),
        factor=new.id,
        kind=new.kind,
        key=new.key,
        step=new.step,
        counter=new.counter,
        synced=new.synced,
    )
    return Change(owner.id, fact, new.account)


def _codes(owner: Subject, hashes: tuple[str, ...]) -> Change:
    name = ids.to_text(subject.PREFIX, owner.id)
    fact = factor.SubjectRecoveryCodesMade(actor=HOLDER, subject=name, count=len(hashes))
    return Change(owner.id, fact, Account(secret=" ".join(hashes)))


def make_codes(stream: bytes, hashes: tuple[str, ...]) -> Decide:
    """New recovery codes; the old ones are worth nothing. Only beside a factor: they stand in for one."""
    assert len(hashes) == COUNT  # noqa: S101 - the use case makes them

    def decide(states: States, _moment: Moment) -> Decision:
        owner = states.subject(stream)
        if owner is None or not owner.second.held:
            return Decision(Outcome.UNKNOWN)
        return Decision(Outcome.DONE, (_codes(owner, hashes),))

    return knowing(Streams(subjects=frozenset((stream,))), decide)


def remove(stream: bytes, named: str, required: frozenset[str]) -> Decide:
    """Its owner takes a factor away; never the last one while the role asks for one."""

    def decide(states: States, _moment: Moment) -> Decision:
        owner = states.subject(stream)
        held = owner.second.get(named) if owner else None
        if owner is None or held is None:
            return Decision(Outcome.UNKNOWN)
        if len(owner.second.held) == 1 and owner.role_set & required:
            return Decision(Outcome.LAST)
        return Decision(Outcome.DONE, (_removal(owner, held, HOLDER, REMOVED),))

    return knowing(Streams(subjects=frozenset((stream,))), decide)


def reset(stream: bytes, actor: str, reason: str, ticket: str = "", note: str = "") -> Decide:
    """Others take all factors away, with the recovery codes; every session at the dashboard ends with it."""

    def decide(states: States, _moment: Moment) -> Decision:
        owner = states.subject(stream)
        if owner is None:
            return Decision(Outcome.UNKNOWN)
        if not owner.second.held:
            return Decision(Outcome.UNCHANGED)
        gone = [one for one in states.living_of(stream) if one.client == DASHBOARD]
        removed = [_removal(owner, held, actor, reason, ticket, note) for held in owner.second.held]
        return Decision(Outcome.DONE, (*removed, *ending.revocations(gone, actor, "factors_reset", ticket)))

    return knowing(Streams(subjects=frozenset((stream,)), living_of=frozenset((stream,))), decide)


def _removal(owner: Subject, held: factor.Factor, actor: str, reason: str, ticket: str = "", note: str = "") -> Change:
    fact = factor.SubjectFactorRemoved(
        actor=actor,
        subject=ids.to_text(subject.PREFIX, owner.id),
        factor=held.id,
        kind=held.kind,
        reason=reason,
        ticket=ticket,
    )
    return Change(owner.id, fact, Account(note=note) if note else None)
