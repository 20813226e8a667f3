"""An empty ledger filled by the fast path: what every ledger begins with, sessions by the million, a signed checkpoint.

All of it is told of the last days, so that the sessions are there to be looked at and used. See core/demo_bulk.py.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from sqlalchemy import Connection

from core import demo_bulk, demo_world, start
from core.checkpointing import Checkpointing
from core.clients import Clients
from core.demo import Filled, Place, demand_empty
from core.keys import Keys
from core.passwords import Hasher
from core.policy import SECOND, Policy
from core.presence import Presence, warm_up
from core.subjects import initial_password
from events import commit, heads
from events.checkpoints import CheckpointStore
from events.clients import read_clients
from events.decision import Moment, Submission
from events.heads import Head
from events.keys import read_keys
from events.ledger import Ledger
from events.store import Store
from events.writer import untraced

SHARE = 0.5
"""Of the idle lifetime: when the first session began. All still live, and will for the other half."""
PEOPLE = 200
"""Whose devices and networks all sessions share."""


async def fill(
    place: Place, families: int, end: int, done: Callable[[int], None], hasher: Hasher | None = None
) -> Filled:
    """Write so many sessions, the last of which ends its story at `end` (microseconds); `done` is told how many are.

    If we crash inside, there are fewer: a ledger that is not empty any more, and in order. Raises StartError.
    """
    demand_empty(place.ledger, place.checkpoints)
    warm_up()
    password, hashing = initial_password(), hasher or Hasher()
    hashed = await hashing.hash(password)
    hashing.close()
    began = end - int(place.defaults.idle_ttl * SHARE) * SECOND
    engine = place.ledger.readers()
    try:
        ledger = Ledger(Told(place.ledger, began))
        keys = Keys(ledger, lambda: read_keys(engine), place.master, place.keys, lambda: began)
        await start.begin(ledger, Clients(ledger, lambda: read_clients(engine)), keys)
        plan = plan_of(families, began + SECOND, end, place.defaults, hashed)
        size = place.ledger.read(heads.size)
        size = await asyncio.to_thread(demo_bulk.write, place.ledger, place.master, plan, size, done)
        signing = Checkpointing(
            place.ledger,
            engine,
            CheckpointStore(place.checkpoints),
            place.master.checkpoint_seed(place.master.current) or b"",
        )
        await signing.run()
        signing.close()
    finally:
        await engine.dispose()
    return Filled(size, families, -(-families // demo_bulk.EACH), "person-0", password)


def plan_of(families: int, begin: int, end: int, policy: Policy, hashed: str) -> demo_bulk.Plan:
    """Sessions whose tokens nobody knows."""
    random = Random(families)  # noqa: S311 - invented people, no secret
    known = demo_world.people(random, PEOPLE, begin, end)
    presences: list[Presence] = [one.at_desk(random) for one in known] + [one.on_phone(random) for one in known]
    return demo_bulk.Plan(families, begin, end, secrets.token_bytes(32), policy, presences, hashed)


class Told:
    """Writes batches as of a moment that has passed."""

    def __init__(self, store: Store, at: int) -> None:
        self._store = store
        self._at = at

    async def write(self, batch: Sequence[Submission]) -> list[Any]:
        """Commit one batch."""
        return await asyncio.to_thread(self._store.transact, lambda connection: self._written(connection, batch))

    async def close(self) -> None:
        """Nothing is held."""

    def _written(self, connection: Connection, batch: Sequence[Submission]) -> list[Any]:
        return commit.write(connection, batch, self._moment, 0, untraced).verdicts

    def _moment(self, head: Head) -> Moment:
        now = max(self._at, head.last_at + 1)
        return Moment(now, now, now, 0)
