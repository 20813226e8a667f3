"""A client, an application that uses the API: facts, state, fold."""

from typing import ClassVar, TypeAlias, assert_never

import msgspec

from events.fact import Fact
from events.ids import named_id
from events.private import Account

OBSERVE = "observe"
REQUIRE_LOGIN = "require_login"
REVOKE = "revoke"


class ClientRegistered(Fact):
    """A client was created, with its policy. What is 0 or empty follows the settings."""

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


ClientChange: TypeAlias = ClientUpdated | ClientDisabled | ClientEnabled
ClientFact: TypeAlias = ClientRegistered | ClientChange

ENABLED = "enabled"
DISABLED = "disabled"


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

    @property
    def enabled(self) -> bool:
        return self.status == ENABLED


def stream_of(client: str) -> bytes:
    """The stream of the client of this name."""
    return named_id("client", client)


def begin(stream: bytes, at: int, fact: ClientRegistered, _account: Account) -> Client:
    """The state after registration."""
    return Client(
        id=stream,
        version=1,
        status=ENABLED,
        client=fact.client,
        origins=fact.origins,
        access_ttl=fact.access_ttl,
        idle_ttl=fact.idle_ttl,
        absolute_ttl=fact.absolute_ttl,
        leeway=fact.leeway,
        family_limit=fact.family_limit,
        on_device_change=fact.on_device_change,
        on_network_change=fact.on_network_change,
        registered_at=at,
    )


def evolve(state: Client, _at: int, fact: ClientChange, _account: Account) -> Client:
    """The state after one more fact."""
    version = state.version + 1
    match fact:
        case ClientUpdated():
            return msgspec.structs.replace(
                state,
                version=version,
                origins=fact.origins,
                access_ttl=fact.access_ttl,
                idle_ttl=fact.idle_ttl,
                absolute_ttl=fact.absolute_ttl,
                leeway=fact.leeway,
                family_limit=fact.family_limit,
                on_device_change=fact.on_device_change,
                on_network_change=fact.on_network_change,
            )
        case ClientDisabled():
            return msgspec.structs.replace(state, version=version, status=DISABLED)
        case ClientEnabled():
            return msgspec.structs.replace(state, version=version, status=ENABLED)
        case _:
            assert_never(fact)
