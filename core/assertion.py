"""The rules of a family that a backend begins for somebody whom it authenticated itself. Pure; ids are given."""

from enum import StrEnum
from typing import Any, NamedTuple

from core import beginning, judgement, policy, scope
from core.beginning import Begin
from core.ending import revocation
from core.policy import SECOND
from core.repeat import Place
from core.token import hash_nonce
from core.verdict import POLICY, STAFF_ROLES, Answer, Verdict
from events import client
from events.client import Client
from events.decision import Decide, Decision, Moment, States, knowing
from events.family import Family
from events.log import STREAM as LOG
from events.subject import Subject


class Outcome(StrEnum):
    """What became of a request to begin a family."""

    BEGUN = "begun"
    REPEATED = "repeated"
    """This very request began the family, whose tokens nobody has used yet."""
    OTHER = "other"
    """The key belongs to another request."""
    USED = "used"
    """The first tokens of the family that the request began were used."""
    ENDED = "ended"
    """The family that the request began, or is to replace, has ended."""
    UNKNOWN = "unknown"
    """There is no such subject."""
    STAFF = "staff"
    DISABLED = "disabled"
    ERASED = "erased"
    CLIENT = "client"
    """There is no such client, or it is disabled."""
    KEY = "key"
    """The client's families must be bound to a key, and this one would not be."""
    NOT_REPLACED = "not_replaced"
    """The family to replace is not one of this subject and client."""


class Assertion(NamedTuple):
    """The outcome; where tokens are due, the family's place and what they say."""

    outcome: Outcome
    answer: Answer | None = None
    place: Place | None = None


class Assert(NamedTuple):
    """Begin a family for a subject that a backend authenticated."""

    begin: Begin
    place: Place
    """Where it begins."""
    before: tuple[Place, ...] = ()
    """Where the same request may have begun it already."""


def begin_for(command: Assert) -> Decide:
    """Begin the family, or find that of the same request; a family that it replaces ends in the same commit."""
    begin = command.begin

    def decide(states: States, moment: Moment) -> Decision:
        owner, app = states.subject(begin.subject), states.client(client.stream_of(begin.client))
        for place in command.before:
            state = states.family(place.family)
            if state is not None:
                return Decision(_again(begin, place, state, states, moment))
        hindrance = _hindrance(begin, states, owner, app, moment)
        if hindrance is not None or owner is None or app is None:
            return Decision(Assertion(hindrance or Outcome.UNKNOWN))
        return _begun(command, states, owner, app, moment)

    wanted = beginning.needs(begin)
    families = wanted.families | {place.family for place in command.before}
    return knowing(wanted._replace(families=families, logs=frozenset((LOG,))), decide)


def _hindrance(
    begin: Begin, states: States, owner: Subject | None, app: Client | None, moment: Moment
) -> Outcome | None:
    nobody = _unfit(owner)
    if nobody is not None:
        return nobody
    if app is None or not app.enabled or app.client == policy.DASHBOARD:
        return Outcome.CLIENT
    if beginning.lacks_key(begin, app):
        return Outcome.KEY
    if begin.replaces is None:
        return None
    replaced = states.family(begin.replaces)
    if replaced is None or (replaced.subject, replaced.client) != (begin.subject, begin.client):
        return Outcome.NOT_REPLACED
    return Outcome.ENDED if _has_ended(replaced, begin, states, moment) else None


def _unfit(owner: Subject | None) -> Outcome | None:
    if owner is None:
        return Outcome.UNKNOWN
    if owner.erased:
        return Outcome.ERASED
    if owner.role_set & STAFF_ROLES:
        return Outcome.STAFF
    return None if owner.enabled else Outcome.DISABLED


def _has_ended(state: Family, begin: Begin, states: States, moment: Moment) -> bool:
    owner, app = states.subject(begin.subject), states.client(client.stream_of(begin.client))
    return judgement.ended(state, owner, app, states.log(), begin.defaults, moment.now) is not None


def _begun(command: Assert, states: States, owner: Subject, app: Client, moment: Moment) -> Decision:
    begin = command.begin
    replaced = states.family(begin.replaces) if begin.replaces else None
    staying = [one for one in states.living_of(owner.id) if one.id != begin.replaces]
    limit = policy.of(app, begin.defaults).family_limit
    gone = [revocation(one, POLICY, "limit") for one in beginning.surplus(staying, begin, limit)]
    if replaced is not None:
        gone.append(revocation(replaced, begin.actor, "replaced"))
    decision = beginning.begun(begin, owner, app, replaced, gone, moment, ended=len(gone))
    return Decision(Assertion(Outcome.BEGUN, decision.verdict, command.place), decision.changes)


def _issued_at(state: Family, app: Client, begin: Begin, moment: Moment) -> int:
    """`iat` of the first access token, seconds: from the clock, of which the ledger may be ahead."""
    cut = state.access_until >= state.ends_at // SECOND
    issued = state.started_at // SECOND if cut else state.access_until - policy.of(app, begin.defaults).access_ttl
    return min(issued, moment.wall // SECOND)


def _again(begin: Begin, place: Place, state: Family, states: States, moment: Moment) -> Assertion:
    """The same tokens: all that they say stands in the family, and its first token can be derived again."""
    if hash_nonce(place.nonce) != state.nonce:
        return Assertion(Outcome.OTHER)
    app = states.client(client.stream_of(begin.client))
    if app is None or _has_ended(state, begin, states, moment):
        return Assertion(Outcome.ENDED)
    if state.generation != 1:
        return Assertion(Outcome.USED)
    grant: Any = scope.of_family(scope.ALL, state.scope, app, begin.audience)
    answer = Answer(Verdict.BEGUN, state, "", state.jti, _issued_at(state, app, begin, moment), state.access_until)
    answer = answer._replace(audience=grant.audience, scope=grant.scope, jkt=state.jkt)
    return Assertion(Outcome.REPEATED, answer, place)
