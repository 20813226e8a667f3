"""Events with the names and links that pages show beside them: the table of the audit log, and its JSON twin."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from dashboard import telling
from dashboard.sentences import Told, tell
from events import family, ids, subject
from events.catalogue import FAMILY, NOUN_OF
from events.history import Event
from events.subjects import SubjectReader

STAFF = "staff:"
ACTORS = {"subject": "", "policy": "policy", "system": "system", "cli": "command line"}


class Row(NamedTuple):
    """One event, ready to be shown."""

    event: Event
    told: Told
    subject: str
    """Login name, or the id where the name is not known."""
    family: str
    """`fam_…` where the event belongs to a family."""
    client: str
    device: str
    actor: str
    """Empty where it was the subject: nearly always."""
    user: str = ""
    """The subject as a filter takes it: login name, else the whole id."""

    @property
    def day(self) -> str:
        return telling.day(self.event.at)

    @property
    def clock(self) -> str:
        return telling.clock(self.event.at)


class Names:
    """Login names of the subjects and staff in some events, read in one go."""

    def __init__(self, known: Mapping[bytes, str]) -> None:
        self._known = known

    @classmethod
    async def of(cls, events: Iterable[Event], reader: SubjectReader) -> "Names":
        """Read them. Raises Unavailable."""
        texts = {text for event in events for text in (_subject(event), _staff(event.fact.actor)) if text}
        streams = (ids.from_text(subject.PREFIX, text) for text in texts)
        return cls(await reader.names(frozenset(stream for stream in streams if stream)))

    def name(self, public_id: str) -> str:
        """The login name; the short id of somebody who has none (any more)."""
        return self.known(public_id) or (telling.short(public_id) if public_id else "")

    def known(self, public_id: str) -> str:
        """The login name, empty where there is none."""
        stream = ids.from_text(subject.PREFIX, public_id)
        return self._known.get(stream, "") if stream else ""

    def actor(self, actor: str) -> str:
        """Who did it, in words."""
        staff = _staff(actor)
        return self.name(staff) if staff else ACTORS.get(actor, actor.replace(":", " "))


async def rows_of(events: list[Event], reader: SubjectReader) -> list[Row]:
    """The events as rows, in the order given. Raises Unavailable."""
    names = await Names.of(events, reader)
    return [row_of(event, names) for event in events]


def row_of(event: Event, names: Names) -> Row:
    of_family = NOUN_OF[type(event.fact)] is FAMILY
    return Row(
        event=event,
        told=tell(event.fact),
        subject=names.name(_subject(event)),
        family=ids.to_text(family.PREFIX, event.stream) if of_family else "",
        client=getattr(event.fact, "client", ""),
        device=telling.device(event.context),
        actor=names.actor(event.fact.actor),
        user=names.known(_subject(event)) or _subject(event),
    )


def as_json(row: Row) -> dict[str, Any]:
    """One event for machines: as it was recorded, with what is still known of people beside it."""
    event = row.event
    return {
        "position": event.position,
        "at": telling.iso(event.at),
        "at_us": event.at,
        "type": event.fact.TYPE,
        "sentence": row.told.sentence,
        "actor": event.fact.actor,
        "actor_name": row.actor or row.subject,
        "subject": _subject(event) or None,
        "subject_name": row.subject or None,
        "family": row.family or None,
        "version": event.version,
        "client": row.client or None,
        "ip": event.context.ip or None,
        "user_agent": event.context.agent or None,
        "device": row.device or None,
        "note": event.account.note or None,
        "body": msgspec.Raw(event.body),
    }


def _subject(event: Event) -> str:
    return getattr(event.fact, "subject", "")


def _staff(actor: str) -> str:
    return actor.removeprefix(STAFF) if actor.startswith(STAFF) else ""
