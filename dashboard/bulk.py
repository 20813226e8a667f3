"""Killing many families: a selection is frozen, looked over, confirmed, and then carried out. Decides through core."""

from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from litestar import Request, Response, get, post
from litestar.params import FromPath

from core.action import MAX_SELECTION, Confirmed, Outcome, Selection
from core.problem import Problem
from core.reason import STAFF_REASONS
from dashboard import answers, asked, danger, forms, network, telling, way
from dashboard.door import RESPONDER, Door, Given, GivenStaff, Staff
from dashboard.family_list import living
from dashboard.forms import Revocation
from dashboard.gate import visit_of, wants
from dashboard.kills import actor_of, after, too_many
from dashboard.missing import nothing
from dashboard.source import source_of
from events import action, family, ids, subject
from events.action import PLANNED, Action
from events.budget import TooSlow
from events.family_search import Row
from events.fields import FAMILIES
from events.filters import Mistake, parse

LISTED: Final = 100
EMPTY: Final = Problem(422, "nothing_selected", "Nothing living is selected. Tick families, or take all that match.")
TOO_MANY: Final = Problem(
    422,
    "too_many_selected",
    f"More than {MAX_SELECTION:,} families match; one action takes no more. Narrow the filter.",
)
SLOW: Final = Problem(503, "too_slow", "This could not be found in time. Narrow the filter.", {"Retry-After": "2"})
CONFLICT: Final = Problem(409, "confirmed_before", "This selection cannot be confirmed (any more).")


class Plan(NamedTuple):
    """A frozen selection, and what it is made of."""

    state: Action
    public_id: str
    targets: tuple[bytes, ...]
    rows: list[Row]
    """The first of them."""
    users: list[tuple[str, int]]
    clients: list[tuple[str, int]]
    staff: int
    """Families of staff among them."""
    ended: int
    """Of them, how many have ended since."""
    new: int
    """Families that match and began since."""
    access_until: int


@post("/kills/new", opt=wants(RESPONDER), status_code=303)
async def freeze(request: Request[Any, Any, Any], door: Given, staff: GivenStaff) -> Response[Any]:
    """Write down which families: those ticked, or all living ones that match now. To the page that shows them."""
    fields = await request.form()
    size = (await door.history.head()).size
    chosen = await _chosen(door, fields)
    if isinstance(chosen, Problem):
        return answers.refused(request, door, chosen)
    query, found = chosen or ("", asked.families(asked.texts(fields, "family")))
    if not found:
        return _nothing(request, door, fields)
    if len(found) > MAX_SELECTION:
        return answers.refused(request, door, TOO_MANY)
    stream = door.actions.new_id()
    await door.actions.plan(Selection(stream, actor_of(staff), query, size, found), visit_of(request).origin)
    return answers.see_other(f"/dashboard/kills/{ids.to_text(action.PREFIX, stream)}")


@get("/kills/{action_id:str}", opt=wants(RESPONDER))
async def look(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, action_id: FromPath[str]
) -> Response[Any]:
    """The frozen selection; once confirmed, its receipt."""
    plan = await _plan(door, action_id)
    if plan.state.status != PLANNED:
        return answers.see_other(f"/dashboard/actions/{action_id}")
    if answers.wants_json(request):
        return answers.json(_as_json(plan))
    return answers.html(_page(door, staff, plan, forms.EMPTY))


@post("/kills/{action_id:str}", opt=wants(RESPONDER), status_code=303)
async def confirm(
    request: Request[Any, Any, Any], door: Given, staff: GivenStaff, action_id: FromPath[str]
) -> Response[Any]:
    """Start it: from here on it is carried out, whatever happens to this process. Twice is once."""
    plan, fields = await _plan(door, action_id), await request.form()
    given, include = asked.reasons(fields), asked.text(fields, "include_new") == "1"
    count = len(plan.targets) + (plan.new if include else 0)
    hurdles = danger.hurdles(staff, count, door.now())
    if hurdles.role:
        return answers.refused(request, door, too_many(count))
    if hurdles.password:
        return answers.see_other(way.to_prove(f"/dashboard/kills/{action_id}"))
    if hurdles.large and not danger.typed_right(asked.text(fields, "number"), len(plan.targets)):
        given = given._replace(flaws={**given.flaws, "number": f"Type the number of families: {len(plan.targets):,}."})
    if given.flaws:
        return answers.html(_page(door, staff, plan, given), 422)
    state = plan.state
    confirmed = Confirmed(state.id, actor_of(staff), given.reason, given.ticket, given.note, state.position)
    outcome = await door.actions.confirm(confirmed, visit_of(request).origin, include_new=include)
    if outcome not in {Outcome.DONE, Outcome.REPEATED}:
        return answers.refused(request, door, CONFLICT)
    if len(plan.targets) <= danger.FEW:
        await door.actions.carry_out(state.id)
    else:
        door.actions.carry_out_behind(state.id)
    return await after(request, door, staff, state.id)


def _nothing(request: Request[Any, Any, Any], door: Door, fields: asked.Fields) -> Response[Any]:
    """Back to the list as it was, which says so; programs are told here."""
    if answers.for_programs(request):
        return answers.refused(request, door, EMPTY)
    none = "all" if asked.text(fields, "all") else "ticked"
    where = network.read(asked.text(fields, "network"))
    if where is not None:
        window = network.window_of(asked.text(fields, "within"))
        return answers.see_other(f"/dashboard/network/{network.told(where)}?within={window}&none={none}")
    shown = {name: asked.text(fields, name) for name in ("q", "before")}
    kept = urlencode({name: value for name, value in shown.items() if value} | {"none": none})
    return answers.see_other(f"/dashboard/families?{kept}")


async def _chosen(door: Door, fields: asked.Fields) -> tuple[str, tuple[bytes, ...]] | Problem | None:
    """What `all` asks for: the query as it is frozen, and the families. None where single ones were ticked."""
    every = asked.text(fields, "all")
    if every == "network":
        return await _from_network(door, asked.text(fields, "network"), asked.text(fields, "within"))
    if every != "matching":
        return None
    query = parse(asked.text(fields, "q"), FAMILIES)
    if isinstance(query, Mistake):
        return Problem(422, "bad_filter", query.told())
    of_them = living(query)
    found = await door.family_search.living(of_them, door.now(), MAX_SELECTION + 1)
    if isinstance(found, TooSlow):
        return SLOW
    return of_them.text(), tuple(found)


async def _from_network(door: Door, text: str, within: str) -> tuple[str, tuple[bytes, ...]] | Problem:
    """No family is found by such a query later: who comes from there next is none of those that were shown."""
    where, window = network.read(text), network.window_of(within)
    if where is None:
        return Problem(422, "bad_network", "This is no address or network.")
    found = await door.pivots.living_from(where, *network.times(window, door.now()), MAX_SELECTION + 1)
    return SLOW if isinstance(found, TooSlow) else (network.query(where, window), tuple(found))


async def _plan(door: Door, action_id: str) -> Plan:
    stream = ids.from_text(action.PREFIX, action_id)
    state = await door.actions.reader.get(stream) if stream else None
    if state is None or state.kind != "revoke_selection":
        raise nothing("selection", action.PREFIX, action_id)
    targets = await door.actions.reader.targets(state.id)
    rows = [row for row, _ in await door.family_search.named(targets[:LISTED])]
    made_of = await door.family_search.made_of(targets)
    names = await door.subject_reader.names(frozenset(one for one, _ in made_of.users))
    users = [(names.get(one) or telling.short(ids.to_text(subject.PREFIX, one)), n) for one, n in made_of.users]
    new = set(await door.actions.new_matches(state)) - set(targets) if state.status == PLANNED else set()
    return Plan(
        state,
        action_id,
        targets,
        rows,
        _ranked(users, made_of.other_users, made_of.families),
        _ranked(made_of.clients, made_of.other_clients, made_of.families),
        made_of.staff,
        made_of.ended,
        len(new),
        made_of.access_until * telling.SECOND,
    )


def _ranked(first: list[tuple[str, int]], others: int, families: int) -> list[tuple[str, int]]:
    """Whose families are most, and the others in one line."""
    rest = families - sum(count for _, count in first)
    return [*first, (f"{others:,} more", rest)] if others else first


def _page(door: Door, staff: Staff, plan: Plan, given: Revocation) -> bytes:
    now = door.now()
    return door.pages.render(
        "bulk.html",
        staff=staff,
        plan=plan,
        state=plan.state,
        source=source_of(plan.state.query),
        asked=given,
        reasons=STAFF_REASONS,
        hurdles=danger.hurdles(staff, len(plan.targets), now),
        own=staff.family.id in plan.targets,
        fam=lambda one: ids.to_text(family.PREFIX, one.id),
        now=now,
    )


def _as_json(plan: Plan) -> dict[str, Any]:
    return {
        "action": plan.public_id,
        "query": plan.state.query or None,
        "position": plan.state.position,
        "planned": plan.state.planned,
        "digest": plan.state.digest,
        "ended_since": plan.ended,
        "began_since": plan.new,
        "families": [ids.to_text(family.PREFIX, one) for one in plan.targets],
    }
