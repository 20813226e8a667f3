"""One process of a cluster that does what is done once: the holder of a lease that it renews. Knows no job."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from events import leases
from events.ledger import Unavailable
from events.writer import Writer

NAME: Final = "jobs"
SECONDS: Final = 15
"""How long a lease lasts: three times as long as it takes to be renewed, and how long nobody leads after a crash."""


class Leadership:
    """Whether this process leads. A lease that could not be renewed in time is not led by; another takes over."""

    def __init__(self, writer: Writer, now: Callable[[], int]) -> None:
        self._writer = writer
        self._now = now
        self._holder = secrets.token_hex(8)
        self._until = 0

    def holds(self) -> bool:
        """Whether this process leads now."""
        return self._now() < self._until

    async def run(self) -> None:
        """Take or renew the lease. Raises Unavailable."""
        now = self._now()
        until = now + SECONDS * 1_000_000
        taken = await self._writer.maintain(leases.take(NAME, self._holder, now, until))
        self._until = until if taken else 0

    async def close(self) -> None:
        """Let another lead at once, if the ledger can be reached."""
        if self._until:
            self._until = 0
            with suppress(Unavailable):
                await self._writer.maintain(leases.give_up(NAME, self._holder))
