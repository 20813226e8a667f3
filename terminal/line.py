"""An event as one line: a sentence-like row for people, or JSON for programs. No password hash, no secret. Pure."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from core.presence import describe
from events import family, ids, key, subject, webhook
from events.catalogue import NOUN_OF
from events.erasing import STAFF
from events.history import Event

_PREFIXES: Final = {
    "family": family.PREFIX,
    "subject": subject.PREFIX,
    "key": key.PREFIX,
    "webhook": webhook.PREFIX,
}
_SHOWN: Final[tuple[tuple[str, Callable[[Any], str]], ...]] = (
    ("key", lambda value: f"key {value}"),
    ("algorithm", str),
    ("roles", lambda value: f"roles {value}"),
    ("generation", lambda value: f"generation {value}"),
    ("current", lambda value: f"of {value}"),
    ("kind", lambda value: str(value).replace("_", " ")),
    ("changed", lambda value: f"{value} changed"),
    ("failures", lambda value: f"{value} in a row"),
    ("reason", lambda value: f"because of {value}"),
    ("ticket", lambda value: f"ticket {value}"),
    ("omitted", lambda value: f"{value} more like this"),
    ("until", lambda value: f"until {moment(value)}"),
    ("webhook", str),
    ("position", lambda value: f"event #{value}"),
    ("below", lambda value: f"below #{value}"),
    ("origin", str),
)
"""What of a fact's fields stands in its row, in this order."""


def moment(at: int) -> str:
    """Microseconds since the epoch as RFC 3339, UTC, whole seconds."""
    return f"{datetime.fromtimestamp(at // 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def row(event: Event, names: Mapping[str, str]) -> str:
    """`#12  2026-11-23T14:02:11Z  token.rotated  alice  fam_…  by subject  from 192.0.2.7, Chrome 147 · Windows  …`."""
    owner = getattr(event.fact, "subject", "")
    about = names.get(owner, owner) or getattr(event.fact, "client", "") or "-"
    parts = [f"#{event.position:<6}", moment(event.at), f"{event.fact.TYPE:<22}", f"{about:<12}"]
    named = _stream(event)
    if named.startswith(f"{family.PREFIX}_"):
        parts.append(named)
    parts.append(f"by {_actor(event.fact.actor, names)}")
    if event.context.ip or event.context.agent:
        device = describe(event.context.agent) if event.context.agent else "no user agent"
        parts.append(f"from {event.context.ip or 'unknown'}, {device}")
    parts += [", ".join(_details(event))]
    return "  ".join(part for part in parts if part)


def record(event: Event) -> str:
    """One JSON object: the whole body as stored, what is known beside it, and whose stream it is in."""
    beside = {name: getattr(event.account, name) for name in ("name", "device", "note")}
    told = {
        "position": event.position,
        "at": moment(event.at),
        "at_us": event.at,
        "type": event.fact.TYPE,
        "stream": _stream(event),
        "version": event.version,
        "body": json.loads(event.body),
        "context": {"ip": event.context.ip, "agent": event.context.agent},
        **{name: text for name, text in beside.items() if text},
    }
    return json.dumps(told, separators=(",", ":"))


def _stream(event: Event) -> str:
    noun = NOUN_OF[type(event.fact)].name
    prefix = _PREFIXES.get(noun)
    return ids.to_text(prefix, event.stream) if prefix else f"{noun}:{getattr(event.fact, 'client', noun)}"


def _actor(actor: str, names: Mapping[str, str]) -> str:
    """As the filter `actor:` takes it: staff by name, as long as one is known."""
    owner = actor.removeprefix(STAFF)
    return actor if owner == actor else STAFF + names.get(owner, owner)


def _details(event: Event) -> list[str]:
    found = [tell(value) for name, tell in _SHOWN if (value := _field(event, name))]
    return [*found, f"“{event.account.note}”"] if event.account.note else found


def _field(event: Event, name: str) -> Any:
    value = getattr(event.fact, name, None)
    if name == "position" and not hasattr(event.fact, "webhook"):
        return None  # how long the log was tells nothing about what happened
    if isinstance(event.fact, subject.SubjectRolesChanged) and name == "roles":
        return value or "none"
    # On a token's event `key` is the number of the master key, which tells nobody anything.
    return None if name == "key" and isinstance(value, int) else value
