"""Who else came from here: an address or a network, the families seen from it, how often it went well. Reads only."""

import ipaddress
import re
from typing import Any, Final

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from dashboard import answers, story, telling
from dashboard.door import RESPONDER, VIEWER, Door, Given, GivenStaff, Staff
from dashboard.gate import wants
from events import family, ids, subject
from events.budget import TooSlow
from events.pivots import LISTED as LOOKED_AT
from events.pivots import Network, Traffic

LISTED: Final = 50
DAY: Final = 24 * 3600 * telling.SECOND
WINDOWS: Final = {"24h": ("24 hours", DAY), "7d": ("7 days", 7 * DAY), "30d": ("30 days", 30 * DAY)}
NONE: Final = {
    "ticked": "Nothing was ticked. Tick the families that are to end, or take all that live.",
    "all": "Nothing that came from here lives.",
}
"""Why there is nothing to revoke."""
USUAL: Final = "7d"
STEPS: Final = {4: (32, 24, 16), 6: (128, 64, 56, 48)}
"""Prefix lengths to widen and narrow to."""
_QUERY: Final = re.compile(rf"ip:([0-9a-f:./]+) at:({'|'.join(WINDOWS)})")


@get("/network/{address:str}", opt=wants(VIEWER))
async def address(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, address: FromPath[str]
) -> Response[Any]:
    """What came from one address."""
    return await _answer(request, door, staff, address)


@get("/network/{address:str}/{prefix:int}", opt=wants(VIEWER))
async def network(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, address: FromPath[str], prefix: FromPath[int]
) -> Response[Any]:
    """What came from a network."""
    return await _answer(request, door, staff, f"{address}/{prefix}")


async def _answer(request: Request[Any, Any, Any], door: Door, staff: Staff, text: str) -> Response[Any]:
    asked, window, now = read(text), window_of(request.query_params.get("within", "")), door.now()
    if asked is None:
        raise NotFoundException
    found = await door.pivots.traffic(asked, *times(window, now), LISTED)
    if answers.wants_json(request):
        if isinstance(found, TooSlow):
            return answers.refused(request, door, answers.TOO_SLOW)
        return answers.json(_as_json(asked, window, found))
    living = 0 if isinstance(found, TooSlow) else sum(one.family.living for one in found.visitors)
    page = door.pages.render(
        "network.html",
        staff=staff,
        network=told(asked),
        in_log=query(asked, window),
        around=_around(asked),
        window=window,
        windows=WINDOWS,
        found=None if isinstance(found, TooSlow) else found,
        living=living,
        looked_at=LOOKED_AT,
        may_kill=staff.may(RESPONDER),
        unselected=NONE.get(request.query_params.get("none", ""), ""),
        status=story.status,
        fam=lambda one: ids.to_text(family.PREFIX, one.id),
        sub=lambda one: ids.to_text(subject.PREFIX, one.subject),
        now=now,
    )
    return answers.html(page, 503 if isinstance(found, TooSlow) else 200)


def read(text: str) -> Network | None:
    """An address or a network as somebody writes it."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def window_of(typed: str) -> str:
    """How far back is asked for."""
    return typed if typed in WINDOWS else USUAL


def times(window: str, now: int) -> tuple[int, int]:
    """From when until when: a day beyond now, should a clock be behind."""
    return now - WINDOWS[window][1], now + DAY


def query(asked: Network, window: str) -> str:
    """What came from there, as the audit log finds it; with a selection it says which families were meant."""
    return f"ip:{told(asked)} at:{window}"


def of_query(text: str) -> tuple[Network, str] | None:
    """The network and the window where a selection was made by `query`."""
    parts = _QUERY.fullmatch(text)
    asked = read(parts[1]) if parts else None
    return None if parts is None or asked is None else (asked, window_of(parts[2]))


def told(asked: Network) -> str:
    """An address without its prefix length, a network with it."""
    return str(asked.network_address) if asked.num_addresses == 1 else str(asked)


def _around(asked: Network) -> list[tuple[str, str, bool]]:
    """Wider and narrower: name, address of the page, whether it is this one."""
    steps = sorted({*STEPS[asked.version], asked.prefixlen}, reverse=True)
    found = []
    for prefix in steps:
        one = ipaddress.ip_network((asked.network_address, prefix), strict=False)
        found.append((f"/{prefix}", f"/dashboard/network/{told(one)}", prefix == asked.prefixlen))
    return found


def _as_json(asked: Network, window: str, found: Traffic) -> dict[str, Any]:
    return {
        "network": told(asked),
        "within": window,
        "capped": found.capped,
        "subjects": found.subjects,
        "succeeded": found.good,
        "refused": found.bad,
        "failed_sign_ins": found.failed_sign_ins,
        "first_at": telling.iso(found.first_at) if found.first_at else None,
        "last_at": telling.iso(found.last_at) if found.last_at else None,
        "more_families": found.more,
        "families": [
            {
                "family": ids.to_text(family.PREFIX, one.family.id),
                "status": one.family.status,
                "subject": ids.to_text(subject.PREFIX, one.family.subject),
                "subject_name": one.name or None,
                "client": one.family.client,
                "first_at": telling.iso(one.first_at),
                "last_at": telling.iso(one.last_at),
                "succeeded": one.good,
                "refused": one.bad,
                "reuses": one.reuse,
            }
            for one in found.visitors
        ],
    }
