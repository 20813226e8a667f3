"""The rules of a family: begin, refresh, check, end. Pure: time, ids and random bytes are given; verdicts are values."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from core import policy
from core.policy import SECOND, Policy
from core.token import MAX_GENERATION, Token
from events import client, family, ids, subject
from events.client import OBSERVE, REVOKE, Client
from events.decision import Change, Decide, Decision, Moment, Need, States, Streams
from events.fact import Fact
from events.family import EXPIRED, REVOKED, Family, refused_in_minute
from events.log import STREAM as LOG
from events.log import Log
from events.private import Account
from events.subject import Subject

HOLDER = "subject"
"""Actor of what the holder of a token or password did."""
POLICY = "policy"
SYSTEM = "system"
STAFF_ROLES = frozenset({"viewer", "responder", "admin"})


class Verdict(StrEnum):
    """What core answers. Outside, one table in each door turns it into a status."""

    BEGUN = "begun"
    ROTATED = "rotated"
    RETRIED = "retried"
    CURRENT = "current"
    ENDED = "ended"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    REUSED = "reused"
    REFUSED = "refused"
    AHEAD = "ahead"
    INVALID = "invalid"
    """Name or password are wrong, or may not be used here: nobody is told which."""
    BLOCKED = "blocked"
    THROTTLED = "throttled"


class Answer(NamedTuple):
    """A verdict, the family after it, and what an access token needs where one is due."""

    verdict: Verdict
    family: Family | None = None
    reason: str = ""
    jti: str = ""
    issued_at: int = 0
    """`iat` in seconds, from the wall clock."""
    expires_at: int = 0
    roles: str = ""
    ended: int = 0
    """How many families this ended."""
    omitted: bool = False
    """Whether this refusal was left out of the log, because there is one of this minute."""


class Tags(NamedTuple):
    """Device and network of a request, as one family sees them under one master key."""

    device: str
    network: str


TagsFor = Callable[[int, bytes], Tags]
"""Tags under a master key number for a family or subject; bound to the request, pure."""


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
    omitted: int = 0
    """Refusals of this family that were left out of the log since the last one in it."""


class Begin(NamedTuple):
    """Begin a family for somebody whose password was verified."""

    family: bytes
    subject: bytes
    client: str
    carriage: str
    nonce: str
    key: int
    jti: str
    tags: TagsFor
    defaults: Policy
    password_version: int
    """Of the hash that was verified; it must still be current."""
    amr: str = "pwd"
    scope: str = ""
    device: str = ""
    replaces: bytes | None = None


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
    app = client.stream_of(command.client)
    wanted = Streams(frozenset((command.token.family,)), clients=frozenset((app,)), logs=frozenset((LOG,)))
    lacking = states.lacking(wanted)
    if lacking is not None:
        return Need(lacking)
    state = states.family(command.token.family)
    if state is None:
        return None
    lacking = states.lacking(Streams(subjects=frozenset((state.subject,))))
    return Need(lacking) if lacking else None


def named(command: Refresh) -> Streams:
    """What a refresh names beforehand; its subject is known once its family is read."""
    app = client.stream_of(command.client)
    return Streams(frozenset((command.token.family,)), clients=frozenset((app,)), logs=frozenset((LOG,)))


def _holder(states: States, token: Token) -> tuple[Family | None, Subject | None]:
    state = states.family(token.family)
    return state, states.subject(state.subject) if state else None


def judge(  # noqa: C901 - one row of the design's table each, in its order
    command: Refresh, state: Family | None, owner: Subject | None, app: Client | None, log: Log | None, moment: Moment
) -> tuple[Verdict, str]:
    """The verdict on a genuine token, and the reason where it is a refusal. First condition that holds."""
    if state is None or command.token.nonce_hash != state.nonce:
        return Verdict.UNKNOWN, ""
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
    if now >= min(state.ends_at, state.started_at + applied.absolute_ttl * SECOND):
        return "absolute"
    if now >= min(state.idle_until, state.rotated_at + applied.idle_ttl * SECOND):
        return "idle"
    return ""


def _is_retry(token: Token, state: Family, seen: Tags, leeway: int, moment: Moment) -> bool:
    """The token before the current one, from the same device, within the leeway of the rotation.

    One behind means that the successor was not used yet. The network may differ: a lost answer often is a lost network.
    Time counts to the arrival of the request, and from the moment at which this process could commit again: our own
    slowness must never make an honest retry a theft.
    """
    if leeway == 0 or token.generation != state.generation - 1 or seen.device != state.device_tag:
        return False
    return moment.arrived <= max(state.rotated_at, moment.ready) + leeway * SECOND


def _objection(state: Family, seen: Tags, app: Client) -> tuple[Verdict, str] | None:
    changed = ((seen.device != state.device_tag, app.on_device_change, "device"),)
    changed += ((seen.network != state.network_tag, app.on_network_change, "network"),)
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
    expires_at = _access_expiry(moment, applied, state.ends_at)
    about = _about(state)
    if verdict is Verdict.RETRIED:
        network = command.tags(state.key, state.id).network
        fact: Fact = family.TokenRetried(
            actor=HOLDER,
            generation=command.token.generation,
            jti=command.jti,
            exp=expires_at,
            network_tag=network if network != state.network_tag else "",
            **about,
        )
        changes = [fact]
    else:
        changes = [*_context_change(command, state), _rotation(command, state, applied, moment, expires_at)]
    after = _folded(state, moment.now, changes)
    answer = Answer(verdict, after, "", command.jti, moment.wall // SECOND, expires_at, owner.roles)
    return Decision(answer, tuple(Change(state.id, one) for one in changes))


def _rotation(
    command: Refresh, state: Family, applied: Policy, moment: Moment, expires_at: int
) -> family.TokenRotated:
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
        idle_until=min(moment.now + applied.idle_ttl * SECOND, state.ends_at),
        key=command.key if rekeyed else 0,
        device_tag=tags.device,
        network_tag=tags.network,
        **_about(state),
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
            **_about(state),
        )
    ]


def _ended_or_refused(command: Refresh, verdict: Verdict, reason: str, state: Family, moment: Moment) -> Decision:
    """A refusal that ends a living family writes why; any other is noted once a minute."""
    facts: list[Fact] = []
    about = _about(state)
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
                **about,
            )
        )
        facts.append(family.FamilyRevoked(actor=POLICY, reason="reuse", **about))
    elif verdict is Verdict.REVOKED and state.living:
        facts.append(family.FamilyRevoked(actor=POLICY, reason=reason, **about))
    elif verdict is Verdict.EXPIRED and state.living:
        facts.append(family.FamilyExpired(actor=SYSTEM, reason=reason, **about))
    else:
        reason = reason or verdict.value
        omitted = refused_in_minute(state, reason, moment.now)
        if not omitted:
            generation = command.token.generation
            facts.append(
                family.TokenRefused(
                    actor=HOLDER, generation=generation, reason=reason, omitted=command.omitted, **about
                )
            )
    after = _folded(state, moment.now, facts)
    return Decision(Answer(verdict, after, reason, omitted=omitted), _changes(state, facts))


def begin(command: Begin) -> Decide:
    """Begin a family, ending those that it replaces or that are too many."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        wanted = begin_needs(command)
        lacking = states.lacking(wanted)
        if lacking is not None:
            return Need(lacking)
        owner = states.subject(command.subject)
        app = states.client(client.stream_of(command.client))
        if owner is None or app is None or not may_begin(command, owner, app):
            return Decision(Answer(Verdict.INVALID))
        network = command.tags(command.key, owner.id).network
        if moment.now < owner.blocked_until and network not in owner.networks.split():
            return Decision(Answer(Verdict.BLOCKED))
        replaced = _replaced(states, command)
        limit = policy.of(app, command.defaults).family_limit
        staying = [one for one in states.living_of(owner.id) if replaced is None or one.id != replaced.id]
        gone = [_revocation(one, POLICY, "limit") for one in surplus(staying, command, limit)]
        if replaced is not None:
            gone.append(_revocation(replaced, HOLDER, "replaced"))
        changes = [*(Change(owner.id, fact) for fact in _sign_in(owner, command, network)), *gone]
        return _begun(command, owner, app, replaced, changes, moment, ended=len(gone))

    return decide


def begin_needs(command: Begin) -> Streams:
    """What beginning a family has to see."""
    return Streams(
        families=frozenset(f for f in (command.family, command.replaces) if f),
        subjects=frozenset((command.subject,)),
        clients=frozenset((client.stream_of(command.client),)),
        living_of=frozenset((command.subject,)),
    )


def may_begin(command: Begin, owner: Subject, app: Client) -> bool:
    """The subject and the client work, the verified password is still the current one, and staff pages want staff."""
    if not owner.enabled or not app.enabled or owner.password_version != command.password_version:
        return False
    return command.client != policy.DASHBOARD or bool(owner.role_set & STAFF_ROLES)


def _sign_in(owner: Subject, command: Begin, network: str) -> list[Fact]:
    if not owner.failures and not owner.blocked_until and network in owner.networks.split()[:1]:
        return []
    name = ids.to_text(subject.PREFIX, owner.id)
    return [
        subject.SubjectLoginSucceeded(actor=HOLDER, subject=name, client=command.client, network_tag=network)
    ]


def _replaced(states: States, command: Begin) -> Family | None:
    """A live family of the same browser and client ends with a new sign-in, whoever it belonged to."""
    if command.replaces is None:
        return None
    state = states.family(command.replaces)
    same = state is not None and state.living and state.client == command.client
    return state if same else None


def _begun(
    command: Begin,
    owner: Subject,
    app: Client,
    replaced: Family | None,
    changes: list[Change],
    moment: Moment,
    ended: int = 0,
) -> Decision:
    applied = policy.of(app, command.defaults)
    issued, account = _issuance(command, owner, applied, replaced, moment)
    after = family.begin(command.family, moment.now, issued, account or Account())
    answer = Answer(
        Verdict.BEGUN, after, "", command.jti, moment.wall // SECOND, issued.exp, owner.roles, ended=ended
    )
    return Decision(answer, (*changes, Change(command.family, issued, account)))


def begin_alone(
    command: Begin, owner: Subject, app: Client, living: tuple[Family, ...], moment: Moment
) -> Decision:
    """Begin a family and end all others of the subject with it; what changed is added by the caller."""
    changes = [
        _revocation(one, HOLDER, "replaced" if one.id == command.replaces else "password_changed") for one in living
    ]
    replaced = next((one for one in living if one.id == command.replaces), None)
    return _begun(command, owner, app, replaced, changes, moment, ended=len(living))


def _issuance(
    command: Begin, owner: Subject, applied: Policy, replaced: Family | None, moment: Moment
) -> tuple[family.TokenIssued, Account | None]:
    ends_at = moment.now + applied.absolute_ttl * SECOND
    tags = command.tags(command.key, command.family)
    issued = family.TokenIssued(
        actor=HOLDER,
        subject=ids.to_text(subject.PREFIX, owner.id),
        client=command.client,
        key=command.key,
        nonce=command.nonce,
        carriage=command.carriage,
        jti=command.jti,
        exp=_access_expiry(moment, applied, ends_at),
        idle_until=min(moment.now + applied.idle_ttl * SECOND, ends_at),
        ends_at=ends_at,
        auth_time=moment.wall // SECOND,
        amr=command.amr,
        scope=command.scope,
        device_tag=tags.device,
        network_tag=tags.network,
        replaces=ids.to_text(family.PREFIX, replaced.id) if replaced else "",
    )
    return issued, Account(device=command.device) if command.device else None


def surplus(living: Iterable[Family], command: Begin, limit: int) -> list[Family]:
    """Which families must go so that one more keeps the limits: first a never-refreshed one of the same device."""

    def order(one: Family) -> tuple[bool, int]:
        unused = one.generation == 1 and command.tags(one.key, one.id).device == one.device_tag
        return not unused, one.rotated_at

    everyone = sorted(living, key=order)
    of_client = [one for one in everyone if one.client == command.client]
    gone = of_client[: max(0, len(of_client) + 1 - limit)]
    rest = [one for one in everyone if one not in gone]
    return gone + rest[: max(0, len(rest) + 1 - policy.MAX_LIVING)]


def revoke(
    stream: bytes, actor: str, reason: str, note: str = "", ticket: str = "", nonce: str | None = None
) -> Decide:
    """End one family; one that has ended stays as it is. With `nonce`, only for the holder of a token of it."""

    def decide(states: States, _moment: Moment) -> Decision | Need:
        lacking = states.lacking(Streams(families=frozenset((stream,))))
        if lacking is not None:
            return Need(lacking)
        state = states.family(stream)
        if state is None or (nonce is not None and nonce != state.nonce):
            return Decision(Answer(Verdict.UNKNOWN))
        if not state.living:
            return Decision(Answer(Verdict.ENDED, state))
        return Decision(Answer(Verdict.ENDED, state, ended=1), (_revocation(state, actor, reason, note, ticket),))

    return decide


def revoke_all_by(stream: bytes, nonce: str, reason: str) -> Decide:
    """The holder of a token of a living family ends all families of its subject, this one included."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        lacking = states.lacking(Streams(families=frozenset((stream,))))
        if lacking is not None:
            return Need(lacking)
        state = states.family(stream)
        if state is None or nonce != state.nonce:
            return Decision(Answer(Verdict.UNKNOWN))
        if not state.living:
            return Decision(Answer(Verdict.ENDED, state))
        return revoke_all(state.subject, HOLDER, reason)(states, moment)

    return decide


def revoke_all(owner: bytes, actor: str, reason: str, spare: bytes | None = None) -> Decide:
    """End all living families of a subject, in one commit; but for `spare`."""

    def decide(states: States, _moment: Moment) -> Decision | Need:
        lacking = states.lacking(Streams(living_of=frozenset((owner,))))
        if lacking is not None:
            return Need(lacking)
        gone = [one for one in states.living_of(owner) if one.id != spare]
        changes = tuple(_revocation(one, actor, reason) for one in gone)
        return Decision(Answer(Verdict.ENDED, ended=len(gone)), changes)

    return decide


def expire(stream: bytes, defaults: Policy) -> Decide:
    """End a family whose limit has passed; one that was used meanwhile lives on."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        lacking = states.lacking(Streams(families=frozenset((stream,))))
        if lacking is not None:
            return Need(lacking)
        state = states.family(stream)
        if state is None or not state.living:
            return Decision(0)
        app = client.stream_of(state.client)
        lacking = states.lacking(Streams(clients=frozenset((app,))))
        if lacking is not None:
            return Need(lacking)
        found = states.client(app)
        lapsed = lapse(state, policy.of(found, defaults) if found else defaults, moment.now)
        if not lapsed:
            return Decision(0)
        return Decision(1, _changes(state, [family.FamilyExpired(actor=SYSTEM, reason=lapsed, **_about(state))]))

    return decide


def revocations(living: Iterable[Family], actor: str, reason: str) -> tuple[Change, ...]:
    """One `family.revoked` each, for a cause that is committed with them."""
    return tuple(_revocation(one, actor, reason) for one in living)


def _revocation(state: Family, actor: str, reason: str, note: str = "", ticket: str = "") -> Change:
    fact = family.FamilyRevoked(actor=actor, reason=reason, ticket=ticket, **_about(state))
    return Change(state.id, fact, Account(note=note) if note else None)


def _about(state: Family) -> dict[str, str]:
    return {"subject": ids.to_text(subject.PREFIX, state.subject), "client": state.client}


def _access_expiry(moment: Moment, applied: Policy, ends_at: int) -> int:
    return min(moment.wall // SECOND + applied.access_ttl, -(-ends_at // SECOND))


def _folded(state: Family, now: int, facts: Iterable[Fact]) -> Family:
    for fact in facts:
        state = family.evolve(state, now, fact, Account())  # type: ignore[arg-type]
    return state


def _changes(state: Family, facts: Iterable[Fact]) -> tuple[Change, ...]:
    return tuple(Change(state.id, fact) for fact in facts)
