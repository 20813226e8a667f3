"""Is something wrong right now? Numbers of the last 24 hours, and the few events to look at. Reads only."""

import asyncio
from typing import Any, NamedTuple

from litestar import Request, Response, get

from dashboard import actions, answers, rows, telling
from dashboard.access import lacks_factor
from dashboard.dealt import Alert, alerts_of
from dashboard.door import VIEWER, Given, GivenStaff
from dashboard.gate import wants
from events.budget import TooSlow
from events.overview import HOURS, Overview

LATELY = 5
"""Actions of staff that are shown."""
BAR_HEIGHT = 56
"""Units of the drawing."""


class Card(NamedTuple):
    """One number with its 24 hours, and where it leads."""

    title: str
    total: str
    unit: str
    bars: list[tuple[int, int, str]]
    """Height, count and time of each hour."""
    href: str
    tone: str


@get("/", opt=wants(VIEWER))
async def overview(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """The first page."""
    found, deeds, people = await asyncio.gather(  # each on a connection of its own
        door.overview.read(door.now()), actions.told(door, LATELY), door.subject_reader.with_roles()
    )
    if isinstance(found, TooSlow) and answers.wants_json(request):
        return answers.refused(request, door, answers.TOO_SLOW)
    if isinstance(found, TooSlow):
        return answers.html(
            door.pages.render("overview.html", staff=staff, found=None, cards=[], alerts=[], deeds=[], now=0)
        )
    alerts = await alerts_of(door, found.alerts)
    lacking = [one.name for one in people if lacks_factor(one)]
    if answers.wants_json(request):
        return answers.json(
            _as_json(found, alerts, door.living())
            | {"actions": [actions.as_json(one.state) for one in deeds], "admins_without_second_factor": lacking}
        )
    page = door.pages.render(
        "overview.html",
        staff=staff,
        found=found,
        cards=cards(found),
        busy=_bars(found.all, found.hours),
        living=door.living(),
        alerts=alerts,
        deeds=deeds,
        lacking=lacking,
        now=door.now(),
    )
    return answers.html(page)


def cards(found: Overview) -> list[Card]:
    """What is counted, the most alarming first."""
    wanted = (
        ("Reuse detected", "token.reuse_detected", "alarm"),
        ("Sessions ended", "family.revoked", "warn"),
        ("Wrong passwords", "subject.login_failed", "warn"),
        ("Sign-ins", "token.issued", "good"),
    )
    return [
        Card(
            title,
            _total(found.by_type[name], capped=found.capped),
            "in 24 h",
            _bars(found.by_type[name], found.hours),
            f"/dashboard/events?q=type:{name}+at:24h",
            tone if sum(found.by_type[name]) else "quiet",
        )
        for title, name, tone in wanted
    ]


def _total(counts: list[int], *, capped: bool) -> str:
    return f"{sum(counts):,}{'+' if capped else ''}"


def _bars(counts: list[int], hours: list[int]) -> list[tuple[int, int, str]]:
    """A count that is not zero is never invisible."""
    most = max(counts, default=0) or 1
    heights = [max(3, round(BAR_HEIGHT * count / most)) if count else 0 for count in counts]
    return [(height, count, telling.stamp(at)) for height, count, at in zip(heights, counts, hours, strict=True)]


def _as_json(found: Overview, alerts: list[Alert], living: float) -> dict[str, Any]:
    return {
        "size": found.size,
        "last_at": telling.iso(found.last_at),
        "hours": [telling.iso(at) for at in found.hours],
        "events": found.all,
        "by_type": found.by_type,
        "capped": found.capped,
        "refreshes_per_minute": found.rotations / 5,
        "families_living": None if living != living else int(living),  # noqa: PLR0124 - not counted yet is NaN
        "alerts": [
            rows.as_json(one.row) | {"dealt_with_by": one.deed.public_id if one.deed else None} for one in alerts
        ],
        "retries": [
            {"client": client, "count": count, "from_another_network": moved} for client, count, moved in found.retries
        ],
        "ahead": found.ahead,
        "guessers": [
            {"ip": one.ip, "wrong_passwords": one.wrong, "users": one.users, "signed_in": one.signed_in}
            for one in found.guessers
        ],
        "window_hours": HOURS,
    }
