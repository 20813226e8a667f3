"""Projected state: one table for each noun, read by stream and saved whole, in the transaction of its events."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Insert, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from events import bulk, schema
from events.action import Action
from events.catalogue import NOUNS
from events.client import Client
from events.decision import State
from events.family import LIVING, Family
from events.key import Key
from events.log import Log
from events.subject import EXTERNAL, Subject
from events.webhook import Webhook

TABLES: dict[type[Any], Table] = {
    Family: schema.families,
    Subject: schema.subjects,
    Client: schema.clients,
    Key: schema.keys,
    Log: schema.log,
    Action: schema.actions,
    Webhook: schema.webhooks,
}
assert set(TABLES) == {noun.state for noun in NOUNS}  # noqa: S101 - a noun without a table could not be saved

S = TypeVar("S", Family, Subject, Client, Key, Log, Action, Webhook)
_ALL = {state: select(table) for state, table in TABLES.items()}


def load(connection: Connection, state: type[S], streams: Iterable[bytes]) -> list[S]:
    """The states of those of the streams that exist."""
    wanted = list(streams)
    found: list[S] = []
    for start in range(0, len(wanted), bulk.MOST):
        rows = bulk.find(connection, _ALL[state], TABLES[state].c.id, wanted[start : start + bulk.MOST])
        found.extend(state(*row) for row in rows)
    return found


FAMILY_AND_OWNER = select(schema.families, schema.subjects).select_from(
    schema.families.outerjoin(schema.subjects, schema.families.c.subject == schema.subjects.c.id)
)
_WIDTH = len(schema.families.c)


def family_and_owner(row: Sequence[Any]) -> tuple[Family, Subject | None]:
    """A row of FAMILY_AND_OWNER."""
    owner = row[_WIDTH:]
    return Family(*row[:_WIDTH]), None if owner[0] is None else Subject(*owner)


def load_held(connection: Connection, streams: Iterable[bytes]) -> list[tuple[Family, Subject | None]]:
    """Those of the families that exist, each with its subject: rules nearly always ask for both."""
    wanted = list(streams)
    found: list[tuple[Family, Subject | None]] = []
    for start in range(0, len(wanted), bulk.MOST):
        rows = bulk.find(connection, FAMILY_AND_OWNER, schema.families.c.id, wanted[start : start + bulk.MOST])
        found.extend(map(family_and_owner, rows))
    return found


def living_families(connection: Connection, subjects: Iterable[bytes]) -> list[Family]:
    """All living families of these subjects."""
    table = schema.families
    query = select(table).where(table.c.subject.in_(list(subjects)), table.c.status == LIVING)
    return [Family(*row) for row in connection.execute(query)]


def subjects_named(connection: Connection, names: Iterable[str]) -> list[Subject]:
    """Who holds these login names, or is called so by an application."""
    table, wanted = schema.subjects, list(names)
    called = [name for name in wanted if EXTERNAL in name]
    found = list(connection.execute(select(table).where(table.c.name.in_(wanted))))
    if called:
        found += connection.execute(select(table).where(table.c.external.in_(called)))
    return [Subject(*row) for row in found]


def save(connection: Connection, states: Iterable[State], tables: dict[type[Any], Table] = TABLES) -> None:
    """Write each state over whatever is stored of its stream. A rebuild passes its own tables."""
    for filling in saving(connection.dialect.name, states, tables):
        bulk.insert_all(connection, *filling)


def saving(dialect: str, states: Iterable[State], tables: dict[type[Any], Table] = TABLES) -> Iterator[bulk.Filling]:
    """What `save` writes, in the order of the tables, for who writes more at once."""
    rows: dict[type[Any], list[tuple[Any, ...]]] = {}
    for state in states:
        rows.setdefault(type(state), []).append(msgspec.structs.astuple(state))
    return (bulk.Filling(upsert(tables[kind], dialect), rows[kind]) for kind in tables if kind in rows)


_upserts: dict[tuple[Table, str], Insert] = {}


def upsert(table: Table, dialect: str) -> Insert:
    """INSERT … ON CONFLICT (id) DO UPDATE of all columns that can change. SQLAlchemy has no engine-neutral one."""
    statement = _upserts.get((table, dialect))
    if statement is None:
        insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        bare = insert(table)
        changed = {
            c.name: bare.excluded[c.name] for c in table.columns if not c.primary_key and c.info != schema.SETTLED
        }
        statement = bare.on_conflict_do_update(index_elements=[table.c.id], set_=changed)
        _upserts[table, dialect] = statement
    return statement
