"""Deleting what is kept beside the events of an erased subject, inside a transaction of the writer. Decides nothing.

The event says it first: whatever is deleted here is accounted for by a `subject.erased` of the same or an older commit.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, delete, select, update

from events import bulk, catalogue, ids, private, projections, schema, subject
from events.action import Action
from events.decision import Erase

SLICE = 5_000
"""Contexts that are deleted in one transaction at most, so that no batch waits long behind it."""
STAFF = "staff:"
"""Stands before a subject's public id where it acts as staff."""
_E, _P = schema.events.c, schema.event_private.c


class Rest(NamedTuple):
    """How far the deletion of somebody's rows has come."""

    subject: bytes
    below: int
    """Position of `subject.erased`: nothing of later events is touched."""
    after: int = -1
    """Everything up to here is gone."""


def actor(stream: bytes) -> str:
    """As events name somebody who acts as staff."""
    return STAFF + ids.to_text(subject.PREFIX, stream)


def own_rows(stream: bytes, below: int) -> Select[Any]:
    """Position and kind of all private rows of a subject's events before a position, oldest first."""
    joined = select(_E.position, _P.kind).join_from(schema.events, schema.event_private, _P.position == _E.position)
    return joined.where(_E.subject == stream, _E.position < below).order_by(_E.position)


def staff_rows(stream: bytes, below: int) -> Select[Any]:
    """The same of the contexts of what it did as staff, to whomever."""
    joined = select(_E.position, _P.kind).join_from(schema.events, schema.event_private, _P.position == _E.position)
    ordinary = _E.actor != schema.ORDINARY_ACTOR  # leads to the index
    did = (_E.actor == actor(stream), ordinary, _E.position < below, _P.kind == private.CONTEXT)
    return joined.where(*did).order_by(_E.position)


def begin(connection: Connection, erase: Erase, below: int) -> None:
    """In the commit of the event: everything that folds take something from, and the first slice of the contexts."""
    accounts = own_rows(erase.subject, below).where(_P.kind == private.ACCOUNT)
    _delete(connection, [row[0] for row in connection.execute(accounts)], private.ACCOUNT)
    families = schema.families
    named = (families.c.subject == erase.subject, families.c.device != "")
    connection.execute(update(families).where(*named).values(device=""))
    _delete(connection, erase.texts, private.ACCOUNT)
    _fold_actions(connection, erase.texts)
    go_on(Rest(erase.subject, below))(connection)


def go_on(rest: Rest) -> Callable[[Connection], Rest | None]:
    """Delete the next slice of contexts; answers what is left. If we crash, it begins again, and passes over gaps."""

    def work(connection: Connection) -> Rest | None:
        reached: list[int] = []
        for rows in (own_rows(rest.subject, rest.below), staff_rows(rest.subject, rest.below)):
            contexts = rows.where(_P.kind == private.CONTEXT, _E.position > rest.after).limit(SLICE)
            positions = [row[0] for row in connection.execute(contexts)]
            _delete(connection, positions, private.CONTEXT)
            reached += positions[-1:] if len(positions) == SLICE else []
        return rest._replace(after=min(reached)) if reached else None

    return work


def _delete(connection: Connection, positions: Sequence[int], kind: int) -> None:
    for start in range(0, len(positions), bulk.MOST):
        some = positions[start : start + bulk.MOST]
        connection.execute(delete(schema.event_private).where(_P.kind == kind, _P.position.in_(some)))


def _fold_actions(connection: Connection, positions: Sequence[int]) -> None:
    """Fold the actions anew that somebody typed these texts in."""
    streams: set[bytes] = set()
    for start in range(0, len(positions), bulk.MOST):
        some = positions[start : start + bulk.MOST]
        streams |= set(connection.execute(select(_E.stream).where(_E.position.in_(some))).scalars())
    of_actions = projections.load(connection, Action, streams)
    projections.save(connection, [_folded(connection, one.id) for one in of_actions])


def _folded(connection: Connection, stream: bytes) -> Action:
    typed = (_P.position == _E.position) & (_P.kind == private.ACCOUNT)
    rows = select(_E.type, _E.at, _E.body, _P.data).outerjoin_from(schema.events, schema.event_private, typed)
    state = None
    for code, at, body, data in connection.execute(rows.where(_E.stream == stream).order_by(_E.version)):
        account = private.decode_account(data)
        state = catalogue.apply(state, stream, at, catalogue.decode(code, body), account)
    assert isinstance(state, Action)  # noqa: S101 - it was just read as one
    return state
