"""Use cases of clients: the two that every ledger has, and following what other processes did. Knows no HTTP."""

from collections.abc import Awaitable, Callable

from core import client
from core.policy import DASHBOARD, WEB
from events.client import Client, ClientRegistered, stream_of
from events.decision import Streams
from events.ledger import Ledger

BUILT_IN = (
    ClientRegistered(actor="system", client=WEB),
    ClientRegistered(actor="system", client=DASHBOARD, idle_ttl=15 * 60, absolute_ttl=12 * 3600, leeway=60),
)


class Clients:
    """The clients as last read; `refresh` follows changes of other processes."""

    def __init__(self, ledger: Ledger, read: Callable[[], Awaitable[list[Client]]]) -> None:
        self._ledger = ledger
        self._read = read
        self._known: dict[str, Client] = {}
        self.origins: frozenset[str] = frozenset()
        """Of all enabled clients' pages."""

    def get(self, name: str) -> Client | None:
        """The client of this name, disabled ones too."""
        return self._known.get(name)

    async def refresh(self) -> None:
        """Read all clients, which are few. Run every few seconds."""
        self._known = {one.client: one for one in await self._read()}
        enabled = (one for one in self._known.values() if one.enabled)
        self.origins = frozenset(origin for one in enabled for origin in one.origins.split())

    async def ensure(self) -> None:
        """A new ledger has two clients, `web` and `dashboard`."""
        await self.refresh()
        for fact in BUILT_IN:
            if fact.client not in self._known:
                streams = Streams(clients=frozenset((stream_of(fact.client),)))
                await self._ledger.submit(streams, client.register(fact))
        await self.refresh()
