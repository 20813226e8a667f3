"""One process under load, pinned to its core: serves one of the applications and says what it used.

`python -m bench.worker KIND FOLDER CORE [URL [KEY]]`. Speaks lines of JSON: questions on stdin, answers on the
descriptor that it was given. Ends when stdin does. URL is the ledger's database, otherwise a file in FOLDER; with the
master key of a ledger that another worker has made, this one serves beside it.
"""

import os
import sys
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import Connection

import app
from bench import routes
from bench.head_lock import HeadLock
from bench.population import PASSWORD, Person, populate, texts
from bench.postgres_baseline import PostgresBaseline
from bench.process import answer, questions, used
from core import journal
from core.master import generate
from edge import Edge
from events import client as clients
from events import migrate, projections
from events.client import Client
from events.decision import States
from events.family import Family
from events.log import STREAM as LOG
from events.log import Log
from events.postgres_store import PostgresStore
from events.remembered import Remembered
from events.stores import store_at
from settings import Settings
from tests.ports import free_port
from tests.serving import answering

FAMILIES = 256
BASELINES = {"baseline": None, "queue": 1}
"""Connections of the baseline's pool; None is what SQLAlchemy takes by itself."""


def settings_of(folder: Path, port: int, url: str = "", key: str = "") -> Settings:
    """Settings of a service in this folder, at this port, that limits nothing."""
    return Settings.model_validate(
        {
            "data_dir": folder / "data",
            "checkpoint_dir": folder / "checkpoints",
            "admin_password": PASSWORD,
            "master_key": key or generate(os.urandom(32)),
            "rate_limits": False,
            "port": port,
            **({"database_url": url} if url else {}),
        }
    )


async def start(settings: Settings) -> app.Service:
    """A started service, on a new ledger unless there is one."""
    settings.data_dir.mkdir(parents=True)
    migrate.bring_up(store_at(settings.database_url))
    service = app.prepare(settings)
    await service.start()
    return service


def application(kind: str, service: app.Service, example: Family) -> Any:
    """The ASGI application of this kind. Raises KeyError for a kind that there is not."""
    if kind == "bare":
        return routes.bare(service.keys, service.master, example)
    tools = service.families._tools  # noqa: SLF001 - a comparison takes apart what it compares with
    if kind == "floor":
        service.families = routes.Floor(tools, example)
    if kind in BASELINES:
        states = service.store.read(_states)
        if isinstance(service.store, PostgresStore):
            service.families = PostgresBaseline(tools, service.settings.database_url, states)
        else:
            service.families = routes.Baseline(tools, service.settings.database_file, states, BASELINES[kind])
    return app.create_app(service)


def _states(connection: Connection) -> States:
    states = States()
    states.by_stream[LOG] = projections.load(connection, Log, [LOG])[0]
    web = clients.stream_of("web")
    states.by_stream[web] = projections.load(connection, Client, [web])[0]
    return states


def _example(service: app.Service, stream: bytes) -> Family:
    return service.store.read(lambda connection: projections.load(connection, Family, [stream])[0])


def _said(service: app.Service, locked: HeadLock) -> dict[str, float]:
    return {"batches": service.ledger.batches, "commands": service.ledger.commands, "locked": locked.seconds, **used()}


async def _people(service: app.Service, joins: bool) -> list[Person]:
    """Who refreshes here; whoever joins a ledger finds them there already."""
    if joins:
        return []
    return await populate(service.ledger, service.master, FAMILIES, await service.hasher.hash(PASSWORD))


async def serve(kind: str, settings: Settings, joins: bool, answers: int) -> None:
    """Start, say where and with what tokens, serve until stdin ends."""
    service = await start(settings)
    locked = HeadLock(service.writer)
    if kind == "forgetful":
        service.writer._remembered = Remembered(most=0)  # noqa: SLF001 - as if more families were in use than it holds
    people = await _people(service, joins)
    target: Edge | Any = app.create_app(service)
    if not joins:
        target = application(kind, service, _example(service, people[0].token.family))
    if isinstance(service.families, PostgresBaseline):
        await service.families.prepare()
    async with answering(target, settings.port):
        names = [one.name for one in people]
        told = {"port": settings.port, "tokens": texts(service.master, people), "names": names}
        answer(answers, {**told, "key": settings.master_key_text})
        asked = await questions()
        while await asked.readline():
            answer(answers, _said(service, locked))
    await service.stop()


def main() -> None:
    kind, folder, core, *database, answers = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})  # before there is any other thread: they inherit it
    journal.configure_logging("info", as_json=True)
    settings = settings_of(Path(folder), free_port(), *database)
    uvloop.run(serve(kind, settings, len(database) > 1, int(answers)))


if __name__ == "__main__":
    main()
