"""Verifiers and how far they have followed the revocations: a table beside the log, which may be lost without harm."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from events import reads, schema

FORGET: Final = 3600 * 1_000_000
"""Microseconds after which a verifier that was not heard of is forgotten."""
MOST: Final = 1_000
"""Verifiers of one client; those that were not heard of for the longest time go first."""

_V = schema.verifiers.c


_FORGET_ONE = delete(schema.verifiers).where(_V.client == bindparam("of"), _V.verifier == bindparam("named"))


class Verifier(NamedTuple):
    """A process that refuses what was revoked, and how far it has followed, as it said at `at` (microseconds)."""

    client: str
    name: str
    position: int
    at: int


class VerifierReader:
    """Verifiers as committed at the moment of asking. All methods raise Unavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def heard_since(self, at: int) -> list[Verifier]:
        """Those that said where they are since then, by name."""
        query = select(schema.verifiers).where(_V.at >= at).order_by(_V.client, _V.verifier)
        async with reads.snapshot(self._engine) as connection:
            return [Verifier(*row) for row in await connection.execute(query)]


def heard(said: Iterable[Verifier]) -> Callable[[Connection], None]:
    """Keep what verifiers said, and forget who has not spoken for long; in a transaction of the writer."""
    rows = list(said)

    def work(connection: Connection) -> None:
        newest = max(one.at for one in rows)
        connection.execute(delete(schema.verifiers).where(_V.at < newest - FORGET))
        connection.execute(_FORGET_ONE, [{"of": one.client, "named": one.name} for one in rows])
        connection.execute(insert(schema.verifiers), [dict(zip(_V.keys(), one, strict=True)) for one in rows])
        for client in {one.client for one in rows}:
            kept = select(_V.verifier).where(_V.client == client).order_by(_V.at.desc(), _V.verifier).limit(MOST)
            connection.execute(delete(schema.verifiers).where(_V.client == client, _V.verifier.not_in(kept)))

    return work
