"""The rules of a family in use: refresh, and check without using up. Pure: time and random bytes are given."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from core import policy
from core.policy import SECOND, Policy
from core.token import MAX_GENERATION, Token
from core.verdict import HOLDER, POLICY, SYSTEM, Answer, Tags, TagsFor, Verdict, about, access_expiry, changes, folded
from events import client, family
from events.client import OBSERVE, REVOKE, Client
from events.decision import Decide, Decision, Moment, Need, States, Streams
from events.fact import Fact
from events.family import EXPIRED, REVOKED, Family, refused_in_minute
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
    omitted: Mapping[str, int] = MappingProxyType({})
    """Refusals of this family that were left out of the log since the last one in it, by reason."""


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
        if verdict in {Verdict.ROTATED, Verdict.RETRIED} and app is not None and owner is not None:
            return _granted(command, verdict, state, owner, policy.of(app, command.defaults), moment)
        return _ended_or_refused(command, verdict, reason, state, moment)

    return decide


def check(command: Refresh) -> Decide:
    """The same table for a look at the token: current or a retry is `current`, and nothing is ever written."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        need = _need(states, command)
        if need is not None:
            return need
        state, owner = _holder(states, command.token)
        app = states.client(client.stream_of(command.client))
        verdict, reason = judge(command, state, owner, app, states.log(), moment)
        if verdict in {Verdict.ROTATED, Verdict.RETRIED}:
            return Decision(Answer(Verdict.CURRENT, state, roles=owner.roles if owner else ""))
        return Decision(Answer(verdict, state if verdict is not Verdict.UNKNOWN else None, reason))

    return decide


def _need(states: States, command: Refresh) -> Need | None:
    presented = command.token.family
    if not states.knows(presented, client.stream_of(command.client), LOG):
        return Need(named(command))
    state = states.family(presented)
    if state is None or states.knows(state.subject):
        return None
    return Need(Streams(subjects=frozenset((state.subject,))))


def named(command: Refresh) -> Streams:
    """What a refresh names beforehand; its subject is known once its family is read."""
    app = client.stream_of(command.client)
    return Streams(frozenset((command.token.family,)), clients=frozenset((app,)), logs=frozenset((LOG,)))


def _holder(states: States, token: Token) -> tuple[Family | None, Subject | None]:
    state = states.family(token.family)
    return state, states.subject(state.subject) if state else None


def judge(
    command: Refresh, state: Family | None, owner: Subject | None, app: Client | None, log: Log | None, moment: Moment
) -> tuple[Verdict, str]:
    """The verdict on a genuine token, and the reason where it is a refusal. First condition that holds."""
    if state is None or command.token.nonce_hash != state.nonce:
        return Verdict.UNKNOWN, ""
    return weigh(command, state, owner, app, log, moment)


def weigh(  # noqa: C901 - one row of the design's table each, in its order
    command: Refresh, state: Family, owner: Subject | None, app: Client | None, log: Log | None, moment: Moment
) -> tuple[Verdict, str]:
    """As `judge`, for a token that is known to be of this family: also what staff ask about its newest one."""
    if command.client != state.client:
        return Verdict.REFUSED, "client"
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
    applied = policy.of(app, command.defaults)
    lapsed = lapse(state, applied, moment.now)
    if lapsed:
        return Verdict.EXPIRED, lapsed
    if command.token.generation > state.generation:
        return Verdict.AHEAD, "ahead"
    seen = command.tags(state.key, state.id)
    current = command.token.generation == state.generation
    if not current and not _is_retry(command.token, state, seen, applied.leeway, moment):
        return Verdict.REUSED, "one_behind" if command.token.generation == state.generation - 1 else "older"
    if command.carriage != state.carriage:
        return Verdict.REFUSED, "carriage"
    objection = _objection(state, seen, app)
    if objection:
        return objection
    return (Verdict.ROTATED, "") if current else (Verdict.RETRIED, "")


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


def _is_retry(token: Token, state: Family, seen: Tags, leeway: int, moment: Moment) -> bool:
    """The token before the current one, from the same device, within the leeway of the rotation.

    One behind means that the successor was not used yet. The network may differ: a lost answer often is a lost network.
    Time counts to the arrival of the request. A leeway that was still running when this process became unable to commit
    runs anew from the moment at which it could again: our own slowness must never make an honest retry a theft. One
    that was over stays over.
    """
    if leeway == 0 or token.generation != state.generation - 1 or seen.device != state.device_tag:
        return False
    over = state.rotated_at + leeway * SECOND
    return moment.arrived <= over or (over >= moment.unable and moment.arrived <= moment.ready + leeway * SECOND)


def _objection(state: Family, seen: Tags, app: Client) -> tuple[Verdict, str] | None:
    changed = (
        (seen.device != state.device_tag, app.on_device_change, "device"),
        (seen.network != state.network_tag, app.on_network_change, "network"),
    )
    wishes = [(wish, what) for differs, wish, what in changed if differs and wish != OBSERVE]
    if not wishes:
        return None
    for wish, what in wishes:
        if wish == REVOKE:
            return Verdict.REVOKED, f"{what}_changed"
    return Verdict.REFUSED, f"{wishes[0][1]}_changed"


def _granted(
    command: Refresh, verdict: Verdict, state: Family, owner: Subject, applied: Policy, moment: Moment
) -> Decision:
    expires_at = access_expiry(moment, applied, end_of(state, applied))
    whose = about(state)
    if verdict is Verdict.RETRIED:
        network = command.tags(state.key, state.id).network
        fact: Fact = family.TokenRetried(
            actor=HOLDER,
            generation=command.token.generation,
            jti=command.jti,
            exp=expires_at,
            network_tag=network if network != state.network_tag else "",
            **whose,
        )
        facts = [fact]
    else:
        facts = [*_context_change(command, state), _rotation(command, state, applied, moment, expires_at)]
    after = folded(state, moment.now, facts)
    answer = Answer(verdict, after, "", command.jti, moment.wall // SECOND, expires_at, owner.roles)
    return Decision(answer, changes(state, facts))


def _rotation(command: Refresh, state: Family, applied: Policy, moment: Moment, expires_at: int) -> family.TokenRotated:
    if state.generation >= MAX_GENERATION:
        msg = "a family cannot rotate more than 2^32 times"
        raise OverflowError(msg)
    rekeyed = command.key != state.key
    tags = command.tags(command.key, state.id) if rekeyed else Tags("", "")
    return family.TokenRotated(
        actor=HOLDER,
        generation=state.generation + 1,
        jti=command.jti,
        exp=expires_at,
        idle_until=min(moment.now + applied.idle_ttl * SECOND, end_of(state, applied)),
        key=command.key if rekeyed else 0,
        device_tag=tags.device,
        network_tag=tags.network,
        **about(state),
    )


def _context_change(command: Refresh, state: Family) -> list[Fact]:
    seen = command.tags(state.key, state.id)
    pairs = (("device", seen.device, state.device_tag), ("network", seen.network, state.network_tag))
    changed = [what for what, now, before in pairs if now != before]
    if not changed:
        return []
    return [
        family.FamilyContextChanged(
            actor=HOLDER,
            changed=" ".join(changed),
            device_tag=seen.device,
            network_tag=seen.network,
            **about(state),
        )
    ]


def _ended_or_refused(command: Refresh, verdict: Verdict, reason: str, state: Family, moment: Moment) -> Decision:
    """A refusal that ends a living family writes why; any other is noted once a minute."""
    facts: list[Fact] = []
    whose = about(state)
    omitted = False
    if verdict is Verdict.REUSED:
        seen = command.tags(state.key, state.id)
        facts.append(
            family.TokenReuseDetected(
                actor=HOLDER,
                generation=command.token.generation,
                current=state.generation,
                kind=reason,
                device_tag=seen.device if seen.device != state.device_tag else "",
                network_tag=seen.network if seen.network != state.network_tag else "",
                **whose,
            )
        )
        facts.append(family.FamilyRevoked(actor=POLICY, reason="reuse", **whose))
    elif verdict is Verdict.REVOKED and state.living:
        facts.append(family.FamilyRevoked(actor=POLICY, reason=reason, **whose))
    elif verdict is Verdict.EXPIRED and state.living:
        facts.append(family.FamilyExpired(actor=SYSTEM, reason=reason, **whose))
    else:
        reason = reason or verdict.value
        omitted = refused_in_minute(state, reason, moment.now)
        if not omitted:
            generation, left_out = command.token.generation, command.omitted.get(reason, 0)
            facts.append(
                family.TokenRefused(actor=HOLDER, generation=generation, reason=reason, omitted=left_out, **whose)
            )
    after = folded(state, moment.now, facts)
    return Decision(Answer(verdict, after, reason, omitted=omitted), changes(state, facts))
