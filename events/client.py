"""A client, an application that uses the API: facts, state, fold."""

from typing import Any, ClassVar, TypeAlias, assert_never

import msgspec

from events.fact import Fact
from events.ids import named_id
from events.private import Account

OBSERVE = "observe"
REQUIRE_LOGIN = "require_login"
REVOKE = "revoke"

OPTIONAL = "optional"
REQUIRED = "required"

PUBLIC = "public"
"""Runs where its users can read it: a page, an app. It has no secret."""
CONFIDENTIAL = "confidential"
"""Runs on a server and proves itself by a secret."""


class ClientRegistered(Fact):
    """A client was created, with its policy. What is 0 or empty follows the settings.

    The hash of a confidential client's first secret is a private row.
    """

    TYPE: ClassVar[str] = "client.registered"
    CODE: ClassVar[int] = 33

    client: str
    origins: str = ""
    """Allowed web origins, separated by spaces."""
    access_ttl: int = 0
    idle_ttl: int = 0
    absolute_ttl: int = 0
    leeway: int = -1
    """Seconds; -1 follows the settings, 0 is strict."""
    family_limit: int = 0
    """Living families for each subject with this client; 0 is only the subject's own limit."""
    on_device_change: str = OBSERVE
    on_network_change: str = OBSERVE
    type: str = PUBLIC
    """`public` or `confidential`."""
    first_party: int = 1
    """Whether people may give it their password: `/auth` serves public first-party clients only."""
    audiences: str = ""
    """Who its access tokens may be for, separated by spaces; the first where none is asked for."""
    scopes: str = ""
    """What its access tokens may be used for, separated by spaces."""
    operator: int = 0
    """Whether it reaches everybody's families, not only its own."""
    dpop: str = OPTIONAL
    """Whether its tokens must be bound to a key (RFC 9449): `optional`, where it may have that, or `required`."""
    keys: str = ""
    """The public keys that it proves itself by (`private_key_jwt`), a JWK set; empty where it has none."""
    keys_only: int = 0
    """Whether its secrets no longer count."""
    on_country_change: str = OBSERVE


class ClientUpdated(ClientRegistered):
    """The client's policy was replaced as a whole."""

    TYPE: ClassVar[str] = "client.updated"
    CODE: ClassVar[int] = 34


class ClientDisabled(Fact):
    """The client's families refuse to refresh and it begins no new ones."""

    TYPE: ClassVar[str] = "client.disabled"
    CODE: ClassVar[int] = 35

    client: str


class ClientEnabled(Fact):
    """The client works again."""

    TYPE: ClassVar[str] = "client.enabled"
    CODE: ClassVar[int] = 36

    client: str


class ClientSecretRotated(Fact):
    """The client got a new secret, whose hash is a private row. The one before may be used for a while."""

    TYPE: ClassVar[str] = "client.secret_rotated"
    CODE: ClassVar[int] = 37

    client: str
    until: int = 0
    """The secret before is good until then, microseconds; 0 is no longer."""


class AccessRevoked(Fact):
    """All access tokens that the client holds for itself were revoked. Families are not touched."""

    TYPE: ClassVar[str] = "access.revoked"
    CODE: ClassVar[int] = 38

    client: str
    issued: int
    """Those issued up to this second, since the epoch."""


ClientChange: TypeAlias = ClientUpdated | ClientDisabled | ClientEnabled | ClientSecretRotated | AccessRevoked

ENABLED = "enabled"
DISABLED = "disabled"

POLICY = tuple(name for name in ClientRegistered.__struct_fields__ if name not in {*Fact.__struct_fields__, "client"})
"""The fields that a client's policy is made of."""


class Client(msgspec.Struct, frozen=True):
    """The fold of a client's facts. Lifetimes are seconds."""

    id: bytes
    version: int
    status: str
    client: str
    origins: str
    access_ttl: int
    idle_ttl: int
    absolute_ttl: int
    leeway: int
    family_limit: int
    on_device_change: str
    on_network_change: str
    registered_at: int
    type: str
    first_party: int
    audiences: str
    scopes: str
    operator: int
    secret: str
    """base64url SHA-256 of the newest secret, empty where there is none."""
    secret_at: int
    """When that was made, microseconds."""
    secret_before: str
    before_until: int
    """The secret before is good until then, microseconds."""
    access_revoked: int
    """Access tokens that the client holds for itself count if they were issued after this second."""
    dpop: str
    keys: str
    keys_only: int
    on_country_change: str

    def __repr__(self) -> str:
        return f"Client({self.client!r}, {self.status})"

    @property
    def enabled(self) -> bool:
        return self.status == ENABLED

    @property
    def confidential(self) -> bool:
        return self.type == CONFIDENTIAL

    @property
    def policy(self) -> dict[str, Any]:
        """Its policy, by the names of the facts' fields."""
        return {name: getattr(self, name) for name in POLICY}


def stream_of(client: str) -> bytes:
    """The stream of the client of this name."""
    return named_id("client", client)


def begin(stream: bytes, at: int, fact: ClientRegistered, account: Account) -> Client:
    """The state after registration."""
    return Client(
        id=stream,
        version=1,
        status=ENABLED,
        client=fact.client,
        registered_at=at,
        secret=account.secret,
        secret_at=at if account.secret else 0,
        secret_before="",
        before_until=0,
        access_revoked=0,
        **_policy(fact),
    )


def evolve(state: Client, at: int, fact: ClientChange, account: Account) -> Client:
    """The state after one more fact."""
    changed: dict[str, Any]
    match fact:
        case ClientUpdated():
            changed = _policy(fact)
        case ClientDisabled():
            changed = {"status": DISABLED}
        case ClientEnabled():
            changed = {"status": ENABLED}
        case ClientSecretRotated():
            kept = state.secret if fact.until else ""
            changed = {"secret": account.secret, "secret_at": at, "secret_before": kept, "before_until": fact.until}
        case AccessRevoked():
            changed = {"access_revoked": max(state.access_revoked, fact.issued)}
        case _:
            assert_never(fact)
    return msgspec.structs.replace(state, version=state.version + 1, **changed)


def _policy(fact: ClientRegistered) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in POLICY}
