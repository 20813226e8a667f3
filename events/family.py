"""A family, one signed-in session: its facts, its state, and how facts become state. Decides nothing."""

from typing import ClassVar, TypeAlias, assert_never

import msgspec

from events import ids, subject
from events.fact import Fact
from events.private import Account

PREFIX = "fam"


class TokenIssued(Fact):
    """A family began: its first refresh token and access token were issued."""

    TYPE: ClassVar[str] = "token.issued"
    CODE: ClassVar[int] = 1

    subject: str
    client: str
    key: int
    """Number of the master key that signs the refresh token."""
    nonce: str
    """base64url SHA-256 of the family's nonce; the nonce itself is only in the token."""
    carriage: str
    """`cookie` or `body`, for the family's whole life."""
    jti: str
    exp: int
    """Expiry of the access token, seconds since the epoch."""
    idle_until: int
    ends_at: int
    auth_time: int
    amr: str
    scope: str = ""
    device_tag: str = ""
    network_tag: str = ""
    replaces: str = ""
    """The family that this one takes over from."""
    acr: str = ""
    """How much the authentication is worth, as the backend that did it names the level."""
    jkt: str = ""
    """Thumbprint of the key that whoever uses the family has to prove (RFC 7638), where it is bound to one."""
    country_tag: str = ""
    """Empty where no country is known of the address."""


class TokenRotated(Fact):
    """The current token was used up; its successor and a new access token were issued."""

    TYPE: ClassVar[str] = "token.rotated"
    CODE: ClassVar[int] = 2

    subject: str
    client: str
    generation: int
    """Generation of the successor."""
    jti: str
    exp: int
    idle_until: int
    key: int = 0
    """Number of the master key of the successor, where it changed."""
    device_tag: str = ""
    network_tag: str = ""
    """Both only where the key changed: the same device and network, tagged under the new key."""
    country_tag: str = ""
    """Where the key changed, or where the country became known without a move."""


class TokenRetried(Fact):
    """The token before the current one came again within the leeway; it got the same successor."""

    TYPE: ClassVar[str] = "token.retried"
    CODE: ClassVar[int] = 3

    subject: str
    client: str
    generation: int
    """Generation of the token that was presented."""
    jti: str
    exp: int
    network_tag: str = ""
    """Where it came from, if not from the family's last network."""
    country_tag: str = ""
    """The same of the country."""


class TokenReuseDetected(Fact):
    """A used token was presented outside the leeway: somebody holds a copy."""

    TYPE: ClassVar[str] = "token.reuse_detected"
    CODE: ClassVar[int] = 4

    subject: str
    client: str
    generation: int
    """Generation of the token that was presented."""
    current: int
    """Generation of the family at that moment."""
    kind: str
    """`one_behind` or `older`."""
    device_tag: str = ""
    network_tag: str = ""
    country_tag: str = ""


class TokenRefused(Fact):
    """A genuine token was not accepted. At most one for each family, reason and minute."""

    TYPE: ClassVar[str] = "token.refused"
    CODE: ClassVar[int] = 5

    subject: str
    client: str
    generation: int
    """Generation of the token that was presented; 0 where it was an access token, which has none."""
    reason: str
    omitted: int = 0
    """How many such refusals were left out since the last one that was written."""
    changed: str = ""
    """What had changed, where the client's policy refuses it for that: words as in `family.context_changed`."""


class FamilyRevoked(Fact):
    """The family ended because somebody or a rule said so. It never comes back."""

    TYPE: ClassVar[str] = "family.revoked"
    CODE: ClassVar[int] = 6

    subject: str
    client: str
    reason: str
    ticket: str = ""
    """Number of the incident, `[A-Za-z0-9._-]{1,32}`."""
    action: str = ""
    """The action that this is a part of."""
    changed: str = ""
    """What had changed, where the client's policy ends it for that: words as in `family.context_changed`."""


class FamilyExpired(Fact):
    """The family reached its idle or absolute limit."""

    TYPE: ClassVar[str] = "family.expired"
    CODE: ClassVar[int] = 7

    subject: str
    client: str
    reason: str
    """`idle` or `absolute`."""


class FamilyContextChanged(Fact):
    """The family was used from another device, network or country than before, and the client's policy let it."""

    TYPE: ClassVar[str] = "family.context_changed"
    CODE: ClassVar[int] = 8

    subject: str
    client: str
    changed: str
    """Of `device`, `network` and `country`, with a space between."""
    device_tag: str
    network_tag: str
    country_tag: str = ""
    """Empty where no country is known of the address: the one before stays."""


class DashboardLookedUp(Fact):
    """Staff looked something up by what they hold; only how it was found and a fingerprint are kept."""

    TYPE: ClassVar[str] = "dashboard.looked_up"
    CODE: ClassVar[int] = 9

    subject: str
    client: str
    kind: str
    """What it was taken for: `family`, `event`, `subject`, `network`, `access_token`, … or `nothing`."""
    fingerprint: str
    """First 12 hexadecimal digits of SHA-256 of what was entered."""


class DashboardExported(Fact):
    """Staff took events out; the query as typed is in the account row."""

    TYPE: ClassVar[str] = "dashboard.exported"
    CODE: ClassVar[int] = 10

    subject: str
    client: str
    format: str
    position: int
    """Size of the log that the export is of."""


class DashboardPreviewed(Fact):
    """Staff looked at what a kill would end."""

    TYPE: ClassVar[str] = "dashboard.previewed"
    CODE: ClassVar[int] = 11

    subject: str
    client: str
    target: str
    """The family, subject or action that was previewed."""


FamilyChange: TypeAlias = (
    TokenRotated
    | TokenRetried
    | TokenReuseDetected
    | TokenRefused
    | FamilyRevoked
    | FamilyExpired
    | FamilyContextChanged
    | DashboardLookedUp
    | DashboardExported
    | DashboardPreviewed
)

DEVICE = "device"
NETWORK = "network"
COUNTRY = "country"
CONTEXT = (DEVICE, NETWORK, COUNTRY)
"""What of a context can change, in the order in which it is written."""

LIVING = "living"
REVOKED = "revoked"
EXPIRED = "expired"


class Family(msgspec.Struct, frozen=True):
    """The fold of a family's facts: constant size, however often it rotated. Times are microseconds."""

    id: bytes
    version: int
    """Number of the last event of this stream, from 1."""
    status: str
    subject: bytes
    client: str
    key: int
    nonce: str
    generation: int
    carriage: str
    started_at: int
    rotated_at: int
    idle_until: int
    ends_at: int
    auth_time: int
    amr: str
    scope: str
    device_tag: str
    network_tag: str
    jti: str
    """Of the last access token."""
    access_until: int
    """Latest expiry of an access token of this family, seconds."""
    refusals: str = ""
    """When each reason of refusal was last written: `reason@minute`, separated by spaces."""
    reused_at: int = 0
    ended_at: int = 0
    ended_by: str = ""
    ended_reason: str = ""
    device: str = ""
    """What the user calls the device (from a private row)."""
    acr: str = ""
    jkt: str = ""
    """Thumbprint of the key that the family is bound to (RFC 9449)."""
    country_tag: str = ""
    changed: str = ""
    """What of the context ever changed, whether that was let be or not: of `CONTEXT`, separated by spaces."""

    @property
    def living(self) -> bool:
        return self.status == LIVING


def begin(stream: bytes, at: int, fact: TokenIssued, account: Account) -> Family:
    """The state after a family's first fact."""
    return Family(
        id=stream,
        version=1,
        status=LIVING,
        subject=ids.parse(subject.PREFIX, fact.subject),
        client=fact.client,
        key=fact.key,
        nonce=fact.nonce,
        generation=1,
        carriage=fact.carriage,
        started_at=at,
        rotated_at=at,
        idle_until=fact.idle_until,
        ends_at=fact.ends_at,
        auth_time=fact.auth_time,
        amr=fact.amr,
        scope=fact.scope,
        device_tag=fact.device_tag,
        network_tag=fact.network_tag,
        jti=fact.jti,
        access_until=fact.exp,
        device=account.device,
        acr=fact.acr,
        jkt=fact.jkt,
        country_tag=fact.country_tag,
    )


def evolve(state: Family, at: int, fact: FamilyChange, _account: Account) -> Family:  # noqa: C901 - a case each
    """The state after one more fact. Total: any fact, in any state, gives a state."""
    version = state.version + 1
    match fact:
        case TokenRotated():
            return msgspec.structs.replace(
                state,
                version=version,
                generation=fact.generation,
                rotated_at=at,
                idle_until=fact.idle_until,
                jti=fact.jti,
                access_until=max(state.access_until, fact.exp),
                key=fact.key or state.key,
                device_tag=fact.device_tag or state.device_tag,
                network_tag=fact.network_tag or state.network_tag,
                # A tag under the key of before can be compared with nothing any more.
                country_tag=fact.country_tag or ("" if fact.key else state.country_tag),
            )
        case TokenRetried():
            access_until = max(state.access_until, fact.exp)
            return msgspec.structs.replace(state, version=version, jti=fact.jti, access_until=access_until)
        case TokenReuseDetected():
            return msgspec.structs.replace(state, version=version, reused_at=state.reused_at or at)
        case TokenRefused():
            noted = _noted(state.refusals, fact.reason, at)
            changed = _with(state.changed, fact.changed)
            return msgspec.structs.replace(state, version=version, refusals=noted, changed=changed)
        case FamilyRevoked():
            ended = _ended(state, version, REVOKED, at, fact)
            return msgspec.structs.replace(ended, changed=_with(state.changed, fact.changed))
        case FamilyExpired():
            return _ended(state, version, EXPIRED, at, fact)
        case FamilyContextChanged():
            return msgspec.structs.replace(
                state,
                version=version,
                device_tag=fact.device_tag,
                network_tag=fact.network_tag,
                country_tag=fact.country_tag or state.country_tag,
                changed=_with(state.changed, fact.changed),
            )
        case DashboardLookedUp() | DashboardExported() | DashboardPreviewed():
            return msgspec.structs.replace(state, version=version)
        case _:
            assert_never(fact)


def refused_in_minute(state: Family, reason: str, at: int) -> bool:
    """Whether a refusal for this reason was already written in the minute of `at`."""
    return f"{reason}@{at // 60_000_000}" in state.refusals.split(" ")


def _noted(refusals: str, reason: str, at: int) -> str:
    others = [r for r in refusals.split(" ") if r and not r.startswith(f"{reason}@")]
    return " ".join(sorted([*others, f"{reason}@{at // 60_000_000}"]))


def _with(changed: str, more: str) -> str:
    """Both lists of what changed, as one."""
    if not more or more == changed:
        return changed
    words = {*changed.split(), *more.split()}
    return " ".join(word for word in CONTEXT if word in words)


def _ended(state: Family, version: int, status: str, at: int, fact: FamilyRevoked | FamilyExpired) -> Family:
    if not state.living:
        return msgspec.structs.replace(state, version=version)
    return msgspec.structs.replace(
        state, version=version, status=status, ended_at=at, ended_by=fact.actor, ended_reason=fact.reason
    )
