"""What a receipt says of somebody who was erased: whether anything is left. Reads anew with each look."""

from typing import Any, NamedTuple

from core.erasure import KIND
from dashboard.door import Door
from events import ids, subject
from events.action import Action
from events.erasures import Known


class ErasureProof(NamedTuple):
    """What is left of somebody whom an action erased, read just now."""

    erased: bool
    known: Known
    position: int | None
    """Of `subject.erased`."""


async def proof_of(door: Door, state: Action) -> ErasureProof | None:
    """None where the action is about something else. Raises Unavailable."""
    stream = ids.from_text(subject.PREFIX, state.target) if state.kind == KIND else None
    owner = await door.subject_reader.get(stream) if stream else None
    if owner is None:
        return None
    said = await door.erasures.reader.erased(owner.id)
    return ErasureProof(owner.erased, await door.erasures.known(owner), said.position if said else None)


def as_json(proof: ErasureProof) -> dict[str, Any]:
    """For programs."""
    return {
        "position": proof.position,
        "sign_in_refused": proof.erased,
        "private_rows_left": proof.known.rows,
        "events_kept": proof.known.events,
    }
