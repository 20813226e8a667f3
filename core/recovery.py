"""Taking an older copy of a ledger into use: what was lost is said in the log, and the log goes on under a new name.

A restored copy has forgotten revocations and takes used tokens for new ones. So all sessions that it knows have ended,
unless the operator says otherwise or next to nothing was lost (a failover).
"""

import secrets
from typing import NamedTuple

from core import log
from core.checkpointing import Checkpointing
from events.checkpoint import Checkpoint
from events.checkpoints import CheckpointStore, Signed
from events.decision import Streams
from events.history import HistoryReader
from events.ledger import Ledger
from events.log import STREAM, LedgerRecovered, LogStarted

PERIOD = 1.0
"""Seconds between two looks at the log by who signs it."""


class Loss(NamedTuple):
    """What the last checkpoint knew and this copy does not."""

    events: int
    seconds: float
    """From the last event that this copy has to the checkpoint."""


def new_origin() -> str:
    """A name for a log, as its checkpoints carry it."""
    return f"session-ledger/{secrets.token_hex(8)}"


async def loss_of(history: HistoryReader, known: Checkpointing, signed: Signed) -> Loss | None:
    """What is missing since the last checkpoint, None where that cannot be told. Raises Unavailable and OSError.

    A log that grew again after a failover may be longer than the checkpoint and lack some of what it was signed for.
    Where it still goes on from the checkpoint before, it lacks no more than what was signed last, at most a second's.
    """
    head = await history.head()
    missing = signed.checkpoint.size - head.size
    if missing > 0:
        return Loss(missing, known.store.signed_at() - head.last_at / 1_000_000)
    before = await known.continued_before()
    return None if before is None else Loss(signed.checkpoint.size - before.size, PERIOD)


async def is_former(history: HistoryReader, last: Checkpoint) -> bool:
    """Whether the checkpoint is of a name that this log had before: a recovery crashed before setting it aside."""
    facts = [event.fact for event in await history.of_stream(STREAM, 0, 10_000)]
    names = [fact.origin for fact in facts if isinstance(fact, LogStarted | LedgerRecovered)]
    return last.origin in names[:-1]


async def recover(
    ledger: Ledger, history: HistoryReader, store: CheckpointStore, signed: Signed, *, keep_sessions: bool, actor: str
) -> str:
    """Write `ledger.recovered` and set the old checkpoint aside; answers the new name. Raises Unavailable, OSError.

    If we crash between the two, the log has its new name already, and the next start sets the checkpoint aside.
    """
    head = await history.head()
    lost = max(0, signed.checkpoint.size - head.size)
    decide = log.recover(head.size, lost, new_origin(), actor, keep_sessions=keep_sessions)
    origin: str = await ledger.submit(Streams(logs=frozenset((STREAM,))), decide)
    store.set_aside(signed.checkpoint.origin)
    return origin
