"""Which process of a cluster does what is done once: a table beside the log. No safety hangs on it; it spares work."""

from collections.abc import Callable

from sqlalchemy import Connection, delete, insert, select

from events import schema

_L = schema.leases.c


def take(name: str, holder: str, now: int, until: int) -> Callable[[Connection], bool]:
    """Whether `holder` has the lease `name` until then (microseconds): it had it, it was free, or it ran out by now.

    In a transaction of the writer, so two never have it by one clock. Who dies loses it when it runs out.
    """

    def work(connection: Connection) -> bool:
        row = connection.execute(select(_L.holder, _L.until).where(_L.name == name)).one_or_none()
        if row is not None and row.holder != holder and row.until > now:
            return False
        connection.execute(delete(schema.leases).where(_L.name == name))
        connection.execute(insert(schema.leases).values(name=name, holder=holder, until=until))
        return True

    return work


def give_up(name: str, holder: str) -> Callable[[Connection], None]:
    """Let another take it at once."""

    def work(connection: Connection) -> None:
        connection.execute(delete(schema.leases).where(_L.name == name, _L.holder == holder))

    return work
