"""Reading subjects: by id, by login name, and all of them by name."""

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from events import reads, schema
from events.subject import Subject


class SubjectReader:
    """Subjects as committed at the moment of asking. All methods raise Unavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def get(self, stream: bytes) -> Subject | None:
        """The subject of this id."""
        async with reads.snapshot(self._engine) as connection:
            row = (await connection.execute(select(schema.subjects).where(schema.subjects.c.id == stream))).first()
        return None if row is None else Subject(*row)

    async def named(self, name: str) -> Subject | None:
        """Who holds this login name, given in its compared form. Nobody holds one with U+0000: PostgreSQL has none."""
        if "\x00" in name:
            return None
        async with reads.snapshot(self._engine) as connection:
            row = (await connection.execute(select(schema.subjects).where(schema.subjects.c.name == name))).first()
        return None if row is None else Subject(*row)

    async def unknown(self, names: frozenset[str]) -> list[str]:
        """Of these login names, given in their compared form, those that nobody holds now."""
        if not names:
            return []
        query = select(schema.subjects.c.name).where(schema.subjects.c.name.in_(names))
        async with reads.snapshot(self._engine) as connection:
            held = set((await connection.execute(query)).scalars())
        return sorted(names - held)

    async def called(self, external: str) -> Subject | None:
        """Whom an application calls so, given as `subject.external_key` writes it."""
        table = schema.subjects
        async with reads.snapshot(self._engine) as connection:
            row = (await connection.execute(select(table).where(table.c.external == external))).first()
        return None if row is None else Subject(*row)

    async def names(self, streams: frozenset[bytes]) -> dict[bytes, str]:
        """Login names of several subjects, for pages that show them."""
        if not streams:
            return {}
        query = select(schema.subjects.c.id, schema.subjects.c.name).where(schema.subjects.c.id.in_(streams))
        async with reads.snapshot(self._engine) as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    async def with_roles(self, limit: int = 200) -> list[Subject]:
        """Staff: everybody who has a role, by name."""
        table = schema.subjects
        # written out, not bound: only so do both engines see that their index of staff holds all of these
        query = select(table).where(text("roles <> ''")).order_by(table.c.name).limit(limit)
        async with reads.snapshot(self._engine) as connection:
            return [Subject(*row) for row in await connection.execute(query)]

    async def page(self, after: str = "", limit: int = 100) -> list[Subject]:
        """Subjects by name, those behind `after`."""
        table = schema.subjects
        query = select(table).where(table.c.name > after).order_by(table.c.name).limit(limit)
        async with reads.snapshot(self._engine) as connection:
            return [Subject(*row) for row in await connection.execute(query)]
