"""How far it may reach: who else came from where a family was last used, or misused. Reads only."""

import ipaddress
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import quote

from core.address import V4_PREFIX, V6_PREFIX, parse
from core.verdict import HOLDER
from dashboard import telling
from dashboard.door import Door
from events import family
from events.budget import TooSlow
from events.history import Event
from events.pivots import Spread
from events.spans import written

DAY: Final = 24 * 3600 * telling.SECOND
MAX_AGENT: Final = 300
"""Characters of a user agent that fit into a query."""


class Reach(NamedTuple):
    """One way to others."""

    what: str
    value: str
    families: int
    """Others than this one."""
    subjects: int
    """Whose those others are."""
    capped: bool
    link: str

    @property
    def told(self) -> str:
        """`5 families of 4 users`."""
        if not self.families:
            return "nobody else"
        more = "+" if self.capped else ""
        families = "family" if self.families == 1 else "families"
        users = f"{self.subjects:,} {'user' if self.subjects == 1 else 'users'}"
        return f"{self.families:,}{more} {families} of {users}"


class Blast(NamedTuple):
    """What was found, around which moment; `slow` where it could not be found in time."""

    at: int
    misused: bool
    reaches: list[Reach]
    slow: bool = False


async def blast(door: Door, events: Iterable[Event]) -> Blast | None:
    """The surroundings of the first reuse, or of the last use. None where no address is known (any more)."""
    centre = _centre(events)
    address = parse(centre.context.ip) if centre else None
    if centre is None or address is None:
        return None
    prefix = V4_PREFIX if address.version == 4 else V6_PREFIX
    single = ipaddress.ip_network(address)
    wide = ipaddress.ip_network((address, prefix), strict=False)
    agent = centre.context.agent if len(centre.context.agent) <= MAX_AGENT else ""
    misused = isinstance(centre.fact, family.TokenReuseDetected)
    found = await door.pivots.spread((single, wide), agent, centre.at - DAY, centre.at + DAY, centre.stream)
    if isinstance(found, TooSlow):
        return Blast(centre.at, misused, [], slow=True)
    span = f"{written(centre.at - DAY)}..{written(centre.at + DAY)}"
    quoted = agent.replace("\\", "\\\\").replace('"', '\\"')
    asked = f'ua:"{quoted}" at:{span}'
    named = [
        ("Same address", str(address), f"/dashboard/network/{address}"),
        (f"Same /{prefix}", str(wide), f"/dashboard/network/{wide}"),
        (
            "Same device",
            telling.device(centre.context),
            f"/dashboard/events?q={quote(asked, safe='')}",
        ),
    ]
    return Blast(centre.at, misused, [_reach(*one, spread) for one, spread in zip(named, found, strict=False)])


def _reach(what: str, value: str, link: str, spread: Spread) -> Reach:
    return Reach(what, value, spread.families, spread.subjects, spread.capped, link)


def _centre(events: Iterable[Event]) -> Event | None:
    last: Event | None = None
    for event in events:
        if isinstance(event.fact, family.TokenReuseDetected) and event.context.ip:
            return event
        if event.context.ip and event.fact.actor == HOLDER:
            last = event
    return last
