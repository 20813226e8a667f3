"""The log read again in order, and folded again: what verify and rebuild share. Writes nothing.

Pages are short transactions, so that a long reading never holds up the write-ahead log of a running service: events
below the head never change, and what does (private rows go, projections follow) is read in one `snapshot` at the end.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias, cast

import msgspec
from sqlalchemy import Connection, Select, Table, bindparam, literal_column, select
from sqlalchemy.exc import DBAPIError

from events import action, catalogue, family, key, private, schema, subject
from events.catalogue import NOUNS
from events.decision import State
from events.ids import to_text
from events.projections import TABLES

BEFORE_ALL = -(2**63)
PAGE = 2000
_NUMBER = {noun.state: number for number, noun in enumerate(NOUNS)}
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
_PREFIXES = {"action": action.PREFIX, "family": family.PREFIX, "subject": subject.PREFIX, "key": key.PREFIX}

Row: TypeAlias = Any
"""A row as the driver gives it. Its values are what somebody stored there, not what the schema says."""
PrivateRows: TypeAlias = dict[tuple[int, int], Row]
"""By position and kind."""


class States:
    """The state of every stream, packed: a family takes about 350 bytes here, and 1,200 as an object."""

    def __init__(self) -> None:
        self._packed: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._packed)

    def get(self, stream: bytes) -> State | None:
        packed = self._packed.get(stream)
        if packed is None:
            return None
        return _state(packed)

    def put(self, state: State) -> None:
        self._packed[state.id] = _pack((_NUMBER[type(state)], *msgspec.structs.astuple(state)))

    def drain(self) -> Iterator[State]:
        """All states in the order of their streams; each is forgotten here as it is given."""
        for stream in sorted(self._packed):
            yield _state(self._packed.pop(stream))


def _state(packed: bytes) -> State:
    number, *fields = _unpack(packed)
    state: Any = NOUNS[number].state
    return cast("State", state(*fields))


class Difference(NamedTuple):
    """A projected row that is not the fold of its stream. Names fields; never shows values, some are hashes."""

    noun: str
    stream: bytes
    what: str

    def __str__(self) -> str:
        prefix = _PREFIXES.get(self.noun)
        named = to_text(prefix, self.stream) if prefix else self.stream.hex()
        return f"{self.noun} {named}: {self.what}"


def as_stored(table: Table) -> Select[Any]:
    """All columns, without the conversions that would fail on, or hide, a value of another type."""
    columns: list[Any] = [literal_column(column.name) for column in table.c]
    return select(*columns).select_from(table)


def _rows(connection: Connection, query: Select[Any], bounds: dict[str, int]) -> Sequence[Row]:
    """All rows as the driver makes them: wrapping each costs as much as hashing it. Raises DBAPIError."""
    result = connection.execute(query, bounds)
    try:
        return result.cursor.fetchall()
    except connection.dialect.loaded_dbapi.Error as error:
        raise DBAPIError(str(query), bounds, error) from error
    finally:
        result.close()


_EVENTS = (
    as_stored(schema.events)
    .where(schema.events.c.position > bindparam("after"))
    .order_by(schema.events.c.position)
    .limit(bindparam("count"))
)
_PRIVATE = as_stored(schema.event_private).where(
    schema.event_private.c.position.between(bindparam("first"), bindparam("last"))
)
_ACCOUNTS = _PRIVATE.where(schema.event_private.c.kind == private.ACCOUNT)


def events_after(connection: Connection, after: int, count: int) -> Sequence[Row]:
    """The next events in order of position, columns in the order of the table."""
    return _rows(connection, _EVENTS, {"after": after, "count": count})


def private_rows(connection: Connection, first: int, last: int) -> PrivateRows:
    """The private rows of the events first ≤ position ≤ last."""
    rows = _rows(connection, _PRIVATE, {"first": first, "last": last})
    return {(row[0], row[1]): row for row in rows}


def accounts(connection: Connection, first: int, last: int) -> dict[int, private.Account]:
    """The accounts of the events first ≤ position ≤ last."""
    rows = _rows(connection, _ACCOUNTS, {"first": first, "last": last})
    return {row[0]: private.decode_account(row[3]) for row in rows}


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Everything read inside is of one moment. On PostgreSQL the connection must be REPEATABLE READ."""
    connection.rollback()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")
    try:
        yield
    finally:
        connection.rollback()


def fold(connection: Connection, states: States, after: int, *, to_the_end: bool) -> Iterator[int]:
    """Fold events beyond `after` into `states`; yields the last position of each page.

    Stops before a page that is not full, unless `to_the_end`: what is left then is little, whatever is being written.
    Raises ValueError, KeyError or msgspec.MsgspecError at a fact that cannot be folded: `verify` says which.
    """
    while rows := events_after(connection, after, PAGE):
        if len(rows) < PAGE and not to_the_end:
            return
        typed = accounts(connection, rows[0][0], rows[-1][0])
        for position, stream, _, code, at, *_, body, _ in rows:
            account = typed.get(position, private.Account())
            states.put(catalogue.apply(states.get(stream), stream, at, catalogue.decode(code, body), account))
        after = rows[-1][0]
        yield after


def differences(connection: Connection, states: States) -> Iterator[Difference]:
    """Every projected row that is not its fold, and every fold without a row. Read it inside a snapshot."""
    unseen = set(states)
    for noun in NOUNS:
        fields = noun.state.__struct_fields__
        stored = as_stored(TABLES[noun.state]).execution_options(yield_per=PAGE)
        for row in connection.execute(stored):
            state = states.get(row[0])
            unseen.discard(row[0])
            if type(state) is not noun.state:
                yield Difference(noun.name, row[0], "is stored, but no event began it")
            elif (folded := msgspec.structs.astuple(state)) != tuple(row):
                wrong = ", ".join(name for name, is_, be in zip(fields, row, folded, strict=True) if is_ != be)
                yield Difference(noun.name, row[0], f"what is stored of it does not follow from its events: {wrong}")
    for stream in sorted(unseen):
        name = next(noun.name for noun in NOUNS if noun.state is type(states.get(stream)))
        yield Difference(name, stream, "its events are there, but nothing is stored of it")
