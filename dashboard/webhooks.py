"""Webhooks: whom the service tells of events, and how they fare; set up, switch, rotate, test, replay."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from core import secevent
from core.webhook import Outcome, Plan
from core.webhooks import BadWebhook, Made
from dashboard import answers, asked, telling, way
from dashboard.asked import Fields
from dashboard.danger import is_fresh
from dashboard.door import ADMIN, RESPONDER, VIEWER, Door, Given, GivenStaff, Staff
from dashboard.gate import visit_of, wants
from events import deliveries, ids
from events.deliveries import Cursor, Delivery, Tally
from events.webhook import ALL, PREFIX, SET, STANDARD, Webhook

PLACE: Final = "/dashboard/webhooks"
SHOWN: Final = 50
"""Rows of each kind on the page of one."""
KEEPS: Final = {"86400": "A day", "3600": "An hour", "604800": "A week", "0": "Not at all: it has leaked"}
"""Seconds for which the secret before signs, too."""
DONE: Final = {
    "enabled": "Events are sent again, from where it stopped.",
    "disabled": "Nothing is sent any more. What happens meanwhile waits in the log.",
    "removed": "The webhook is removed.",
    "replayed": "It is sent again within a second or two.",
    "pinged": "A test is on its way: it stands among the deliveries in a second or two.",
    "same": "Nothing changed.",
}
REASONS: Final = {
    "gone": "its receiver answered 410: it is gone",
    "unreachable": "its receiver took nothing for five days",
    "client": "its receiver switched it off",
    "staff": "switched off here",
    "paused": "held back until it is enabled",
}
FAILURES: Final = {
    "address_barred": "The address is not on the internet, and no setting allows it",
    "name_unresolved": "Nobody knows the host's name",
    "connection_failed": "No connection",
    "tls_failed": "The certificate is not valid for the name",
    "timed_out": "No answer in time",
    "protocol_error": "The answer is no HTTP",
    "redirected": "It answered with a redirect, which is not followed",
    "secret_unreadable": "The master key that wraps its secret is missing here",
    "no_signing_key": "There is no key that others could verify",
}
FORM: Final = ("url", "query", "client", "format")


@get("/webhooks", opt=wants(VIEWER))
async def webhooks(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """All of them, the oldest first."""
    if answers.wants_json(request):
        tallies = await door.deliveries.tallies()
        return answers.json({"webhooks": [_as_json(one, tallies) for one in await door.webhooks.all()]})
    notice = DONE.get(request.query_params.get("done", ""), "")
    new = "new" in request.query_params
    return answers.html(await _list(door, staff, dict.fromkeys(FORM, ""), {}, notice, new=new))


@post("/webhooks", opt=wants(ADMIN), status_code=303)
async def register(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Set one up. The answer alone shows its secret."""
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"{PLACE}?new=1"))
    fields = await request.form()
    typed = {name: asked.text(fields, name).strip() for name in FORM}
    kind = SET if typed["format"] == SET else STANDARD
    plan = Plan(kind, url=typed["url"], query=typed["query"], signals=_signals(kind))
    try:
        _check_client(door, typed["client"])
        made = await door.webhooks.register(typed["client"], _actor(staff), plan, visit_of(request).origin)
    except BadWebhook as wrong:
        return answers.html(await _list(door, staff, typed, {wrong.flaw.field: wrong.flaw.text}), 422)
    return _told(door, staff, made)


@get("/webhooks/{name:str}", opt=wants(VIEWER))
async def show(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, name: FromPath[str]) -> Response[Any]:
    """One of them: how far it is, what failed and why, what was given up, what was delivered last."""
    state = await _named(door, name)
    tallies = await door.deliveries.tallies()
    rows = {status: await door.deliveries.of(state.id, status, SHOWN) for status in deliveries.STATUSES}
    cursor, newest = (await door.deliveries.cursors()).get(state.id), await door.history.newest()
    if answers.wants_json(request):
        return answers.json(_as_json(state, tallies) | _fares(cursor, newest, rows))
    page = door.pages.render(
        "webhook.html",
        staff=staff,
        fresh=is_fresh(staff, door.now()),
        now=door.now(),
        state=state,
        name=name,
        tally=tallies.get(state.id, Tally()),
        behind=None if cursor is None else max(0, newest - cursor.position),
        cursor=cursor,
        rows=rows,
        why=why,
        reasons=REASONS,
        keeps=KEEPS,
        notice=DONE.get(request.query_params.get("done", ""), ""),
    )
    return answers.html(page)


@post("/webhooks/{name:str}/secret", opt=wants(ADMIN), status_code=303)
async def rotate(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, name: FromPath[str]) -> Response[Any]:
    """Give it another secret. The answer alone shows it."""
    state = await _named(door, name)
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"{PLACE}/{name}"))
    keep = asked.text(await request.form(), "keep")
    if keep not in KEEPS or state.format != STANDARD:
        raise NotFoundException
    made = await door.webhooks.rotate_secret(state, _actor(staff), int(keep), visit_of(request).origin)
    return _told(door, staff, made)


@post("/webhooks/{name:str}/switch", opt=wants(ADMIN), status_code=303)
async def switch(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, name: FromPath[str]) -> Response[Any]:
    """Enable, disable or remove it."""
    state = await _named(door, name)
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"{PLACE}/{name}"))
    wanted, origin = asked.text(await request.form(), "to"), visit_of(request).origin
    if wanted == "removed":
        await door.webhooks.remove(state.id, _actor(staff), origin)
        return answers.see_other(f"{PLACE}?done=removed")
    if wanted == "enabled":
        outcome = await door.webhooks.enable(state.id, _actor(staff), origin)
    elif wanted == "disabled":
        outcome = await door.webhooks.disable(state.id, _actor(staff), "staff", origin)
    else:
        raise NotFoundException
    return answers.see_other(f"{PLACE}/{name}?done={wanted if outcome is Outcome.DONE else 'same'}")


@post("/webhooks/{name:str}/ping", opt=wants(RESPONDER), status_code=303)
async def ping(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, name: FromPath[str]) -> Response[Any]:
    """Send a test, as everything else is sent."""
    state = await _named(door, name)
    await door.webhooks.ping(state.id, _actor(staff), origin=visit_of(request).origin)
    return answers.see_other(f"{PLACE}/{name}?done=pinged")


@post("/webhooks/{name:str}/replay", opt=wants(RESPONDER), status_code=303)
async def replay(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, name: FromPath[str]) -> Response[Any]:
    """Send a dead letter again, or all of them."""
    state = await _named(door, name)
    position = _position(await request.form())
    if not await door.deliveries.has_dead(state.id, None if position == ALL else position):
        return answers.see_other(f"{PLACE}/{name}?done=same")
    await door.webhooks.replay(state.id, _actor(staff), position, visit_of(request).origin)
    return answers.see_other(f"{PLACE}/{name}?done=replayed")


def why(one: Delivery) -> str:
    """What the last try came to, for people."""
    if not one.reason:
        return f"{one.answer}" if one.answer else ("Not told of" if one.tries else "Waits for the one before it")
    if one.reason in secevent.ERRORS:
        return f"The receiver refuses it: {one.reason.replace('_', ' ')}"
    return FAILURES.get(one.reason, f"It answered {one.answer}" if one.answer else one.reason.replace("_", " "))


def _position(fields: Fields) -> int:
    text = asked.text(fields, "position")
    if text == "all":
        return ALL
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise NotFoundException
    return int(text)


def _signals(kind: str) -> str:
    return " ".join(secevent.URIS) if kind == SET else ""


def _check_client(door: Door, name: str) -> None:
    if name and door.clients.get(name) is None:
        raise BadWebhook("client", "There is no application of this name.")


def _actor(staff: Staff) -> str:
    return f"staff:{staff.subject_id}"


async def _named(door: Door, name: str) -> Webhook:
    stream = ids.from_text(PREFIX, name)
    state = await door.webhooks.get(stream) if stream else None
    if state is None:
        raise NotFoundException
    return state


async def _list(
    door: Door, staff: Staff, typed: Mapping[str, str], flaws: Mapping[str, str], notice: str = "", *, new: bool = True
) -> bytes:
    fresh = is_fresh(staff, door.now())
    return door.pages.render(
        "webhooks.html",
        staff=staff,
        fresh=fresh,
        asking=new and fresh and staff.may(ADMIN),
        found=await door.webhooks.all(),
        tallies=await door.deliveries.tallies(),
        nothing=Tally(),
        name=_name,
        typed=typed,
        flaws=flaws,
        notice=notice,
        reasons=REASONS,
    )


def _told(door: Door, staff: Staff, made: Made) -> answers.Page:
    """The one page that holds the secret; nothing keeps it (`no-store`)."""
    name = ids.to_text(PREFIX, made.webhook)
    if not made.secret:
        return answers.see_other(f"{PLACE}/{name}")
    return answers.html(door.pages.render("webhook_secret.html", staff=staff, name=name, secret=made.secret))


def _as_json(state: Webhook, tallies: Mapping[bytes, Tally]) -> dict[str, Any]:
    """Without secrets, wrapped or not."""
    tally = tallies.get(state.id, Tally())
    return {
        "webhook": _name(state),
        "client": state.client or None,
        "status": state.status,
        "reason": state.reason or None,
        "format": state.format,
        "method": state.method,
        "url": state.url or None,
        "filter": state.query,
        "signals": state.signals.split(),
        "registered_at": telling.iso(state.registered_at),
        "secret_at": telling.iso(state.secret_at) if state.secret_at else None,
        "waiting": tally.waiting,
        "dead": tally.dead,
    }


def _fares(cursor: Cursor | None, newest: int, rows: Mapping[str, list[Delivery]]) -> dict[str, Any]:
    told = {status: [_row(one) for one in found] for status, found in rows.items()}
    return {"behind": None if cursor is None else max(0, newest - cursor.position), "deliveries": told}


def _row(one: Delivery) -> dict[str, Any]:
    times = {name: telling.iso(at) if at else None for name, at in (("at", one.at), ("due", one.due))}
    told = {"position": one.position, "tries": one.tries, "reason": one.reason or None, "answer": one.answer or None}
    return told | times


def _name(state: Webhook) -> str:
    return ids.to_text(PREFIX, state.id)
