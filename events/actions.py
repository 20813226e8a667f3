"""Reading actions: one, the latest, the unfinished, what each aimed at and what it has done so far."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from events import catalogue, ids, reads, schema
from events.action import STARTED, Action, ActionTargeted
from events.conditions import unindexed
from events.family import PREFIX, FamilyRevoked, TokenRefused, TokenReuseDetected
from events.key import KeyRevoked
from events.subject import PREFIX as SUBJECT

_E, _A, _F = schema.events.c, schema.actions.c, schema.families.c
LOOKED_AT = 500
_PREPARED = 24 * 3600 * 1_000_000
"""Microseconds from the preview of an action, which makes its id, to its confirmation."""
_DENIED = (TokenRefused.CODE, TokenReuseDetected.CODE)


class Done(NamedTuple):
    """What the log says that an action did: families by id, and where the first and last of these events stand."""

    families: tuple[bytes, ...]
    first: int | None
    last: int | None


class Effects(NamedTuple):
    """What an action did, in numbers, and the first of the families that it ended."""

    ended: int
    first: int | None
    last: int | None
    """Positions of its revocations."""
    alive: int
    """Families that may still have an access token alive."""
    alive_until: int
    """The latest expiry of an access token of all of them, seconds; 0 where nothing ended."""
    families: tuple[bytes, ...]


class Denied(NamedTuple):
    """Uses of ended families that were refused since."""

    times: int
    last_position: int | None
    last_at: int | None


class RevokedKey(NamedTuple):
    """A signing key that was revoked, and by which action; empty where it was none."""

    key: bytes
    action: bytes
    position: int


class ActionReader:
    """Actions as committed at the moment of asking. All methods raise Unavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def get(self, stream: bytes) -> Action | None:
        """The action of this id."""
        async with reads.snapshot(self._engine) as connection:
            row = (await connection.execute(select(schema.actions).where(schema.actions.c.id == stream))).first()
        return None if row is None else Action(*row)

    async def latest(self, limit: int) -> list[Action]:
        """The newest first; ids begin with their time."""
        query = select(schema.actions).order_by(schema.actions.c.id.desc()).limit(limit)
        async with reads.snapshot(self._engine) as connection:
            return [Action(*row) for row in await connection.execute(query)]

    async def on_subjects(self, subjects: frozenset[bytes], since: int) -> list[tuple[bytes, Action]]:
        """Which of these people an action was about, or ended families of: those confirmed since, the newest first.

        Of the newest `LOOKED_AT` that were prepared within a day before; what only lets somebody in again is none.
        """
        first = ids.new_id(max(0, since - _PREPARED), bytes(ids.RANDOM_BYTES))
        lately = (_A.id >= first, _A.started_at >= since, _A.kind != "enable_subject")
        query = select(schema.actions).where(*lately).order_by(_A.id.desc()).limit(LOOKED_AT)
        async with reads.snapshot(self._engine) as connection:
            found = [Action(*row) for row in await connection.execute(query)] if subjects else []
            of_one = {one.id: ids.from_text(PREFIX, one.target) for one in found}
            owners = select(_F.id, _F.subject).where(_F.id.in_([family for family in of_one.values() if family]))
            owner = {row[0]: row[1] for row in await connection.execute(owners)}
            # a selection names its families in the log only; with each that it ended stands whose it was
            many = _E.action.in_([one.id for one in found if not one.target or one.kind == "revoke_master_key"])
            hit = select(_E.action, _E.subject).where(many, unindexed(_E.subject).in_(subjects)).distinct()
            pairs = {(row[0], row[1]) for row in await connection.execute(hit)}
        for one in found:
            pairs.add((one.id, owner.get(of_one[one.id] or b"") or ids.from_text(SUBJECT, one.target) or b""))
        newest = sorted(found, key=lambda one: -one.started_at)
        return [(whose, one) for one in newest for action, whose in pairs if action == one.id and whose in subjects]

    async def unfinished(self) -> list[Action]:
        """Those that were confirmed and not carried out to the end: what a crash stopped."""
        query = select(schema.actions).where(schema.actions.c.status == STARTED)
        async with reads.snapshot(self._engine) as connection:
            return [Action(*row) for row in await connection.execute(query)]

    async def targets(self, stream: bytes) -> tuple[bytes, ...]:
        """The families of a frozen selection, in its order."""
        query = select(_E.type, _E.body).where(_E.stream == stream, _E.type == ActionTargeted.CODE).order_by(_E.version)
        async with reads.snapshot(self._engine) as connection:
            facts = [catalogue.decode(row.type, row.body) for row in await connection.execute(query)]
        texts = (text for fact in facts if isinstance(fact, ActionTargeted) for text in fact.families.split())
        return tuple(ids.parse(PREFIX, text) for text in texts)

    async def done(self, stream: bytes) -> Done:
        """Which families the action has ended so far, counted from the log."""
        query = select(_E.stream, _E.position).where(*_revoked_by(stream)).order_by(_E.position)
        async with reads.snapshot(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        positions = [row.position for row in rows]
        return Done(tuple(row.stream for row in rows), min(positions, default=None), max(positions, default=None))

    async def effects(self, stream: bytes, now: int, limit: int) -> Effects:
        """What the action has done so far. `now` in seconds."""
        revoked = _revoked_by(stream)
        until = schema.families.c.access_until
        numbers = (
            select(
                func.count(),
                func.min(_E.position),
                func.max(_E.position),
                func.coalesce(func.sum(case((until > now, 1), else_=0)), 0),
                func.coalesce(func.max(until), 0),
            )
            .join_from(schema.events, schema.families, schema.families.c.id == _E.stream)
            .where(*revoked)
        )
        few = select(_E.stream).where(*revoked).order_by(_E.position).limit(limit)
        async with reads.snapshot(self._engine) as connection:
            ended, first, last, alive, alive_until = (await connection.execute(numbers)).one()
            families = (await connection.execute(few)).scalars().all()
        return Effects(ended, first, last, alive, alive_until, tuple(families))

    async def revoked_keys(self) -> list[RevokedKey]:
        """All of them; there are few."""
        query = select(_E.stream, _E.action, _E.position).where(_E.type == KeyRevoked.CODE).order_by(_E.position)
        async with reads.snapshot(self._engine) as connection:
            return [RevokedKey(stream, by or b"", at) for stream, by, at in await connection.execute(query)]

    async def longest_access(self) -> int:
        """Seconds that access tokens live at most where a client has a setting of its own, else 0."""
        query = select(func.coalesce(func.max(schema.clients.c.access_ttl), 0))
        async with reads.snapshot(self._engine) as connection:
            return int((await connection.execute(query)).scalar_one())

    async def denied_since(self, stream: bytes, position: int) -> Denied:
        """How often tokens of the families that an action ended were refused behind a position: who still tries."""
        ended = select(_E.stream).where(*_revoked_by(stream))
        query = select(func.count(), func.max(_E.position), func.max(_E.at)).where(
            unindexed(_E.type).in_(_DENIED), unindexed(_E.position) > position, _E.stream.in_(ended)
        )
        async with reads.snapshot(self._engine) as connection:
            count, last_position, last_at = (await connection.execute(query)).one()
        return Denied(count, last_position, last_at)


def _revoked_by(action: bytes) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Ended by the action. Its index leads there; that of types would lead to all that were ever ended."""
    return _E.action == action, unindexed(_E.type) == FamilyRevoked.CODE
