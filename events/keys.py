"""Reading signing keys: the whole ring, which is small."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from events import reads, schema
from events.key import Key


async def read_keys(engine: AsyncEngine) -> list[Key]:
    """Every key that the ledger ever had. Raises Unavailable."""
    async with reads.snapshot(engine) as connection:
        return [Key(*row) for row in await connection.execute(select(schema.keys))]
