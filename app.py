"""Wiring: settings → ledger → use cases → Litestar behind the edge. Constructs everything; decides nothing."""

import asyncio
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog
from litestar import Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from api import account, auth, problems, public
from api.door import Door
from core import checks, journal, masters, serving, start
from core.actions import Actions
from core.checkpointing import Checkpointing
from core.clients import Clients
from core.families import Families, Terms, Tools
from core.geography import Geography
from core.jobs import ContextExpiry, Count, Job, Sweeper, every
from core.keys import KeyPolicy, Keys, KeyUnavailable
from core.limits import Limits
from core.lookup import Lookup
from core.master import MasterKeys
from core.metrics import Gauge, Metrics
from core.passwords import Busy, Hasher, load_banned
from core.policy import Policy
from core.presence import warm_up
from core.recovery import is_former, loss_of, recover
from core.start import StartError
from core.subjects import Subjects
from core.verification import Verification
from core.watching import Watching
from dashboard import routes as dashboard
from dashboard.door import Condition
from dashboard.door import Door as StaffDoor
from dashboard.pages import Pages
from dashboard.tails import Tails
from edge import Edge, EdgeConfig
from events import sqlite
from events.actions import ActionReader
from events.checkpoint import public_of
from events.checkpoints import CheckpointStore, Contradiction, Signed
from events.clients import read_clients
from events.families import FamilyReader
from events.family_search import FamilySearch
from events.history import HistoryReader
from events.keys import read_keys
from events.ledger import Ledger, Unavailable
from events.overview import OverviewReader
from events.pivots import PivotReader
from events.search import EventSearch
from events.sqlite import SqliteWriter
from events.subjects import SubjectReader
from settings import VERSION, Settings


class Service:
    """One running service. `prepare` may refuse with StartError; `start` and `stop` bracket the requests."""

    def __init__(self, settings: Settings, database: Path, master: MasterKeys, hasher: Hasher | None = None) -> None:
        self.settings = settings
        self.database = database
        self.master = master
        self.hasher = hasher or Hasher()
        self.first_admin: start.FirstAdmin | None = None
        self.metrics = Metrics()
        self.stopping = asyncio.Event()
        """Set when no more requests are taken: answers that go on and on end then."""
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
        await self.verification.close()
        await self.actions.close()
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
        key_policy = KeyPolicy.rotating(settings.signing_algorithm, settings.key_rotation)
        self.keys = Keys(self.ledger, lambda: read_keys(self.engine), master, key_policy, _now)
        banned = load_banned(settings.words_of_ours)
        self.subjects = Subjects(self.ledger, self.subject_reader, self.hasher, banned)
        self.defaults = policy_of(settings)
        self.families = Families(self._tools())
        self.family_search = FamilySearch(self.engine)
        self.actions = Actions(
            self.ledger, ActionReader(self.engine), self.family_reader, self.defaults, self.family_search.started_since
        )
        self.living = Count(self.family_reader)
        self.geography = Geography(settings.geo_databases)

    async def _begin(self) -> None:
        settings, master = self.settings, self.master
        given = settings.admin_password.get_secret_value() if settings.admin_password else None
        await start.check_first_password(self.subjects, given)
        origin = await start.begin(self.ledger, self.clients, self.keys)
        seed, *older = (master.checkpoint_seed(number) or b"" for number in master.numbers)
        store = CheckpointStore(settings.checkpoint_dir)
        self.checkpointing = Checkpointing(self.writer, store, origin, seed, map(public_of, older))
        publics = tuple(public_of(one) for one in (seed, *older))
        self.verification = Verification(self.database, store, publics)
        await self._continue_checkpoints(store, publics)
        if settings.metrics_port is not None:
            self.ledger.committed = self.metrics.batch
            self.metrics.watch(self._gauges())
            self.metrics.publish(settings.host, settings.metrics_port)
        # Last: what is told once must not be lost by a start that fails after it.
        self.first_admin = await start.first_admin(
            self.subjects, given, settings.data_dir, terminal=sys.stdout.isatty()
        )

    async def _continue_checkpoints(self, store: CheckpointStore, publics: tuple[bytes, ...]) -> None:
        """The log must go on from what was signed last, or it is not the log that was signed. Raises StartError."""
        try:
            origin = await self._origin_after(store, store.signed(*publics))
            if origin is not None:
                self.checkpointing.origin = origin
            await self.checkpointing.run()
        except Contradiction as error:
            raise StartError(
                f"{str(error).rstrip('.')}: restore the database that belongs to {self.settings.checkpoint_dir}, "
                "or run session-ledger recover to take this one into use."
            ) from None

    async def _origin_after(self, store: CheckpointStore, signed: Signed | None) -> str | None:
        """The log's new name where it went on after a loss: set aside what an older name signed."""
        if signed is None:
            return None
        if await is_former(self.history, signed.checkpoint):
            store.set_aside(signed.checkpoint.origin)
            return None
        loss = await loss_of(self.history, store, signed)
        if loss is None or not 0 <= loss.seconds <= self.settings.max_loss:
            return None
        structlog.get_logger().error("commits_lost", events=loss.events, seconds=round(loss.seconds, 1))
        return await recover(self.ledger, self.history, store, signed, keep_sessions=True)

    async def _close(self) -> None:
        self.metrics.close()
        await self.engine.dispose()
        await self.ledger.close()  # last: the writer alone puts the write-ahead log back into the database
        self.hasher.close()
        self.geography.close()

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
            now=self.writer.now,
            signed_in=self._signed_in,
            nobody=self.metrics.nobody,
        )

    def _signed_in(self, name: str) -> None:
        if name == start.ADMIN:
            start.forget_password_file(self.settings.data_dir)

    def _table(self) -> tuple[Job, ...]:
        sweeper = Sweeper(self.ledger, self.family_reader, self.defaults, self.writer.now, self.clients.get)
        contexts = ContextExpiry(self.ledger, self.writer, self.settings.context_ttl, self.writer.now)
        return (
            Job("count families", 15, self.living.run),
            Job("checkpoint", 1, self.checkpointing.run),
            Job("follow keys", 2, self.keys.refresh),
            Job("follow clients", 2, self.clients.refresh),
            Job("expire families", 5, sweeper.run),
            Job("resume actions", 5, self.actions.resume),
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
    database = settings.database_file
    checks.ledger_file(database)
    checks.writable(settings.data_dir, "LEDGER_DATA_DIR")
    checks.writable(database.parent, "LEDGER_DATABASE_URL")
    checks.writable(settings.checkpoint_dir, "LEDGER_CHECKPOINT_DIR")
    text = settings.master_key.get_secret_value() if settings.master_key else None
    return Service(settings, database, masters.fitting(database, settings.data_dir, text), hasher)


def create_app(service: Service) -> Edge:
    """The ASGI application of a service that was started: Litestar behind the edge."""
    settings, pages = service.settings, Pages(service.geography.of)

    inner = Litestar(
        route_handlers=[auth.router, account.router, public.router, dashboard.router(staff_door_of(service, pages))],
        dependencies={"door": Provide(lambda: door_of(service), use_cache=True, sync_to_thread=False)},
        exception_handlers=problems.exception_handlers(),
        openapi_config=_description() if settings.public_schema else None,
        logging_config=None,
        debug=False,
    )
    config = EdgeConfig(
        settings.public_url,
        settings.trusted_proxies,
        unavailable=(Unavailable, Busy, KeyUnavailable),
        page=pages.error,
        shares=lambda origin: origin in service.clients.origins or origin in settings.allowed_origins,
    )
    if settings.metrics_port is not None:
        config = replace(config, observe=service.metrics.request)
    return Edge(inner, config)


def _description() -> OpenAPIConfig:
    """The API's description as JSON, at /schema. The pages that Litestar offers load scripts from other hosts."""
    shown = JsonRenderPlugin(path=["/", "/openapi.json"])
    return OpenAPIConfig("Session Ledger", VERSION, path="/schema", render_plugins=[shown])


def door_of(service: Service) -> Door:
    """What the API's routes work with."""
    settings = service.settings
    return Door(
        families=service.families,
        subjects=service.subjects,
        clients=service.clients,
        keys=service.keys,
        reader=service.family_reader,
        history=service.history,
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
        actions=service.actions,
        watching=Watching(service.ledger),
        lookup=Lookup(
            service.families,
            service.keys,
            service.subject_reader,
            service.history,
            service.settings.issuer,
            service.settings.audience,
        ),
        subjects=service.subjects,
        family_search=service.family_search,
        pivots=PivotReader(service.engine),
        overview=OverviewReader(service.engine),
        keys=service.keys,
        verification=service.verification,
        condition=lambda: condition_of(service),
        living=lambda: service.living.living,
        search=EventSearch(service.engine),
        tails=Tails(service.stopping),
    )


def condition_of(service: Service) -> Condition:
    """How the service is now."""
    signed, database = service.checkpointing, service.database
    files = (database, database.with_name(f"{database.name}-wal"))
    return Condition(
        version=VERSION,
        waiting=service.ledger.waiting,
        commands=service.ledger.commands,
        batches=service.ledger.batches,
        signed=signed.size,
        signed_at=int(signed.signed_at * 1_000_000),
        note=signed.note,
        sizes={file.name: file.stat().st_size for file in files if file.exists()},
    )


def policy_of(settings: Settings) -> Policy:
    """The lifetimes that clients inherit."""
    return Policy(
        access_ttl=settings.access_ttl,
        idle_ttl=settings.refresh_idle_ttl,
        absolute_ttl=settings.refresh_absolute_ttl,
        leeway=settings.retry_leeway,
    )


def serve(settings: Settings) -> bool:
    """Check, start, answer until Ctrl-C or SIGTERM, stop; False where the server ended by itself. Raises StartError."""
    with checks.sole_service(settings.database_file):
        service = prepare(settings)
        address = serving.claim(settings.host, settings.port)
        if settings.metrics_port is not None:
            serving.claim(settings.host, settings.metrics_port, "LEDGER_METRICS_PORT")
        journal.configure_logging(settings.log_level, as_json=not sys.stdout.isatty())
        with asyncio.Runner(loop_factory=serving.new_loop) as runner:
            return runner.run(_served(service, address))


async def _served(service: Service, address: str) -> bool:
    service.stopping = stop = serving.told_to_stop()
    await service.start()
    try:
        port = service.settings.port
        return await serving.serve(create_app(service), address, port, stop, lambda: _greet(service, address))
    finally:
        await service.stop()


def _greet(service: Service, address: str) -> None:
    """Where, with what, how to sign in, how to stop: to a terminal; else beside the log, which programs read."""
    settings, terminal = service.settings, sys.stdout.isatty()
    shown = f"[{address}]" if ":" in address else address
    told = (
        f"Session Ledger answers at {settings.public_url} (listening on {shown}:{settings.port}).",
        f"Data: {settings.data_dir.absolute()}. Checkpoints: {settings.checkpoint_dir.absolute()}.",
        start.how_to_sign_in(service.first_admin, settings.data_dir, terminal=terminal),
        "Stop with Ctrl-C." if terminal else "Stop with SIGTERM or Ctrl-C.",
    )
    print(*filter(None, told), sep="\n", file=sys.stdout if terminal else sys.stderr, flush=True)
    structlog.get_logger().info("serving", port=settings.port)


def _now() -> int:
    return int(time.time() * 1_000_000)
