"""What is known of a subject and would go with it, and who was erased. Reads only."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from events import catalogue, erasing, family, filters, ids, private, reads, schema, subject
from events.action import ActionPlanned, ActionStarted, ActionTargeted
from events.family import DashboardExported
from events.fields import EVENTS, FAMILIES
from events.filters import Query
from events.subject import EXTERNAL, Subject, SubjectErased
from events.values import Login

_E, _P, _F = schema.events.c, schema.event_private.c, schema.families.c
_TYPED = (ActionPlanned.CODE, ActionStarted.CODE, DashboardExported.CODE)
"""What staff type that is not in an event of the one whom it is about."""
_ID = re.compile(rf"(?:{family.PREFIX}|{subject.PREFIX})_[a-z2-7]{{26}}")
_SHORTEST = 6
"""Characters of a name or an application's id that is looked for in notes."""


class Known(NamedTuple):
    """What is kept beside the log of somebody, counted."""

    events: int
    """Its events, which stay."""
    contexts: int
    """Addresses and user agents, those of what it did as staff included."""
    accounts: int
    """Names, password hashes, device names, notes."""
    texts: tuple[int, ...]
    """Positions of other events whose typed texts are about it."""

    @property
    def rows(self) -> int:
        """All that would be deleted."""
        return self.contexts + self.accounts + len(self.texts)


class Erased(NamedTuple):
    """That somebody was erased: where it stands in the log, and by which action."""

    subject: bytes
    position: int
    at: int
    actor: str
    reason: str
    action: str


class ErasureReader:
    """As committed at the moment of asking. All methods raise Unavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def known(self, owner: Subject) -> Known:
        """What an erasure would delete now."""
        async with reads.snapshot(self._engine) as connection:
            return await connection.run_sync(_known, owner)

    async def erased(self, stream: bytes) -> Erased | None:
        """When and by whom this subject was erased, the last word of it; None where it was not."""
        query = select(_E.position, _E.at, _E.type, _E.body, _E.stream).where(
            _E.subject == stream, _E.type == SubjectErased.CODE
        )
        async with reads.snapshot(self._engine) as connection:
            row = (await connection.execute(query.order_by(_E.position.desc()).limit(1))).first()
        return None if row is None else _erased(row)

    async def all_after(self, position: int, limit: int = 1000) -> list[Erased]:
        """Everybody who was erased behind a position, in order."""
        query = (
            select(_E.position, _E.at, _E.type, _E.body, _E.stream)
            .where(_E.type == SubjectErased.CODE, _E.position > position)
            .order_by(_E.position)
            .limit(limit)
        )
        async with reads.snapshot(self._engine) as connection:
            return [_erased(row) for row in await connection.execute(query)]

    async def unerased(self, streams: list[bytes]) -> list[Subject]:
        """Those of these subjects that this copy of the ledger still knows."""
        table, found = schema.subjects, []
        async with reads.snapshot(self._engine) as connection:
            for start in range(0, len(streams), 500):
                some = table.c.id.in_(streams[start : start + 500])
                query = select(table).where(some, table.c.status != subject.ERASED)
                found += [Subject(*row) for row in await connection.execute(query)]
        return found

    async def origin(self) -> str:
        """The name that the log goes by now."""
        async with reads.snapshot(self._engine) as connection:
            return (await connection.execute(select(schema.log.c.origin))).scalar() or ""


def _erased(row: Any) -> Erased:
    fact = catalogue.decode(row.type, row.body)
    assert isinstance(fact, SubjectErased)  # noqa: S101 - by its type
    return Erased(row.stream, row.position, row.at, fact.actor, fact.reason, fact.action)


def _known(connection: Connection, owner: Subject) -> Known:
    end = 2**62
    events = select(func.count()).select_from(schema.events).where(_E.subject == owner.id)
    counts = {private.CONTEXT: 0, private.ACCOUNT: 0}
    for rows in (erasing.own_rows(owner.id, end), erasing.staff_rows(owner.id, end)):
        kinds = rows.order_by(None).subquery()
        for kind, count in connection.execute(select(kinds.c.kind, func.count()).group_by(kinds.c.kind)):
            counts[kind] += count
    texts = tuple(sorted(_texts(connection, owner)))
    total = connection.execute(events).scalar_one()
    return Known(total, counts[private.CONTEXT], counts[private.ACCOUNT], texts)


def _texts(connection: Connection, owner: Subject) -> Iterator[int]:
    """Positions of what staff typed about this subject alone, or with its name in it."""
    told = _Telling(owner, set(connection.execute(select(_F.id).where(_F.subject == owner.id)).scalars()))
    typed = (_P.position == _E.position) & (_P.kind == private.ACCOUNT)
    query = select(_E.position, _E.stream, _E.subject, _E.type, _E.body, _P.data).join_from(
        schema.events, schema.event_private, typed
    )
    for row in connection.execute(query.where(_E.type.in_(_TYPED))).all():
        if row.subject == owner.id:
            continue  # its own: goes with all of its events
        fact = catalogue.decode(row.type, row.body)
        target = getattr(fact, "target", "")
        text = private.decode_account(row.data).note
        alone = told.is_own(target) or (not target and told.owns_all(_targets(connection, row.stream)))
        if alone or told.names(text):
            yield row.position


def _targets(connection: Connection, stream: bytes) -> list[str]:
    query = select(_E.type, _E.body).where(_E.stream == stream, _E.type == ActionTargeted.CODE)
    facts = [catalogue.decode(row.type, row.body) for row in connection.execute(query)]
    return [text for fact in facts if isinstance(fact, ActionTargeted) for text in fact.families.split()]


class _Telling:
    """Whether a text or a target is about one subject."""

    def __init__(self, owner: Subject, families: set[bytes]) -> None:
        self._name = owner.name
        self._own = {
            ids.to_text(subject.PREFIX, owner.id),
            *(ids.to_text(family.PREFIX, one) for one in families),
        }
        called = owner.external.partition(EXTERNAL)[2]
        words = [re.escape(word) for word in (owner.name, _compared(called)) if _identifies(word)]
        self._named = re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)") if words else None

    def is_own(self, target: str) -> bool:
        return target in self._own

    def owns_all(self, targets: list[str]) -> bool:
        return bool(targets) and self._own.issuperset(targets)

    def names(self, text: str) -> bool:
        """Whether it holds one of the sessions, asks for the login name, or holds what can be nobody else's name."""
        if not self._own.isdisjoint(_ID.findall(text)) or self._name in _logins(text):
            return True
        return self._named is not None and bool(self._named.search(_compared(text)))


def _identifies(word: str) -> bool:
    """Not a word that a note may hold anyway: or somebody would have notes deleted by choosing a name."""
    return len(word) >= _SHORTEST and not word.isalpha()


def _logins(text: str) -> set[str]:
    """The login names that a query asks for, whichever of the two searches it was typed for."""
    parsed = (filters.parse(text, fields) for fields in (EVENTS, FAMILIES))
    terms = [term for query in parsed if isinstance(query, Query) for term in query.terms]
    return {value.meaning.name for term in terms for value in term.values if isinstance(value.meaning, Login)}


def _compared(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
