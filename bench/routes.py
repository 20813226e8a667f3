"""What the ledger is compared with: the floor, the baseline and the bare route. Each answers the same bytes."""

import secrets
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, Response, post
from litestar.params import JSONBody
from sqlalchemy import bindparam, event, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from api.answers import TokenAnswer
from api.auth import RefreshRequest
from core import access, family, token
from core.access import AccessClaims
from core.dpop import Proof
from core.families import Families
from core.issued import Denied, Issued
from core.keys import Keys
from core.master import MasterKeys
from core.scope import ALL, Asked
from core.token import Token
from core.tools import Tools
from core.verdict import Answer, Verdict
from core.visit import Visit
from events import catalogue, fact, ids, merkle, private, schema
from events import client as clients
from events.decision import Change, Decision, Moment, States
from events.family import PREFIX as FAMILY
from events.family import Family
from events.log import STREAM as LOG
from events.sealing import DERIVED, derived
from events.subject import PREFIX as SUBJECT
from events.subject import Subject

WIDTH = len(schema.families.columns)


class Floor(Families):
    """The same application without the ledger: nothing is read, decided or written."""

    def __init__(self, tools: Tools, example: Family) -> None:
        super().__init__(tools)
        self._example = example

    async def refresh(
        self,
        presented: Token,
        client: str,  # noqa: ARG002
        carriage: str,  # noqa: ARG002
        visit: Visit,  # noqa: ARG002
        asked: Asked = ALL,  # noqa: ARG002
        proof: Proof | None = None,  # noqa: ARG002
    ) -> Issued | Denied:
        now = int(time.time())
        state = msgspec.structs.replace(
            self._example, id=presented.family, key=presented.key, generation=presented.generation + 1
        )
        jti = urlsafe_b64encode(secrets.token_bytes(16))[:22].decode()
        return self.issuer.issued(
            Answer(Verdict.ROTATED, state, "", jti, now, now + 900), presented.nonce, self._tools.keys.signing
        )


class Baseline(Families):
    """One transaction for each request, through SQLAlchemy and aiosqlite: what one would write first.

    The rule is the same, and so are the rows, without the tree over the log. Client and log are kept in memory.
    The pool is SQLAlchemy's own, unless `connections` says how many there are. With one they queue for it; several
    wait for each other inside SQLite, by sleeping.
    """

    def __init__(self, tools: Tools, path: Path, states: States, connections: int | None) -> None:
        super().__init__(tools)
        self._engine = _engine(path, {"pool_size": connections, "max_overflow": 0} if connections else {})
        self._known = {one: states.by_stream[one] for one in (LOG, clients.stream_of("web"))}

    async def refresh(
        self,
        presented: Token,
        client: str,
        carriage: str,
        visit: Visit,
        asked: Asked = ALL,
        proof: Proof | None = None,
    ) -> Issued | Denied:
        command = self.issuer.to_refresh(presented, client, carriage, visit, asked, proof)
        async with self._engine.connect() as connection:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            row = (await connection.execute(FIND, {"id": presented.family})).one()
            before, owner = Family(*row[:WIDTH]), Subject(*row[WIDTH:])
            states = States()
            states.by_stream.update({**self._known, before.id: before, owner.id: owner})
            now = time.time_ns() // 1000
            decided = family.refresh(command)(states, Moment(now, now, now, now))
            assert isinstance(decided, Decision)
            state = before
            for change in decided.changes:
                state, row_of_event, row_beside = rows_of(state, change, visit, now)
                await connection.execute(_INSERT, row_of_event)
                await connection.execute(_INSERT_PRIVATE, row_beside)
            await connection.execute(UPDATE, {"this": state.id, **msgspec.structs.asdict(state)})
            await connection.commit()
        return self.issuer.issued(decided.verdict, presented.nonce, self._tools.keys.signing)


FIND = (
    select(schema.families, schema.subjects)
    .join(schema.subjects, schema.families.c.subject == schema.subjects.c.id)
    .where(schema.families.c.id == bindparam("id"))
)
_LAST = select(func.max(schema.events.c.position)).scalar_subquery()
_INSERT = insert(schema.events).values(position=_LAST + 1)
_INSERT_PRIVATE = insert(schema.event_private).values(position=_LAST)
UPDATE = update(schema.families).where(schema.families.c.id == bindparam("this"))


def _engine(path: Path, pool: dict[str, int]) -> AsyncEngine:
    waiting = {"isolation_level": None, "timeout": 60}
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", connect_args=waiting, pool_timeout=60, **pool)

    @event.listens_for(engine.sync_engine, "connect")
    def durable(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    return engine


def rows_of(before: Family, change: Change, visit: Visit, at: int) -> tuple[Family, dict[str, Any], dict[str, Any]]:
    """State, event and private row after one change, made as the ledger makes them."""
    assert visit.origin.context is not None
    data, salt = private.encode(visit.origin.context), secrets.token_bytes(private.SALT_BYTES)
    stated = msgspec.structs.replace(change.fact, request=visit.request, context=private.binding(salt, data))
    after = catalogue.apply(before, before.id, at, stated, private.Account())
    assert isinstance(after, Family)
    body = fact.encode(stated)
    leaf = merkle.leaf_hash(at, before.id, after.version, stated.CODE, body)
    found = {
        "stream": before.id,
        "version": after.version,
        "type": stated.CODE,
        "at": at,
        **dict(zip(DERIVED, derived(stated), strict=True)),
    }
    ip = private.packed_ip(visit.presence.ip)
    beside = {"kind": private.CONTEXT, "salt": salt, "data": data, "ip": ip}
    return after, {**found, "body": body, "leaf": leaf}, beside


def bare(keys: Keys, master: MasterKeys, example: Family) -> Litestar:
    """A route and nothing else: no edge, no use case. Parses the body, signs the tokens, answers."""
    mac_key = master.refresh_key(master.current) or b""

    @post("/auth/refresh", status_code=200)
    async def refresh(data: JSONBody[RefreshRequest]) -> Response[TokenAnswer]:
        presented = token.read(data.refresh_token or "", master.refresh_key)
        assert presented is not None
        now = int(time.time())
        sid = ids.to_text(FAMILY, presented.family)
        claims = AccessClaims(
            iss="http://localhost",
            sub=ids.to_text(SUBJECT, example.subject),
            aud="http://localhost",
            exp=now + 900,
            iat=now,
            jti=urlsafe_b64encode(secrets.token_bytes(16))[:22].decode(),
            client_id="web",
            sid=sid,
            auth_time=now,
        )
        successor = token.mint(presented._replace(generation=presented.generation + 1), mac_key)
        answer = TokenAnswer(access.mint(keys.signing, claims), 900, sid, refresh_token=successor)
        return Response(answer, headers={"Cache-Control": "no-store"})

    return Litestar([refresh], openapi_config=None, logging_config=None)
