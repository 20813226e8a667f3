"""/v1/verify and introspection against the same routes on a state that is not read; `bench.asking` runs it.

Both verify the same access token and answer the same bytes. They run in turn, each in a process of its own.
"""

import os
import sys
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

import app
from bench.client import AGENT, Connection, WrongAnswer, connect, drive
from bench.population import populate
from bench.process import Process, answer, questions, used
from bench.worker import settings_of, start
from core import access
from core.access import AccessClaims
from events import ids
from events.client import CONFIDENTIAL, ClientRegistered
from events.families import Held
from events.family import PREFIX as FAMILY
from events.subject import PREFIX as SUBJECT
from tests.ports import free_port
from tests.serving import answering


class Cost(NamedTuple):
    """What a run came to."""

    rate: float
    """Answers a second."""
    each: float
    """Seconds of the service's processor for each: what others on the machine take does not count."""


class Pair(NamedTuple):
    """The two sides, one after the other."""

    read: Cost
    known: Cost


class Asking(Connection):
    """The same question again and again."""

    def __init__(self, request: bytes, expected: bytes) -> None:
        super().__init__()
        self._request = request
        self._expected = expected

    def request(self) -> bytes:
        return self._request

    def answered(self, answer: bytes) -> None:
        """200, and what a good token gets."""
        if not answer.startswith(b"HTTP/1.1 200 ") or self._expected not in answer.lower():
            raise WrongAnswer(answer[:1000].decode("latin-1"))


def requests(told: dict[str, Any]) -> dict[str, tuple[bytes, bytes]]:
    """Of each route: the request, and what must stand in its answer."""
    form = f"token={told['token']}".encode()
    basic = b64encode(f"gateway:{told['secret']}".encode()).decode()
    shared = f"Host: 127.0.0.1\r\nUser-Agent: {AGENT}\r\n"
    asked = f"GET /v1/verify HTTP/1.1\r\n{shared}Authorization: Bearer {told['token']}\r\n\r\n".encode()
    posted = (
        f"POST /oauth/introspect HTTP/1.1\r\n{shared}Authorization: Basic {basic}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n"
    ).encode()
    return {
        "/v1/verify": (asked, b"x-session-subject"),
        "/oauth/introspect": (posted + form, b'"active":true'),
    }


async def measured(served: Process, port: int, asked: tuple[bytes, bytes], number: int, seconds: float) -> Cost:
    """One run on new connections."""
    connections = [Asking(*asked) for _ in range(number)]
    await connect(port, *connections)
    before = served.asked()["cpu"]
    load = await drive(connections, seconds)
    spent = served.asked()["cpu"] - before
    for one in connections:
        one.close()
    return Cost(load.rate, spent / len(load.latencies))


async def compared(
    folder: Path, core: int, connections: Sequence[int], rounds: int, seconds: float
) -> dict[tuple[str, int], list[Pair]]:
    """Of each route and number of connections what the two sides took, in pairs."""
    with (
        Process("gateway", "read", str(folder / "read"), str(core)) as read,
        Process("gateway", "known", str(folder / "known"), str(core)) as known,
    ):
        sides = [(one, told["port"], requests(told)) for one, told in ((read, read.heard()), (known, known.heard()))]
        found: dict[tuple[str, int], list[Pair]] = {(one, n): [] for n in connections for one in sides[0][2]}
        for number in range(rounds + 1):
            for (route, at), pairs in found.items():
                costs = [await measured(one, port, asked[route], at, seconds) for one, port, asked in sides]
                pairs.extend([Pair(*costs)] if number else [])  # the first round warms up
        return found


async def _serve(kind: str, folder: Path, answers: int) -> None:
    settings = settings_of(folder, free_port())
    service = await start(settings)
    person = (await populate(service.ledger, service.master, 1, await service.hasher.hash("x")))[0]
    registered = ClientRegistered(actor="cli", client="gateway", type=CONFIDENTIAL, scopes="introspect", operator=1)
    secret = (await service.clients.register(registered)).secret
    held = await service.family_reader.get(person.token.family)
    assert held is not None
    if kind == "known":
        vars(service.family_reader)["get"] = lambda _stream: _known(held)
    async with answering(app.create_app(service), settings.port):
        answer(answers, {"port": settings.port, "token": _token(service, held), "secret": secret})
        asked = await questions()
        while await asked.readline():
            answer(answers, used())
    await service.stop()


async def _known(held: Held) -> Held:
    return held


def _token(service: app.Service, held: Held) -> str:
    assert held.subject is not None
    now = int(service.writer.wall())
    claims = AccessClaims(
        iss=service.settings.issuer,
        sub=ids.to_text(SUBJECT, held.subject.id),
        aud=service.settings.audience,
        exp=now + 3600,
        iat=now,
        jti="j" * 22,
        client_id=held.family.client,
        sid=ids.to_text(FAMILY, held.family.id),
        auth_time=held.family.auth_time,
    )
    return access.mint(service.keys.signing, claims)


def main() -> None:
    """As `Process` starts it."""
    kind, folder, core, answers = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    uvloop.run(_serve(kind, Path(folder), int(answers)))


if __name__ == "__main__":
    main()
