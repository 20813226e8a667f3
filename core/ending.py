"""The rules of a family's end: by its holder, by staff, with its subject, by time. Pure."""

from collections.abc import Callable, Iterable

from core import policy
from core.judgement import lapse
from core.policy import Policy
from core.verdict import HOLDER, SYSTEM, Answer, Verdict, about, changes
from events import client, family
from events.decision import Change, Decide, Decision, Moment, Need, States, Streams, knowing
from events.family import Family
from events.private import Account


def revoke(
    stream: bytes,
    actor: str,
    reason: str,
    note: str = "",
    ticket: str = "",
    nonce: str | None = None,
    action: str = "",
) -> Decide:
    """End one family; one that has ended stays as it is. With `nonce`, only for the holder of a token of it."""

    def decide(states: States, _moment: Moment) -> Decision:
        state = states.family(stream)
        if state is None or (nonce is not None and nonce != state.nonce):
            return Decision(Answer(Verdict.UNKNOWN))
        if not state.living:
            return Decision(Answer(Verdict.ENDED, state))
        return Decision(
            Answer(Verdict.ENDED, state, ended=1), (revocation(state, actor, reason, note, ticket, action),)
        )

    return knowing(_one(stream), decide)


def revoke_all_by(stream: bytes, nonce: str, reason: str) -> Decide:
    """The holder of a token of a living family ends all families of its subject, this one included."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        state = states.family(stream)
        if state is None or nonce != state.nonce:
            return Decision(Answer(Verdict.UNKNOWN))
        if not state.living:
            return Decision(Answer(Verdict.ENDED, state))
        return revoke_all(state.subject, HOLDER, reason)(states, moment)

    return knowing(_one(stream), decide)


def revoke_all(
    owner: bytes,
    actor: str,
    reason: str,
    spare: bytes | None = None,
    reaches: Callable[[str], bool] = lambda _client: True,
    ticket: str = "",
) -> Decide:
    """End all living families of a subject, in one commit; but for `spare`, and those of clients out of reach."""

    def decide(states: States, _moment: Moment) -> Decision:
        gone = [one for one in states.living_of(owner) if one.id != spare and reaches(one.client)]
        return Decision(Answer(Verdict.ENDED, ended=len(gone)), revocations(gone, actor, reason, ticket))

    return knowing(Streams(living_of=frozenset((owner,))), decide)


def expire(stream: bytes, defaults: Policy) -> Decide:
    """End a family whose limit has passed; one that was used meanwhile lives on."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        state = states.family(stream)
        if state is None or not state.living:
            return Decision(0)
        return _expire(state, defaults)(states, moment)

    return knowing(_one(stream), decide)


def _expire(state: Family, defaults: Policy) -> Decide:
    app = client.stream_of(state.client)

    def decide(states: States, moment: Moment) -> Decision:
        found = states.client(app)
        lapsed = lapse(state, policy.of(found, defaults) if found else defaults, moment.now)
        if not lapsed:
            return Decision(0)
        return Decision(1, changes(state, [family.FamilyExpired(actor=SYSTEM, reason=lapsed, **about(state))]))

    return knowing(Streams(clients=frozenset((app,))), decide)


def _one(stream: bytes) -> Streams:
    return Streams(families=frozenset((stream,)))


def revocations(living: Iterable[Family], actor: str, reason: str, ticket: str = "") -> tuple[Change, ...]:
    """One `family.revoked` each, for a cause that is committed with them."""
    return tuple(revocation(one, actor, reason, ticket=ticket) for one in living)


def revocation(state: Family, actor: str, reason: str, note: str = "", ticket: str = "", action: str = "") -> Change:
    """One `family.revoked`, with the note that somebody typed."""
    fact = family.FamilyRevoked(actor=actor, reason=reason, ticket=ticket, action=action, **about(state))
    return Change(state.id, fact, Account(note=note) if note else None)
