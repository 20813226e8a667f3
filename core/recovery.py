"""Taking an older copy of a ledger into use: what was lost is said in the log, and the log goes on under a new name.

A restored copy has forgotten revocations and takes used tokens for new ones. So all sessions that it knows have ended,
unless the operator says otherwise or next to nothing was lost (a failover).
"""

import secrets
from typing import NamedTuple

from core import log
from events.checkpoint import Checkpoint
from events.checkpoints import CheckpointStore, Signed
from events.decision import Streams
from events.history import HistoryReader
from events.ledger import Ledger
from events.log import STREAM, LedgerRecovered, LogStarted


class Loss(NamedTuple):
    """What the last checkpoint knew and this copy does not."""

    events: int
    seconds: float
    """From the last event that this copy has to the checkpoint."""


def new_origin() -> str:
    """A name for a log, as its checkpoints carry it."""
    return f"session-ledger/{secrets.token_hex(8)}"


async def loss_of(history: HistoryReader, store: CheckpointStore, signed: Signed) -> Loss | None:
    """What is missing, None where the copy is as long as the checkpoint. Raises Unavailable and OSError."""
    head = await history.head()
    missing = signed.checkpoint.size - head.size
    return Loss(missing, store.signed_at() - head.last_at / 1_000_000) if missing > 0 else None


async def is_former(history: HistoryReader, last: Checkpoint) -> bool:
    """Whether the checkpoint is of a name that this log had before: a recovery crashed before setting it aside."""
    facts = [event.fact for event in await history.of_stream(STREAM, 0, 10_000)]
    names = [fact.origin for fact in facts if isinstance(fact, LogStarted | LedgerRecovered)]
    return last.origin in names[:-1]


async def recover(
    ledger: Ledger, history: HistoryReader, store: CheckpointStore, signed: Signed, *, keep_sessions: bool
) -> str:
    """Write `ledger.recovered` and set the old checkpoint aside; answers the new name. Raises Unavailable, OSError.

    If we crash between the two, the log has its new name already, and the next start sets the checkpoint aside.
    """
    head = await history.head()
    lost = max(0, signed.checkpoint.size - head.size)
    decide = log.recover(head.size, lost, new_origin(), keep_sessions=keep_sessions)
    origin: str = await ledger.submit(Streams(logs=frozenset((STREAM,))), decide)
    store.set_aside(signed.checkpoint.origin)
    return origin
