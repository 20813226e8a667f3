"""One process under load, pinned to its core: serves one of the four applications and says what it used.

`python -m bench.worker KIND FOLDER CORE`. Speaks lines of JSON: questions on stdin, answers on the descriptor that
it was given. Ends when stdin does.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvloop

import app
from bench import routes
from bench.population import PASSWORD, populate, texts
from bench.process import answer, questions, used
from core import journal, serving
from core.master import generate
from edge import Edge
from events import client as clients
from events import migrate, projections, sqlite
from events.client import Client
from events.decision import States
from events.family import Family
from events.log import STREAM as LOG
from events.log import Log
from settings import Settings

FAMILIES = 256
BASELINES = {"baseline": None, "queue": 1}
"""Connections of the baseline's pool; None is what SQLAlchemy takes by itself."""


def settings_of(folder: Path, port: int) -> Settings:
    """Settings of a service in this folder, at this port, that limits nothing."""
    return Settings.model_validate(
        {
            "data_dir": folder / "data",
            "checkpoint_dir": folder / "checkpoints",
            "admin_password": PASSWORD,
            "master_key": generate(os.urandom(32)),
            "rate_limits": False,
            "port": port,
        }
    )


def free_port() -> int:
    """A port of this machine that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


async def start(folder: Path, port: int) -> app.Service:
    """A started service on a new ledger."""
    settings = settings_of(folder, port)
    settings.data_dir.mkdir(parents=True)
    database = settings.data_dir / "ledger.db"
    with sqlite.transaction(database) as connection:
        migrate.upgrade(connection)
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
        service.families = routes.Baseline(tools, str(service.database), _states(service), BASELINES[kind])
    return app.create_app(service)


def _states(service: app.Service) -> States:
    states = States()
    with sqlite.sync_read_engine(service.database).connect() as connection:
        states.by_stream[LOG] = projections.load(connection, Log, [LOG])[0]
        web = clients.stream_of("web")
        states.by_stream[web] = projections.load(connection, Client, [web])[0]
    return states


def _example(service: app.Service, stream: bytes) -> Family:
    with sqlite.sync_read_engine(service.database).connect() as connection:
        return projections.load(connection, Family, [stream])[0]


def _said(service: app.Service) -> dict[str, float]:
    return {"batches": service.ledger.batches, "commands": service.ledger.commands, **used()}


async def serve(kind: str, folder: Path, answers: int) -> None:
    """Start, say where and with what tokens, serve until stdin ends."""
    port = free_port()
    service = await start(folder, port)
    hashed = await service.hasher.hash(PASSWORD)
    people = await populate(service.ledger, service.master, FAMILIES, hashed)
    target: Edge | Any = application(kind, service, _example(service, people[0].token.family))
    stop, opened = asyncio.Event(), asyncio.Event()
    serving_it = asyncio.create_task(serving.serve(target, "127.0.0.1", port, stop, opened.set))
    await opened.wait()
    names = [one.name for one in people]
    answer(answers, {"port": port, "tokens": texts(service.master, people), "names": names})
    asked = await questions()
    while await asked.readline():
        answer(answers, _said(service))
    stop.set()
    await serving_it
    await service.stop()


def main() -> None:
    kind, folder, core, answers = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})  # before there is any other thread: they inherit it
    journal.configure_logging("info", as_json=True)
    uvloop.run(serve(kind, Path(folder), int(answers)))


if __name__ == "__main__":
    main()
