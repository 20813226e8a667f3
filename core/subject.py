"""The rules of a subject: register, wrong passwords, password, roles, disable, enable. Pure."""

import unicodedata
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from core import beginning, ending
from core.beginning import Begin
from core.policy import SECOND
from core.verdict import HOLDER, POLICY, STAFF_ROLES, SYSTEM, Answer, Verdict
from events import client as clients
from events import ids, subject
from events.decision import Change, Decide, Decision, Moment, Need, States, Streams, knowing
from events.family import Family
from events.private import Account
from events.subject import Subject

MAX_NAME = 254
"""Characters of a login name."""
FREE_FAILURES = 10
"""Wrong passwords in a row before networks that the subject never used must wait."""
FIRST_BLOCK = 30
LONGEST_BLOCK = 900
"""Seconds. A block doubles from the first to the longest and always ends by itself."""


Living: TypeAlias = tuple[Family, ...]
"""Families that have not ended."""


class Outcome(StrEnum):
    """What became of a command about a subject."""

    DONE = "done"
    UNCHANGED = "unchanged"
    NAME_TAKEN = "name_taken"
    UNKNOWN = "unknown"
    FOUND = "found"
    """The application calls one so already."""
    STAFF = "staff"
    """It has a role in the dashboard: people alone act on it."""
    ERASED = "erased"
    """Nothing of the person is known any more, and nothing comes back."""
    STALE = "stale"
    """The password that was verified is not the current one any more."""


class Register(NamedTuple):
    """Create a subject with a login name and the hash of its password."""

    subject: bytes
    name: str
    """Empty for one that nobody signs in as."""
    password: str
    roles: str
    actor: str
    client: str = ""
    """The application that creates it, where one does."""
    external: str = ""
    """What that one calls it."""

    def __repr__(self) -> str:
        return f"Register(subject={self.subject.hex()}, roles={self.roles!r}, actor={self.actor!r})"


def compared(name: str) -> str:
    """A login name as it is compared: NFC, case-folded, nothing trimmed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def acceptable(name: str) -> bool:
    """Whether this may be somebody's login name: 1 to 254 characters, none of them a control or a space at an end.

    Nobody is called like an id: that is how those are called who have no name, or have none any more.
    """
    if not 1 <= len(name) <= MAX_NAME or name != name.strip() or ids.from_text(subject.PREFIX, compared(name)):
        return False
    return all(unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in name)


def register(command: Register) -> Decide:
    """Create a subject; the name must be free. One that the application calls so already is not created again."""
    stated = ids.to_text(subject.PREFIX, command.subject)
    name = command.name or stated
    called = subject.external_key(command.client, command.external) if command.external else ""

    def decide(states: States, _moment: Moment) -> Decision:
        if called and states.owner_of(called) is not None:
            return Decision(Outcome.FOUND)
        if states.owner_of(name) is not None:
            return Decision(Outcome.NAME_TAKEN)
        fact = subject.SubjectRegistered(
            actor=command.actor, subject=stated, roles=command.roles, client=command.client
        )
        account = Account(name=name, password=command.password, external=command.external)
        return Decision(Outcome.DONE, (Change(command.subject, fact, account),))

    names = frozenset(filter(None, (name, called)))
    return knowing(Streams(subjects=frozenset((command.subject,)), names=names), decide)


def fail(stream: bytes, client: str, network_tag: str) -> Decide:
    """Count a wrong password; many in a row make networks wait that this subject never signed in from."""

    def decide(owner: Subject, _living: Living, moment: Moment) -> Decision:
        if beginning.is_blocked(owner, network_tag, moment.now):
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

    return _about(stream, decide)


def block_after(failures: int) -> int:
    """Seconds that unknown networks wait after so many wrong passwords in a row."""
    if failures < FREE_FAILURES:
        return 0
    return int(min(FIRST_BLOCK * 2 ** min(failures - FREE_FAILURES, 10), LONGEST_BLOCK))


def set_password(stream: bytes, password: str, actor: str) -> Decide:
    """Staff set a password: every family of the subject ends with it."""

    def decide(owner: Subject, living: Living, _moment: Moment) -> Decision:
        ended = ending.revocations(living, actor, "password_changed")
        return Decision(Outcome.DONE, (_password(owner, password, "set", actor), *ended))

    return _about(stream, decide, living=True)


def rehash(stream: bytes, password: str, verified: int) -> Decide:
    """Store the same password at today's cost. Sign-ins under way with the old hash go on: it is the same password."""

    def decide(owner: Subject, _living: Living, _moment: Moment) -> Decision:
        if owner.password_version != verified:
            return Decision(Outcome.STALE)
        return Decision(Outcome.DONE, (_password(owner, password, "upgraded", SYSTEM),))

    return _about(stream, decide)


def change_password(begin: Begin, password: str, *, proven: bool = False) -> Decide:
    """The user changes the password: all families end, and a new one begins, whose tokens are the answer.

    `proven` where the session that asks was begun lately with all that this person has. Whoever has a second factor
    needs that: a stolen password alone must not be enough to keep its owner out.
    """

    def decide(states: States, moment: Moment) -> Decision:
        owner, app = states.subject(begin.subject), states.client(clients.stream_of(begin.client))
        if owner is None or app is None or not beginning.may_begin(begin, owner, app):
            return Decision(Answer(Verdict.INVALID))
        if beginning.lacks_key(begin, app):
            return Decision(Answer(Verdict.PROOF))
        living = states.living_of(owner.id)
        if owner.second.held and not proven:
            return Decision(Answer(Verdict.FACTOR))
        if begin.replaces not in {one.id for one in living}:
            # It was ended after the request was let in: who signed it out must not see it come back as a new one.
            return Decision(Answer(Verdict.REVOKED))
        if beginning.is_blocked(owner, begin.tags(begin.key, owner.id).network, moment.now):
            return Decision(Answer(Verdict.BLOCKED))
        begun = beginning.begin_alone(begin, owner, app, living, moment)
        changed = _password(owner, password, "changed", HOLDER)
        return Decision(begun.verdict, (changed, *begun.changes))

    return knowing(beginning.needs(begin), decide)


def change_roles(stream: bytes, roles: str, actor: str) -> Decide:
    """Replace the roles. Access tokens carry the new ones from the next refresh; our own pages at once."""

    def decide(owner: Subject, _living: Living, _moment: Moment) -> Decision:
        if owner.roles == roles:
            return Decision(Outcome.UNCHANGED)
        fact = subject.SubjectRolesChanged(actor=actor, subject=ids.to_text(subject.PREFIX, stream), roles=roles)
        return Decision(Outcome.DONE, (Change(stream, fact),))

    return _about(stream, decide)


def disable(stream: bytes, reason: str, actor: str) -> Decide:
    """Nobody signs in as this subject, and all its families end with the same commit."""

    def decide(owner: Subject, living: Living, _moment: Moment) -> Decision:
        ended = ending.revocations(living, actor, "subject_disabled")
        if not owner.enabled:
            return Decision(Outcome.UNCHANGED, ended)
        name = ids.to_text(subject.PREFIX, stream)
        fact = subject.SubjectDisabled(actor=actor, subject=name, reason=reason)
        return Decision(Outcome.DONE, (Change(stream, fact), *ended))

    return _about(stream, decide, living=True)


def enable(stream: bytes, actor: str) -> Decide:
    """Allow sign-in again; no family comes back."""

    def decide(owner: Subject, _living: Living, _moment: Moment) -> Decision:
        if owner.enabled:
            return Decision(Outcome.UNCHANGED)
        fact = subject.SubjectEnabled(actor=actor, subject=ids.to_text(subject.PREFIX, stream))
        return Decision(Outcome.DONE, (Change(stream, fact),))

    return _about(stream, decide)


def unless_staff(stream: bytes, rule: Decide) -> Decide:
    """A rule that programs ask for: it holds for no subject with a role in the dashboard."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        owner = states.subject(stream)
        if owner is None:
            return Decision(Outcome.UNKNOWN)
        return Decision(Outcome.STAFF) if owner.role_set & STAFF_ROLES else rule(states, moment)

    return knowing(Streams(subjects=frozenset((stream,))), decide)


def _about(stream: bytes, rule: Callable[[Subject, Living, Moment], Decision], *, living: bool = False) -> Decide:
    """A rule about a subject that there is; its living families are read only for a rule that ends them."""

    def decide(states: States, moment: Moment) -> Decision:
        owner = states.subject(stream)
        if owner is None:
            return Decision(Outcome.UNKNOWN)
        if owner.erased:
            return Decision(Outcome.ERASED)
        return rule(owner, states.living_of(stream) if living else (), moment)

    return knowing(Streams(subjects=frozenset((stream,)), living_of=frozenset({stream} if living else ())), decide)


def _password(owner: Subject, password: str, reason: str, actor: str) -> Change:
    name = ids.to_text(subject.PREFIX, owner.id)
    fact = subject.SubjectPasswordChanged(actor=actor, subject=name, reason=reason)
    return Change(owner.id, fact, Account(password=password))
