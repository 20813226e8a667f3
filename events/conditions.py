"""What the values of a filter are in SQL: one condition for each, and patterns and JSON in each engine's words."""

from collections.abc import Mapping
from typing import Any, Final, assert_never

from sqlalchemy import Boolean, ColumnElement, Text, and_, false, func, not_, or_, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from events import ids
from events.values import AnyOf, Glob, Is, Login, Meaning, Network, Span, Times

_BETWEEN: Final = 10
"""Bytes: more than an address of IPv4 has, fewer than one of IPv6."""

People = Mapping[str, bytes]
"""Login names that were looked up, with whose they are."""


class unindexed(FunctionElement[Any]):  # noqa: N801 - it reads as a function of SQL
    """The column as it is, but not for the planner: which index a search goes along is chosen here."""

    inherit_cache = True


@compiles(unindexed)
def _as_it_is(element: unindexed, compiler: SQLCompiler, **kw: Any) -> str:
    return str(compiler.process(element.clauses, **kw))


@compiles(unindexed, "sqlite")
def _with_unary_plus(element: unindexed, compiler: SQLCompiler, **kw: Any) -> str:
    return f"+{compiler.process(element.clauses, **kw)}"


class json_text(FunctionElement[str]):  # noqa: N801 - it reads as a function of SQL
    """A field of JSON that is stored as bytes, as text; NULL where it is not there."""

    type = Text()
    inherit_cache = True


@compiles(json_text)
def _from_bytes(element: json_text, compiler: SQLCompiler, **kw: Any) -> str:
    column, name = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"(convert_from({column}, 'UTF8')::json ->> {name})"


@compiles(json_text, "sqlite")
def _extracted(element: json_text, compiler: SQLCompiler, **kw: Any) -> str:
    column, name = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"json_extract(CAST({column} AS TEXT), '$.' || {name})"


def compared(meaning: Meaning, column: ColumnElement[Any], people: People) -> ColumnElement[bool]:
    """The condition that a column holds what is meant. Times must have become a Span, or positions."""
    match meaning:
        case Is(value):
            return column == value
        case AnyOf(values):
            return column.in_(values)
        case Span(low, high):
            return and_(true(), *([] if low is None else [column >= low]), *([] if high is None else [column < high]))
        case Network(first, last):
            # both kinds stand in one column: a short and a long one may lie between each other as bytes
            return and_(column >= first, column <= last, of_kind(column, len(first)))
        case Glob(parts):
            return func.lower(column).like(func.lower("%".join(map(_escaped, parts))), escape="\\")
        case Login(name, prefix):
            return _owned(column, people.get(name), prefix)
        case Times():
            msg = "a time is no condition before it is known when it is asked"
            raise TypeError(msg)
        case _:
            assert_never(meaning)


def of_kind(column: ColumnElement[Any], size: int) -> ColumnElement[bool]:
    """An address of as many bytes: 4 or 16. Said as a bound, for PostgreSQL takes an equality for rare.

    It would then gather and sort all that came from a network, where going back through the log finds enough at once.
    """
    return func.length(column) < _BETWEEN if size < _BETWEEN else func.length(column) > _BETWEEN


def _owned(column: ColumnElement[Any], stream: bytes | None, prefix: str) -> ColumnElement[bool]:
    if stream is None:
        return false()
    return column == (f"{prefix}{ids.to_text('sub', stream)}" if prefix else stream)


def _escaped(part: str) -> str:
    return part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def excluded(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition does not hold; nor does it where the value is missing."""
    return not_(func.coalesce(condition, false(), type_=Boolean))


def any_of(conditions: list[ColumnElement[bool]]) -> ColumnElement[bool]:
    """One of them holds."""
    return or_(false(), *conditions)
