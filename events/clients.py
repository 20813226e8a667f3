"""Reading clients: all of them, which are few."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from events import reads, schema
from events.client import Client


async def read_clients(engine: AsyncEngine) -> list[Client]:
    """Every client. Raises Unavailable."""
    query = select(schema.clients).order_by(schema.clients.c.client)
    async with reads.snapshot(engine) as connection:
        return [Client(*row) for row in await connection.execute(query)]
