"""A family's story: its events oldest first, with the gaps between them, and what a reuse means. Pure."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from dashboard import telling
from dashboard.rows import Row
from dashboard.sentences import elsewhere
from events import family
from events.family import EXPIRED, Family
from events.history import Event

NOTABLE_GAP = 60 * telling.SECOND
"""A shorter silence between two events is not worth a line."""
WORTH_FOLDING = 4
"""Refreshes in a row from one place."""
_GIVES_TOKEN = (family.TokenIssued, family.TokenRotated)


class Step(NamedTuple):
    """One event of the story."""

    row: Row
    gap: str
    """How long nothing happened before it, empty where that was not long."""
    omitted: int
    """Events before it that this page does not show."""


class Run(NamedTuple):
    """Refreshes one after the other from one place: what a healthy session looks like, told in one line."""

    steps: list[Step]
    generation: int
    """The last one that was issued."""

    @property
    def first(self) -> Step:
        return self.steps[0]

    @property
    def last(self) -> Step:
        return self.steps[-1]


class Reuse(NamedTuple):
    """The moment at which a used token came back, and the use before it."""

    row: Row
    generation: int
    current: int
    after: str
    """How long after it had been replaced, empty where that is not known."""
    where: str
    elsewhere: bool
    """Whether network or device were others than those of the last good use."""
    before: Event | None
    """The event that gave out the current token: the other one of the two who hold a copy."""


class Usable(NamedTuple):
    """What of the family can still be used."""

    refresh: bool
    access: bool
    access_until: int
    """Microseconds: the latest expiry of any access token of this family."""
    access_left: str


def steps(rows: Sequence[Row]) -> list[Step]:
    """The story in order."""
    told: list[Step] = []
    before: Event | None = None
    for row in rows:
        event = row.event
        silence = event.at - before.at if before else 0
        omitted = event.version - before.version - 1 if before else 0
        gap = telling.span(silence) if silence >= NOTABLE_GAP else ""
        told.append(Step(row, gap, omitted))
        before = event
    return told


def folded(told: Sequence[Step]) -> list[Step | Run]:
    """The story with its uneventful stretches folded; the last refresh of each stays, as what comes next follows it."""
    short: list[Step | Run] = []
    for _, group in groupby(told, _sameness):
        stretch = list(group)
        fact = stretch[-2].row.event.fact if len(stretch) >= WORTH_FOLDING else None
        if isinstance(fact, family.TokenRotated):
            short += [Run(stretch[:-1], fact.generation), stretch[-1]]
        else:
            short += stretch
    return short


def _sameness(step: Step) -> tuple[object, ...]:
    event = step.row.event
    if isinstance(event.fact, family.TokenRotated):
        return (event.context, step.omitted > 0)
    return (event.position,)


def reuse(rows: Iterable[Row], replaced: Event | None) -> Reuse | None:
    """The first reuse among the rows. `replaced` is the rotation that used up the presented generation."""
    given: Event | None = None
    for row in rows:
        fact = row.event.fact
        if isinstance(fact, family.TokenReuseDetected):
            after = telling.span(row.event.at - replaced.at) if replaced else ""
            differs = bool(fact.network_tag or fact.device_tag)
            return Reuse(row, fact.generation, fact.current, after, elsewhere(fact), differs, given)
        if isinstance(fact, _GIVES_TOKEN):
            given = row.event
    return None


def presented(events: Iterable[Event]) -> int | None:
    """Generation of the token of the first reuse, None where there was none."""
    facts = (event.fact for event in events)
    return next((fact.generation for fact in facts if isinstance(fact, family.TokenReuseDetected)), None)


def usable(state: Family, now: int) -> Usable:
    """What still works, by the state and the time."""
    until = state.access_until * telling.SECOND
    alive = state.living and now < min(state.idle_until, state.ends_at)
    return Usable(alive, now < until, until, telling.span(until - now) if now < until else "")


def status(state: Family) -> tuple[str, str, str]:
    """Shape, tone and words of the status chip."""
    if state.living:
        return "◆", "good", "Living"
    if state.status == EXPIRED:
        return "◌", "quiet", f"Expired · {telling.reason(state.ended_reason)}"
    tone = "quiet" if state.ended_by == "subject" or state.ended_reason == "limit" else "alarm"
    return "✝", tone, f"Revoked · {telling.reason(state.ended_reason)}"
