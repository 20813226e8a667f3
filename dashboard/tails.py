"""The live tails that are open: how many each person has, and when they have to end. Knows no event."""

import asyncio
from collections import Counter
from typing import Final

LOOK: Final = 1.0
"""Seconds between two looks at the log, and at the session."""


class Tails:
    """How many streams each person has open, and whether the service is stopping."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self.stopping = stopping
        self.open: Counter[bytes] = Counter()

    async def pause(self) -> bool:
        """Wait a moment; False where the service stops."""
        try:
            await asyncio.wait_for(self.stopping.wait(), LOOK)
        except TimeoutError:
            return True
        return False

    def left(self, person: bytes) -> None:
        """One of this person's streams ended."""
        self.open[person] -= 1
        if not self.open[person]:
            del self.open[person]
