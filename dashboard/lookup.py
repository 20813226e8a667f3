"""The look-up box: whatever somebody holds, and the page of what it is. What was entered appears nowhere again."""

import ipaddress
from typing import Any, Final
from urllib.parse import quote

from litestar import Request, Response, get, post

from core.lookup import Found, Unreadable, fingerprint
from dashboard import answers, asked
from dashboard.door import VIEWER, Door, Given, GivenStaff, Staff
from dashboard.gate import visit_of, wants
from events import action, family, ids, subject

NAMES: Final = {
    "family": "Family",
    "refresh_token": "Refresh token of a family",
    "access_token": "Access token of a family",
    "client": "Application",
    "client_token": "Access token of an application itself",
    "client_secret": "Secret of an application",
    "event": "Event",
    "subject": "User",
    "action": "Action",
    "network": "Network",
    "request": "Request",
    "key": "Signing key",
}
"""Kinds of things, for people."""
NOTHING: Final = "Nothing in the ledger goes by this."
NO_NAME: Final = f"{NOTHING} A user is found by the whole login name, an application by its whole id."


@get("/lookup", opt=wants(VIEWER))
async def ask(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """The box on a page of its own; its twin says what can be looked up."""
    if answers.wants_json(request):
        return answers.json({"kinds": NAMES})
    return answers.html(_page(door, staff, [], ""))


@post("/lookup", opt=wants(VIEWER), status_code=303)
async def look_up(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """To the page of the thing, to a choice, or the word that nothing is known. That somebody looked is an event."""
    entered = asked.text(await request.form(), "thing").strip()
    if not entered:
        return answers.html(_page(door, staff, [], "Enter or paste something first."), 422)
    found = await door.lookup.find(entered)
    known = [] if isinstance(found, Unreadable) else [one for one in found if await _exists(door, one)]
    kind = found.kind if isinstance(found, Unreadable) else known[0].kind if known else "nothing"
    await door.watching.looked_up(staff.family, kind, fingerprint(entered), visit_of(request).origin)
    if answers.wants_json(request):
        return _as_json(door, found, known, entered)
    if isinstance(found, Unreadable):
        return answers.html(_page(door, staff, [], found.why), 422)
    if len(known) == 1:
        return answers.see_other(_place(door, known[0], entered))
    choices = [(NAMES.get(one.kind, one.kind), one.id, _place(door, one, entered), one.note) for one in known]
    return answers.html(_page(door, staff, choices, "" if known else _nothing(found)), 200 if known else 404)


def _nothing(found: list[Found]) -> str:
    """What has the form of something was looked up as that; all else as a name."""
    return NOTHING if found else NO_NAME


def _as_json(door: Door, found: list[Found] | Unreadable, known: list[Found], entered: str) -> Response[Any]:
    """What the page says, for programs: nothing of what was entered."""
    told = [{"kind": one.kind, "id": one.id, "place": _place(door, one, entered), "note": one.note} for one in known]
    why = found.why if isinstance(found, Unreadable) else "" if known else _nothing(found)
    answer = answers.json({"found": told, "why": why})
    answer.status_code = 422 if isinstance(found, Unreadable) else 200 if known else 404
    return answer


def way_to(kind: str, name: str) -> str:
    """The page of a thing."""
    match kind:
        case "event":
            return f"/dashboard/events/{name}"
        case "subject":
            return f"/dashboard/subjects/{name}"
        case "action":
            return f"/dashboard/actions/{name}"
        case "network":
            return f"/dashboard/network/{name}"
        case "request":
            return f"/dashboard/events?q=request%3A{quote(name)}"
        case "key":
            return "/dashboard/keys"
        case "client" | "client_token" | "client_secret":
            return f"/dashboard/clients/{name}"
        case _:
            return f"/dashboard/families/{name}"


def _place(door: Door, found: Found, entered: str) -> str:
    place = way_to(found.kind, found.id)
    token = door.families.read_token(entered) if found.kind == "refresh_token" else None
    return f"{place}?held={token.generation}" if token else place


async def _exists(door: Door, found: Found) -> bool:
    match found.kind:
        case "family" | "refresh_token" | "access_token":
            stream = ids.from_text(family.PREFIX, found.id)
            return stream is not None and await door.family_reader.get(stream) is not None
        case "subject":
            return await door.subject_reader.get(ids.parse(subject.PREFIX, found.id)) is not None
        case "action":
            return await door.actions.reader.get(ids.parse(action.PREFIX, found.id)) is not None
        case "event":
            return int(found.id) < (await door.history.head()).size
        case _:
            return True


def _page(door: Door, staff: Staff, choices: list[tuple[str, str, str, str]], said: str) -> bytes:
    return door.pages.render("lookup.html", staff=staff, choices=choices, said=said)


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """An address or a network as it stands in a path."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
