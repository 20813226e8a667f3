"""What the use cases of families work with; put together in `service.py`."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.context import CountryOf
from core.keys import Keys
from core.limits import Limits
from core.master import NONCE_BYTES, MasterKeys
from core.passwords import Hasher
from core.policy import Policy
from core.verdict import Answer
from core.visit import Visit
from events.client import Client
from events.decision import Decide, Origin, Streams
from events.families import FamilyReader
from events.ledger import Ledger
from events.subjects import SubjectReader


@dataclass(frozen=True, slots=True)
class Terms:
    """What this service says of itself in tokens, and the lifetimes that clients inherit."""

    issuer: str
    audience: str
    defaults: Policy


@dataclass(frozen=True, slots=True)
class Tools:
    """What the use cases of families need."""

    ledger: Ledger
    families: FamilyReader
    subjects: SubjectReader
    master: MasterKeys
    keys: Keys
    hasher: Hasher
    limits: Limits
    terms: Terms
    now: Callable[[], int]
    """The ledger's time, microseconds since the epoch: what limits of families are held against."""
    wall: Callable[[], float] = time.time
    signed_in: Callable[[str], None] = lambda _name: None
    """Told of each sign-in by its login name."""
    nobody: Callable[[], None] = lambda: None
    """Told of each sign-in with a name that nobody has."""
    elsewhere: Callable[[int], bool] = lambda _number: False
    """Whether another process may know this master key, which is not here."""
    client_of: Callable[[str], Client | None] = lambda _name: None
    """A client as last read."""
    country_of: CountryOf = lambda _ip: ""
    """Asked for each refresh, so it must not wait for anything."""

    def wrapped(self, place: str, plain: bytes) -> str:
        """A secret as it is stored: encrypted by the master key that signs now, for this place alone."""
        return self.master.wrap(self.master.current, place, plain, secrets.token_bytes(NONCE_BYTES))

    async def about_family(self, stream: bytes, rule: Decide, visit: Visit | None) -> Answer:
        """Have a rule about one family decided. Raises Unavailable."""
        answer: Answer = await self._submit(Streams(families=frozenset((stream,))), rule, visit)
        return answer

    async def about_subject(self, stream: bytes, rule: Decide, visit: Visit | None) -> Any:
        """Have a rule about one subject decided. Raises Unavailable."""
        return await self._submit(Streams(subjects=frozenset((stream,))), rule, visit)

    async def _submit(self, streams: Streams, rule: Decide, visit: Visit | None) -> Any:
        came, arrived = (visit.origin, visit.arrived) if visit else (Origin(), None)
        return await self.ledger.submit(streams, rule, came, arrived)
