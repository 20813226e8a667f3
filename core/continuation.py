"""Whether the log goes on from what was signed last: asked at the start, and of each new head before it is signed.

A failover to a server that lacks the last commits is survived with an alarm, under a new name. Anything else that
contradicts a checkpoint is another log, and is not served.
"""

import asyncio
from collections.abc import Callable

import structlog

from core.checkpointing import Checkpointing
from core.recovery import is_former, loss_of, recover
from core.start import StartError
from events.checkpoints import Contradiction
from events.history import HistoryReader
from events.ledger import Ledger


class Continuation:
    """Signs, and says what to do where that would contradict what was signed before."""

    def __init__(
        self,
        ledger: Ledger,
        history: HistoryReader,
        checkpointing: Checkpointing,
        max_loss: int,
        give_up: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._history = history
        self._checkpointing = checkpointing
        self._max_loss = max_loss
        self._give_up = give_up
        self._one = asyncio.Lock()

    async def begin(self) -> None:
        """Sign the first state of a service. Raises StartError, Unavailable, OSError."""
        try:
            await self._settled()
        except Contradiction as error:
            raise StartError(self._sentence(error)) from None

    async def run(self) -> None:
        """Sign if the log grew. Gives the service up for a log that is another one. Raises Unavailable, OSError."""
        try:
            await self._settled()
        except Contradiction as error:
            structlog.get_logger().error("log_contradicts_checkpoint", reason=str(error))
            if self._checkpointing.leads:  # else it is the process that signs which settles it, or ends us all
                self._give_up(self._sentence(error))

    async def _settled(self) -> None:
        async with self._one:
            try:
                await self._checkpointing.run()
            except Contradiction:
                if not self._checkpointing.leads or not await self._goes_on():
                    raise
                await self._checkpointing.run()

    async def _goes_on(self) -> bool:
        """Whether this log is the one that was signed, after a recovery or a loss that is small enough."""
        known = self._checkpointing
        signed = known.signed()
        if signed is None:
            return True
        if await is_former(self._history, signed.checkpoint):
            known.store.set_aside(signed.checkpoint.origin)
            return True
        loss = await loss_of(self._history, known, signed)
        if loss is None or not 0 <= loss.seconds <= self._max_loss:
            return False
        structlog.get_logger().error("commits_lost", events=loss.events, seconds=round(loss.seconds, 1))
        await recover(self._ledger, self._history, known.store, signed, keep_sessions=True, actor="system")
        return True

    def _sentence(self, error: Contradiction) -> str:
        return (
            f"{str(error).rstrip('.')}: restore the database that belongs to {self._checkpointing.store.folder}, "
            "or run session-ledger recover to take this one into use."
        )
