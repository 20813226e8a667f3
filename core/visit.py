"""What comes to the use cases of families: a request as core knows it, and what signing in takes. Pure values."""

from dataclasses import dataclass
from typing import NamedTuple

from core.dpop import Proof
from core.presence import Presence
from core.token import Token
from events.decision import Origin
from events.private import Context


@dataclass(frozen=True, slots=True)
class Visit:
    """What a door knows of a request."""

    presence: Presence
    request: str
    """Our request id."""
    arrived: float
    """`time.monotonic()` at the edge."""

    @property
    def origin(self) -> Origin:
        """As the ledger stores it."""
        return Origin(self.request, Context(self.presence.ip, self.presence.agent))


class SignIn(NamedTuple):
    """Name and password, and how the family is to be carried."""

    name: str
    password: str
    client: str
    carriage: str
    device: str = ""
    replaces: Token | None = None
    """A genuine token of the same client that came with the request; its family ends."""
    key: Proof | None = None
    """Of the key that the family is to be bound to."""

    def __repr__(self) -> str:
        return f"SignIn(client={self.client!r}, carriage={self.carriage!r})"
