"""Writes the ledger of this version into a folder beside this file: `python -m tests.ledgers.make`.

A ledger that a released version wrote is never made again: the code of every later day has to read it as it is.
"""

import asyncio
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import httpx
from pydantic import SecretStr

import app
from core import action, journal, master_revocation
from core.action import Confirmed, Kill, Selection
from core.jobs import ContextExpiry, Sweeper
from core.lookup import fingerprint
from core.master_revocation import Revoke
from core.passwords import Hasher
from core.watching import Watching
from core.webhook import Plan
from events import ids, migrate
from events.client import CONFIDENTIAL, ClientRegistered
from events.commit import Clock
from events.decision import Decide, Origin, Streams
from events.sqlite_store import SqliteStore
from events.webhook import STANDARD
from events.writer import Trace, Writer, untraced
from settings import VERSION, Settings

HERE = Path(__file__).parent
MASTER = "5:c1a59e07d4b2683f10ee7b9a6d24f8531c0b5e92a7f6483dd18e3a60925b47fc"
"""Of no ledger but these."""
OLDER_MASTER = "2:5be0471d9a3c28f6e81f0b7c64d2a935fe160c8b7d4e59a2036c9df1b8a2754e"
PASSWORDS = {
    "admin": "birch-lantern-coral-48-piano",
    "alice": "maple-copper-heron-57-violin",
    "bob": "thistle-amber-walrus-12-flute",
}
ALICE_BEFORE = "juniper-basalt-plover-83-harp"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15"
STARTED = 1_800_000_000.0
DAY = 86400.0


class Time:
    """The wall clock of the service; ledger time follows it."""

    now = STARTED

    def pass_(self, seconds: float) -> None:
        self.now += seconds


class Kept(NamedTuple):
    """What a test needs beside the files."""

    living_token: str
    """The newest refresh token of a family that lives."""
    used_token: str
    """An older one of it."""
    ended_at: float
    """Wall clock at the end."""


@contextmanager
def at(time: Time) -> Iterator[None]:
    """Services that start in here have this wall clock."""
    real = SqliteStore.writer

    def writer(self: SqliteStore, clock: Clock = Clock(), trace: Trace = untraced) -> Writer:
        return real(self, clock._replace(wall=lambda: time.now), trace)

    with patch.object(SqliteStore, "writer", writer):
        yield


def settings_for(folder: Path, master: str) -> Settings:
    """The service of such a ledger."""
    return Settings.model_validate(
        {
            "data_dir": folder / "data",
            "checkpoint_dir": folder / "checkpoints",
            "public_url": "https://ledger.test",
            "master_key": SecretStr(master),
            "admin_password": SecretStr(PASSWORDS["admin"]),
            "rate_limits": False,
        }
    )


class Scenario:
    """Everything that can happen to a ledger of this version, once at least."""

    def __init__(self, service: app.Service, http: httpx.AsyncClient, time: Time) -> None:
        self.service, self.http, self.time = service, http, time

    async def login(self, name: str, password: str, agent: str = FIREFOX) -> dict[str, Any]:
        body = {"username": name, "password": password, "mode": "body", "device": "a laptop"}
        answer = await self.http.post("/auth/login", json=body, headers={"User-Agent": agent})
        self.time.pass_(1)
        found: dict[str, Any] = answer.json()
        return found

    async def refresh(self, token: str, agent: str = FIREFOX) -> dict[str, Any]:
        answer = await self.http.post("/auth/refresh", json={"refresh_token": token}, headers={"User-Agent": agent})
        found: dict[str, Any] = answer.json()
        return found

    async def submit(self, decide: Decide, streams: Streams = Streams()) -> None:
        await self.service.ledger.submit(streams, decide)
        self.time.pass_(1)

    async def accounts(self) -> None:
        """Registered, signed in, failed, blocked; roles, password, disabled, enabled."""
        subjects = self.service.subjects
        await subjects.register("alice", ALICE_BEFORE, "", "cli")
        await subjects.register("bob", PASSWORDS["bob"], "viewer", "cli")
        bob = await subjects.find("bob")
        assert bob is not None
        await subjects.change_roles(bob, "viewer responder", "cli")
        for _ in range(11):
            await self.login("bob", "nettle-harbor-magpie-31-oboe")
        await self.service.families.close()
        self.time.pass_(2 * DAY)
        await self.login("bob", PASSWORDS["bob"])
        await subjects.disable(bob, "left", "cli")
        await subjects.enable(bob, "cli")
        tokens = await self.login("alice", ALICE_BEFORE)
        changing = {"current": ALICE_BEFORE, "new": PASSWORDS["alice"]}
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        await self.http.post("/auth/password", json=changing, headers=bearer)

    async def theft(self) -> None:
        """Rotated, retried, another device, reuse, refused."""
        first = (await self.login("alice", PASSWORDS["alice"]))["refresh_token"]
        second = (await self.refresh(first))["refresh_token"]
        await self.refresh(first)
        self.time.pass_(900)
        await self.refresh(second, SAFARI)
        self.time.pass_(900)
        await self.refresh(first)
        await self.refresh(second)

    async def staff(self) -> None:
        """Clients, keys, actions."""
        clients = self.service.clients
        await clients.register(ClientRegistered(actor="cli", client="batch", leeway=0, family_limit=2))
        for enabled in (False, True):
            await clients.set_enabled("batch", "cli", enabled=enabled)
        await clients.register(ClientRegistered(actor="cli", client="backend", type=CONFIDENTIAL, scopes="introspect"))
        await clients.rotate_secret("backend", "cli")
        await clients.update("backend", "cli", {"scopes": "introspect read", "audiences": "https://api.example.com"})
        await clients.revoke_access("backend", "client:backend")
        self.time.pass_(1)
        await self.service.keys.rotate("cli", force=True)
        await self.service.keys.revoke(self.service.keys.states[0].key, "compromised", "cli", note="found in a log")
        await self.kill()
        await self.select()
        await self.webhooks()

    async def kill(self) -> None:
        """Two families of bob, everything of him."""
        for _ in range(2):
            await self.login("bob", PASSWORDS["bob"])
        bob = await self.service.subjects.find("bob")
        assert bob is not None
        confirmed = Confirmed(ids.new_id(int(STARTED * 1e6), b"action..1"), "cli", "stolen", "CASE-1", "he called", 9)
        await self.submit(action.kill(Kill(confirmed, bob.id, (), everything=True)))

    async def select(self) -> None:
        """A frozen selection of one family, carried out."""
        begun = (await self.login("bob", PASSWORDS["bob"]))["family_id"]
        stream, one = ids.parse("fam", begun), ids.new_id(int(STARTED * 1e6), b"action..2")
        confirmed = Confirmed(one, "cli", "stolen", "CASE-2", "", 9)
        await self.submit(action.plan(Selection(one, "cli", "client:web", 9, (stream,))))
        await self.submit(action.start(confirmed, include_new=False))
        await self.service.families.revoke(stream, "cli", "stolen", ticket="CASE-2")
        await self.submit(action.finish(one, 1, 0, 0))

    async def webhooks(self) -> None:
        """Set up, changed, given up and tried again, switched, gone."""
        hooks = self.service.webhooks
        made = await hooks.register("", "cli", Plan(STANDARD, url="https://hooks.example.com/", query="type:token.*"))
        state = await hooks.get(made.webhook)
        assert state is not None
        await hooks.update(state, "cli", {"query": ""})
        await hooks.rotate_secret(state, "cli", keep=60)
        await hooks.disable(state.id, "cli", "staff")
        await hooks.ping(state.id, "cli")
        await hooks.dead_letter(state.id, 7, 12, "http_500")
        await hooks.replay(state.id, "cli", 7)
        await hooks.enable(state.id, "cli")
        await hooks.remove(state.id, "cli")

    async def watching(self) -> None:
        """What the admin looked at, previewed and took away, in a session at the dashboard."""
        form = {"name": "admin", "password": PASSWORDS["admin"], "next": ""}
        page = {"Origin": "https://ledger.test", "Sec-Fetch-Site": "same-origin", "User-Agent": FIREFOX}
        await self.http.post("/dashboard/sign-in", data=form, headers=page)
        admin = await self.service.subjects.find("admin")
        assert admin is not None
        (session,) = await self.service.family_reader.of_subject(admin.id)
        watching, came = Watching(self.service.ledger), Origin("AAAAAAAAAAAAAAAA")
        await watching.looked_up(session, "family", fingerprint("fam_" + "a" * 26), came)
        await watching.previewed(session, "key", came)
        await watching.exported(session, "client:web", "csv", 9, came)

    async def ageing(self) -> None:
        """A family idles out, contexts expire."""
        await self.login("alice", PASSWORDS["alice"])
        self.time.pass_(8 * DAY)
        now = int(self.time.now * 1e6)
        await Sweeper(self.service.ledger, self.service.family_reader, self.service.defaults, lambda: now).run()
        await ContextExpiry(self.service.ledger, self.service.writer, 3600, lambda: now).run()

    async def leave_master_key(self) -> None:
        """Signing keys go over to the new master key, and the older one is revoked."""
        await self.service.keys.rewrap()
        confirmed = Confirmed(ids.new_id(int(STARTED * 1e6), b"action..3"), "cli", "left", "CASE-3", "", 9)
        older = self.service.master.numbers[-1]
        await self.submit(master_revocation.revoke(Revoke(confirmed, older, 0)))
        await self.service.actions.resume()

    async def end(self) -> Kept:
        """A family that lives on, and one that ended by its holder."""
        gone = (await self.login("bob", PASSWORDS["bob"]))["refresh_token"]
        await self.http.post("/auth/logout", json={"refresh_token": gone})
        used = (await self.login("alice", PASSWORDS["alice"]))["refresh_token"]
        token = used
        for _ in range(2):
            token = (await self.refresh(token))["refresh_token"]
        return Kept(token, used, self.time.now)


def summary(database: Path) -> dict[str, Any]:
    """The state of a ledger in words: what each row is that people see, and the whole log's size and leaves."""
    wanted = {
        "families": "hex(id), status, generation, version, carriage, ended_by, ended_reason, idle_until, nonce, device",
        "subjects": "hex(id), status, name, roles, password_version, failures, blocked_until",
        "clients": "client, status, leeway, family_limit, idle_ttl",
        "keys": "key, status, algorithm, public, retire_at",
        "log": "origin, contexts_below",
        "events": "position, hex(leaf)",
    }
    with closing(sqlite3.connect(database)) as connection:
        rows = {table: connection.execute(f"SELECT {c} FROM {table} ORDER BY 1") for table, c in wanted.items()}
        return {table: [list(row) for row in found] for table, found in rows.items()}


async def write(folder: Path) -> Kept:
    """A ledger that lived under two master keys."""
    (folder / "data").mkdir()
    migrate.bring_up(SqliteStore(folder / "data" / "ledger.db"))
    time, kept = Time(), Kept("", "", STARTED)
    with at(time):
        for master, story in ((OLDER_MASTER, _first_life), (f"{MASTER},{OLDER_MASTER}", _second_life)):
            service = app.prepare(settings_for(folder, master), Hasher(memory_kib=64, time_cost=1))
            await service.start()
            transport = httpx.ASGITransport(app.create_app(service), client=("203.0.113.7", 50000))
            async with httpx.AsyncClient(transport=transport, base_url="https://ledger.test") as http:
                kept = await story(Scenario(service, http, time), kept.living_token)
            await service.stop()
    return kept


async def _first_life(scenario: Scenario, _carried: str) -> Kept:
    await scenario.accounts()
    await scenario.theft()
    carried = await scenario.login("alice", PASSWORDS["alice"])
    return Kept(carried["refresh_token"], "", scenario.time.now)


async def _second_life(scenario: Scenario, carried: str) -> Kept:
    await scenario.refresh(carried)  # its successor is signed by the new master key
    await scenario.staff()
    await scenario.watching()
    await scenario.ageing()
    await scenario.leave_master_key()
    return await scenario.end()


def main() -> None:
    """Write, compact into one file, and keep what is needed to look at it again."""
    kept_folder = HERE / VERSION
    journal.configure_logging("error", as_json=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        kept = asyncio.run(write(folder))
        shutil.rmtree(kept_folder, ignore_errors=True)
        kept_folder.mkdir()
        with closing(sqlite3.connect(folder / "data" / "ledger.db")) as connection:
            connection.execute("VACUUM INTO ?", (str(kept_folder / "ledger.db"),))
        shutil.copytree(folder / "checkpoints", kept_folder / "checkpoints")
    (kept_folder / "master-key").write_text(f"{MASTER},{OLDER_MASTER}\n")
    told = kept._asdict() | {"passwords": PASSWORDS, "state": summary(kept_folder / "ledger.db")}
    (kept_folder / "summary.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
