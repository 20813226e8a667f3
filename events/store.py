"""Where a ledger lives: what the rest asks of a database, whichever engine it is."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from events.commit import Clock
from events.writer import Trace, Writer, untraced

T = TypeVar("T")


class Scrubbed(Enum):
    """How clean the files of a database are after an attempt."""

    BUSY = auto()
    """Somebody is in the way for now: try again."""
    PARTLY = auto()
    """No statement finds a deleted row, but its bytes may stand in a page until that is used again."""
    WHOLLY = auto()


class Store(Protocol):
    """One ledger's database. Opens nothing until it is asked for something."""

    @property
    def place(self) -> str:
        """Where it is, for people: a file, or host and database. Holds no password."""

    def writer(self, clock: Clock = Clock(), trace: Trace = untraced) -> Writer:
        """Commits batches; one for each process. Must be made and used on one event loop."""

    def readers(self, connections: int = 4) -> AsyncEngine:
        """Connections that cannot write; what one of them reads in a transaction is of one moment."""

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds on one connection that cannot write, without an event loop.

        Every transaction on it sees one moment; `rollback` begins the next. Raises SQLAlchemyError and OSError.
        """

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction beside which nobody writes, and commit it, without an event loop.

        Raises SQLAlchemyError, OSError and what `work` raises; nothing of the transaction stays then.
        """

    def scrub(self, *, whole: bool = False) -> Scrubbed:
        """Take deleted rows out of the files that hold their bytes still, as far as it holds nobody up.

        `whole`: all of it, however long nobody can write meanwhile. Without an event loop. Where the bytes can be is in
        `docs/privacy.md`. Raises SQLAlchemyError and OSError.
        """

    def sizes(self) -> dict[str, int]:
        """Bytes that it takes, by the name of a file or table; empty where that cannot be told without asking."""
