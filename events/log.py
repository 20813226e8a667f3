"""The log itself as a stream: what happened to the ledger as a whole. Facts, state, fold."""

from typing import ClassVar, TypeAlias

import msgspec

from events.fact import Fact
from events.ids import named_id
from events.private import Account

STREAM = named_id("log", "log")
"""There is one log, and this is its stream."""


class LogStarted(Fact):
    """The first event: an empty ledger was taken into use."""

    TYPE: ClassVar[str] = "ledger.started"
    CODE: ClassVar[int] = 64

    origin: str
    """Name of this log in its checkpoints."""


class ContextExpired(Fact):
    """Contexts (address, user agent) of all events below a position were deleted because of their age."""

    TYPE: ClassVar[str] = "context.expired"
    CODE: ClassVar[int] = 65

    below: int
    """Position; every event before it may lack its context row."""


class LedgerRecovered(Fact):
    """An older copy was taken into use again: families that began before have ended, unless kept."""

    TYPE: ClassVar[str] = "ledger.recovered"
    CODE: ClassVar[int] = 66

    size: int
    """Events that this copy had."""
    lost: int
    """Events that the last checkpoint had beyond them."""
    origin: str
    keep_sessions: bool = False


class MasterKeyRevoked(Fact):
    """From here on no refresh token under this master key is taken any more, whatever family it is of."""

    TYPE: ClassVar[str] = "master_key.revoked"
    CODE: ClassVar[int] = 67

    number: int
    """Of the master key."""
    action: str = ""
    """The action that this is a part of; it ends the families that stand under the key."""


LogChange: TypeAlias = ContextExpired | LedgerRecovered | MasterKeyRevoked


class Log(msgspec.Struct, frozen=True):
    """The fold of the log's own facts."""

    id: bytes
    version: int
    origin: str
    started_at: int
    contexts_below: int = 0
    recovered_at: int = 0
    """Families that began before this are ended; 0 when nothing was recovered or sessions were kept."""
    revoked_keys: str = ""
    """Numbers of the master keys whose refresh tokens are refused, separated by spaces."""

    def has_revoked(self, number: int) -> bool:
        """Whether refresh tokens under this master key are refused."""
        return bool(self.revoked_keys) and str(number) in self.revoked_keys.split()


def begin(stream: bytes, at: int, fact: LogStarted, _account: Account) -> Log:
    """The state of a ledger taken into use."""
    return Log(id=stream, version=1, origin=fact.origin, started_at=at)


def evolve(state: Log, at: int, fact: LogChange, _account: Account) -> Log:
    """The state after one more fact."""
    version = state.version + 1
    if isinstance(fact, ContextExpired):
        below = max(state.contexts_below, fact.below)
        return msgspec.structs.replace(state, version=version, contexts_below=below)
    if isinstance(fact, MasterKeyRevoked):
        revoked = f"{state.revoked_keys} {fact.number}".strip()
        return msgspec.structs.replace(state, version=version, revoked_keys=revoked)
    recovered_at = state.recovered_at if fact.keep_sessions else at
    return msgspec.structs.replace(state, version=version, origin=fact.origin, recovered_at=recovered_at)
