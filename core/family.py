"""The rules of a family in use: refresh, and check without using up. Pure: time and random bytes are given."""

from collections.abc import Mapping

import msgspec

from core import context, policy, scope
from core.judgement import FOREIGN, Refresh, end_of, judge, seen_by
from core.once import using
from core.policy import SECOND, Policy
from core.scope import Grant
from core.token import MAX_GENERATION, Token
from core.verdict import HOLDER, POLICY, SYSTEM, Answer, Tags, Verdict, about, access_expiry, changes, folded
from events import client, family
from events.client import Client
from events.decision import Decide, Decision, Moment, Need, States, Streams, knowing
from events.fact import Fact
from events.family import CONTEXT, COUNTRY, DEVICE, NETWORK, Family, refused_in_minute
from events.log import STREAM as LOG
from events.subject import Subject

_GRANTING = frozenset({Verdict.ROTATED, Verdict.RETRIED})


def refresh(command: Refresh) -> Decide:
    """Decide a refresh by the table of design §4."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        need = _need(states, command)
        if need is not None:
            return need
        state, owner = _holder(states, command.token)
        app = states.client(client.stream_of(command.client))
        verdict, reason = judge(command, state, owner, app, states.log(), moment)
        if state is None or verdict is Verdict.UNKNOWN:
            return Decision(Answer(Verdict.UNKNOWN))
        use = command.proof.use if command.proof else None
        if use is not None and states.was_used(use.value):
            return _ended_or_refused(command, Verdict.PROOF, "dpop_replayed", state, moment)
        return using(use, _decided(command, (verdict, reason), state, owner, app, moment))

    return decide


def _decided(
    command: Refresh, judged: tuple[Verdict, str], state: Family, owner: Subject | None, app: Client | None, at: Moment
) -> Decision:
    verdict, reason = judged
    if verdict not in _GRANTING or app is None or owner is None:
        return _ended_or_refused(command, verdict, reason, state, at)
    grant = scope.of_family(command.asked, state.scope, app, command.audience)
    if isinstance(grant, Verdict):
        return Decision(Answer(grant, state))
    granted = _granted(command, verdict, state, owner, policy.of(app, command.defaults), at, grant)
    jkt = _key_of_token(command, state, app)
    return msgspec.structs.replace(granted, verdict=granted.verdict._replace(jkt=jkt)) if jkt else granted


def _key_of_token(command: Refresh, state: Family, app: Client) -> str:
    """What the access token is bound to: the family's key, or the one that a client proved besides itself.

    A family of a public client that is bound to none stays a bearer's: with the key of whoever comes first, a thief's
    would be as good (RFC 9449 §5).
    """
    proved = command.proof.jkt if command.proof and app.confidential else ""
    return state.jkt or proved


def check(command: Refresh) -> Decide:
    """The same table for a look at the token: current or a retry is `current`, and nothing is ever written."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        need = _need(states, command)
        if need is not None:
            return need
        state, owner = _holder(states, command.token)
        app = states.client(client.stream_of(command.client))
        verdict, reason = judge(command, state, owner, app, states.log(), moment)
        if verdict in _GRANTING:
            return Decision(Answer(Verdict.CURRENT, state, roles=owner.roles if owner else ""))
        return Decision(Answer(verdict, state if verdict is not Verdict.UNKNOWN else None, reason))

    return decide


def _need(states: States, command: Refresh) -> Need | None:
    presented = command.token.family
    if not states.knows(presented, client.stream_of(command.client), LOG) or not _knows_proof(states, command):
        return Need(named(command))
    state = states.family(presented)
    if state is None or states.knows(state.subject):
        return None
    return Need(Streams(subjects=frozenset((state.subject,))))


def named(command: Refresh) -> Streams:
    """What a refresh names beforehand; its subject is known once its family is read."""
    app = client.stream_of(command.client)
    uses = frozenset((command.proof.use.value,)) if command.proof else frozenset[bytes]()
    return Streams(frozenset((command.token.family,)), clients=frozenset((app,)), logs=frozenset((LOG,)), uses=uses)


def _knows_proof(states: States, command: Refresh) -> bool:
    return command.proof is None or command.proof.use.value in states.used


def _holder(states: States, token: Token) -> tuple[Family | None, Subject | None]:
    state = states.family(token.family)
    return state, states.subject(state.subject) if state else None


def _granted(
    command: Refresh, verdict: Verdict, state: Family, owner: Subject, applied: Policy, moment: Moment, grant: Grant
) -> Decision:
    ends_at = end_of(state, applied)
    expires_at = access_expiry(moment, applied, ends_at)
    if verdict is Verdict.RETRIED:
        facts: list[Fact] = [_retry(command, state, expires_at)]
    else:
        seen = seen_by(command, state, state.key)
        moved = _context_change(seen, state)
        idle_until = min(moment.now + applied.idle_ttl * SECOND, ends_at)
        facts = [*moved, _rotation(command, folded(state, moment.now, moved), seen, expires_at, idle_until)]
    after = folded(state, moment.now, facts)
    issued_at = moment.wall // SECOND
    answer = Answer(verdict, after, "", command.jti, issued_at, expires_at, owner.roles, 0, False, *grant)
    return Decision(answer, changes(state, facts))


def _retry(command: Refresh, state: Family, expires_at: int) -> Fact:
    """The family stays where it was used last: what this came from is only noted, and counts at the next rotation."""
    return family.TokenRetried(
        actor=HOLDER,
        generation=command.token.generation,
        jti=command.jti,
        exp=expires_at,
        **_elsewhere(command, state, NETWORK, COUNTRY),
        **about(state),
    )


def _rotation(command: Refresh, state: Family, seen: Tags, expires_at: int, idle_until: int) -> family.TokenRotated:
    if state.generation >= MAX_GENERATION:
        msg = "a family cannot rotate more than 2^32 times"
        raise OverflowError(msg)
    rekeyed = command.key != state.key
    tags = seen_by(command, state, command.key) if rekeyed else seen
    learned = rekeyed or (tags.country and tags.country != state.country_tag)
    return family.TokenRotated(
        actor=HOLDER,
        generation=state.generation + 1,
        jti=command.jti,
        exp=expires_at,
        idle_until=idle_until,
        key=command.key if rekeyed else 0,
        device_tag=tags.device if rekeyed else "",
        network_tag=tags.network if rekeyed else "",
        country_tag=tags.country if learned else "",
        **about(state),
    )


def _context_change(seen: Tags, state: Family) -> list[Fact]:
    changes = context.changed(seen, state)
    if not changes:
        return []
    return [
        family.FamilyContextChanged(
            actor=HOLDER,
            changed=" ".join(changes),
            device_tag=seen.device,
            network_tag=seen.network,
            country_tag=seen.country,
            **about(state),
        )
    ]


def _elsewhere(command: Refresh, state: Family, *wanted: str) -> dict[str, str]:
    """The tags of what changed, as fields of a fact that leaves the family where it is."""
    seen = seen_by(command, state, state.key)
    tags = {DEVICE: seen.device, NETWORK: seen.network, COUNTRY: seen.country}
    return {f"{what}_tag": tags[what] for what in context.changed(seen, state) if what in wanted}


def _ended_or_refused(command: Refresh, verdict: Verdict, reason: str, state: Family, moment: Moment) -> Decision:
    """A refusal that ends a living family writes why; any other is noted once a minute."""
    facts: list[Fact] = []
    whose = about(state)
    omitted = False
    if verdict is Verdict.REUSED:
        facts.append(
            family.TokenReuseDetected(
                actor=HOLDER,
                generation=command.token.generation,
                current=state.generation,
                kind=reason,
                **_elsewhere(command, state, *CONTEXT),
                **whose,
            )
        )
        facts.append(family.FamilyRevoked(actor=POLICY, reason="reuse", **whose))
    elif verdict is Verdict.REVOKED and state.living:
        changed = _objected_to(command, reason, state)
        facts.append(family.FamilyRevoked(actor=POLICY, reason=reason, changed=changed, **whose))
    elif verdict is Verdict.EXPIRED and state.living:
        facts.append(family.FamilyExpired(actor=SYSTEM, reason=reason, **whose))
    else:
        reason = reason or verdict.value
        omitted = refused_in_minute(state, reason, moment.now)
        if not omitted:
            refused = _refusal(state, command.token.generation, reason, command.omitted)
            facts.append(msgspec.structs.replace(refused, changed=_objected_to(command, reason, state)))
    after = folded(state, moment.now, facts)
    return Decision(Answer(verdict, after, reason, omitted=omitted), changes(state, facts))


def refuse_foreign(stream: bytes, omitted: Mapping[str, int]) -> Decide:
    """An access token of the family came from another client, which learns nothing and ends nothing by it.

    Noted as a refresh token would be, under the same reason and once a minute with it.
    """

    def decide(states: States, moment: Moment) -> Decision:
        state = states.family(stream)
        if state is None:
            return Decision(Answer(Verdict.UNKNOWN))
        if refused_in_minute(state, FOREIGN, moment.now):
            return Decision(Answer(Verdict.REFUSED, state, FOREIGN, omitted=True))
        return Decision(Answer(Verdict.REFUSED, state, FOREIGN), changes(state, [_refusal(state, 0, FOREIGN, omitted)]))

    return knowing(Streams(families=frozenset((stream,))), decide)


def _refusal(state: Family, generation: int, reason: str, omitted: Mapping[str, int]) -> family.TokenRefused:
    left_out = omitted.get(reason, 0)
    return family.TokenRefused(actor=HOLDER, generation=generation, reason=reason, omitted=left_out, **about(state))


def _objected_to(command: Refresh, reason: str, state: Family) -> str:
    """All that had changed, where the reason is one of that."""
    if not context.came_of(reason):
        return ""
    return " ".join(context.changed(seen_by(command, state, state.key), state))
