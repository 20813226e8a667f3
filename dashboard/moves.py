"""Where a family's token came from something else than before: what it was, what it is, and what was said. Pure."""

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from core.address import network_of
from dashboard import telling
from dashboard.rows import Row
from events import family
from events.family import COUNTRY, DEVICE, NETWORK
from events.private import Context

OBSERVED: Final = "observed"
REFUSED: Final = "refused"
ENDED: Final = "ended"
ANSWERS: Final[dict[type, str]] = {
    family.FamilyContextChanged: OBSERVED,
    family.TokenRefused: REFUSED,
    family.FamilyRevoked: ENDED,
}
UNKNOWN: Final = "not known"
_GOOD = (family.TokenIssued, family.TokenRotated, family.FamilyContextChanged)
_GRAVE = (COUNTRY, DEVICE, NETWORK)
"""What a mark names where there is no place for all of it."""

CountryOf = Callable[[str], str]


class Side(NamedTuple):
    """One thing that changed. What is no longer kept, or never was, is `not known`."""

    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.what} {self.before} → {self.after}"


class Move(NamedTuple):
    """All that changed at one event, and how the client's policy answered: `observed`, `refused` or `ended`."""

    position: int
    answer: str
    reason: str
    """What of it the policy refused; where it was let be, the gravest."""
    sides: list[Side]

    @property
    def told(self) -> str:
        """`Network 203.0.113.0/24 → 198.51.100.0/24, country DE → FR: refused`."""
        said = ", ".join(map(str, self.sides))
        return f"{said[:1].upper()}{said[1:]}: {self.answer}"

    @property
    def mark(self) -> str:
        """`new country +1`: short enough for a picture."""
        return f"new {self.reason} +{len(self.sides) - 1}" if self.sides[1:] else f"new {self.reason}"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        changes = [side._asdict() for side in self.sides]
        return {"position": self.position, "answer": self.answer, "reason": self.reason, "changes": changes}


def moves(rows: Iterable[Row], country_of: CountryOf) -> dict[int, Move]:
    """The moves among the events of a family, oldest first, by position."""
    found: dict[int, Move] = {}
    last, version = Context(), 0
    for row in rows:
        event = row.event
        if event.version != version + 1:
            last = Context()  # what stands between is not shown, so nothing is known of where it was before
        version = event.version
        changed = getattr(event.fact, "changed", "").split()
        answer = ANSWERS.get(type(event.fact), "")
        if changed and answer:
            sides = [_side(what, last, event.context, country_of) for what in changed]
            reason = getattr(event.fact, "reason", "").removesuffix("_changed")
            gravest = next((what for what in _GRAVE if what in changed), changed[0])
            found[event.position] = Move(event.position, answer, reason or gravest, sides)
        if isinstance(event.fact, _GOOD):
            last = event.context
    return found


def _side(what: str, before: Context, after: Context, country_of: CountryOf) -> Side:
    said = [_said(what, context, country_of) or UNKNOWN for context in (before, after)]
    return Side(what, *said)


def _said(what: str, context: Context, country_of: CountryOf) -> str:
    match what:
        case family.DEVICE:
            return telling.device(context)
        case family.NETWORK:
            return network_of(context.ip)
        case _:
            return country_of(context.ip) if context.ip else ""
