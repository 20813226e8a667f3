"""The ledger without HTTP, in a process of its own: full batches, and whole histories written quickly.

`python -m bench.alone FOLDER CORE FAMILIES EACH`. Lines on stdin: `rotate N`, `measure N` (and then the size of the
file), `age N` (only the first family). Refresh commands are made as the use case makes them; nothing is signed.
"""

import asyncio
import gc
import os
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import event

from bench.client import AGENT
from bench.population import ADDRESS, populate
from bench.process import answer, questions, used
from core import family, log
from core.clients import Clients
from core.context import tags_of
from core.judgement import Refresh
from core.master import MasterKeys, generate
from core.policy import Policy
from core.presence import Presence, warm_up
from core.token import Token
from core.verdict import TagsFor, Verdict
from events import ids, migrate, sqlite
from events.clients import read_clients
from events.decision import Origin, Streams
from events.ledger import MAX_BATCH, Ledger
from events.log import STREAM as LOG
from events.private import Context
from events.sqlite_store import SqliteStore

WAITING = 2 * MAX_BATCH
"""Commands under way: while one full batch is committed, the next waits whole."""


class Alone:
    """A ledger on a new file, people in it, and rotations of their families in turn."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.database = folder / "ledger.db"
        with sqlite.transaction(self.database) as connection:
            migrate.upgrade(connection)
        self.master = MasterKeys.parse(generate(os.urandom(32)))
        self.writer = SqliteStore(self.database).writer()
        self.ledger = Ledger(self.writer)
        self.commits = 0
        self._tokens: list[Token] = []
        self._next = 0
        self._origins = (Origin(urlsafe_b64encode(n.to_bytes(12)).decode(), _CONTEXT) for n in count())

    async def begin(self, families: int, each: int) -> None:
        """What every ledger begins with, then the people; from here on commits are counted."""
        warm_up()
        await self.ledger.submit(Streams(logs=frozenset((LOG,))), log.start("bench"))
        reading = sqlite.read_engine(self.database, 1)
        await Clients(self.ledger, lambda: read_clients(reading)).ensure()
        await reading.dispose()
        self._tokens = [one.token for one in await populate(self.ledger, self.master, families, each=each)]
        gc.collect()
        gc.freeze()  # as `serve` does before it answers
        gc.set_threshold(5_000, 50, 50)
        engine = self.writer._hold._engine  # type: ignore[attr-defined] # noqa: SLF001 - counted where it happens
        event.listen(engine, "commit", self._count)

    def _count(self, _connection: object) -> None:
        self.commits += 1

    async def rotate(self, rotations: int) -> float:
        """So many rotations, each family in turn; seconds."""
        began = time.perf_counter()
        numbers = iter(range(rotations))
        await asyncio.gather(*(self._some(numbers) for _ in range(min(WAITING, rotations))))
        return time.perf_counter() - began

    async def _some(self, numbers: Iterator[int]) -> None:
        for _ in numbers:
            place = self._next
            self._next = (place + 1) % len(self._tokens)
            presented = self._tokens[place]
            self._tokens[place] = presented._replace(generation=presented.generation + 1)
            command = self._command(presented)
            origin = next(self._origins)
            answered = await self.ledger.submit(family.named(command), family.refresh(command), origin)
            if answered.verdict is not Verdict.ROTATED:
                raise RuntimeError(answered.verdict)

    async def age(self, rotations: int) -> None:
        """Rotate the first family so often, many times in each batch."""
        presented = self._tokens[0]
        every = range(presented.generation, presented.generation + rotations)
        commands = (self._command(presented._replace(generation=n)) for n in every)
        while some := list(islice(commands, MAX_BATCH)):
            await asyncio.gather(*(self.ledger.submit(family.named(one), family.refresh(one)) for one in some))
        self._tokens[0] = presented._replace(generation=presented.generation + rotations)

    def _command(self, presented: Token) -> Refresh:
        jti = urlsafe_b64encode(ids.new_id(time.time_ns() // 1000, os.urandom(ids.RANDOM_BYTES)))[:22].decode()
        return Refresh(presented, "web", "body", self._tags(), self.master.current, jti, _POLICY)

    def _tags(self) -> TagsFor:
        return tags_of(_PRESENCE, self.master.tag_key, lambda _ip: "")

    def row_bytes(self) -> int:
        """What is stored of the first family's state, in bytes."""
        with sqlite.sync_read_engine(self.database).connect() as connection:
            found = connection.exec_driver_sql("SELECT * FROM families WHERE id = ?", (self._tokens[0].family,)).one()
        return sum(len(value) if isinstance(value, bytes | str) else 8 for value in found)

    async def file_bytes(self) -> int:
        """The size of the database with everything of its write-ahead log in it."""
        await self.writer.maintain(lambda _connection: None)
        with sqlite.file_lock(sqlite.lock_path(self.database)), sqlite.write_engine(self.database).connect() as one:
            one.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return self.database.stat().st_size


_CONTEXT = Context(ADDRESS, AGENT)
_PRESENCE = Presence(ADDRESS, AGENT)
_POLICY = Policy()


async def _serve(folder: Path, families: int, each: int, answers: int) -> None:
    alone = Alone(folder)
    await alone.begin(families, each)
    answer(answers, {"bytes": await alone.file_bytes(), **used()})
    asked = await questions()
    while line := await asked.readline():
        answer(answers, await _answered(alone, line.decode().split()))
    await alone.ledger.close()


async def _answered(alone: Alone, words: list[str]) -> dict[str, Any]:
    what, rotations = words[0], int(words[1])
    batches, commits = alone.ledger.batches, alone.commits
    if what == "age":
        await alone.age(rotations)
        return {"row": alone.row_bytes()}
    seconds = await alone.rotate(rotations)
    batches, commits = alone.ledger.batches - batches, alone.commits - commits
    told = {"seconds": seconds, "batches": batches, "commits": commits, **used()}
    return {**told, "bytes": await alone.file_bytes()} if what == "measure" else told


def main() -> None:
    folder, core, families, each, answers = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    uvloop.run(_serve(Path(folder), int(families), int(each), int(answers)))


if __name__ == "__main__":
    main()
