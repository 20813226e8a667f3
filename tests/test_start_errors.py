"""Every way in which a start can fail: one sentence that says what to do, status 2, no traceback, no secret.

Settings, folders, files and their locks are tried on SQLite, which alone has such files.
"""

import os
import socket
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from structlog.testing import capture_logs

from core import checks
from core.start import StartError
from events import migrate, sqlite
from events.sqlite_store import SqliteStore
from events.store import Store
from terminal import faults
from tests import tables
from tests.conftest import MASTER_KEY, PASSWORD, Made, MakeSettings, running
from tests.databases import Server, Stores
from tests.processes import Ended, Place

OTHER_KEY = "1:" + sha256(b"another key").hexdigest()
WEAK = "session-ledger-2026"


@pytest.fixture
def place(tmp_path: Path, sqlite_store: SqliteStore) -> Place:
    """A migrated, empty ledger in a file."""
    return Place(tmp_path, LEDGER_MASTER_KEY=MASTER_KEY)


@pytest.fixture
def either(tmp_path: Path, store: Store) -> Place:
    """A migrated, empty ledger on either engine."""
    return Place(tmp_path, store, LEDGER_MASTER_KEY=MASTER_KEY)


def is_refused(ended: Ended, *words: str) -> None:
    sentence = ended.err.strip()
    assert ended.status == 2, ended
    assert ended.out == ""
    assert [] == [word for word in words if word not in sentence], sentence
    assert sentence.endswith((".", "?")), sentence
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    assert [] == [one for one in (PASSWORD, WEAK, MASTER_KEY[2:], OTHER_KEY[2:], "zz" * 32) if one in sentence]


@pytest.mark.parametrize(
    ("setting", "text", "words"),
    [
        ("LEDGER_PROT", "9000", ("LEDGER_PROT", "did you mean LEDGER_PORT?")),
        ("LEDGER_PORT", "many", ("LEDGER_PORT", "whole number")),
        ("LEDGER_PORT", "", ("LEDGER_PORT", "empty")),
        ("LEDGER_PUBLIC_URL", "http://login.example.com", ("LEDGER_PUBLIC_URL", "https://")),
        ("LEDGER_WORKERS", "2", ("LEDGER_WORKERS", "SQLite")),
        ("LEDGER_MASTER_KEY", "zz" * 32, ("master key", "64 hex digits")),
        ("LEDGER_MASTER_KEY", "00" * 32, ("master key", "not random")),
        ("LEDGER_MASTER_KEY_FILE", "/nowhere", ("LEDGER_MASTER_KEY",)),
        ("LEDGER_ADMIN_PASSWORD", WEAK, ("LEDGER_ADMIN_PASSWORD",)),
        ("LEDGER_ADMIN_PASSWORD", "short", ("LEDGER_ADMIN_PASSWORD", "15 characters")),
        ("LEDGER_HOST", "203.0.113.9", ("203.0.113.9", "LEDGER_HOST")),
        ("LEDGER_HOST", "no.such.host.invalid", ("LEDGER_HOST", "no.such.host.invalid")),
        ("LEDGER_DATA_DIR", "elsewhere", ("elsewhere", "session-ledger migrate")),
        ("LEDGER_CHECKPOINT_DIR", "/proc/checkpoints", ("/proc/checkpoints", "LEDGER_CHECKPOINT_DIR")),
        ("LEDGER_CHECKPOINT_DIR", "data/inside", ("LEDGER_CHECKPOINT_DIR", "LEDGER_DATA_DIR")),
    ],
)
def test_a_wrong_setting_is_one_sentence(place: Place, setting: str, text: str, words: tuple[str, ...]) -> None:
    is_refused(place.run("serve", **{setting: text}), *words)


@pytest.mark.parametrize("setting", ["LEDGER_PORT", "LEDGER_METRICS_PORT"])
def test_a_port_in_use_is_one_sentence(place: Place, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        is_refused(place.run("serve", **{setting: port}), port, "in use", setting)


@pytest.mark.parametrize("command", ["serve", "migrate", "events", "verify"])
def test_a_file_in_the_place_of_the_data_folder_is_one_sentence(place: Place, command: str) -> None:
    (place.folder / "file").write_text("")
    is_refused(place.run(command, LEDGER_DATA_DIR="file"), "file")


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_data_folder_that_cannot_be_written_is_one_sentence(place: Place, command: str) -> None:
    is_refused(place.run(command, LEDGER_DATA_DIR="/proc/self"), "/proc/self")


@pytest.mark.parametrize("command", ["serve", "migrate", "events", "verify", "rebuild"])
def test_a_file_that_is_no_database_is_one_sentence(place: Place, command: str) -> None:
    place.database.write_bytes(b"anything but a database, and long enough to tell" * 100)
    is_refused(place.run(command), "no SQLite file")


@pytest.mark.parametrize("command", ["serve", "events", "verify", "rebuild"])
def test_a_missing_schema_is_one_sentence(place: Place, command: str) -> None:
    place.database.write_bytes(b"")
    is_refused(place.run(command), "no schema", "session-ledger migrate")


@pytest.mark.parametrize("command", ["serve", "events", "verify", "rebuild"])
def test_a_missing_schema_on_a_server_is_one_sentence(
    tmp_path: Path, server: Server, made: Made, on_postgresql: None, command: str
) -> None:
    place = Place(tmp_path, made(server.blank()), LEDGER_MASTER_KEY=MASTER_KEY)
    is_refused(place.run(command), "no schema", "session-ledger migrate")


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_schema_of_a_later_version_is_one_sentence(either: Place, command: str) -> None:
    tables.rows(either.store, "UPDATE alembic_version SET version_num = '9999'")
    is_refused(either.run(command), "9999", "newer")


def test_a_database_of_something_else_is_left_alone(either: Place) -> None:
    for name in tables.names(either.store):
        tables.rows(either.store, f"DROP TABLE {name}")
    tables.rows(either.store, "CREATE TABLE cats (name text)")
    before = tables.schema(either.store)
    is_refused(either.run("migrate"), "something else")
    assert before == tables.schema(either.store)
    assert ["cats"] == tables.names(either.store)


def test_a_ledger_that_was_never_served_takes_no_commands(either: Place) -> None:
    is_refused(
        either.run("user", "add", "alice", "--password-stdin", typed="a-good-one-91-lantern\n"), "empty", "serve"
    )


def test_an_old_schema_is_refused_by_serve_and_copied_aside_by_migrate(
    sqlite_store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version of tomorrow is put beside today's, and Alembic is pointed at both."""
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    ours = Path(migrate.__file__).parent / "migrations"
    for path in [ours / "env.py", *(ours / "versions").glob("*.py")]:
        (tmp_path / "migrations" / path.relative_to(ours)).write_text(path.read_text())
    today = migrate.newest()
    (versions / "tomorrow.py").write_text(
        f"from alembic import op\nrevision, down_revision = 'tomorrow', '{today}'\n"
        "def upgrade():\n    op.get_bind().exec_driver_sql('CREATE TABLE tomorrow (a)')\n"
    )
    config = migrate._config()
    config.set_main_option("script_location", str(tmp_path / "migrations"))
    monkeypatch.setattr(migrate, "_config", lambda: config)

    with pytest.raises(StartError, match=f"{today} and this version needs tomorrow: run session-ledger migrate"):
        checks.ledger(sqlite_store)
    done = migrate.bring_up(sqlite_store)

    assert (today, "tomorrow") == (done.before, done.after)
    assert done.copy is not None
    assert 0o600 == done.copy.stat().st_mode & 0o777
    with closing(sqlite3.connect(done.copy)) as copy:
        assert (today,) == copy.execute("SELECT version_num FROM alembic_version").fetchone()
    assert migrate.Upgrade("tomorrow", "tomorrow", None) == migrate.bring_up(sqlite_store)
    assert 1 == len(list(sqlite_store.database.parent.glob("ledger-*")))


def test_a_missing_or_wrong_master_key_of_a_ledger_in_use_is_one_sentence(either: Place) -> None:
    place = either
    with place.serving():
        pass
    is_refused(place.run("serve", LEDGER_MASTER_KEY=None), "master key", "LEDGER_MASTER_KEY", "master-key")
    is_refused(place.run("serve", LEDGER_MASTER_KEY=OTHER_KEY), "Master key 1 is not", "LEDGER_MASTER_KEY")
    is_refused(place.run("serve", LEDGER_MASTER_KEY="2" + OTHER_KEY[1:]), "None of the master keys")
    is_refused(place.run("keys", "rotate", LEDGER_MASTER_KEY=OTHER_KEY), "Master key 1 is not")
    assert not (place.data / "master-key").exists()


def test_a_second_service_is_refused_and_the_first_goes_on(place: Place) -> None:
    with place.serving() as first:
        is_refused(
            place.run("serve", LEDGER_PORT=str(place.port + 1)), "Another session-ledger", str(first.process.pid)
        )
        assert first.running


def test_a_ledger_behind_its_checkpoint_is_not_served(either: Place, stores: Stores, made: Made) -> None:
    with either.serving():
        pass
    stores.replace(either.store, made(stores.fresh()))
    is_refused(either.run("serve"), "checkpoint")


if os.geteuid() != 0:  # root may write everywhere; for root there are the two tests of folders that cannot exist

    def test_a_folder_without_permission_is_one_sentence(place: Place) -> None:
        place.data.chmod(0o500)
        is_refused(place.run("serve"), "LEDGER_DATA_DIR", "permission")


def test_faults_of_the_machine_are_sentences(tmp_path: Path) -> None:
    """Real ones: a full database, one that another connection has locked, a read-only one, and the system's own."""
    engine = create_engine(f"sqlite:///{tmp_path / 'full.db'}", connect_args={"timeout": 0})
    with engine.connect() as connection, engine.connect() as other:
        connection.exec_driver_sql("CREATE TABLE some (thing)")
        connection.exec_driver_sql("PRAGMA max_page_count = 2")
        assert "disk is full" in told(connection, "INSERT INTO some VALUES (zeroblob(100000))")
        connection.rollback()
        other.exec_driver_sql("BEGIN EXCLUSIVE")
        assert "locked" in told(connection, "INSERT INTO some VALUES (1)")
        other.rollback()
        connection.exec_driver_sql("PRAGMA query_only = ON")
        assert "cannot be written" in told(connection, "INSERT INTO some VALUES (1)")
        assert "lacks a table" in told(connection, "SELECT secret FROM other_things")
    with (
        sqlite.file_lock(tmp_path / "lock"),
        pytest.raises(sqlite.Locked) as held,
        sqlite.file_lock(tmp_path / "lock", 0),
    ):
        pass
    assert "Another process" in faults.sentence(held.value)
    with pytest.raises(FileNotFoundError) as missing:
        (tmp_path / "no" / "file").read_text()
    assert f"{tmp_path}/no/file cannot be used: no such file or directory." == faults.sentence(missing.value)


def told(connection: Connection, statement: str) -> str:
    with pytest.raises(SQLAlchemyError) as caught:
        connection.exec_driver_sql(statement)
    sentence = faults.sentence(caught.value)
    assert "secret" not in sentence
    return sentence


def test_an_old_schema_is_not_changed_under_a_running_service(place: Place) -> None:
    with place.serving(), closing(sqlite3.connect(place.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
        connection.commit()
        is_refused(place.run("migrate"), "Another session-ledger", "stop")
        connection.execute("UPDATE alembic_version SET version_num = ?", (migrate.newest(),))
        connection.commit()


def test_a_restored_copy_is_refused_until_it_is_recovered_on_the_command_line(
    either: Place, stores: Stores, made: Made
) -> None:
    place = either
    with place.serving():
        pass
    copy = made(stores.copy(place.store))
    with place.serving():
        assert place.sign_in("admin", PASSWORD) == 200
    stores.replace(place.store, copy)
    note = place.folder / "checkpoints" / "checkpoint"
    os.utime(note, (0, note.stat().st_mtime + 3600))

    is_refused(place.run("serve"), "session-ledger recover")
    told = place.done("recover")
    with place.serving():
        assert place.sign_in("admin", PASSWORD) == 200

    assert "Every session that began before has ended." in told
    assert "events fit" in place.done("verify")


async def test_a_master_key_that_every_user_of_the_machine_can_read_is_told_in_the_log(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    file = tmp_path / "data" / "master-key"
    file.parent.mkdir(exist_ok=True)
    file.write_text(MASTER_KEY)

    told = {}
    for mode in (0o600, 0o640, 0o644):
        file.chmod(mode)
        with capture_logs() as lines:
            async with running(make_settings()):
                pass
        told[mode] = [line for line in lines if line["event"] == "secret_readable_by_all"]

    assert [[], []] == [told[0o600], told[0o640]]
    assert [(str(file), "warning")] == [(line["file"], line["log_level"]) for line in told[0o644]]
    assert MASTER_KEY not in str(told)
