"""The rules of a family's beginning: who may, what it replaces, which ones are too many. Pure; ids are given."""

from collections.abc import Iterable
from typing import NamedTuple

from core import factor, policy, scope
from core.ending import revocation
from core.factor import Proof
from core.policy import SECOND, Policy
from core.verdict import HOLDER, POLICY, STAFF_ROLES, Answer, TagsFor, Verdict, access_expiry
from events import client, family, ids, subject
from events.client import Client
from events.decision import Change, Decide, Decision, Moment, States, Streams, knowing
from events.fact import Fact
from events.family import Family
from events.private import Account
from events.subject import Subject


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
    scope: str | None = None
    """Of the family; None is all that its client has for people."""
    audience: str = ""
    """Of the settings."""
    device: str = ""
    replaces: bytes | None = None
    """A family that ends with this beginning."""
    replaced_nonce: str = ""
    """What the token that names it says of its nonce; empty where no token names it."""
    actor: str = HOLDER
    auth_time: int = 0
    """When the person proved who they are, seconds; 0 is now."""
    acr: str = ""
    proof: Proof | None = None
    """The second factor that came with it."""
    jkt: str = ""
    """Thumbprint of the key that it is bound to; `tags` know it, too."""


def begin(command: Begin) -> Decide:
    """Begin a family, ending those that it replaces or that are too many."""

    def decide(states: States, moment: Moment) -> Decision:
        owner = states.subject(command.subject)
        app = states.client(client.stream_of(command.client))
        if owner is None or app is None or not may_begin(command, owner, app):
            return Decision(Answer(Verdict.INVALID))
        if lacks_key(command, app):
            return Decision(Answer(Verdict.PROOF))
        network = command.tags(command.key, owner.id).network
        alone = command.proof is not None and command.proof.alone
        if not alone and is_blocked(owner, network, moment.now):
            return Decision(Answer(Verdict.BLOCKED))
        proven = factor.judge(owner, command.client, command.proof, network, moment.now)
        if proven.refusal is not None:
            return Decision(Answer(proven.refusal), proven.changes)
        replaced = _replaced(states, command)
        limit = policy.of(app, command.defaults).family_limit
        staying = [one for one in states.living_of(owner.id) if replaced is None or one.id != replaced.id]
        gone = [revocation(one, POLICY, "limit") for one in surplus(staying, command, limit)]
        if replaced is not None:
            gone.append(revocation(replaced, HOLDER, "replaced"))
        welcome = (Change(owner.id, fact) for fact in _sign_in(owner, command, network))
        changes = [*proven.changes, *welcome, *gone]
        said = command._replace(amr=proven.amr or command.amr, acr=proven.acr or command.acr)
        return begun(said, owner, app, replaced, changes, moment, ended=len(gone))

    return knowing(needs(command), decide)


def needs(command: Begin) -> Streams:
    """What beginning a family has to see."""
    return Streams(
        families=frozenset(f for f in (command.family, command.replaces) if f),
        subjects=frozenset((command.subject,)),
        clients=frozenset((client.stream_of(command.client),)),
        living_of=frozenset((command.subject,)),
    )


def may_begin(command: Begin, owner: Subject, app: Client) -> bool:
    """The subject and the client work together, and the verified password is still the current one."""
    return admits(owner, command.client) and app.enabled and owner.password_version == command.password_version


def lacks_key(command: Begin, app: Client) -> bool:
    """Whether the client's families must be bound to a key, and this one would not be."""
    return app.dpop == client.REQUIRED and not command.jkt


def admits(owner: Subject, client: str) -> bool:
    """Whether this subject may use a client at all: one that is enabled, and the dashboard only with a staff role."""
    return owner.enabled and (client != policy.DASHBOARD or bool(owner.role_set & STAFF_ROLES))


def is_blocked(owner: Subject, network: str, now: int) -> bool:
    """Whether too many wrong passwords make this network wait; those that the subject signed in from never do."""
    return now < owner.blocked_until and network not in owner.networks.split()


def _sign_in(owner: Subject, command: Begin, network: str) -> list[Fact]:
    if not owner.failures and not owner.blocked_until and network in owner.networks.split()[:1]:
        return []
    name = ids.to_text(subject.PREFIX, owner.id)
    return [subject.SubjectLoginSucceeded(actor=HOLDER, subject=name, client=command.client, network_tag=network)]


def _replaced(states: States, command: Begin) -> Family | None:
    """A live family of the same browser and client ends with a new sign-in, whoever it belonged to."""
    if command.replaces is None:
        return None
    state = states.family(command.replaces)
    if state is None or not state.living or state.client != command.client:
        return None
    return state if command.replaced_nonce in {"", state.nonce} else None


def begun(
    command: Begin,
    owner: Subject,
    app: Client,
    replaced: Family | None,
    changes: list[Change],
    moment: Moment,
    ended: int = 0,
) -> Decision:
    """The family begins after these changes. Who may, and what ends with it, is decided already."""
    applied = policy.of(app, command.defaults)
    if command.scope is None:
        command = command._replace(scope=scope.for_people(app))
    issued, account = _issuance(command, owner, applied, replaced, moment)
    after = family.begin(command.family, moment.now, issued, account or Account())
    grant = scope.of_family(scope.ALL, after.scope, app, command.audience)
    assert isinstance(grant, scope.Grant)  # noqa: S101 - whoever asks for nothing gets what there is
    answer = Answer(Verdict.BEGUN, after, "", command.jti, moment.wall // SECOND, issued.exp, owner.roles, ended=ended)
    answer = answer._replace(audience=grant.audience, scope=grant.scope, jkt=after.jkt)
    return Decision(answer, (*changes, Change(command.family, issued, account)))


def begin_alone(command: Begin, owner: Subject, app: Client, living: tuple[Family, ...], moment: Moment) -> Decision:
    """Begin a family and end all others of the subject with it; what changed is added by the caller."""
    changes = [
        revocation(one, HOLDER, "replaced" if one.id == command.replaces else "password_changed") for one in living
    ]
    replaced = next((one for one in living if one.id == command.replaces), None)
    return begun(command, owner, app, replaced, changes, moment, ended=len(living))


def _issuance(
    command: Begin, owner: Subject, applied: Policy, replaced: Family | None, moment: Moment
) -> tuple[family.TokenIssued, Account | None]:
    ends_at = moment.now + applied.absolute_ttl * SECOND
    tags = command.tags(command.key, command.family)
    issued = family.TokenIssued(
        actor=command.actor,
        subject=ids.to_text(subject.PREFIX, owner.id),
        client=command.client,
        key=command.key,
        nonce=command.nonce,
        carriage=command.carriage,
        jti=command.jti,
        exp=access_expiry(moment, applied, ends_at),
        idle_until=min(moment.now + applied.idle_ttl * SECOND, ends_at),
        ends_at=ends_at,
        auth_time=command.auth_time or moment.wall // SECOND,
        amr=command.amr,
        acr=command.acr,
        jkt=command.jkt,
        scope=command.scope or "",
        device_tag=tags.device,
        network_tag=tags.network,
        country_tag=tags.country,
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
