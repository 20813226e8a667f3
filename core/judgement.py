"""Whether a genuine refresh token may be used, and why not: the table of design §4. Pure: time is given.

What follows from the verdict is in `family.py`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from core import context, policy
from core.dpop import Proof
from core.policy import SECOND, Policy
from core.scope import ALL, Asked
from core.token import Token
from core.verdict import Tags, TagsFor, Verdict
from events.client import REQUIRED, Client
from events.decision import Moment
from events.family import EXPIRED, REVOKED, Family
from events.log import Log
from events.subject import Subject

FOREIGN: Final = "client"
"""The reason of a refusal where a token of one client comes from another."""


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


def weigh(
    command: Refresh, state: Family, owner: Subject | None, app: Client | None, log: Log | None, moment: Moment
) -> tuple[Verdict, str]:
    """As `judge`, for a token that is known to be of this family: also what staff ask about its newest one."""
    foreign = _foreign(command, state)
    if foreign:
        return foreign
    over = ended(state, owner, app, log, command.defaults, moment.now)
    if over or app is None:
        return over or (Verdict.REVOKED, "client_disabled")
    applied = policy.of(app, command.defaults)
    if command.token.generation > state.generation:
        return Verdict.AHEAD, "ahead"
    seen = seen_by(command, state, state.key)
    current = command.token.generation == state.generation
    if not current and not _is_retry(command.token, state, seen, applied.leeway, moment):
        return Verdict.REUSED, "one_behind" if command.token.generation == state.generation - 1 else "older"
    if command.carriage != state.carriage:
        return Verdict.REFUSED, "carriage"
    objection = _unbound(command, state, app) or context.objection(context.changed(seen, state), app)
    if objection:
        return objection
    return (Verdict.ROTATED, "") if current else (Verdict.RETRIED, "")


def ended(
    state: Family, owner: Subject | None, app: Client | None, log: Log | None, defaults: Policy, now: int
) -> tuple[Verdict, str] | None:
    """Why no token of a family counts any more, refresh or access, whoever has it; None while it lives.

    First condition that holds. Whatever asks whether a session is alive asks this (ASVS 7.4.1, RFC 7662 §4): a refresh,
    the account's routes, gateways, introspection, and an application that wants another family in the place of one.
    """
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
    lapsed = lapse(state, policy.of(app, defaults), now)
    return (Verdict.EXPIRED, lapsed) if lapsed else None


def _foreign(command: Refresh, state: Family) -> tuple[Verdict, str] | None:
    """Who comes is not whom the family is of: another client, or one without the key that it is bound to."""
    if command.client != state.client:
        return Verdict.REFUSED, FOREIGN
    if not state.jkt:
        return None
    if command.proof is None:
        return Verdict.PROOF, "dpop_missing"
    return None if command.proof.jkt == state.jkt else (Verdict.REFUSED, "dpop_key")


def seen_by(command: Refresh, state: Family, key: int) -> Tags:
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
