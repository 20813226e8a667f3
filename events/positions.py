"""From times to positions: bisection inside the database, one statement for any number of times. Reads only."""

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import BigInteger, Select, bindparam, case, cast, literal_column, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from events import schema

_E = schema.events.c


async def positions_at(connection: AsyncConnection, times: Sequence[int], size: int) -> list[int]:
    """For each time the first position, below `size`, whose event is not before it; `size` where there is none."""
    if not times:
        return []
    rows = await connection.execute(
        _bisection(len(times)), {"size": size} | {f"at{n}": at for n, at in enumerate(times)}
    )
    return [position for _, position in rows]


@lru_cache(maxsize=128)
def _bisection(count: int) -> Select[int, int]:
    """Time never goes back in the log, so some twenty point reads on the primary key find a time."""
    wanted = union_all(*(_wanted(number) for number in range(count))).cte("wanted")
    nothing = cast(0, BigInteger).label("low")
    everything = bindparam("size", type_=BigInteger).label("high")
    search = select(wanted, nothing, everything).cte("bisection", recursive=True)
    middle = (search.c.low + search.c.high) // literal_column("2", BigInteger)
    before = select(_E.at).where(_E.position == middle).scalar_subquery() < search.c.at
    low, high = case((before, middle + 1), else_=search.c.low), case((before, search.c.high), else_=middle)
    search = search.union_all(select(search.c.number, search.c.at, low, high).where(search.c.low < search.c.high))
    found = select(search.c.number, search.c.low).where(search.c.low >= search.c.high)
    return found.order_by(search.c.number)


def _wanted(number: int) -> Select[int, int]:
    at = bindparam(f"at{number}", type_=BigInteger)
    return select(literal_column(str(number), BigInteger).label("number"), at.label("at"))
