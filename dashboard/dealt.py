"""What needs attention, and what staff did about it since: that asks for none any more. Reads only."""

from typing import NamedTuple

from dashboard import rows
from dashboard.actions import STATES
from dashboard.door import Door
from events import action, ids, subject
from events.action import Action
from events.history import Event


class Deed(NamedTuple):
    """The newest action on whom an alert is about."""

    public_id: str
    shape: str
    told: str
    """Its ticket, else its state."""


class Alert(NamedTuple):
    """One event that somebody should look at."""

    row: rows.Row
    deed: Deed | None


async def alerts_of(door: Door, events: list[Event]) -> list[Alert]:
    """What nobody has dealt with first, each the newest first. Raises Unavailable."""
    whose = {event.position: ids.from_text(subject.PREFIX, getattr(event.fact, "subject", "")) for event in events}
    people = frozenset(one for one in whose.values() if one)
    since = min((event.at for event in events), default=0)
    done = await door.actions.reader.on_subjects(people, since)
    told = [
        Alert(row, _deed(done, whose[row.event.position], row.event.at))
        for row in await rows.rows_of(events, door.subject_reader)
    ]
    return sorted(told, key=lambda one: one.deed is not None)


def _deed(done: list[tuple[bytes, Action]], owner: bytes | None, at: int) -> Deed | None:
    found = next((one for person, one in done if person == owner and one.started_at > at), None)
    if found is None:
        return None
    shape, _, word = STATES[found.status]
    return Deed(ids.to_text(action.PREFIX, found.id), shape, found.ticket or word)
