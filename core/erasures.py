"""Use cases of erasure: preview, erase, carry out whatever stops it, remember it, apply it again to restored copies.

Everything known of a person goes: private rows, what folds took from them, and what the database's files still hold of
deleted rows. Facts stay, which name ids only.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Final

import structlog

from core import action, erasure
from core.erasure import Erasure
from core.subject import Outcome
from core.verdict import SYSTEM
from events import erasing, ids
from events.action import Action
from events.actions import ActionReader
from events.decision import Origin, Streams
from events.erased import ErasedList, Line
from events.erasing import Rest
from events.erasures import ErasureReader, Known
from events.ledger import Ledger, Unavailable
from events.store import Scrubbed, Store
from events.subject import PREFIX as SUBJECT
from events.subject import Subject
from events.subjects import SubjectReader
from events.writer import Writer

RESTORED: Final = "restored"
"""Why somebody is erased again: the copy in use was made before."""
SCRUB_TRIES: Final = 30
SCRUB_SHARE: Final = 10
"""Nobody else can write meanwhile, so that is at most a tenth of the time, however many are erased."""
SCRUB_PAUSE: Final = 0.1
"""Seconds between two tries while readers are in the way."""


def new_action() -> bytes:
    """An id for a preview; confirming it twice is one erasure."""
    return ids.new_id(int(time.time() * 1_000_000), secrets.token_bytes(ids.RANDOM_BYTES))


@dataclass(slots=True)
class Erasures:
    """Everything raises Unavailable when the ledger cannot be used."""

    ledger: Ledger
    writer: Writer
    store: Store
    reader: ErasureReader
    subjects: SubjectReader
    actions: ActionReader
    listed: ErasedList | None
    """None for who has no master key: then a service with one finishes what was begun."""
    wholly: bool = True
    """Whether the last one left no byte in the database's files; if not, `session-ledger compact` does that."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _scrubbed_at: float = -1.0
    """When the last scrub that went well began."""
    _not_before: float = 0.0
    _seen: int = -1
    """Erasures up to this position of the log are in the list."""
    _origin: str = field(default="")
    """The log that the list was last applied to."""

    async def known(self, owner: Subject) -> Known:
        """What an erasure would delete now."""
        return await self.reader.known(owner)

    async def erase(self, owner: Subject, command: Erasure, origin: Origin = Origin()) -> Outcome:
        """End the families, say it, delete the first of the rows: one commit. `carry_out` does the rest. Idempotent."""
        found = await self.reader.known(owner)
        decide = erasure.erase(command._replace(texts=found.texts))
        outcome: Outcome = await self.ledger.submit(Streams(subjects=frozenset((owner.id,))), decide, origin)
        return outcome

    async def unfinished(self, owner: bytes) -> list[Action]:
        """Erasures of this subject that are not carried out to the end."""
        target = ids.to_text(SUBJECT, owner)
        found = await self.actions.unfinished()
        return [one for one in found if one.kind == erasure.KIND and one.target == target]

    async def carry_out(self, state: Action) -> bool:
        """Delete the rest, note it outside the database, clean the database's files, finish; False where that waits.

        If we crash anywhere in here, the action is still started, and whoever resumes it does all of this again.
        Raises OSError where the list of the erased cannot be written.
        """
        owner = await self.subjects.get(ids.parse(SUBJECT, state.target))
        if owner is None:
            return False
        await self._delete(owner)
        left = await self.reader.known(owner)
        if left.rows:
            decide = erasure.erase_rest(state.id, owner.id, left.texts)
            await self.ledger.submit(Streams(actions=frozenset((state.id,))), decide)
            await self._delete(owner)
        if self.listed is None or not await self._scrubbed():
            return False
        await self.keep()
        ended = len((await self.actions.done(state.id)).families)
        await self.ledger.submit(Streams(actions=frozenset((state.id,))), action.finish(state.id, ended, 0, 0))
        return True

    async def keep(self) -> None:
        """Put every erasure that the log tells of into the list. Raises OSError."""
        if self.listed is None:
            return
        if self._seen < 0:
            known = {(line.subject, line.position) for line in await asyncio.to_thread(self.listed.all)}
        else:
            known = set()
        while found := await self.reader.all_after(self._seen):
            lines = [Line(one.subject, one.position, one.at) for one in found]
            fresh = [line for line in lines if (line.subject, line.position) not in known]
            await asyncio.to_thread(self.listed.add, fresh)
            self._seen = found[-1].position

    async def reapply(self) -> int:
        """Erase again whom the list names and this copy of the ledger knows; answers how many that were."""
        if self.listed is None:
            return 0
        lines = await asyncio.to_thread(self.listed.all)
        again = await self.reader.unerased(list({line.subject for line in lines}))
        for owner in again:
            await self.erase(owner, Erasure(new_action(), owner.id, SYSTEM, RESTORED))
            for begun in await self.unfinished(owner.id):
                await self.carry_out(begun)
        return len(again)

    async def run(self) -> None:
        """The job: the list follows the log, and a log that goes on from an older copy follows the list."""
        origin = await self.reader.origin()
        if origin != self._origin:
            self._seen = -1
            if again := await self.reapply():
                structlog.get_logger().warning("erased_again", subjects=again)
            self._origin = origin
        await self.keep()

    async def _delete(self, owner: Subject) -> None:
        said = await self.reader.erased(owner.id)
        rest = None if said is None else Rest(owner.id, said.position)
        while rest is not None:
            rest = await self.writer.maintain(erasing.go_on(rest))

    async def _scrubbed(self) -> bool:
        """Whether a scrub began after this was called and went well: those who wait together share one."""
        called = time.monotonic()
        async with self._turn:
            if self._scrubbed_at >= called:
                return True
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            began = time.monotonic()
            done = await self._scrub()
            self._not_before = began + SCRUB_SHARE * (time.monotonic() - began)
            if done:
                self._scrubbed_at = began
            return done

    async def _scrub(self) -> bool:
        for _ in range(SCRUB_TRIES):
            try:
                scrubbed = await asyncio.to_thread(self.store.scrub)
                if scrubbed is not Scrubbed.BUSY:
                    self.wholly = scrubbed is Scrubbed.WHOLLY
                    return True
            except Exception as error:
                raise Unavailable from error
            await asyncio.sleep(SCRUB_PAUSE)
        return False
