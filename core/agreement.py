"""When a new master key signs: once every living process would sign with it first. Learns new keys while it runs.

Each process says every few seconds which keys it knows, and hears which one signs. Nobody signs with a key that
another process does not know, so a token is understood wherever it is presented; and one that is presented to a
process that has not heard of its key for other reasons (it hung, its announcement ran out) is answered "try again".
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from core import masters
from core.key_source import Source
from core.master import MasterKeys
from core.start import StartError
from events import processes
from events.ledger import Unavailable
from events.processes import Process, Signing
from events.store import Store
from events.writer import Writer

PERIOD: Final = 5
"""Seconds between two announcements."""
SECONDS: Final = 30
"""How long one holds: so long everybody waits for a process that was killed."""


class Agreement:
    """What this process has to do with the master keys of all.

    `give_up` ends it with a sentence; `changed` is told when it knows more keys or signs with another.
    """

    def __init__(
        self,
        store: Store,
        master: MasterKeys,
        source: Source | None,
        writer: Writer,
        give_up: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._master = master
        self._source = source
        self._writer = writer
        self._give_up = give_up
        self._changed = changed
        self._holder = secrets.token_hex(8)
        self._heard = 0.0
        self._turn = asyncio.Lock()
        self.signing = Signing(0, 0)
        """What signs, as heard last."""
        self.others: tuple[Process, ...] = ()
        self.failing = ""
        """Why the source could not be read the last time: a sentence, empty where it could."""

    async def begin(self) -> None:
        """Before the first request. Raises StartError where the key that signs is not here, and Unavailable."""
        await self._announce()
        if not self._able:
            raise StartError(self._why())

    async def run(self) -> None:
        """The job: say that this process lives, and hear which key signs. Raises Unavailable."""
        await self._announce()
        if not self._able:
            await self.reread()
        if not self._able:
            self._give_up(self._why())

    async def reread(self) -> None:
        """The job, and SIGHUP: learn what the source holds now. What is wrong with it is logged, and nothing changes.

        Raises Unavailable.
        """
        if self._source is None or self._source.lasting:
            return
        before = self._master.numbers
        try:
            found = MasterKeys.parse(await asyncio.to_thread(self._source.read))
            await asyncio.to_thread(masters.note, self._store, found)
            self._master.learn(found)
        except (StartError, ValueError) as error:
            self.failing = str(error)
            structlog.get_logger().error("master_key_not_read", reason=self.failing)
            return
        self.failing = ""
        if self._master.numbers != before:
            self._changed()
            structlog.get_logger().info("master_keys_learned", numbers=" ".join(map(str, self._master.numbers)))
            await self._announce()

    def is_elsewhere(self, number: int) -> bool:
        """Whether a key that is not here may be known to another process, so that its token cannot be judged here."""
        if time.monotonic() - self._heard > SECONDS:
            return True
        return any(number in one.numbers for one in self.others)

    async def close(self) -> None:
        """Nobody need wait for this process, if the ledger can be reached."""
        with suppress(Unavailable):
            await self._writer.maintain(processes.leave(self._holder))

    @property
    def _able(self) -> bool:
        return self.signing.number in self._master.numbers

    async def _announce(self) -> None:
        async with self._turn:
            asked, now, numbers = time.monotonic(), self._writer.now(), self._master.numbers
            announced = processes.announce(self._holder, numbers, now, now + SECONDS * 1_000_000)
            found = await self._writer.maintain(announced)
            self.signing, self.others, self._heard = found.signing, found.others, asked
            if self._able and self._master.current != found.signing.number:
                self._master.sign_with(found.signing.number)
                self._changed()
                structlog.get_logger().info("master_key_signs", number=found.signing.number)

    def _why(self) -> str:
        return (
            f"This ledger signs with master key {self.signing.number}, which is not here: give this service the same "
            "master keys as the others."
        )
