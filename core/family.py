"""The rules of a family in use: refresh, and check without using up. Pure: time and random bytes are given."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from core import context, policy, scope
from core.dpop import Proof
from core.once import using
from core.policy import SECOND, Policy
from core.scope import ALL, Asked, Grant
from core.token import MAX_GENERATION, Token
from core.verdict import HOLDER, POLICY, SYSTEM, Answer, Tags, TagsFor, Verdict, about, access_expiry, changes, folded
from events import client, family
from events.client import REQUIRED, Client
from events.decision import Decide, Decision, Moment, Need, States, Streams
from events.fact import Fact
from events.family import CONTEXT, COUNTRY, DEVICE, EXPIRED, NETWORK, REVOKED, Family, refused_in_minute
from events.log import STREAM as LOG
from events.log import Log
from events.subject import Subject


class Refresh(NamedTuple):
    """Use a refresh token."""

    token: Token
    client: str
    carriage: str
    tags: TagsFor
    key: int
    """Number of the master key that signs successors now."""
    jti: str
    defaults: Policy
    asked: Asked = ALL
    """What the access token is wanted for."""
    audience: str = ""
    """Of the settings."""
    omitted: Mapping[str, int] = MappingProxyType({})
    """Refusals of this family that were left out of the log since the last one in it, by reason."""
    proof: Proof | None = None
    """Of a key; checked, but for whether it came before."""
    bound: TagsFor | None = None
    """As `tags`, with that key as a part of the device: for families that are bound to one."""


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


def judge(
    command: Refresh, state: Family | None, owner: Subject | None, app: Client | None, log: Log | None, moment: Moment
) -> tuple[Verdict, str]:
    """The verdict on a genuine token, and the reason where it is a refusal. First condition that holds."""
    if state is None or command.token.nonce_hash != state.nonce:
        return Verdict.UNKNOWN, ""
    if state.living and _stands_wrongly(command.token, state, log):
        return Verdict.REFUSED, "master_key"
    return weigh(command, state, owner, app, log, moment)


def _stands_wrongly(token: Token, state: Family, log: Log | None) -> bool:
    """Whether its master key proves nothing: another than the family's newest token has, or one that leaked.

    Who holds a master key and any token of the family can make this one. It is no sign of reuse, or the same person
    could end sessions that went over to another key.
    """
    if token.key == state.key:
        return False
    return token.generation == state.generation or (log is not None and log.has_revoked(token.key))


def weigh(  # noqa: C901 - one row of the design's table each, in its order
    command: Refresh, state: Family, owner: Subject | None, app: Client | None, log: Log | None, moment: Moment
) -> tuple[Verdict, str]:
    """As `judge`, for a token that is known to be of this family: also what staff ask about its newest one."""
    foreign = _foreign(command, state)
    if foreign:
        return foreign
    if state.status == REVOKED:
        return Verdict.REVOKED, ""
    if state.status == EXPIRED:
        return Verdict.EXPIRED, ""
    if owner is None or not owner.enabled:
        return Verdict.REVOKED, "subject"
    if app is None or not app.enabled:
        return Verdict.REVOKED, "client_disabled"
    if log is not None and state.started_at < log.recovered_at:
        return Verdict.REVOKED, "recovered"
    if log is not None and log.has_revoked(state.key):
        return Verdict.REVOKED, "master_key"
    applied = policy.of(app, command.defaults)
    lapsed = lapse(state, applied, moment.now)
    if lapsed:
        return Verdict.EXPIRED, lapsed
    if command.token.generation > state.generation:
        return Verdict.AHEAD, "ahead"
    seen = _seen(command, state, state.key)
    current = command.token.generation == state.generation
    if not current and not _is_retry(command.token, state, seen, applied.leeway, moment):
        return Verdict.REUSED, "one_behind" if command.token.generation == state.generation - 1 else "older"
    if command.carriage != state.carriage:
        return Verdict.REFUSED, "carriage"
    objection = _unbound(command, state, app) or context.objection(context.changed(seen, state), app)
    if objection:
        return objection
    return (Verdict.ROTATED, "") if current else (Verdict.RETRIED, "")


def _foreign(command: Refresh, state: Family) -> tuple[Verdict, str] | None:
    """Who comes is not whom the family is of: another client, or one without the key that it is bound to."""
    if command.client != state.client:
        return Verdict.REFUSED, "client"
    if not state.jkt:
        return None
    if command.proof is None:
        return Verdict.PROOF, "dpop_missing"
    return None if command.proof.jkt == state.jkt else (Verdict.REFUSED, "dpop_key")


def _seen(command: Refresh, state: Family, key: int) -> Tags:
    """The context as the family sees it; its key is a part of the device."""
    return ((command.bound if state.jkt else None) or command.tags)(key, state.id)


def _unbound(command: Refresh, state: Family, app: Client) -> tuple[Verdict, str] | None:
    """What a client whose tokens must be bound to a key says of a family that is not.

    A public client's ends: nobody can tell whose key would be the right one. A confidential client proves itself, so
    any key of its own will do.
    """
    if app.dpop != REQUIRED or state.jkt:
        return None
    if not app.confidential:
        return Verdict.REVOKED, "dpop_required"
    return None if command.proof else (Verdict.PROOF, "dpop_missing")


def lapse(state: Family, applied: Policy, now: int) -> str:
    """`idle` or `absolute` where that limit has passed: the earlier of what is stored and what today's policy gives."""
    if now >= end_of(state, applied):
        return "absolute"
    if now >= min(state.idle_until, state.rotated_at + applied.idle_ttl * SECOND):
        return "idle"
    return ""


def end_of(state: Family, applied: Policy) -> int:
    """When the family ends at the latest: what was promised when it began, or earlier by today's policy."""
    return min(state.ends_at, state.started_at + applied.absolute_ttl * SECOND)


def _is_retry(token: Token, state: Family, seen: Tags, leeway: float, moment: Moment) -> bool:
    """The token before the current one, from the same device, within the leeway of the rotation.

    One behind means that the successor was not used yet. The network may differ: a lost answer often is a lost network.
    Time counts to the arrival of the request. A leeway that was still running when this process became unable to commit
    runs anew from the moment at which it could again: our own slowness must never make an honest retry a theft. One
    that was over stays over.
    """
    if leeway == 0 or token.generation != state.generation - 1 or seen.device != state.device_tag:
        return False
    window = round(leeway * SECOND)
    over = state.rotated_at + window
    return moment.arrived <= over or (over >= moment.unable and moment.arrived <= moment.ready + window)


def _granted(
    command: Refresh, verdict: Verdict, state: Family, owner: Subject, applied: Policy, moment: Moment, grant: Grant
) -> Decision:
    expires_at = access_expiry(moment, applied, end_of(state, applied))
    if verdict is Verdict.RETRIED:
        facts: list[Fact] = [_retry(command, state, expires_at)]
    else:
        moved = _context_change(command, state)
        facts = [*moved, _rotation(command, folded(state, moment.now, moved), applied, moment, expires_at)]
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


def _rotation(command: Refresh, state: Family, applied: Policy, moment: Moment, expires_at: int) -> family.TokenRotated:
    if state.generation >= MAX_GENERATION:
        msg = "a family cannot rotate more than 2^32 times"
        raise OverflowError(msg)
    rekeyed = command.key != state.key
    tags = _seen(command, state, command.key)
    learned = rekeyed or (tags.country and tags.country != state.country_tag)
    return family.TokenRotated(
        actor=HOLDER,
        generation=state.generation + 1,
        jti=command.jti,
        exp=expires_at,
        idle_until=min(moment.now + applied.idle_ttl * SECOND, end_of(state, applied)),
        key=command.key if rekeyed else 0,
        device_tag=tags.device if rekeyed else "",
        network_tag=tags.network if rekeyed else "",
        country_tag=tags.country if learned else "",
        **about(state),
    )


def _context_change(command: Refresh, state: Family) -> list[Fact]:
    seen = _seen(command, state, state.key)
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
    seen = _seen(command, state, state.key)
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
            facts.append(
                family.TokenRefused(
                    actor=HOLDER,
                    generation=command.token.generation,
                    reason=reason,
                    omitted=command.omitted.get(reason, 0),
                    changed=_objected_to(command, reason, state),
                    **whose,
                )
            )
    after = folded(state, moment.now, facts)
    return Decision(Answer(verdict, after, reason, omitted=omitted), changes(state, facts))


def _objected_to(command: Refresh, reason: str, state: Family) -> str:
    """All that had changed, where the reason is one of that."""
    if not context.came_of(reason):
        return ""
    return " ".join(context.changed(_seen(command, state, state.key), state))
