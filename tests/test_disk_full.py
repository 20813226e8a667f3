"""A full disk, a file that is gone, a lock that is held: nothing is lost, nobody is signed out, it goes on afterwards.

Each fault is real where it can be made; a COMMIT that fails is made to fail in the driver's place. Files, their locks
and limits of pages are SQLite's; what befalls a server is made to happen to a real one elsewhere.
"""
# ruff: noqa: ASYNC221, ASYNC240 - files vanish and volumes are mounted between two commits, not beside them

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

import app
from core.token import Token
from core.verdict import Verdict
from events import schema, sqlite
from events.ledger import Ledger, Unavailable
from events.sqlite_hold import SqliteHold
from events.sqlite_store import SqliteStore
from events.writer import Writer
from tests import holders
from tests.check import check, events_of, family_rows
from tests.conftest import MakeSettings, running, visiting
from tests.visitors import refresh, sign_in


def engine_of(writer: Writer) -> Engine:
    assert isinstance(writer._hold, SqliteHold)
    return writer._hold._engine


def pragma_for(writer: Writer, pragma: str) -> Callable[[], None]:
    """Set a pragma on each new connection of the writer; answers how to stop that."""

    def apply(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA {pragma}")

    event.listen(engine_of(writer), "connect", apply)
    return lambda: event.remove(engine_of(writer), "connect", apply)


async def reconnect(writer: Writer) -> None:
    """Let the writer's next batch open a connection of its own."""

    def fail(_connection: Connection) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await writer.maintain(fail)


async def fill(writer: Writer) -> Callable[[], None]:
    """Let the database grow by a few pages more; answers how to free space."""
    pages = await writer.maintain(lambda c: int(c.exec_driver_sql("PRAGMA page_count").scalar_one()))
    free = pragma_for(writer, f"max_page_count={pages + 8}")
    await reconnect(writer)
    return free


@contextmanager
def ballast(folder: Path) -> Iterator[None]:
    """A file that takes all the space that is left on the volume."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    yield
    path.unlink()


def can_mount() -> bool:
    """Whether this machine lets us make a small volume."""
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount") is not None and _mounts()


def _mounts() -> bool:
    inside = "d=$(mktemp -d) && mount -t tmpfs -o size=64k none $d"
    return subprocess.run(["unshare", "-m", "sh", "-c", inside], capture_output=True, check=False).returncode == 0


@pytest.fixture
def volume(tmp_path: Path, empty_database: Path) -> Iterator[Path]:
    """A database on a volume of 2 MiB."""
    folder = tmp_path / "volume"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], check=True)
    shutil.copy(empty_database, folder / "ledger.db")
    yield folder / "ledger.db"
    subprocess.run(["umount", "--lazy", folder], check=True)


async def rotate_until_refused(http: httpx.AsyncClient, token: str) -> tuple[str, httpx.Response]:
    """Refresh as long as it works; the last good token and the first refusal."""
    for _ in range(500):
        answer = await refresh(http, token)
        if answer.status_code != 200:
            return token, answer
        token = answer.json()["refresh_token"]
    raise AssertionError("the disk never filled up")


async def test_a_full_disk_is_503_and_nothing_is_lost(
    make_settings: MakeSettings, on_sqlite: None, tmp_path: Path
) -> None:
    async with running(make_settings(rate_limits=False)) as service, visiting(service) as http:
        tokens = await sign_in(http)
        other = await sign_in(http)
        free = await fill(service.writer)
        last, refused = await rotate_until_refused(http, tokens["refresh_token"])
        logout = await http.post("/auth/logout", json={"refresh_token": other["refresh_token"]})
        me = await http.get("/auth/me", headers={"Authorization": f"Bearer {tokens['access_token']}"})

        free()
        await reconnect(service.writer)
        revoked = await http.post("/auth/logout", json={"refresh_token": other["refresh_token"]})
        after = await refresh(http, last)

    assert (503, "unavailable", "1") == (refused.status_code, refused.json()["code"], refused.headers["retry-after"])
    assert (503, 200) == (logout.status_code, me.status_code)
    assert (204, 200) == (revoked.status_code, after.status_code)
    check(service.store, tmp_path / "checkpoints")


if can_mount():

    async def test_a_full_volume_fails_the_batch_and_revoking_works_once_there_is_space(volume: Path) -> None:
        ledger = Ledger(SqliteStore(volume).writer())
        await holders.people(ledger)
        token, stolen = await holders.begin(ledger), await holders.begin(ledger)
        with ballast(volume.parent):
            token = await rotate_until_unavailable(ledger, token)
        revoked = await holders.revoke(ledger, stolen.family)
        after = await holders.refresh(ledger, token)
        await ledger.close()

        assert (Verdict.ENDED, Verdict.ROTATED) == (revoked.verdict, after.verdict)
        check(SqliteStore(volume))

    async def test_a_volume_that_became_read_only_is_unavailable_until_it_is_writable(volume: Path) -> None:
        ledger = Ledger(SqliteStore(volume).writer())
        await holders.people(ledger)
        token = await holders.begin(ledger)
        await ledger.close()
        subprocess.run(["mount", "-o", "remount,ro", volume.parent], check=True)
        again = Ledger(SqliteStore(volume).writer())
        with pytest.raises(Unavailable):
            await holders.refresh(again, token)
        subprocess.run(["mount", "-o", "remount,rw", volume.parent], check=True)
        after = await holders.refresh(again, token)
        await again.close()

        assert Verdict.ROTATED is after.verdict
        check(SqliteStore(volume))


@pytest.fixture
def database(sqlite_store: SqliteStore) -> Path:
    return sqlite_store.database


@pytest.fixture
def writer(sqlite_store: SqliteStore) -> Writer:
    return sqlite_store.writer()


@pytest.fixture
async def ledger(writer: Writer, sqlite_store: SqliteStore) -> AsyncIterator[Ledger]:
    """A ledger with its people, and checked after the test."""
    opened = Ledger(writer)
    await holders.people(opened)
    yield opened
    await opened.close()
    check(sqlite_store)


@pytest.fixture
async def token(ledger: Ledger) -> Token:
    return await holders.begin(ledger)


async def rotate_until_unavailable(ledger: Ledger, token: Token) -> Token:
    """Refresh as long as it works; the last good token."""
    for _ in range(2000):
        try:
            token = holders.successor(token, await holders.refresh(ledger, token))
        except Unavailable:
            return token
    raise AssertionError("the disk never filled up")


async def goes_on(ledger: Ledger, token: Token) -> bool:
    return (await holders.refresh(ledger, token)).verdict is Verdict.ROTATED


async def test_a_full_disk_leaves_no_half_a_batch(ledger: Ledger, writer: Writer, token: Token) -> None:
    free = await fill(writer)
    token = await rotate_until_unavailable(ledger, token)
    with pytest.raises(Unavailable):
        await holders.revoke(ledger, token.family)
    free()

    assert await goes_on(ledger, token)


async def test_a_file_that_may_only_be_read_is_unavailable(ledger: Ledger, writer: Writer, token: Token) -> None:
    writable = pragma_for(writer, "query_only=ON")
    await reconnect(writer)
    with pytest.raises(Unavailable):
        await holders.refresh(ledger, token)
    with pytest.raises(Unavailable):
        await ledger.probe()
    writable()

    assert await goes_on(ledger, token)


async def test_a_file_that_was_moved_away_is_not_written_to(ledger: Ledger, database: Path, token: Token) -> None:
    aside = database.rename(database.with_name("aside"))
    with pytest.raises(Unavailable):
        await holders.refresh(ledger, token)
    with pytest.raises(Unavailable):
        await ledger.probe()
    assert not database.exists()
    aside.rename(database)

    assert await goes_on(ledger, token)


@pytest.mark.parametrize("content", [b"", b"garbage" * 4096])
async def test_another_file_in_its_place_is_not_written_to(
    content: bytes, ledger: Ledger, database: Path, token: Token
) -> None:
    before = len(events_of(SqliteStore(database)))
    aside = database.rename(database.with_name("aside"))
    database.write_bytes(content)
    with pytest.raises(Unavailable):
        await holders.refresh(ledger, token)
    assert content == database.read_bytes()
    aside.rename(database)

    assert before == len(events_of(SqliteStore(database)))
    assert await goes_on(ledger, token)


async def test_an_older_copy_in_its_place_is_not_taken_into_use(ledger: Ledger, database: Path, token: Token) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM INTO ?", (str(database.with_name("copy")),))
    successor = holders.successor(token, await holders.refresh(ledger, token))
    aside = database.rename(database.with_name("aside"))
    database.with_name("copy").rename(database)
    with pytest.raises(Unavailable):
        await holders.refresh(ledger, successor)
    aside.rename(database)

    assert await goes_on(ledger, successor)


async def test_a_file_of_garbage_is_unavailable_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"garbage" * 4096)
    broken = Ledger(SqliteStore(path).writer())
    with pytest.raises(Unavailable):
        await holders.people(broken)
    await broken.close()

    assert b"garbage" * 4096 == path.read_bytes()


@contextmanager
def held_by_another_process(path: Path) -> Iterator[None]:
    """The ledger's lock, held by somebody else."""
    code = "import fcntl,sys; f=open(sys.argv[1],'a'); fcntl.flock(f,fcntl.LOCK_EX); print('held',flush=True); input()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert "held\n" == holder.stdout.readline()
        yield
        holder.communicate("\n")


async def test_a_lock_that_another_process_keeps_is_unavailable_until_it_is_free(
    ledger: Ledger, database: Path, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "file_lock", partial(sqlite.file_lock, wait=0.2))
    with held_by_another_process(sqlite.lock_path(database)), pytest.raises(Unavailable):
        await holders.refresh(ledger, token)

    assert await goes_on(ledger, token)


async def test_a_lock_that_is_given_back_in_time_is_waited_for(ledger: Ledger, database: Path, token: Token) -> None:
    with held_by_another_process(sqlite.lock_path(database)):
        pass

    assert await goes_on(ledger, token)


async def test_a_program_that_locks_the_database_itself_is_waited_out(
    ledger: Ledger, writer: Writer, database: Path, token: Token
) -> None:
    impatient = pragma_for(writer, "busy_timeout=50")
    await reconnect(writer)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            await holders.refresh(ledger, token)
        other.execute("ROLLBACK")
    impatient()

    assert await goes_on(ledger, token)


def failing_commits(writer: Writer, reason: str, *, really: bool) -> list[str]:
    """Let the next COMMIT fail, before or after it took place; answers a list of those that failed."""
    failed: list[str] = []

    def fail(connection: Connection) -> None:
        if not failed:
            failed.append(reason)
            if really:
                connection.exec_driver_sql("COMMIT")
            raise OperationalError("COMMIT", None, sqlite3.OperationalError(reason))

    event.listen(engine_of(writer), "commit", fail)
    return failed


@pytest.mark.parametrize("leeway", [10, 0])
@pytest.mark.parametrize("reason", ["disk I/O error", "database is locked"])
async def test_a_commit_that_failed_and_yet_took_place_is_answered_with_what_it_decided(
    reason: str, leeway: int, ledger: Ledger, writer: Writer, database: Path, token: Token
) -> None:
    policy = holders.DEFAULTS._replace(leeway=leeway)
    before = len(events_of(SqliteStore(database)))
    failed = failing_commits(writer, reason, really=True)
    answer = await holders.refresh(ledger, token, policy)

    assert ([reason], Verdict.ROTATED, before + 1) == (failed, answer.verdict, len(events_of(SqliteStore(database))))
    assert (await holders.refresh(ledger, holders.successor(token, answer), policy)).verdict is Verdict.ROTATED


@pytest.mark.parametrize("leeway", [10, 0])
async def test_a_commit_that_failed_by_a_lock_is_decided_again_and_written_once(
    leeway: int, ledger: Ledger, writer: Writer, database: Path, token: Token
) -> None:
    policy = holders.DEFAULTS._replace(leeway=leeway)
    before = len(events_of(SqliteStore(database)))
    failing_commits(writer, "database is locked", really=False)
    answer = await holders.refresh(ledger, token, policy)

    assert (Verdict.ROTATED, before + 1) == (answer.verdict, len(events_of(SqliteStore(database))))


@pytest.mark.parametrize("leeway", [10, 0])
async def test_a_commit_that_failed_for_good_used_nothing_up(
    leeway: int, ledger: Ledger, writer: Writer, database: Path, token: Token
) -> None:
    policy = holders.DEFAULTS._replace(leeway=leeway)
    before = len(events_of(SqliteStore(database)))
    failing_commits(writer, "disk I/O error", really=False)
    with pytest.raises(Unavailable):
        await holders.refresh(ledger, token, policy)

    assert before == len(events_of(SqliteStore(database)))
    assert (await holders.refresh(ledger, token, policy)).verdict is Verdict.ROTATED


async def test_a_commit_that_cannot_be_settled_is_unavailable_and_its_retry_gets_the_same_successor(
    ledger: Ledger, writer: Writer, database: Path, token: Token
) -> None:
    aside = database.with_name("aside")

    def vanish(connection: Connection) -> None:
        if not aside.exists():
            connection.exec_driver_sql("COMMIT")
            database.rename(aside)
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("database is locked"))

    event.listen(engine_of(writer), "commit", vanish)
    with pytest.raises(Unavailable):
        await holders.refresh(ledger, token)
    event.remove(engine_of(writer), "commit", vanish)
    aside.rename(database)
    retried = await holders.refresh(ledger, token)

    assert (Verdict.RETRIED, 2) == (retried.verdict, family_rows(SqliteStore(database))[token.family].generation)


async def test_a_checkpoint_folder_that_cannot_be_written_costs_no_refresh(
    service: app.Service, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    tokens = await sign_in(http)
    folder = tmp_path / "checkpoints"
    shutil.rmtree(folder)
    folder.write_text("in the way")
    with pytest.raises(OSError, match="checkpoints"):
        await service.checkpointing.run()
    answer = await refresh(http, tokens["refresh_token"])
    folder.unlink()
    await service.checkpointing.run()

    assert 200 == answer.status_code
    assert (folder / "checkpoint").exists()


async def test_upkeep_that_fails_leaves_nothing_and_no_open_transaction(
    ledger: Ledger, writer: Writer, token: Token
) -> None:
    def half(connection: Connection) -> None:
        connection.execute(schema.event_private.delete())
        raise ValueError("half done")

    with pytest.raises(ValueError, match="half done"):
        await writer.maintain(half)

    assert await goes_on(ledger, token)
