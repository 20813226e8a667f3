"""The rules of a subject: register, wrong passwords, password, roles, disable, enable. Pure."""

import unicodedata
from enum import StrEnum
from typing import NamedTuple

from core import beginning, ending
from core.beginning import Begin
from core.policy import SECOND
from core.verdict import HOLDER, POLICY, STAFF_ROLES, SYSTEM, Answer, Verdict
from events import client as clients
from events import ids, subject
from events.decision import Change, Decide, Decision, Moment, Need, States, Streams
from events.private import Account
from events.subject import Subject

MAX_NAME = 254
"""Characters of a login name."""
ROLES = STAFF_ROLES
FREE_FAILURES = 10
"""Wrong passwords in a row before networks that the subject never used must wait."""
FIRST_BLOCK = 30
LONGEST_BLOCK = 900
"""Seconds. A block doubles from the first to the longest and always ends by itself."""


class Outcome(StrEnum):
    """What became of a command about a subject."""

    DONE = "done"
    UNCHANGED = "unchanged"
    NAME_TAKEN = "name_taken"
    UNKNOWN = "unknown"
    STALE = "stale"
    """The password that was verified is not the current one any more."""


class Register(NamedTuple):
    """Create a subject with a login name and the hash of its password."""

    subject: bytes
    name: str
    password: str
    roles: str
    actor: str

    def __repr__(self) -> str:
        return f"Register(subject={self.subject.hex()}, roles={self.roles!r}, actor={self.actor!r})"


def compared(name: str) -> str:
    """A login name as it is compared: NFC, case-folded, nothing trimmed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def acceptable(name: str) -> bool:
    """Whether this may be somebody's login name: 1 to 254 characters, none of them a control or a space at an end."""
    if not 1 <= len(name) <= MAX_NAME or name != name.strip():
        return False
    return all(unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in name)


def register(command: Register) -> Decide:
    """Create a subject; the name must be free."""

    def decide(states: States, _moment: Moment) -> Decision | Need:
        wanted = Streams(subjects=frozenset((command.subject,)), names=frozenset((command.name,)))
        lacking = states.lacking(wanted)
        if lacking is not None:
            return Need(lacking)
        if states.owner_of(command.name) is not None:
            return Decision(Outcome.NAME_TAKEN)
        name = ids.to_text(subject.PREFIX, command.subject)
        fact = subject.SubjectRegistered(actor=command.actor, subject=name, roles=command.roles)
        account = Account(name=command.name, password=command.password)
        return Decision(Outcome.DONE, (Change(command.subject, fact, account),))

    return decide


def fail(stream: bytes, client: str, network_tag: str) -> Decide:
    """Count a wrong password; many in a row make networks wait that this subject never signed in from."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        owner = _owner(states, stream)
        if isinstance(owner, Need):
            return owner
        if owner is None:
            return Decision(Outcome.UNKNOWN)
        if moment.now < owner.blocked_until and network_tag not in owner.networks.split():
            return Decision(Outcome.UNCHANGED)
        name, failures = ids.to_text(subject.PREFIX, stream), owner.failures + 1
        changes = [
            Change(
                stream,
                subject.SubjectLoginFailed(
                    actor=HOLDER, subject=name, client=client, failures=failures, network_tag=network_tag
                ),
            )
        ]
        wait = block_after(failures)
        if wait:
            until = moment.now + wait * SECOND
            blocked = subject.SubjectLoginBlocked(actor=POLICY, subject=name, client=client, until=until)
            changes.append(Change(stream, blocked))
        return Decision(Outcome.DONE, tuple(changes))

    return decide


def block_after(failures: int) -> int:
    """Seconds that unknown networks wait after so many wrong passwords in a row."""
    if failures < FREE_FAILURES:
        return 0
    return int(min(FIRST_BLOCK * 2 ** min(failures - FREE_FAILURES, 10), LONGEST_BLOCK))


def set_password(stream: bytes, password: str, actor: str) -> Decide:
    """Staff set a password: every family of the subject ends with it."""

    def decide(states: States, _moment: Moment) -> Decision | Need:
        owner = _owner(states, stream, living=True)
        if isinstance(owner, Need):
            return owner
        if owner is None:
            return Decision(Outcome.UNKNOWN)
        ended = ending.revocations(states.living_of(stream), actor, "password_changed")
        return Decision(Outcome.DONE, (_password(owner, password, "set", actor), *ended))

    return decide


def rehash(stream: bytes, password: str, verified: int) -> Decide:
    """Store the same password at today's cost. Sign-ins under way with the old hash go on: it is the same password."""

    def decide(states: States, _moment: Moment) -> Decision | Need:
        owner = _owner(states, stream)
        if isinstance(owner, Need):
            return owner
        if owner is None or owner.password_version != verified:
            return Decision(Outcome.STALE)
        return Decision(Outcome.DONE, (_password(owner, password, "upgraded", SYSTEM),))

    return decide


def change_password(begin: Begin, password: str) -> Decide:
    """The user changes the password: all families end, and a new one begins, whose tokens are the answer."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        lacking = states.lacking(beginning.needs(begin))
        if lacking is not None:
            return Need(lacking)
        owner, app = states.subject(begin.subject), states.client(clients.stream_of(begin.client))
        if owner is None or app is None or not beginning.may_begin(begin, owner, app):
            return Decision(Answer(Verdict.INVALID))
        living = states.living_of(owner.id)
        if begin.replaces not in {one.id for one in living}:
            # It was ended after the request was let in: who signed it out must not see it come back as a new one.
            return Decision(Answer(Verdict.REVOKED))
        if beginning.is_blocked(owner, begin.tags(begin.key, owner.id).network, moment.now):
            return Decision(Answer(Verdict.BLOCKED))
        begun = beginning.begin_alone(begin, owner, app, living, moment)
        changed = _password(owner, password, "changed", HOLDER)
        return Decision(begun.verdict, (changed, *begun.changes))

    return decide


def change_roles(stream: bytes, roles: str, actor: str) -> Decide:
    """Replace the roles. Access tokens carry the new ones from the next refresh; our own pages at once."""

    def decide(states: States, _moment: Moment) -> Decision | Need:
        owner = _owner(states, stream)
        if isinstance(owner, Need):
            return owner
        if owner is None:
            return Decision(Outcome.UNKNOWN)
        if owner.roles == roles:
            return Decision(Outcome.UNCHANGED)
        fact = subject.SubjectRolesChanged(actor=actor, subject=ids.to_text(subject.PREFIX, stream), roles=roles)
        return Decision(Outcome.DONE, (Change(stream, fact),))

    return decide


def disable(stream: bytes, reason: str, actor: str) -> Decide:
    """Nobody signs in as this subject, and all its families end with the same commit."""

    def decide(states: States, _moment: Moment) -> Decision | Need:
        owner = _owner(states, stream, living=True)
        if isinstance(owner, Need):
            return owner
        if owner is None:
            return Decision(Outcome.UNKNOWN)
        ended = ending.revocations(states.living_of(stream), actor, "subject_disabled")
        if not owner.enabled:
            return Decision(Outcome.UNCHANGED, ended)
        name = ids.to_text(subject.PREFIX, stream)
        fact = subject.SubjectDisabled(actor=actor, subject=name, reason=reason)
        return Decision(Outcome.DONE, (Change(stream, fact), *ended))

    return decide


def enable(stream: bytes, actor: str) -> Decide:
    """Allow sign-in again; no family comes back."""

    def decide(states: States, _moment: Moment) -> Decision | Need:
        owner = _owner(states, stream)
        if isinstance(owner, Need):
            return owner
        if owner is None:
            return Decision(Outcome.UNKNOWN)
        if owner.enabled:
            return Decision(Outcome.UNCHANGED)
        fact = subject.SubjectEnabled(actor=actor, subject=ids.to_text(subject.PREFIX, stream))
        return Decision(Outcome.DONE, (Change(stream, fact),))

    return decide


def _owner(states: States, stream: bytes, *, living: bool = False) -> Subject | Need | None:
    wanted = Streams(subjects=frozenset((stream,)), living_of=frozenset({stream} if living else ()))
    lacking = states.lacking(wanted)
    return Need(lacking) if lacking is not None else states.subject(stream)


def _password(owner: Subject, password: str, reason: str, actor: str) -> Change:
    name = ids.to_text(subject.PREFIX, owner.id)
    fact = subject.SubjectPasswordChanged(actor=actor, subject=name, reason=reason)
    return Change(owner.id, fact, Account(password=password))
