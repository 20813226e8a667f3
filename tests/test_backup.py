"""Backups by the programs that the pages name, word for word; and what a restored copy does before anybody says so."""

import asyncio
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from core.start import StartError
from events.sqlite_store import SqliteStore
from events.store import Store
from settings import Settings
from tests import clusters, tables
from tests.applications import Application, application, own_token
from tests.check import check, events_of
from tests.conftest import MakeSettings, running, visiting
from tests.processes import Ended, Place
from tests.visitors import bearer, code, refresh, sign_in

ROOT = Path(__file__).parent.parent
FEED = "/v1/revocations"
LATER = 3600.0
"""Seconds between the copy's last event and the last checkpoint: more than `LEDGER_MAX_LOSS`."""
PAUSE = 0.1
"""Seconds between two refreshes of one session: half as many as the limits let pass, however long the copy takes."""


def told_in(page: str, pattern: str) -> str:
    """A command as the page says it."""
    found = re.search(pattern, (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert found is not None, pattern
    return found[1]


class Backup:
    """How this engine's ledger is copied and restored."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store

    def take(self) -> None:
        """Beside the service."""
        if isinstance(self.store, SqliteStore):
            self._run(told_in("README.md", r'`(sqlite3 data/ledger\.db "\.backup copy\.db")`'))
        else:
            self._run(told_in("docs/postgresql.md", r"^(pg_dump .*)$"))

    def crash(self) -> None:
        """Note what a crash right now would leave beside the database."""
        if isinstance(self.store, SqliteStore):
            shutil.copy(self._wal, self.folder / "left")

    def restore(self) -> None:
        """After the service has crashed."""
        if isinstance(self.store, SqliteStore):
            shutil.copy(self.folder / "left", self._wal)
            self._run(told_in("README.md", r"`(cp copy\.db data/ledger\.db && [^`]*)`"))
        else:
            self._run(told_in("docs/postgresql.md", r"^(pg_restore .*?) +# services stopped$"))

    @property
    def _wal(self) -> Path:
        return self.folder / "data" / "ledger.db-wal"

    def _run(self, command: str) -> None:
        path, url = os.environ["PATH"], ""
        if not isinstance(self.store, SqliteStore):
            path, url = f"{clusters.programs()}:{path}", tables.dsn_of(self.store)
        given = {"PATH": path, "OWNER_URL": url}
        subprocess.run(["bash", "-euc", command], cwd=self.folder, env=given, check=True, capture_output=True)


@pytest.fixture
def backup(store: Store, tmp_path: Path) -> Backup:
    """In continuous integration, where its program is installed, a missing one is a failure."""
    missing = isinstance(store, SqliteStore) and shutil.which("sqlite3") is None
    if missing and os.environ.get("CI", "").lower() in {"", "0", "false"}:
        pytest.skip("no sqlite3 here (Debian: apt-get install sqlite3)")
    return Backup(tmp_path, store)


class Lived(NamedTuple):
    """What clients hold of a ledger that was copied and went on."""

    second: str
    """The token that was current when the copy was made."""
    third: str
    signed_out: str
    """Of a session that was signed out after the copy was made."""
    cursor: str
    """Of a feed, after the copy was made."""
    secret: str


async def cursor_of(http: httpx.AsyncClient, headers: dict[str, str]) -> str:
    found: str = (await http.get(FEED, headers=headers)).json()["cursor"]
    return found


@asynccontextmanager
async def refreshing(http: httpx.AsyncClient) -> AsyncIterator[None]:
    """Somebody else goes on meanwhile."""
    stop = asyncio.Event()

    async def on() -> None:
        token = (await sign_in(http))["refresh_token"]
        while not stop.is_set():
            token = (await refresh(http, token)).json()["refresh_token"]
            await asyncio.sleep(PAUSE)

    going = asyncio.create_task(on())
    yield
    stop.set()
    await going


async def lived(settings: Settings, backup: Backup) -> Lived:
    """A session is refreshed, the ledger is copied while others go on, and the session is refreshed again."""
    async with running(settings) as service, visiting(service) as http:
        orders = await application(service, "orders", scopes="revocations:read events:read", operator=1)
        other = await sign_in(http)
        second = (await refresh(http, (await sign_in(http))["refresh_token"])).json()
        async with refreshing(http):
            await asyncio.to_thread(backup.take)
            third = (await refresh(http, second["refresh_token"])).json()
        await http.post("/auth/logout", json={"refresh_token": other["refresh_token"]})
        cursor = await cursor_of(http, bearer(await own_token(http, orders)))
        backup.crash()
    now, newer, ended = (one["refresh_token"] for one in (second, third, other))
    return Lived(now, newer, ended, cursor, orders.secret)


def restored(settings: Settings, backup: Backup, *, later: float) -> None:
    """The copy in the ledger's place; the last checkpoint was signed so many seconds after its last event."""
    backup.restore()
    note = settings.checkpoint_dir / "checkpoint"
    last = events_of(backup.store)[-1].at / 1_000_000
    os.utime(note, (last + later, last + later))


def command(backup: Backup, *words: str) -> Ended:
    """The command line, as somebody types it beside the service's settings."""
    return Place(backup.folder, backup.store).run(*words)


async def gone(http: httpx.AsyncClient, lived: Lived) -> list[tuple[int, str]]:
    """What the feeds answer to a cursor of before."""
    headers = bearer(await own_token(http, Application("orders", lived.secret)))
    return [
        code(await http.get(feed, headers=headers, params={"after": lived.cursor})) for feed in (FEED, "/v1/events")
    ]


def names(store: Store) -> Counter[str]:
    return Counter(one.name for one in events_of(store))


async def test_a_copy_that_was_made_under_load_is_whole(make_settings: MakeSettings, backup: Backup) -> None:
    before = tables.schema(backup.store)
    await lived(make_settings(), backup)
    written = len(events_of(backup.store))
    restored(make_settings(), backup, later=LATER)

    found = events_of(backup.store)
    assert 5 < len(found) < written
    assert before == tables.schema(backup.store)
    verified = command(backup, "verify", "--no-checkpoint")
    assert (0, True) == (verified.status, f"{len(found)} events fit" in verified.out), verified
    check(backup.store)


async def test_an_older_copy_serves_after_it_was_recovered_and_not_before(
    make_settings: MakeSettings, backup: Backup
) -> None:
    settings = make_settings()
    held = await lived(settings, backup)
    restored(settings, backup, later=LATER)
    with pytest.raises(StartError, match=r"events are gone.*session-ledger recover"):
        async with running(settings):
            pass
    unproved, recovered = command(backup, "verify"), command(backup, "recover")
    async with running(settings) as service, visiting(service) as http:
        answers = [code(await refresh(http, token)) for token in (held.second, held.third, held.signed_out)]
        cursors = await gone(http, held)
        fresh = await refresh(http, (await sign_in(http))["refresh_token"])
    proved = command(backup, "verify")

    assert (1, 0, 0) == (unproved.status, recovered.status, proved.status), (unproved, recovered, proved)
    assert [(401, "session_revoked")] * 3 == answers
    assert [(410, "cursor_gone")] * 2 == cursors
    assert 200 == fresh.status_code
    assert 0 == names(backup.store)["token.reuse_detected"]


async def test_with_sessions_kept_a_newer_token_is_ahead_and_never_reused(
    make_settings: MakeSettings, backup: Backup
) -> None:
    settings = make_settings()
    held = await lived(settings, backup)
    restored(settings, backup, later=LATER)
    recovered = command(backup, "recover", "--keep-sessions")
    async with running(settings) as service, visiting(service) as http:
        ahead = code(await refresh(http, held.third))
        goes_on = await refresh(http, held.second)

    assert (0, "Sessions live on." in recovered.out) == (recovered.status, True), recovered
    assert (401, "refresh_refused") == ahead
    assert 200 == goes_on.status_code
    assert 0 == names(backup.store)["token.reuse_detected"]
    check(backup.store, settings.checkpoint_dir)


async def test_after_a_small_loss_it_goes_on_and_a_newer_token_is_ahead_and_never_reused(
    make_settings: MakeSettings, backup: Backup
) -> None:
    settings = make_settings()
    held = await lived(settings, backup)
    restored(settings, backup, later=5)
    async with running(settings) as service, visiting(service) as http:
        ahead = code(await refresh(http, held.third))
        goes_on = await refresh(http, held.second)
        cursors = await gone(http, held)

    assert (401, "refresh_refused") == ahead
    assert 200 == goes_on.status_code
    assert [(410, "cursor_gone")] * 2 == cursors
    assert (1, 0) == (names(backup.store)["ledger.recovered"], names(backup.store)["token.reuse_detected"])
    check(backup.store, settings.checkpoint_dir)
