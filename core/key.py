"""Rules of the ring of signing keys: what may follow what. Pure; keys that were made arrive inside the command.

Key n of a ledger has the stream `stream_of(n)`, so two that add a key at once meet in one stream, and the second one
is told to read again (`STALE`). That is also how a first start happens once.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from events.decision import Change, Decide, Decision, Moment, States, Streams, knowing
from events.ids import named_id
from events.key import (
    ACTIVE,
    NEXT,
    RETIRED,
    REVOKED,
    Key,
    KeyActivated,
    KeyCreated,
    KeyRetired,
    KeyRevoked,
    KeyRewrapped,
)
from events.private import Account


class Verdict(StrEnum):
    """What became of a command."""

    STARTED = "started"
    PUBLISHED = "published"
    """A next key was created; it is in the JWKS and does not sign yet."""
    ROTATED = "rotated"
    REVOKED = "revoked"
    REWRAPPED = "rewrapped"
    UNCHANGED = "unchanged"
    """It is already so."""
    EARLY = "early"
    """The next key was not published for long enough, or the active one is not due."""
    UNKNOWN = "unknown"
    """There is no such key."""
    REPEATED = "repeated"
    """The same action was confirmed before: its receipt is the answer."""
    STALE = "stale"
    """The ring has keys that the command does not know of: read again."""


class NewKey(NamedTuple):
    """A key that was made for this command, its private half already wrapped."""

    stream: bytes
    kid: str
    algorithm: str
    public: str
    wrapped: str
    wrapped_by: int


class Start(NamedTuple):
    """An empty ledger gets one key that signs and one that is published."""

    active: NewKey
    following: NewKey
    actor: str


class Publish(NamedTuple):
    """There must be a next key of the algorithm that is configured."""

    known: frozenset[bytes]
    new: NewKey
    actor: str


class Rotate(NamedTuple):
    """The next key signs from now on. Times in microseconds."""

    known: frozenset[bytes]
    new: NewKey
    actor: str
    period: int
    """How long a key signs; 0 rotates whether due or not."""
    lead: int
    """How long a next key must have been published (so that every cached JWKS has it); 0 overrides it."""
    keep: int
    """How long the old key still verifies: longest access-token lifetime, clock skew, and what it takes until every
    process knows of the rotation."""


class Revoke(NamedTuple):
    """A key is not to be trusted: its tokens are refused at once, and a published key takes over."""

    known: frozenset[bytes]
    new: NewKey
    actor: str
    stream: bytes
    reason: str
    """A code. What people type goes into `note`."""
    note: str = ""
    action: str = ""
    """The action that this is a part of; then the note stands there."""


class Rewrap(NamedTuple):
    """The private key of a key, wrapped under another master key than before."""

    stream: bytes
    was: str
    """How it is wrapped now; where it is not any more, somebody else was first."""
    wrapped: str
    wrapped_by: int
    actor: str


def stream_of(number: int) -> bytes:
    """The stream of the ledger's key number `number`, from 0."""
    return named_id("key", str(number))


def start(command: Start) -> Decide:
    """`STARTED`, or `STALE` where another process was first."""
    active, following, actor = command

    def decide(_keys: list[Key], _moment: Moment) -> Decision:
        activated = Change(active.stream, KeyActivated(actor=actor, key=active.kid))
        return Decision(Verdict.STARTED, (_created(active, actor), activated, _created(following, actor)))

    return _about((), (active, following), decide)


def publish(command: Publish) -> Decide:
    """`PUBLISHED`, `UNCHANGED` where there is a next key of this algorithm, or `STALE`."""

    def decide(keys: list[Key], _moment: Moment) -> Decision:
        if any(key.status == NEXT and key.algorithm == command.new.algorithm for key in keys):
            return Decision(Verdict.UNCHANGED)
        return Decision(Verdict.PUBLISHED, (_created(command.new, command.actor),))

    return _about(command.known, (command.new,), decide)


def rotate(command: Rotate) -> Decide:
    """`ROTATED`, `EARLY`, `PUBLISHED` where there was no key to rotate to, or `STALE`."""

    def decide(keys: list[Key], moment: Moment) -> Decision:
        algorithm, created = command.new.algorithm, _created(command.new, command.actor)
        following = next((key for key in keys if key.status == NEXT and key.algorithm == algorithm), None)
        if following is None:
            return Decision(Verdict.PUBLISHED, (created,))
        if moment.now < following.created_at + command.lead or not due(keys, algorithm, command.period, moment.now):
            return Decision(Verdict.EARLY)
        # With the active one go those that were published for an algorithm that is not configured any more.
        leaving = [key for key in keys if key.status == ACTIVE or (key.status == NEXT and key.algorithm != algorithm)]
        until = moment.now + command.keep
        retired = [Change(key.id, KeyRetired(actor=command.actor, key=key.key, until=until)) for key in leaving]
        return Decision(Verdict.ROTATED, (*retired, _activated(following, command.actor), created))

    return _about(command.known, (command.new,), decide)


def revoke(command: Revoke) -> Decide:
    """`REVOKED`, `UNKNOWN`, `UNCHANGED` where it is revoked already, or `STALE`.

    The successor is the key that was published for longest. Where there is none, the new key signs at once: better
    unpublished for a moment than a key that somebody else holds.
    """

    def decide(keys: list[Key], _moment: Moment) -> Decision:
        target = next((key for key in keys if key.id == command.stream), None)
        if target is None or target.status == REVOKED:
            return Decision(Verdict.UNCHANGED if target else Verdict.UNKNOWN)
        fact = KeyRevoked(actor=command.actor, key=target.key, reason=command.reason, action=command.action)
        revoked = Change(target.id, fact, Account(note=command.note) if command.note else None)
        return Decision(Verdict.REVOKED, (revoked, *_taken_over(command, target, keys)))

    return _about(command.known, (command.new,), decide)


def rewrap(command: Rewrap) -> Decide:
    """`REWRAPPED`, or `UNCHANGED` where there is no such key (any more), wrapped as it was."""

    def decide(states: States, _moment: Moment) -> Decision:
        state = states.key(command.stream)
        if state is None or state.wrapped != command.was or state.status == REVOKED:
            return Decision(Verdict.UNCHANGED)
        fact = KeyRewrapped(actor=command.actor, key=state.key, wrapped_by=command.wrapped_by)
        return Decision(Verdict.REWRAPPED, (Change(state.id, fact, Account(wrapped=command.wrapped)),))

    return knowing(Streams(keys=frozenset((command.stream,))), decide)


def due(keys: Iterable[Key], algorithm: str, period: int, now: int) -> bool:
    """Whether it is time to rotate: nothing signs, or not with this algorithm, or for `period` microseconds."""
    signing = (key for key in keys if key.status == ACTIVE and key.algorithm == algorithm)
    return not any(now < key.activated_at + period for key in signing)


def _about(known: Iterable[bytes], new: Iterable[NewKey], rule: Callable[[list[Key], Moment], Decision]) -> Decide:
    """A rule about the known keys, oldest first; `STALE` where others were added meanwhile."""
    ring, added = frozenset(known), frozenset(one.stream for one in new)

    def decide(states: States, moment: Moment) -> Decision:
        if any(map(states.key, added)):
            return Decision(Verdict.STALE)
        found = filter(None, map(states.key, ring))
        return rule(sorted(found, key=lambda key: (key.created_at, key.id)), moment)

    return knowing(Streams(keys=ring | added), decide)


def _taken_over(command: Revoke, target: Key, keys: list[Key]) -> tuple[Change, ...]:
    if target.status == RETIRED:
        return ()
    created = _created(command.new, command.actor)
    if target.status == NEXT:
        return (created,)
    following = next((key for key in keys if key.status == NEXT), None)
    if following is not None:
        return (_activated(following, command.actor), created)
    return (created, Change(command.new.stream, KeyActivated(actor=command.actor, key=command.new.kid)))


def _created(new: NewKey, actor: str) -> Change:
    fact = KeyCreated(actor=actor, key=new.kid, algorithm=new.algorithm, public=new.public, wrapped_by=new.wrapped_by)
    return Change(new.stream, fact, Account(wrapped=new.wrapped))


def _activated(key: Key, actor: str) -> Change:
    return Change(key.id, KeyActivated(actor=actor, key=key.key))
