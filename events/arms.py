"""Which index a search goes along. Each arm is one stretch of one index in the log's order; a search merges its arms.

An engine's planner would sort all that `type IN (…)` finds; arms stop after as many rows as are wanted. Runs nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Table,
    and_,
    exists,
    false,
    func,
    literal_column,
    select,
    union,
)

from events import private, schema
from events.conditions import People, any_of, compared, excluded, json_text, of_kind, unindexed
from events.fields import Field, types_with
from events.filters import Query, Term
from events.values import AnyOf, Glob, Is, Login, Meaning, Network, Span, without_overlap

EVENTS, PRIVATE = schema.events, schema.event_private
MOST_ARMS: Final = 48
_SAMPLE = 2_000
"""Rows counted to find out how rare a value is."""
_SORTABLE = 20_000
"""Rows that may be sorted; a wider stretch of addresses is rather looked for in the log."""


class Arm(NamedTuple):
    """One stretch of an index: a table and the condition that its index answers; none is the log itself."""

    table: Table
    along: ColumnElement[bool] | None = None
    ordered: bool = True
    """Whether the rows lie in the log's order."""


class Way(NamedTuple):
    """A term by which a search may go, as arms."""

    field: Field
    term: Term
    arms: tuple[Arm, ...]

    @property
    def ordered(self) -> bool:
        return all(arm.ordered for arm in self.arms)

    @property
    def sample(self) -> int:
        """How many rows of each arm are counted at most."""
        return _SAMPLE if self.ordered else _SORTABLE


class Window(NamedTuple):
    """Positions from `low`, up to but not `high`."""

    low: int
    high: int


class Plan(NamedTuple):
    """Where to look, and what must hold besides. Nothing is found where there is no arm or no window."""

    arms: tuple[Arm, ...]
    rest: tuple[ColumnElement[bool], ...]
    windows: tuple[Window, ...]
    span: tuple[int | None, int | None] = (None, None)
    """From when until when was asked, where the query says so."""

    @property
    def plain(self) -> bool:
        """Whether everything in the windows is wanted."""
        return bool(self.arms) and not self.rest and all(arm.along is None for arm in self.arms)


def is_bounded(query: Query) -> bool:
    """Whether a search need not go through the whole log."""
    sides = [term for term in query.terms if not term.exclude]
    return any(term.key in {"at", "position"} or is_way(query.fields.by_name[term.key], term) for term in sides)


def is_way(field: Field, term: Term) -> bool:
    """Whether an index leads to everything that the term means."""
    return field.indexed and field.column != "position" and not any(_leads_nowhere(v.meaning) for v in term.values)


def _leads_nowhere(meaning: Meaning) -> bool:
    return isinstance(meaning, Glob) or meaning == Is(schema.ORDINARY_ACTOR)


def ways(query: Query, people: People) -> list[Way]:
    """Every term that a search can go by."""
    sides = ((query.fields.by_name[term.key], term) for term in query.terms if not term.exclude)
    return [Way(field, term, tuple(_arms(field, term, people))) for field, term in sides if is_way(field, term)]


def _arms(field: Field, term: Term, people: People) -> Iterable[Arm]:
    meanings = [value.meaning for value in term.values]
    if field.private:
        places = networks_of(field, term)
        if len(places) > MOST_ARMS:
            return [Arm(PRIVATE, any_of([compared(m, PRIVATE.c.ip, people) for m in places]), ordered=False)]
        return [Arm(PRIVATE, compared(m, PRIVATE.c.ip, people), isinstance(m, Is)) for m in places]
    if field.body:
        return [Arm(EVENTS, EVENTS.c.type == code) for code in types_with(field.body)]
    return [arm for name in filter(None, (field.column, field.also)) for arm in _along_column(name, meanings, people)]


def _along_column(name: str, meanings: list[Meaning], people: People) -> list[Arm]:
    column = EVENTS.c[name]
    singles = [single for meaning in meanings for single in _singly(meaning)]
    # as the partial index says it
    also = [EVENTS.c.actor != literal_column(f"'{schema.ORDINARY_ACTOR}'")] if name == "actor" else []
    if len(singles) > MOST_ARMS:
        return [Arm(EVENTS, and_(any_of([compared(m, column, people) for m in meanings]), *also), ordered=False)]
    known = (m for m in singles if not isinstance(m, Login) or m.name in people)
    return [Arm(EVENTS, and_(compared(m, column, people), *also), not isinstance(m, Span)) for m in known]


def _singly(meaning: Meaning) -> Iterable[Meaning]:
    return (Is(code) for code in meaning.values) if isinstance(meaning, AnyOf) else (meaning,)


def networks_of(field: Field, term: Term) -> list[Is | Network]:
    """The addresses and networks that a term means; none where it is about something else."""
    meanings = (value.meaning for value in term.values)
    return without_overlap(m for m in meanings if isinstance(m, Is | Network)) if field.private else []


def addresses(network: Network) -> Select[bytes]:
    """Those addresses of a network that anything came from, one more than there may be arms.

    It skips along their index from each one to the next, however much came from it.
    """
    ip, one = PRIVATE.c.ip, literal_column("1", Integer)
    first = _next_address(network, ip >= network.first).scalar_subquery()
    found = select(first.label("ip"), one.label("number")).cte("found", recursive=True)
    following = _next_address(network, ip > found.c.ip).correlate(found).scalar_subquery()
    further = select(following, found.c.number + one).where(found.c.ip.is_not(None), found.c.number <= MOST_ARMS)
    found = found.union_all(further)
    return select(found.c.ip).where(found.c.ip.is_not(None))


def _next_address(network: Network, beyond: ColumnElement[bool]) -> Select[bytes]:
    ip = PRIVATE.c.ip
    within = beyond, ip <= network.last, of_kind(ip, len(network.last))
    return select(ip).where(*within).order_by(ip).limit(1)


def rarity(found: Sequence[Way], window: Window) -> Select[*tuple[Any, ...]]:
    """How many rows each way has in the window, counted no further than its sample for each arm."""
    nothing = literal_column("0", Integer)
    return select(*(sum((_few(arm, way.sample, window) for arm in way.arms), start=nothing) for way in found))


def _few(arm: Arm, most: int, window: Window) -> ColumnElement[int]:
    position = arm.table.c.position
    rows = select(position).where(*_along(arm), position >= window.low, position < window.high).limit(most).subquery()
    return select(func.count()).select_from(rows).scalar_subquery()


def chosen(found: Sequence[Way], counts: Sequence[int], window: Window) -> Way | None:
    """The rarest; None is the log itself, where that is shorter or the rows of a way are too many to sort."""
    usable = [(n, way) for way, n in zip(found, counts, strict=True) if way.ordered or n < way.sample]
    if not usable:
        return None
    count, way = min(usable, key=lambda one: one[0])
    return None if window.high - window.low < count else way


def conditions(query: Query, people: People, gone: Term | None = None) -> tuple[ColumnElement[bool], ...]:
    """What must hold of an event besides its position. `gone` is the term that the arms answer."""
    asked = (term for term in query.terms if term.key not in {"at", "position"})
    return tuple(
        excluded(condition) if term.exclude else condition
        for term in asked
        if term is not gone or query.fields.by_name[term.key].body
        for condition in [_condition(query.fields.by_name[term.key], term, people)]
    )


def _condition(field: Field, term: Term, people: People) -> ColumnElement[bool]:
    meanings = [value.meaning for value in term.values]
    if field.column:
        columns = [unindexed(EVENTS.c[name]) for name in (field.column, field.also) if name]
        return any_of([compared(m, column, people) for m in meanings for column in columns])
    if field.body:
        stated = json_text(EVENTS.c.body, literal_column(f"'{field.body}'"))
        has_it = unindexed(EVENTS.c.type).in_(types_with(field.body))
        return and_(has_it, any_of([compared(m, stated, people) for m in meanings]))
    context = PRIVATE.alias("context")
    of_this = (context.c.position == EVENTS.c.position, context.c.kind == private.CONTEXT)
    said = (
        unindexed(context.c.ip)
        if field.private == "ip"
        else json_text(context.c.data, literal_column(f"'{field.private}'"))
    )
    return exists().where(*of_this, any_of([compared(m, said, people) for m in meanings])).correlate(EVENTS)


def positions(plan: Plan, window: Window, limit: int, *, newest: bool = True) -> Select[int]:
    """Positions that the plan finds in the window, in order from one end, each once."""
    bounds = [Window(max(w.low, window.low), min(w.high, window.high)) for w in plan.windows]
    parts = [
        _part(arm, bound, plan.rest, limit, newest=newest)
        for arm in plan.arms
        for bound in bounds
        if bound.low < bound.high
    ]
    if not parts:
        return select(literal_column("-1", Integer).label("position")).where(false())
    merged = union(*parts).subquery("merged")
    return select(merged.c.position).order_by(_towards(merged.c.position, newest=newest)).limit(limit)


def _part(arm: Arm, window: Window, rest: tuple[ColumnElement[bool], ...], limit: int, *, newest: bool) -> Select[int]:
    # what is not in the log's order is sorted; the planner would rather go through the whole log in its order
    position = arm.table.c.position if arm.ordered else unindexed(arm.table.c.position)
    query = select(arm.table.c.position).where(*_along(arm), position >= window.low, position < window.high)
    if rest and arm.table is PRIVATE:
        # in a sub-select, so that the index on addresses stays the outer one
        query = query.where(exists().where(EVENTS.c.position == PRIVATE.c.position, *rest).correlate(PRIVATE))
    else:
        query = query.where(*rest)
    found = query.order_by(_towards(position, newest=newest)).limit(limit).subquery()
    return select(found.c.position)


def _along(arm: Arm) -> list[ColumnElement[bool]]:
    return [] if arm.along is None else [arm.along]


def _towards(column: ColumnElement[int], *, newest: bool) -> ColumnElement[int]:
    return column.desc() if newest else column.asc()
