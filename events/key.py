"""A signing key of access tokens: facts, state, fold. The wrapped private key is in a private row."""

from typing import ClassVar, TypeAlias, assert_never

import msgspec

from events.fact import Fact
from events.private import Account

PREFIX = "key"


class KeyCreated(Fact):
    """A key was made and is published in the JWKS; it does not sign yet."""

    TYPE: ClassVar[str] = "key.created"
    CODE: ClassVar[int] = 49

    key: str
    """The `kid`."""
    algorithm: str
    public: str
    """The public JWK, as compact JSON; empty for HS256."""
    wrapped_by: int
    """Number of the master key that wraps the private key."""


class KeyActivated(Fact):
    """The key signs from now on."""

    TYPE: ClassVar[str] = "key.activated"
    CODE: ClassVar[int] = 50

    key: str


class KeyRetired(Fact):
    """Another key signs; this one verifies until `until`, when its last token has expired."""

    TYPE: ClassVar[str] = "key.retired"
    CODE: ClassVar[int] = 51

    key: str
    until: int
    """Microseconds since the epoch."""


class KeyRevoked(Fact):
    """The key is not trusted any more; its tokens are refused at once."""

    TYPE: ClassVar[str] = "key.revoked"
    CODE: ClassVar[int] = 52

    key: str
    reason: str
    action: str = ""
    """The action that this is a part of."""


class KeyRewrapped(Fact):
    """The private key was wrapped anew, under another master key; it signs and verifies as before."""

    TYPE: ClassVar[str] = "key.rewrapped"
    CODE: ClassVar[int] = 53

    key: str
    wrapped_by: int
    """Number of the master key that wraps the private key now."""


KeyChange: TypeAlias = KeyActivated | KeyRetired | KeyRevoked | KeyRewrapped

NEXT = "next"
ACTIVE = "active"
RETIRED = "retired"
REVOKED = "revoked"


class Key(msgspec.Struct, frozen=True):
    """The fold of a key's facts. Times are microseconds since the epoch."""

    id: bytes
    version: int
    status: str
    key: str
    algorithm: str
    public: str
    wrapped: str
    wrapped_by: int
    created_at: int
    activated_at: int = 0
    retire_at: int = 0
    """When a retired key leaves the JWKS."""


def begin(stream: bytes, at: int, fact: KeyCreated, account: Account) -> Key:
    """The state after creation."""
    return Key(
        id=stream,
        version=1,
        status=NEXT,
        key=fact.key,
        algorithm=fact.algorithm,
        public=fact.public,
        wrapped=account.wrapped,
        wrapped_by=fact.wrapped_by,
        created_at=at,
    )


def evolve(state: Key, at: int, fact: KeyChange, account: Account) -> Key:
    """The state after one more fact."""
    version = state.version + 1
    match fact:
        case KeyActivated():
            return msgspec.structs.replace(state, version=version, status=ACTIVE, activated_at=at)
        case KeyRetired():
            return msgspec.structs.replace(state, version=version, status=RETIRED, retire_at=fact.until)
        case KeyRevoked():
            return msgspec.structs.replace(state, version=version, status=REVOKED, retire_at=at)
        case KeyRewrapped():
            return msgspec.structs.replace(state, version=version, wrapped=account.wrapped, wrapped_by=fact.wrapped_by)
        case _:
            assert_never(fact)
