"""Wiring: settings → ledger → use cases → Litestar behind the edge. Constructs everything; decides nothing."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from litestar import Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig

from api import account, auth, problems, public
from api.door import Door
from core import checks, start
from core.access import MAX_TTL
from core.checkpointing import Checkpointing
from core.clients import Clients
from core.desk import Desk
from core.families import Families, Terms, Tools
from core.jobs import ContextExpiry, Count, Job, Sweeper, every
from core.keys import KeyPolicy, Keys, KeyUnavailable
from core.limits import Limits
from core.master import MasterKeys
from core.metrics import Gauge, Metrics
from core.password import Banned
from core.passwords import Busy, Hasher, load_banned
from core.policy import Policy
from core.presence import warm_up
from core.start import StartError
from core.subjects import Subjects
from dashboard import routes as dashboard
from dashboard.door import Door as StaffDoor
from dashboard.pages import Pages
from edge import Edge, EdgeConfig
from events import heads, sqlite
from events.checkpoints import CheckpointStore, Contradiction
from events.clients import read_clients
from events.families import FamilyReader
from events.history import HistoryReader
from events.keys import read_keys
from events.ledger import Ledger, Unavailable
from events.sqlite import SqliteWriter
from events.subjects import SubjectReader
from settings import Settings

VERSION = "0.1.0"
KEY_LEAD = 3600
"""Seconds that a key is published before the scheduled rotation lets it sign."""
SKEW = 60


class Service:
    """One running service. `prepare` may refuse with StartError; `start` and `stop` bracket the requests."""

    def __init__(self, settings: Settings, database: Path, master: MasterKeys, hasher: Hasher | None = None) -> None:
        self.settings = settings
        self.database = database
        self.master = master
        self.hasher = hasher or Hasher()
        self.first_admin: start.FirstAdmin | None = None
        self.metrics = Metrics()
        self._jobs: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the ledger, do what a first start does, begin the jobs. Whatever it raises, all is closed again."""
        self._open()
        try:
            await self._begin()
        except BaseException:
            await self._close()
            raise
        self._jobs = [asyncio.create_task(every(job), name=job.name) for job in self._table()]

    async def stop(self) -> None:
        """End the jobs, commit what waits, sign the last state, close."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self.families.close()
        await self.ledger.drain()
        with suppress(Unavailable, Contradiction, OSError):
            await self.checkpointing.run()
        await self._close()

    def _open(self) -> None:
        settings, master = self.settings, self.master
        warm_up()
        self.writer = SqliteWriter(self.database)
        self.ledger = Ledger(self.writer)
        self.engine = sqlite.read_engine(self.database)
        self.family_reader = FamilyReader(self.engine)
        self.subject_reader = SubjectReader(self.engine)
        self.history = HistoryReader(self.engine)
        self.clients = Clients(self.ledger, lambda: read_clients(self.engine))
        self.keys = Keys(self.ledger, lambda: read_keys(self.engine), master, key_policy(settings), _now)
        self.subjects = Subjects(self.ledger, self.subject_reader, self.hasher, banned_by(settings))
        self.defaults = policy_of(settings)
        self.families = Families(self._tools())
        self.living = Count(self.family_reader)

    async def _begin(self) -> None:
        settings, master = self.settings, self.master
        given = settings.admin_password.get_secret_value() if settings.admin_password else None
        await start.check_first_password(self.subjects, given)
        origin = await start.begin(self.ledger, self.clients, self.keys)
        seed = master.checkpoint_seed(master.current) or b""
        self.checkpointing = Checkpointing(self.writer, CheckpointStore(settings.checkpoint_dir), origin, seed)
        await self.checkpointing.run()
        if settings.metrics_port is not None:
            self.ledger.committed = self.metrics.batch
            self.metrics.watch(self._gauges())
            self.metrics.publish(settings.host, settings.metrics_port)
        # Last: what is told once must not be lost by a start that fails after it.
        self.first_admin = await start.first_admin(
            self.subjects, given, settings.data_dir, terminal=sys.stdout.isatty()
        )

    async def _close(self) -> None:
        self.metrics.close()
        await self.ledger.close()
        await self.engine.dispose()
        self.hasher.close()

    async def is_ready(self) -> bool:
        """Whether a batch can be committed now."""
        try:
            await self.ledger.probe()
        except Unavailable:
            return False
        return True

    def _tools(self) -> Tools:
        settings = self.settings
        key = self.master.csrf_key(self.master.current) or b""
        return Tools(
            ledger=self.ledger,
            families=self.family_reader,
            subjects=self.subject_reader,
            master=self.master,
            keys=self.keys,
            hasher=self.hasher,
            limits=Limits(enabled=settings.rate_limits, leeway=settings.retry_leeway, key=key),
            terms=Terms(settings.issuer, settings.audience, self.defaults),
            signed_in=self._signed_in,
            nobody=self.metrics.nobody,
        )

    def _signed_in(self, name: str) -> None:
        if name == start.ADMIN:
            start.forget_password_file(self.settings.data_dir)

    def _table(self) -> tuple[Job, ...]:
        sweeper = Sweeper(self.ledger, self.family_reader, self.defaults, _now)
        contexts = ContextExpiry(self.ledger, self.writer, self.settings.context_ttl, _now)
        counting = (Job("count families", 30, self.living.run),) if self.settings.metrics_port else ()
        return (
            *counting,
            Job("checkpoint", 1, self.checkpointing.run),
            Job("follow keys", 2, self.keys.refresh),
            Job("follow clients", 2, self.clients.refresh),
            Job("expire families", 5, sweeper.run),
            Job("rotate keys", 60, self.keys.rotate_if_due),
            Job("expire contexts", 3600, contexts.run),
        )

    def _gauges(self) -> tuple[Gauge, ...]:
        signed = self.checkpointing
        return (
            Gauge("queue_commands", "Commands that wait for a commit.", lambda: self.ledger.waiting),
            Gauge("position", "Events in the log, as last looked at.", lambda: signed.position),
            Gauge("checkpoint_position", "Events in the log that are signed.", lambda: signed.size),
            Gauge("checkpoint_signed_seconds", "When that was signed, since the epoch.", lambda: signed.signed_at),
            Gauge("families_living", "Families that live, counted now and then.", lambda: self.living.living),
            Gauge("passwords_waiting", "Passwords being hashed or waiting for it.", lambda: self.hasher.waiting),
        )


def prepare(settings: Settings, hasher: Hasher | None = None) -> Service:
    """Check everything that can be wrong before a port is opened. Raises StartError."""
    database = database_of(settings)
    checks.ledger_file(database)
    checks.writable(settings.data_dir, "LEDGER_DATA_DIR")
    checks.writable(database.parent, "LEDGER_DATABASE_URL")
    checks.writable(settings.checkpoint_dir, "LEDGER_CHECKPOINT_DIR")
    return Service(settings, database, master_of(settings, database), hasher)


def database_of(settings: Settings) -> Path:
    """The database's file."""
    return Path(settings.database_url.removeprefix("sqlite:///"))


def master_of(settings: Settings, database: Path) -> MasterKeys:
    """The master keys, which must fit the ledger; an empty ledger without one gets one. Raises StartError."""
    with sqlite.sync_read_engine(database).connect() as connection:
        empty = heads.size(connection) == 0
        known = heads.key_checks(connection)
    if settings.master_key is None:
        text, _made = start.own_master_key(settings.data_dir, empty=empty and not known)
    else:
        text = settings.master_key.get_secret_value()
    master = start.parse_master_key(text)
    new = start.unknown_keys(master, known)
    if new:
        with sqlite.transaction(database) as connection:
            heads.add_key_checks(connection, new)
    return master


def master_at_hand(settings: Settings) -> MasterKeys | None:
    """The master keys in the settings or the data folder, if any. Raises StartError for a text that is none."""
    if settings.master_key is not None:
        return start.parse_master_key(settings.master_key.get_secret_value())
    file = settings.data_dir / start.KEY_FILE
    return start.parse_master_key(file.read_text("utf-8").strip()) if file.exists() else None


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Desk]:
    """A ledger for the command line, beside a service or alone. Raises StartError for one that was never served."""
    database = database_of(settings)
    checks.ledger_file(database)
    with sqlite.sync_read_engine(database).connect() as connection:
        if heads.size(connection) == 0:
            raise StartError(f"The ledger at {database} is empty: start it once with session-ledger serve.")
    ledger, engine, hasher = Ledger(SqliteWriter(database)), sqlite.read_engine(database), Hasher()
    try:
        subjects = Subjects(ledger, SubjectReader(engine), hasher, banned_by(settings))
        yield Desk(ledger, engine, subjects, HistoryReader(engine))
    finally:
        await ledger.close()
        await engine.dispose()
        hasher.close()


def keys_at(desk: Desk, settings: Settings) -> Keys:
    """The ring of signing keys, for who has the master key. Raises StartError."""
    master = master_of(settings, database_of(settings))
    return Keys(desk.ledger, desk.keys, master, key_policy(settings), _now)


def banned_by(settings: Settings) -> Banned:
    """What no password may be made of."""
    return load_banned((*settings.banned_words, settings.public_url.partition("://")[2]))


def create_app(service: Service) -> Edge:
    """The ASGI application of a service that was started: Litestar behind the edge."""
    settings, pages = service.settings, Pages()

    inner = Litestar(
        route_handlers=[auth.router, account.router, public.router, dashboard.router(staff_door_of(service, pages))],
        dependencies={"door": Provide(lambda: door_of(service), use_cache=True, sync_to_thread=False)},
        exception_handlers=problems.exception_handlers(),
        openapi_config=OpenAPIConfig("Session Ledger", VERSION, path="/schema") if settings.public_schema else None,
        logging_config=None,
        debug=False,
    )
    config = EdgeConfig(
        settings.public_url,
        settings.trusted_proxies,
        unavailable=(Unavailable, Busy, KeyUnavailable),
        page=pages.error,
    )
    if settings.metrics_port is not None:
        config = replace(config, observe=service.metrics.request)
    return Edge(inner, config)


def door_of(service: Service) -> Door:
    """What the API's routes work with."""
    settings = service.settings
    return Door(
        families=service.families,
        subjects=service.subjects,
        clients=service.clients,
        keys=service.keys,
        reader=service.family_reader,
        checkpointing=service.checkpointing,
        ready=service.is_ready,
        own_origin=settings.public_url,
        web_origins=frozenset(settings.allowed_origins),
    )


def staff_door_of(service: Service, pages: Pages) -> StaffDoor:
    """What the dashboard's routes work with."""
    return StaffDoor(
        families=service.families,
        history=service.history,
        family_reader=service.family_reader,
        subject_reader=service.subject_reader,
        own_origin=service.settings.public_url,
        pages=pages,
        now=_now,
    )


def policy_of(settings: Settings) -> Policy:
    """The lifetimes that clients inherit."""
    return Policy(
        access_ttl=settings.access_ttl,
        idle_ttl=settings.refresh_idle_ttl,
        absolute_ttl=settings.refresh_absolute_ttl,
        leeway=settings.retry_leeway,
    )


def key_policy(settings: Settings) -> KeyPolicy:
    """How the signing keys rotate, in microseconds."""
    second = 1_000_000
    return KeyPolicy(
        algorithm=settings.signing_algorithm,
        period=settings.key_rotation * second,
        lead=KEY_LEAD * second,
        keep=(MAX_TTL + SKEW) * second,
    )


def _now() -> int:
    return int(time.time() * 1_000_000)
