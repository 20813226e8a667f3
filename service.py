"""One running service: its ledger, use cases and jobs, joined. Knows no route; decides nothing."""

import asyncio
import sys
import time
from contextlib import suppress

import structlog

from core import checks, masters, shared_counters, start
from core.actions import Actions
from core.agreement import PERIOD, Agreement
from core.backends import Backends
from core.checkpointing import Checkpointing
from core.clients import Clients
from core.continuation import Continuation
from core.delivering import Delivering
from core.delivering import Tools as DeliveryTools
from core.enrolling import Enrolling
from core.erasures import Erasures
from core.factors import Factors
from core.families import Families
from core.geography import Geography
from core.grants import Grants
from core.jobs import ContextExpiry, Count, Job, Sweeper, every
from core.key_source import Source as KeySource
from core.keys import KeyPolicy, Keys
from core.leadership import Leadership
from core.limits import Limits
from core.master import MasterKeys
from core.metrics import Gauge, Metrics
from core.outbound import Outbound
from core.outbox import Source
from core.passkey import Site
from core.passwords import Hasher, load_banned
from core.policy import shortest_leeway
from core.posting import Poster
from core.presence import warm_up
from core.proofs import Proofs
from core.steps import Steps
from core.subjects import Subjects
from core.target import Reach
from core.tools import Terms, Tools
from core.verification import Verification
from core.webhooks import Webhooks
from events.actions import ActionReader
from events.checkpoint import public_of
from events.checkpoints import CheckpointStore, Contradiction
from events.clients import read_clients
from events.deliveries import DeliveryReader
from events.erasures import ErasureReader
from events.families import FamilyReader
from events.family_search import FamilySearch
from events.history import HistoryReader
from events.keys import read_keys
from events.ledger import Ledger, Unavailable
from events.search import EventSearch
from events.sqlite_store import SqliteStore
from events.store import Store
from events.stores import store_at
from events.subjects import SubjectReader
from events.webhooks import WebhookReader
from settings import Settings


class Service:
    """One running service. `prepare` may refuse with StartError; `start` and `stop` bracket the requests."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        master: MasterKeys,
        hasher: Hasher | None = None,
        source: KeySource | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.master = master
        self._source = source
        self.hasher = hasher or Hasher()
        self.first_admin: start.FirstAdmin | None = None
        self.metrics = Metrics()
        self.stopping = asyncio.Event()
        """Set when no more requests are taken: answers that go on and on end then."""
        self.given_up = ""
        """Why it stopped by itself: a sentence that says what to do."""
        self._jobs: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the ledger, do what a first start does, begin the jobs. Whatever it raises, all is closed again."""
        self._open()
        try:
            await self._begin()
        except BaseException:
            await self._close()
            raise
        self._jobs = [asyncio.create_task(every(job, self.leadership.holds), name=job.name) for job in self._table()]

    async def stop(self) -> None:
        """End the jobs, commit what waits, sign the last state, close."""
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self.delivering.close()
        await self.verification.close()
        await self.actions.close()
        await self.families.close()
        await self.ledger.drain()
        await self.leadership.close()
        await self.agreement.close()
        with suppress(Unavailable, Contradiction, OSError):
            await self.checkpointing.run()
        await self._close()

    def _open(self) -> None:
        """Put the service together, each part from those before it."""
        warm_up()
        self._open_ledger()
        self._open_accounts()
        self._open_limits()
        self._open_families()
        self._open_actions()
        self._open_webhooks()
        self._open_checkpoints()
        self.living = Count(self.family_reader)

    def _open_ledger(self) -> None:
        self.writer = self.store.writer()
        self.ledger = Ledger(self.writer)
        self.leadership = Leadership(self.writer, self.writer.now)
        self.engine = self.store.readers()
        self.family_reader = FamilyReader(self.engine)
        self.subject_reader = SubjectReader(self.engine)
        self.history = HistoryReader(self.engine)
        self.family_search = FamilySearch(self.engine)

    def _open_accounts(self) -> None:
        settings, master = self.settings, self.master
        self.clients = Clients(self.ledger, lambda: read_clients(self.engine))
        self.agreement = Agreement(
            self.store, master, self._source, self.writer, self._give_up, self._master_keys_changed
        )
        key_policy = KeyPolicy.rotating(settings.signing_algorithm, settings.key_rotation)
        self.keys = Keys(self.ledger, lambda: read_keys(self.engine), master, key_policy, _now)
        banned = load_banned(settings.words_of_ours)
        self.subjects = Subjects(self.ledger, self.subject_reader, self.hasher, banned)
        self.defaults = settings.policy
        self.terms = Terms(settings.issuer, settings.audience, self.defaults)
        self.geography = Geography(settings.geo_databases)

    def _open_limits(self) -> None:
        settings, master = self.settings, self.master
        key = master.csrf_key(master.current) or b""
        url = settings.limits_url
        self.shared_counters = shared_counters.SharedCounters(url.get_secret_value(), key) if url else None
        self.limits = Limits(
            enabled=settings.rate_limits, leeway=settings.retry_leeway, key=key, storage=self.shared_counters
        )
        self.clients.followed = lambda found: self.limits.follow(shortest_leeway(found, self.defaults))

    def _open_families(self) -> None:
        tools, required = self._tools(), frozenset(self.settings.second_factor_roles)
        self.families = Families(tools)
        steps, site = Steps(tools, self.families.issuer), Site(self.settings.public_url)
        self.factors = Factors(tools, self.families, steps, site)
        self.enrolling = Enrolling(tools, steps, site, required)
        self.backends = Backends(tools, self.families)
        self.grants = Grants(self.families, self.clients, self.keys, self.family_reader, self.terms)
        self.proofs = Proofs(self.ledger, self.writer, self.master, self.writer.wall)

    def _open_actions(self) -> None:
        self.erasures = self._erasures()
        self.actions = Actions(
            self.ledger,
            self.erasures.actions,
            self.family_reader,
            self.defaults,
            self.family_search.started_since,
            self.erasures,
        )

    def _erasures(self) -> Erasures:
        self._erased = listed = masters.erased_list(self.settings.checkpoint_dir, self.master)
        readers = ErasureReader(self.engine), self.subject_reader, ActionReader(self.engine)
        return Erasures(self.ledger, self.writer, self.store, *readers, listed)

    def _open_webhooks(self) -> None:
        reach = Reach(self.settings.webhook_http, self.settings.webhook_networks)
        self.outbound = Outbound(reach)
        self.deliveries = DeliveryReader(self.engine)
        reader, now = WebhookReader(self.engine), self.writer.now
        self.webhooks = Webhooks(self.ledger, reader, lambda: self.master, self.outbound.check, now)
        self.poster = Poster(self.webhooks, self.keys, self.outbound, self.settings.issuer, self.clients.get)
        self.delivery_tools = DeliveryTools(
            webhooks=self.webhooks,
            poster=self.poster,
            reader=self.deliveries,
            source=Source(reader, EventSearch(self.engine), self.history, now, self.clients.get),
            history=self.history,
            writer=self.writer,
            leads=self.leadership.holds,
        )
        self.delivering = Delivering(self.delivery_tools)

    def _open_checkpoints(self) -> None:
        folder = CheckpointStore(self.settings.checkpoint_dir)
        self.checkpointing = Checkpointing(self.store, self.engine, folder, *self._checkpoint_keys())
        self.verification = Verification(self.store, folder, lambda: self.checkpointing.publics)
        self.continuation = Continuation(
            self.ledger, self.history, self.checkpointing, self.settings.max_loss, self._give_up
        )

    def _checkpoint_keys(self) -> tuple[bytes, list[bytes]]:
        """The seed that signs, and the public keys of those that may have signed before, or sign in another process."""
        master = self.master
        others = [master.checkpoint_seed(number) or b"" for number in master.numbers if number != master.current]
        return master.checkpoint_seed(master.current) or b"", [public_of(seed) for seed in others]

    def _master_keys_changed(self) -> None:
        self.checkpointing.sign_with(*self._checkpoint_keys())
        try:
            self._erased.follow(masters.erased_keys(self.master))
        except OSError as error:  # the next start makes up for it
            structlog.get_logger().error("erased_list_not_written", error=type(error).__name__)

    async def _begin(self) -> None:
        settings = self.settings
        await self.agreement.begin()  # before anything is signed or wrapped
        self._master_keys_changed()  # maybe while nothing ran
        given = settings.admin_password.get_secret_value() if settings.admin_password else None
        await start.check_first_password(self.subjects, given)
        await start.begin(self.ledger, self.clients, self.keys)
        start.warn_of_countries(self.clients.all(), known=self.geography.tells_countries)
        await self.continuation.begin()
        await self.erasures.run()
        if self.shared_counters is not None:
            await self.shared_counters.check()
        if settings.metrics_port is not None:
            self.ledger.committed = self.metrics.batch
            self.metrics.watch(self._gauges())
            if settings.workers == 1:  # else the process that started us asks each of us and answers for all
                self.metrics.publish(settings.host, settings.metrics_port)
        # Last: what is told once must not be lost by a start that fails after it.
        self.first_admin = await start.first_admin(
            self.subjects, given, settings.data_dir, terminal=sys.stdout.isatty()
        )

    async def _close(self) -> None:
        self.metrics.close()
        self.checkpointing.close()
        await self.outbound.close()
        await self.engine.dispose()
        if self.shared_counters is not None:
            await self.shared_counters.close()
        await self.ledger.close()  # last: the writer alone puts the write-ahead log back into the database
        self.hasher.close()
        self.geography.close()

    async def read_master_keys(self) -> None:
        """What SIGHUP asks for: as the job does, at once. What fails is logged, and made up for by the job."""
        try:
            await self.agreement.reread()
        except Unavailable:
            structlog.get_logger().warning("master_key_not_read", reason="the ledger is unavailable")

    def _give_up(self, sentence: str) -> None:
        self.given_up = sentence
        self.stopping.set()

    async def is_ready(self) -> bool:
        """Whether a batch can be committed now."""
        try:
            await self.ledger.probe()
        except Unavailable:
            return False
        return True

    def _tools(self) -> Tools:
        return Tools(
            ledger=self.ledger,
            families=self.family_reader,
            subjects=self.subject_reader,
            master=self.master,
            keys=self.keys,
            hasher=self.hasher,
            limits=self.limits,
            terms=self.terms,
            now=self.writer.now,
            wall=self.writer.wall,
            signed_in=self._signed_in,
            nobody=self.metrics.nobody,
            elsewhere=self.agreement.is_elsewhere,
            client_of=self.clients.get,
            country_of=self.geography.country_of,
        )

    def _signed_in(self, name: str) -> None:
        if name == start.ADMIN:
            start.forget_password_file(self.settings.data_dir)

    def _table(self) -> tuple[Job, ...]:
        sweeper = Sweeper(self.ledger, self.family_reader, self.defaults, self.writer.now, self.clients.get)
        contexts = ContextExpiry(self.ledger, self.writer, self.settings.context_ttl, self.writer.now)
        return (
            Job("count families", 15, self.living.run),
            Job("checkpoint", 1, self.continuation.run),
            Job("stay able", 1, self.writer.recover),
            Job("lead", 5, self.leadership.run),
            Job("agree on master keys", PERIOD, self.agreement.run),
            Job("read master keys", self.settings.master_key_reread, self.agreement.reread),
            Job("follow keys", 2, self.keys.refresh),
            Job("follow clients", 2, self.clients.refresh),
            Job("expire families", 5, sweeper.run, once=True),
            Job("deliver webhooks", 0.5, self.delivering.run, once=True),
            Job("rewrap webhooks", 60, self.webhooks.rewrap, once=True),
            Job("resume actions", 5, self.actions.resume, once=True),
            Job("keep erasures", 5, self._keep_erasures),
            Job("rotate keys", 60, self.keys.rotate_if_due, once=True),
            Job("forget used proofs", 60, self.proofs.forget, once=True),
            Job("wrap keys", 5, self.keys.rewrap, once=True),
            Job("expire contexts", 3600, contexts.run, once=True),
        )

    async def _keep_erasures(self) -> None:
        """One process for each folder, which has a list of its own."""
        if self.checkpointing.leads:
            await self.erasures.run()

    def _gauges(self) -> tuple[Gauge, ...]:
        signed, figures = self.checkpointing, self.delivering.figures
        return (
            Gauge("queue_commands", "Commands that wait for a commit.", lambda: self.ledger.waiting),
            Gauge("position", "Events in the log, as last looked at.", lambda: signed.position),
            Gauge("checkpoint_position", "Events in the log that are signed.", lambda: signed.size),
            Gauge("checkpoint_signed_seconds", "When that was signed, since the epoch.", lambda: signed.signed_at),
            Gauge("families_living", "Families that live, counted now and then.", lambda: self.living.living),
            Gauge("webhooks_behind", "Events that the last webhook has yet to look at.", lambda: figures.behind),
            Gauge("webhooks_waiting", "Deliveries that failed, or wait behind one that did.", lambda: figures.waiting),
            Gauge("webhooks_dead", "Dead letters of webhooks.", lambda: figures.dead),
            Gauge("webhooks_delivered", "Deliveries of this process.", lambda: figures.delivered),
            Gauge("webhooks_failed", "Tries of this process that failed.", lambda: figures.failed),
            Gauge("passwords_waiting", "Passwords being hashed or waiting for it.", lambda: self.hasher.waiting),
        )


def prepare(settings: Settings, hasher: Hasher | None = None) -> Service:
    """Check everything that can be wrong before a port is opened. Raises StartError."""
    store = store_at(settings.database_url)
    checks.ledger(store)
    checks.writable(settings.data_dir, "LEDGER_DATA_DIR")
    if isinstance(store, SqliteStore):
        checks.writable(store.database.parent, "LEDGER_DATABASE_URL")
    checks.writable(settings.checkpoint_dir, "LEDGER_CHECKPOINT_DIR")
    if settings.limits_url is not None:
        shared_counters.connections(settings.limits_url.get_secret_value())
    source = settings.master_key_source
    checks.kept_secret(settings.data_dir / start.KEY_FILE)
    master = masters.fitting(store, settings.data_dir, source)
    masters.demand_all(store, master, _now())
    return Service(settings, store, master, hasher, source)


def _now() -> int:
    return int(time.time() * 1_000_000)
