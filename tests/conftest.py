"""What the tests share: real databases of both engines, the real ledger over them, the real service behind HTTP.

Every test that touches a ledger runs on both engines, once each. One that asks for `sqlite_store`, `postgres_store`,
`on_sqlite` or `on_postgresql` is about that engine, and its module says why.
"""

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import app
from core.passwords import Hasher
from core.presence import Presence
from core.visit import Visit
from events.commit import Clock
from events.ledger import Ledger
from events.pace import Pace
from events.postgres_store import PostgresStore
from events.sqlite_store import SqliteStore
from events.store import Store
from settings import Settings
from tests import clusters, sharing, stuck
from tests.alone import Turn, brought_together
from tests.databases import ENGINES, Files, Server, Stores, set_clock
from tests.edges import app_of, give_back
from tests.tables import url_of

if TYPE_CHECKING:
    from tests.kit import Served

PASSWORD = "plum-violet-otter-93-lantern"
"""Of `admin` in every test service."""
VISIT = Visit(Presence("203.0.113.7", "test"), "AAAAAAAAAAAAAAAA", 0.0)
"""Somebody's request, where it does not matter whose."""
CHEAP = {"memory_kib": 64, "time_cost": 1}
"""argon2 parameters for tests that are not about its cost."""
MASTER_KEY = "1:" + sha256(b"a key of the tests").hexdigest()
"""Of every ledger on PostgreSQL, which cannot make its own."""


MEMORY = Path("/dev/shm")
ROOM = 4 * 1024**3
"""Bytes that must be free there, and of memory. A run needs less than a tenth."""


def pytest_configure() -> None:
    """Files of tests are kept in memory where there is room: most of a run was spent waiting for the disk.

    The benches and the crashes of PostgreSQL under load keep their place; nothing here tests the disk itself.
    """
    gc.disable()  # until all is collected: nothing of that goes away
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM or _free() < ROOM:
        return
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_collection_finish() -> None:
    """As the service does when it serves: a tenth of a run was looking through what stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 50, 50)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    brought_together(items)


TURN = Turn()
sharing.share()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """What measures time has the machine for itself."""
    TURN.take(item)
    try:
        with stuck.told(item.nodeid):
            return (yield)
    finally:
        TURN.give(nextitem)


def pytest_unconfigure() -> None:
    TURN.close()


def _free() -> int:
    told = dict(line.split(":") for line in Path("/proc/meminfo").read_text("utf-8").splitlines())
    return int(told["MemAvailable"].split()[0]) * 1024


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that asks for a ledger, by however many steps, once for each engine that it is about."""
    asked = metafunc.fixturenames
    if "engine_name" in asked:
        only = {"on_sqlite": ENGINES[:1], "on_postgresql": ENGINES[1:]}
        about = next((engines for fixture, engines in only.items() if fixture in asked), ENGINES)
        metafunc.parametrize("engine_name", about, scope="session")


class TestClock:
    """A clock that tests move: wall seconds since the epoch, and a monotonic one beside it."""

    __test__ = False

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self.wall_now = wall
        self.monotonic_now = 1_000.0
        self._ruled: list[Store] = []

    def pass_(self, seconds: float) -> None:
        """Let time pass on both."""
        self.monotonic_now += seconds
        self.step(seconds)

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP does."""
        self.wall_now += seconds
        for store in self._ruled:
            set_clock(store, self.wall_now)

    def rules(self, *stores: Store) -> None:
        """The databases of these ledgers go by this clock from now on."""
        self._ruled += stores
        self.step(0)

    def rules_service(self, service: app.Service) -> None:
        """A started service, and its database, go by this clock from now on."""
        service.writer._pace = Pace(self.clock)
        self.rules(service.store)

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.wall_now, lambda: self.monotonic_now)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Where SQLite files come from."""
    return Files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="session")
def empty_database(files: Files, on_sqlite: None) -> Path:
    """A migrated, empty SQLite file; copied, never used itself."""
    return files.template.database


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The PostgreSQL of this process' tests."""
    clusters.needed()
    with Server() as one:
        yield one


@pytest.fixture(scope="session")
def stores(engine_name: str, request: pytest.FixtureRequest) -> Stores:
    """Where ledgers on the engine come from, for fixtures that outlive a test."""
    return request.getfixturevalue("files" if engine_name == "sqlite" else "server")  # type: ignore[no-any-return]


Made = Callable[[Store], Store]


@pytest.fixture
def made(stores: Stores, tmp_path: Path) -> Iterator[Made]:
    """Notes a ledger that is to be gone after the test, before its folder is."""
    noted: list[Store] = []

    def note(store: Store) -> Store:
        noted.append(store)
        return store

    yield note
    for one in noted:
        stores.drop(one)


@pytest.fixture
def store(stores: Stores, made: Made, tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    """A migrated, empty ledger of this test's own. Where the test has a clock, its database goes by it."""
    own = made(stores.empty_at(tmp_path / "data" / "ledger.db") if isinstance(stores, Files) else stores.fresh())
    if "clock" in request.fixturenames:
        request.getfixturevalue("clock").rules(own)
    return own


@pytest.fixture
def sqlite_store(store: Store, on_sqlite: None) -> SqliteStore:
    """For tests about SQLite itself."""
    assert isinstance(store, SqliteStore)
    return store


@pytest.fixture
def postgres_store(store: Store, on_postgresql: None) -> PostgresStore:
    """For tests about PostgreSQL itself."""
    assert isinstance(store, PostgresStore)
    return store


@pytest.fixture(scope="session")
def on_sqlite(engine_name: str) -> None:
    """For tests about SQLite itself that make their ledger in another way."""
    assert engine_name == "sqlite"


@pytest.fixture(scope="session")
def on_postgresql(engine_name: str) -> None:
    """For tests about PostgreSQL itself that make their ledger in another way."""
    assert engine_name == "postgresql"


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
async def ledger(store: Store, clock: TestClock) -> AsyncIterator[Ledger]:
    """The real ledger on the real database, under the test's clock."""
    opened = Ledger(store.writer(clock.clock))
    yield opened
    await opened.close()


MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(store: Store, tmp_path: Path) -> MakeSettings:
    """Settings over this test's ledger; pass what differs by field name."""
    own = {} if isinstance(store, SqliteStore) else {"database_url": url_of(store), "master_key": MASTER_KEY}

    def make(**changes: object) -> Settings:
        given: dict[str, object] = own | {
            "data_dir": tmp_path / "data",
            "checkpoint_dir": tmp_path / "checkpoints",
            "admin_password": PASSWORD,
            "public_url": "https://ledger.test",
        }
        return Settings.model_validate(given | changes)

    return make


@asynccontextmanager
async def running(settings: Settings, hasher: Hasher | None = None) -> AsyncIterator[app.Service]:
    """A started service, stopped afterwards."""
    service = app.prepare(settings, hasher or Hasher(**CHEAP))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
        give_back(service)


@pytest.fixture
async def service(make_settings: MakeSettings) -> AsyncIterator[app.Service]:
    """The whole service, without a port."""
    async with running(make_settings()) as started:
        yield started


@asynccontextmanager
async def visiting(service: app.Service, **options: object) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client whose requests go through the edge, as a server would send them."""
    transport = httpx.ASGITransport(app_of(service), client=("203.0.113.7", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="https://ledger.test", **options) as client:  # type: ignore[arg-type]
        yield client


@pytest.fixture
async def http(service: app.Service) -> AsyncIterator[httpx.AsyncClient]:
    async with visiting(service) as client:
        yield client


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Served"]:
    """A service on a port, for all tests of resource servers and gateways together."""
    from tests.kit import Served

    made = Served(tmp_path_factory.mktemp("served"))
    with made.serving():
        yield made
