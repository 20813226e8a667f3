"""What the tests share: real SQLite files, the real ledger over them, the real service behind an HTTP client."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

import app
from core.passwords import Hasher
from events import migrate, sqlite
from events.commit import Clock
from events.ledger import Ledger
from events.sqlite import SqliteWriter
from settings import Settings

PASSWORD = "plum-violet-otter-93-lantern"
"""Of `admin` in every test service."""
CHEAP = {"memory_kib": 64, "time_cost": 1}
"""argon2 parameters for tests that are not about its cost."""


class TestClock:
    """A clock that tests move: wall seconds since the epoch, and a monotonic one beside it."""

    __test__ = False

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self.wall_now = wall
        self.monotonic_now = 1_000.0

    def pass_(self, seconds: float) -> None:
        """Let time pass on both."""
        self.wall_now += seconds
        self.monotonic_now += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP does."""
        self.wall_now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.wall_now, lambda: self.monotonic_now)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database file; copied, never used itself."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    with sqlite.transaction(path) as connection:
        migrate.upgrade(connection)
    return path


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Path:
    """A migrated, empty database file of this test's own."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(empty_database, folder / "ledger.db")
    return folder / "ledger.db"


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
async def ledger(database: Path, clock: TestClock) -> AsyncIterator[Ledger]:
    """The real ledger on the real file, under the test's clock."""
    opened = Ledger(SqliteWriter(database, clock.clock))
    yield opened
    await opened.close()


MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeSettings:
    """Settings over this test's database; pass what differs by field name."""

    def make(**changes: object) -> Settings:
        given: dict[str, object] = {
            "data_dir": database.parent,
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


@pytest.fixture
async def service(make_settings: MakeSettings) -> AsyncIterator[app.Service]:
    """The whole service, without a port."""
    async with running(make_settings()) as started:
        yield started


@asynccontextmanager
async def visiting(service: app.Service, **options: object) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client whose requests go through the edge, as a server would send them."""
    transport = httpx.ASGITransport(app.create_app(service), client=("203.0.113.7", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="https://ledger.test", **options) as client:  # type: ignore[arg-type]
        yield client


@pytest.fixture
async def http(service: app.Service) -> AsyncIterator[httpx.AsyncClient]:
    async with visiting(service) as client:
        yield client
