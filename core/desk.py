"""What the command line does with a ledger, beside a running service. Needs no master key; knows no terminal."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from core import client, ending
from core.client import Outcome
from core.reason import cleaned_note
from core.subjects import Subjects
from core.verdict import Answer
from events import ids
from events.client import Client, stream_of
from events.clients import read_clients
from events.decision import Streams
from events.history import Event, HistoryReader
from events.key import Key
from events.keys import read_keys
from events.ledger import Ledger
from events.subject import PREFIX

ACTOR = "cli"


@dataclass(frozen=True, slots=True)
class Desk:
    """Use cases and readers. Everything raises Unavailable when the ledger cannot be used."""

    ledger: Ledger
    engine: AsyncEngine
    subjects: Subjects
    history: HistoryReader

    async def revoke(self, family: bytes, reason: str, note: str = "", ticket: str = "") -> Answer:
        """End a family; when this returns, nothing of it is accepted by any process. Idempotent."""
        decide = ending.revoke(family, ACTOR, reason, cleaned_note(note), ticket)
        answer: Answer = await self.ledger.submit(Streams(families=frozenset((family,))), decide)
        return answer

    async def set_client(self, name: str, *, enabled: bool) -> Outcome:
        """Disable or enable an application. A running service follows within seconds."""
        decide = client.set_enabled(name, ACTOR, enabled=enabled)
        outcome: Outcome = await self.ledger.submit(Streams(clients=frozenset((stream_of(name),))), decide)
        return outcome

    async def clients(self) -> list[Client]:
        """All of them, by name."""
        return await read_clients(self.engine)

    async def keys(self) -> list[Key]:
        """All signing keys that there ever were, the oldest first."""
        return sorted(await read_keys(self.engine), key=lambda one: (one.created_at, one.id))

    async def names(self, events: Iterable[Event]) -> dict[str, str]:
        """Login names of the subjects of these events, by `sub_…`."""
        told = {getattr(one.fact, "subject", "") for one in events}
        streams = frozenset(ids.parse(PREFIX, text) for text in told if text)
        found = await self.subjects.reader.names(streams)
        return {ids.to_text(PREFIX, stream): name for stream, name in found.items()}
