"""The rows of one batch: collected in memory decision by decision, then written all at once."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, TableClause, bindparam, insert, update

from events import bulk, catalogue, erasing, merkle, private, projections, schema, uses
from events.decision import Decision, Erase, Origin, State, States, Use
from events.family import Family
from events.heads import Head
from events.sealing import Seal, event_row, fresh_salts
from events.subject import Subject, SubjectErased

_UPDATE_HEAD = update(schema.head).values({name: bindparam(name) for name in ("size", "frontier", "last_at")})
_INSERT_EVENTS = insert(schema.events)
_INSERT_PRIVATE = insert(schema.event_private)
_NO_ACCOUNT = private.Account()
_POINTS: dict[TableClause, str] = {schema.events: "events inserted", schema.event_private: "private rows inserted"}
"""At which a crash would be interesting."""


class Rows:
    """Each in the order of its table's columns."""

    def __init__(self, head: Head, commands: int) -> None:
        self.before = head
        self.last_at = head.last_at
        self.events: list[tuple[Any, ...]] = []
        self.private: list[tuple[Any, ...]] = []
        self.changed: dict[bytes, State] = {}
        self.erasures: list[tuple[Erase, int]] = []
        """Whom, and before which position."""
        self.uses: list[Use] = []
        self._salts = fresh_salts(commands)

    def add(self, states: States, decision: Decision, origin: Origin, at: int) -> None:
        """Fold and encode all changes of one decision; only when every one of them went well, keep them."""
        fresh: dict[bytes, State] = {}
        events: list[tuple[Any, ...]] = []
        beside: list[tuple[Any, ...]] = []
        seal = Seal(origin, self._salts)
        first = self.before.size + len(self.events)
        for position, change in enumerate(decision.changes, first):
            stream = change.stream
            before = fresh.get(stream) or states.by_stream.get(stream)
            if isinstance(change.fact, SubjectErased) or _of_erased(before, fresh, states):
                stated, account = seal.bare(change), _NO_ACCOUNT
            else:
                stated, account = seal.stated(position, change, beside), change.account or _NO_ACCOUNT
            after = catalogue.apply(before, stream, at, change.fact, account)
            fresh[stream] = after
            events.append(event_row(position, stream, after.version, at, stated))
        if events:
            self.events += events
            self.private += beside
            self.last_at = at
            self._keep(states, fresh)
        if decision.erase is not None:
            self.erasures.append((decision.erase, first))

    def use(self, states: States, values: tuple[Use, ...]) -> None:
        """What a decision used up counts for those that follow it in this batch."""
        for one in values:
            self.uses.append(one)
            states.used[one.value] = True

    @property
    def first_leaf(self) -> bytes | None:
        """The leaf at the position that was the batch's first, None where it writes no event."""
        return self.events[0][-1] if self.events else None

    def head(self) -> Head:
        """The head after this batch."""
        if not self.events:
            return self.before
        tree = merkle.Tree(self.before.size, self.before.frontier)
        tree.extend([row[-1] for row in self.events])
        return Head(tree.size, tree.frontier(), self.last_at, self.before.transaction)

    def write(self, connection: Connection, after: Head, trace: Callable[[str], None]) -> None:
        """Write all rows, table by table, and the head last."""

        def filled(table: TableClause) -> None:
            if table in _POINTS:
                trace(_POINTS[table])

        if self.events:
            log = bulk.Filling(_INSERT_EVENTS, self.events), bulk.Filling(_INSERT_PRIVATE, self.private)
            states = projections.saving(connection.dialect.name, self.changed.values())
            bulk.write(connection, (*log, *states), _UPDATE_HEAD, after._asdict(), filled)
        for erase, below in self.erasures:
            erasing.begin(connection, erase, below)
        trace("private rows erased")
        if self.uses:
            uses.use(connection, self.uses)

    def _keep(self, states: States, fresh: dict[bytes, State]) -> None:
        for stream, state in fresh.items():
            states.by_stream[stream] = self.changed[stream] = state
            if isinstance(state, Family):
                if state.subject in states.living:
                    states.living[state.subject].add(stream)
            elif isinstance(state, Subject):
                states.named.update(dict.fromkeys(state.names, stream))


def _of_erased(before: State | None, fresh: Mapping[bytes, State], states: States) -> bool:
    """Whether an event of this stream is about somebody who was erased: then nothing is kept beside it."""
    owner = before
    if isinstance(before, Family):
        owner = fresh.get(before.subject) or states.by_stream.get(before.subject)
    return isinstance(owner, Subject) and owner.erased
