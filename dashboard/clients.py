"""Applications: their policies; register one, change it, rotate its secret, switch it off. Admins, with a password."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from core import client_assertion
from core.client import Outcome
from core.clients import BadPolicy, Made
from core.policy import DASHBOARD
from core.scope import SERVICE
from dashboard import answers, asked, client_form, telling, way
from dashboard.asked import Fields
from dashboard.client_form import NotWhole
from dashboard.danger import is_fresh
from dashboard.door import ADMIN, VIEWER, Door, Given, GivenStaff, Staff
from dashboard.gate import visit_of, wants
from events.client import CONFIDENTIAL, POLICY, PUBLIC, Client, ClientRegistered

PLACE = "/dashboard/clients"
KEEPS = {"86400": "A day", "3600": "An hour", "604800": "A week", "0": "Not at all: it has leaked"}
"""Seconds for which the secret before is good, as a form offers them."""
DONE = {
    "changed": "The policy is changed. What is issued from now on follows it.",
    "same": "Nothing changed.",
    "disabled": "The application is disabled: its sessions refuse to refresh.",
    "enabled": "The application works again.",
}


@get("/clients", opt=wants(VIEWER))
async def clients(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """All of them, by name."""
    await door.clients.refresh()
    if answers.wants_json(request):
        return answers.json({"clients": [_as_json(one) for one in door.clients.all()]})
    return answers.html(_list(door, staff, client_form.NEW, {}, new="new" in request.query_params))


@post("/clients", opt=wants(ADMIN), status_code=303)
async def register(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Register an application. The answer alone shows its secret."""
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"{PLACE}?new=1"))
    fields = await request.form()
    typed = _typed(fields) | {"client": asked.text(fields, "client").strip(), "type": asked.text(fields, "type")}
    kind = CONFIDENTIAL if typed["type"] == CONFIDENTIAL else PUBLIC
    try:
        policy = client_form.policy(typed)
        fact = ClientRegistered(actor=_actor(staff), client=typed["client"], type=kind, **policy)
        made = await door.clients.register(fact, visit_of(request).origin)
    except (BadPolicy, NotWhole) as wrong:
        return answers.html(_list(door, staff, typed, _flaws(wrong)), 422)
    if made.outcome is not Outcome.DONE:
        return answers.html(_list(door, staff, typed, {"client": "There is an application of this name already."}), 422)
    return _told(door, staff, fact.client, made)


@get("/clients/{name:str}", opt=wants(VIEWER))
async def show(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, name: FromPath[str]) -> Response[Any]:
    """One of them, with its policy."""
    state = await _named(door, name)
    if answers.wants_json(request):
        return answers.json(_as_json(state))
    notice = DONE.get(request.query_params.get("done", ""), "")
    return answers.html(_one(door, staff, state, client_form.shown(state), {}, notice))


@post("/clients/{name:str}/policy", opt=wants(ADMIN), status_code=303)
async def change(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, name: FromPath[str]) -> Response[Any]:
    """Replace the policy."""
    state = await _named(door, name)
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"{PLACE}/{name}"))
    typed = _typed(await request.form())
    try:
        outcome = await door.clients.update(name, _actor(staff), client_form.policy(typed), visit_of(request).origin)
    except (BadPolicy, NotWhole) as wrong:
        return answers.html(_one(door, staff, state, typed, _flaws(wrong)), 422)
    return answers.see_other(f"{PLACE}/{name}?done={'changed' if outcome is Outcome.DONE else 'same'}")


@post("/clients/{name:str}/secret", opt=wants(ADMIN), status_code=303)
async def rotate(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, name: FromPath[str]) -> Response[Any]:
    """Give it another secret. The answer alone shows it."""
    state = await _named(door, name)
    if not state.confidential:
        raise NotFoundException
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"{PLACE}/{name}"))
    keep = asked.text(await request.form(), "keep")
    if keep not in KEEPS:
        return answers.html(_one(door, staff, state, client_form.shown(state), {"keep": "Choose one."}), 422)
    made = await door.clients.rotate_secret(name, _actor(staff), int(keep), visit_of(request).origin)
    return _told(door, staff, name, made)


@get("/clients/{name:str}/switch", opt=wants(ADMIN))
async def preview(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, name: FromPath[str]
) -> Response[Any]:
    """What disabling or enabling it would do."""
    state = await _named(door, name)
    if answers.wants_json(request):
        return answers.json(_as_json(state) | {"to": "disabled" if state.enabled else "enabled"})
    fresh = is_fresh(staff, door.now())
    return answers.html(door.pages.render("client_switch.html", staff=staff, state=state, fresh=fresh))


@post("/clients/{name:str}/switch", opt=wants(ADMIN), status_code=303)
async def switch(request: Request[Any, Any, Any], door: Given, staff: GivenStaff, name: FromPath[str]) -> Response[Any]:
    """Disable or enable it. The dashboard's own client stays: nobody could sign in here to undo it."""
    state = await _named(door, name)
    if state.client == DASHBOARD:
        raise NotFoundException
    if not is_fresh(staff, door.now()):
        return answers.see_other(way.to_prove(f"{PLACE}/{name}/switch"))
    enabled = asked.text(await request.form(), "to") == "enabled"
    await door.clients.set_enabled(name, _actor(staff), visit_of(request).origin, enabled=enabled)
    return answers.see_other(f"{PLACE}/{name}?done={'enabled' if enabled else 'disabled'}")


def _actor(staff: Staff) -> str:
    return f"staff:{staff.subject_id}"


def _typed(fields: Fields) -> dict[str, str]:
    return {name: asked.text(fields, name) for name in client_form.FIELDS}


def _flaws(wrong: BadPolicy | NotWhole) -> dict[str, str]:
    return {wrong.field: str(wrong)} if isinstance(wrong, NotWhole) else {wrong.flaw.field: wrong.flaw.text}


async def _named(door: Door, name: str) -> Client:
    await door.clients.refresh()
    state = door.clients.get(name)
    if state is None:
        raise NotFoundException
    return state


def _list(door: Door, staff: Staff, typed: Mapping[str, str], flaws: Mapping[str, str], *, new: bool = True) -> bytes:
    asking = new and staff.may(ADMIN) and is_fresh(staff, door.now())
    return _page(door, staff, "clients.html", found=door.clients.all(), typed=typed, flaws=flaws, asking=asking)


def _one(
    door: Door, staff: Staff, state: Client, typed: Mapping[str, str], flaws: Mapping[str, str], notice: str = ""
) -> bytes:
    keys = client_assertion.read(state.keys)
    return _page(
        door, staff, "client.html", state=state, typed=typed, flaws=flaws, notice=notice, keeps=KEEPS, keys=keys
    )


def _told(door: Door, staff: Staff, name: str, made: Made) -> answers.Page:
    """The one page that holds the secret; nothing keeps it (`no-store`)."""
    if not made.secret:
        return answers.see_other(f"{PLACE}/{name}")
    return answers.html(door.pages.render("client_secret.html", staff=staff, name=name, secret=made.secret))


def _page(door: Door, staff: Staff, template: str, **values: Any) -> bytes:
    fresh = is_fresh(staff, door.now())
    return door.pages.render(
        template,
        staff=staff,
        now=door.now(),
        fresh=fresh,
        form=client_form.form(values.get("state", client_form.BLANK), door.actions.defaults),
        service_scopes=SERVICE,
        countries=door.geography.tells_countries,
        **values,
    )


def _as_json(state: Client) -> dict[str, Any]:
    """Without secrets and without their hashes."""
    told = {"client": state.client, "status": state.status} | {name: getattr(state, name) for name in POLICY}
    told |= {name: told[name].split() for name in ("origins", "audiences", "scopes")}
    told |= {name: bool(told[name]) for name in ("first_party", "operator", "keys_only")}
    told["keys"] = msgspec.json.decode(state.keys) if state.keys else None
    told["registered_at"] = telling.iso(state.registered_at)
    told["secret_at"] = telling.iso(state.secret_at) if state.secret else None
    told["secret_before_until"] = telling.iso(state.before_until) if state.before_until else None
    return told
