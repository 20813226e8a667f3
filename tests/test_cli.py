"""The commands beside a running service: what they write stands at once, and everybody goes on."""

import asyncio
import base64
import json
import re
import shutil
import signal
import time
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

import settings
from events import ids
from events.history import Event
from events.private import Account, Context
from events.sqlite_store import SqliteStore
from events.store import Store
from events.subject import SubjectRolesChanged
from terminal import line
from tests import tables
from tests.chains import Holder, holders
from tests.conftest import MASTER_KEY, PASSWORD, Made
from tests.databases import Stores
from tests.processes import Child, Place, Terminal
from tests.tables import tampering, url_of

ALICE = "copper-walnut-64-sundial"
ROOT = Path(__file__).parent.parent
EXAMPLE = re.compile(r"Example: (LEDGER_\S+ )?session-ledger ")


@pytest.fixture
def place(tmp_path: Path, store: Store) -> Place:
    return Place(tmp_path, store, LEDGER_MASTER_KEY=MASTER_KEY)


@pytest.fixture(scope="session")
def served_once(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Place:
    """A ledger that was served once; copied, never used itself."""
    place = Place(tmp_path_factory.mktemp("served"), stores.fresh(), LEDGER_MASTER_KEY=MASTER_KEY)
    if isinstance(place.store, SqliteStore):
        place.settings["LEDGER_DATABASE_URL"] = url_of(place.store)
    with place.serving():
        pass
    return place


@pytest.fixture
def served(tmp_path: Path, served_once: Place, store: Store, stores: Stores) -> Place:
    """A ledger that was served once, and is not now."""
    stores.replace(store, served_once.store)
    shutil.copytree(served_once.folder / "checkpoints", tmp_path / "checkpoints")
    return Place(tmp_path, store, LEDGER_MASTER_KEY=MASTER_KEY)


@asynccontextmanager
async def load(place: Place, count: int = 4) -> AsyncIterator[list[Holder]]:
    """Clients that rotate all the while; none of them may be refused or stop until the block ends."""
    async with holders(place, count) as clients:
        going = [asyncio.create_task(one.go_on()) for one in clients]
        try:
            yield clients
            stopped = [one.family for one, task in zip(clients, going, strict=True) if task.done()]
        finally:
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)
        assert ([], []) == (stopped, [text for one in clients for text in one.refused])


async def command(place: Place, *arguments: str, typed: str = "") -> str:
    return await asyncio.to_thread(place.done, *arguments, typed=typed)


async def test_commands_write_beside_a_service_under_load(place: Place) -> None:
    with place.serving():
        async with load(place) as clients:
            await command(place, "user", "add", "alice", "--role", "viewer", "--password-stdin", typed=ALICE + "\n")
            await command(place, "user", "add", "bob", "--password-stdin", typed="a-" + ALICE + "\n")
            await command(place, "user", "roles", "bob", "responder")
            await command(place, "user", "disable", "bob", "--reason", "left")
            await command(place, "keys", "rotate", "--force")
            await command(place, "client", "disable", "dashboard")
            await command(place, "client", "enable", "dashboard")
            listed = await command(place, "user", "list")
            told = await command(place, "verify")
            await command(place, "rebuild")
            assert "fit" in told
        assert all(one.generation > 2 for one in clients)
        assert 200 == place.sign_in("alice", ALICE)
    assert ["admin", "alice", "bob"] == [row.split()[0] for row in listed.splitlines()]
    assert ["disabled", "responder"] == listed.splitlines()[2].split()[1:3]
    assert "fit" in place.done("verify")


async def test_a_revocation_is_seen_by_the_running_service_at_once(place: Place) -> None:
    with place.serving():
        async with holders(place, 2) as (one, other):
            arguments = ("revoke", one.family, "--reason", "stolen_token", "--ticket", "INC-4711", "--note", "by phone")
            told = await command(place, *arguments)
            again = await command(place, *arguments)
            assert not await one.rotate()
            assert await other.rotate()
            assert "session_revoked" in one.refused[0]
        row = place.done("events", "--family", one.family).splitlines()[-2]
    assert f"{one.family} is revoked.\n" == told
    assert f"{one.family} had ended before.\n" == again
    assert [] == [
        word
        for word in ("family.revoked", "admin", one.family, "by cli", "stolen_token", "INC-4711", "by phone")
        if word not in row
    ]


async def test_a_rotation_of_keys_is_followed_and_nobody_is_refused(place: Place) -> None:
    with place.serving():
        before = await signing_key(place)
        async with load(place):
            await command(place, "keys", "rotate", "--force")
            async with asyncio.timeout(10):
                while await signing_key(place) == before:
                    pass
    listed = [row.split()[:2] for row in place.done("keys", "list").splitlines()]
    assert ["retired", "active", "next"] == [status for _, status in listed]
    assert before == listed[0][0]


async def signing_key(place: Place) -> str:
    """The `kid` of an access token that was signed just now."""
    async with holders(place, 1) as (one,):
        answer = await one.http.post("/auth/refresh", json={"refresh_token": one.token})
    head = answer.json()["access_token"].partition(".")[0]
    found: str = json.loads(base64.urlsafe_b64decode(head + "=="))["kid"]
    return found


async def test_events_are_followed_as_they_happen(place: Place) -> None:
    with place.serving():
        following = place.start("events", "--follow", "--json", "--limit", "1")
        async with holders(place, 1) as (one,):
            await one.rotate()
        await asyncio.to_thread(wait_for, "token.rotated", following)
        following.signal(signal.SIGINT)
        ended = await asyncio.to_thread(following.ended)
    told = [json.loads(line) for line in ended.out.splitlines()]
    assert 0 == ended.status
    assert list(range(told[0]["position"], told[-1]["position"] + 1)) == [one["position"] for one in told]
    assert "token.rotated" == told[-1]["type"]
    assert {"ip": "127.0.0.1", "agent": told[-1]["context"]["agent"]} == told[-1]["context"]


def wait_for(words: str, child: Child) -> None:
    deadline = time.monotonic() + 10
    while words not in child.out and time.monotonic() < deadline:
        time.sleep(0.05)


async def test_a_rotated_session_reads_as_rows_of_one_story(place: Place) -> None:
    with place.serving():
        async with holders(place, 1) as (one,):
            first = one.token
            await one.rotate()
            await one.rotate()
            one.token = first
            assert not await one.rotate()
        rows = place.done("events", "--family", one.family).splitlines()
        newest = place.done("events", "--limit", "2").splitlines()
        ending = place.done("events", "--filter", "op:fail,revoke user:admin").splitlines()
        of_one = place.done("events", "--filter", "-op:revoke", "--family", one.family).splitlines()
        bounded = place.run("events", "--filter", "-type:token.rotated", "--json", "--limit", "1")
        mistyped = place.run("events", "--filter", "user:admni at:24h")
    kinds = ["token.issued", "token.rotated", "token.rotated", "token.reuse_detected", "family.revoked"]
    assert kinds == [row.split()[2] for row in rows]
    assert newest == rows[-2:] == ending
    assert rows[:-1] == of_one
    assert "Nothing bounds this search, so this was asked: -type:token.rotated at:24h\n" == bounded.err
    assert "family.revoked" == json.loads(bounded.out)["type"]
    assert ("", "Nobody has the login name admni today.\nNo event matches.\n") == (mistyped.out, mistyped.err)
    assert [] == [row for row in rows if "admin" not in row or "127.0.0.1" not in row or " by " not in row]
    assert "because of reuse" in rows[-1]


async def test_events_tell_no_secret(place: Place) -> None:
    with place.serving():
        async with holders(place, 1) as (one,):
            await one.rotate()
        told = place.done("events", "--json", "--limit", "1000") + place.done("events", "--limit", "1000")
    assert [] == [word for word in (PASSWORD, one.token, "argon2", MASTER_KEY[2:], 'wrapped"') if word in told]


@pytest.mark.parametrize(
    ("arguments", "typed", "words"),
    [
        (("user", "add", "admin", "--password-stdin"), ALICE, "already"),
        (("user", "add", "bob", "--password-stdin"), "short", "15 characters"),
        (("user", "add", " bob", "--password-stdin"), ALICE, "name"),
        (("user", "add", "bob"), "", "--password-stdin"),
        (("user", "add", "bob", "--role", "king", "--password-stdin"), ALICE, "king"),
        (("user", "disable", "charlie"), "", "no account charlie"),
        (("user", "password", "charlie", "--password-stdin"), ALICE, "no account charlie"),
        (("revoke", "fam_x", "--reason", "suspicious"), "", "fam_x"),
        (("migrate-data", "--from", "sqlite:///nope.db"), "", "check --from"),
        (("revoke", "fam_" + "a" * 26, "--reason", "suspicious"), "", "no family"),
        (("revoke", "fam_" + "a" * 26, "--reason", "whim"), "", "whim"),
        (("revoke", "fam_" + "a" * 26, "--reason", "left", "--ticket", "no spaces"), "", "ticket"),
        (("events", "--family", "admin"), "", "admin"),
        (
            ("events", "--filter", "at:2h usr:admin"),
            "",
            "\n      ^^^\nThere is no field `usr` for events. Did you mean `user:`?",
        ),
        (("client", "disable", "unheard"), "", "no client unheard"),
        (("keys", "rotate"), "", "--force"),
        (("user", "add", "bob", "--password", ALICE), "", "No such option"),
    ],
)
def test_what_cannot_be_done_says_why(served: Place, arguments: tuple[str, ...], typed: str, words: str) -> None:
    before = served.done("events", "--json")
    ended = served.run(*arguments, typed=typed + "\n")
    assert (2, "") == (ended.status, ended.out)
    assert words in ended.err
    assert [] == [word for word in ("Traceback", ALICE) if word in ended.err]
    assert before == served.done("events", "--json")


def test_a_row_names_the_staff_who_acted_and_says_that_no_role_is_left() -> None:
    staff, owner = (ids.to_text("sub", bytes(15) + bytes([last])) for last in (1, 2))
    fact = SubjectRolesChanged(actor=f"staff:{staff}", subject=owner, roles="")
    event = Event(7, bytes(16), 3, 0, fact, b"", Context(), Account())

    told = line.row(event, {staff: "alice", owner: "bob"})
    erased = line.row(event, {})

    assert "bob" in told
    assert told.endswith("  by staff:alice  roles none")
    assert f"by staff:{staff}" in erased


def test_whoever_takes_the_last_admin_away_is_told(served: Place) -> None:
    served.done("user", "add", "alice", "--role", "admin", "--password-stdin", typed=ALICE + "\n")
    first = served.run("user", "disable", "admin")
    last = served.run("user", "roles", "alice", "none")
    again = served.run("user", "roles", "alice", "admin")

    assert [(0, ""), (0, "")] == [(one.status, one.err) for one in (first, again)]
    assert 0 == last.status
    assert "Nobody who can sign in has the role admin" in last.err
    assert "session-ledger user roles NAME admin" in last.err


def test_accounts_are_changed_without_a_service(served: Place) -> None:
    served.done("user", "add", "alice", "--password-stdin", typed=ALICE + "\n")
    assert "none\n" == served.done("user", "roles", "alice")
    served.done("user", "roles", "alice", "viewer", "responder")
    assert "responder viewer\n" == served.done("user", "roles", "alice")
    served.done("user", "roles", "alice", "none")
    assert "none\n" == served.done("user", "roles", "alice")
    served.done("user", "disable", "alice")
    served.done("user", "enable", "alice")
    served.done("user", "password", "alice", "--password-stdin", typed="another-" + ALICE + "\r\n")
    with served.serving():
        assert 401 == served.sign_in("alice", ALICE)
        assert 200 == served.sign_in("alice", "another-" + ALICE)


def test_a_password_is_asked_twice_and_never_shown(served: Place) -> None:
    terminal = Terminal()
    asking = served.start("user", "add", "alice", terminal=terminal)
    terminal.shows("Password: ")
    terminal.types(ALICE + "\n")
    terminal.shows("confirmation: ")
    terminal.types(ALICE + "\n")
    shown = terminal.shows("Created alice.")
    asking.process.join()
    terminal.close()
    assert 0 == asking.process.exitcode
    assert ALICE not in shown
    assert "alice" in served.done("user", "list")


def test_commands_that_wrap_nothing_need_no_master_key(served: Place) -> None:
    without = Place(served.folder, served.store)
    without.settings.pop("LEDGER_MASTER_KEY", None)
    without.done("user", "add", "alice", "--password-stdin", typed=ALICE + "\n")
    assert "admin" in without.done("user", "list")
    assert "subject.registered" in without.done("events")
    told = without.run("verify")
    assert (0, True) == (told.status, "public key beside it" in told.err)
    assert 2 == without.run("keys", "rotate", "--force").status
    assert not (served.data / "master-key").exists()


def test_verify_names_the_position_that_was_changed(served: Place) -> None:
    with tampering(served.store) as file:
        ((body,),) = file.run("SELECT body FROM events WHERE position = 5")
        file.run("UPDATE events SET body = ? WHERE position = 5", bytes([body[0] ^ 1]) + body[1:])
    ended = served.run("verify")
    assert (1, "") == (ended.status, ended.out)
    assert ended.err.startswith("#5: ")
    assert "Traceback" not in ended.err
    refused = served.run("rebuild")
    assert (1, "") == (refused.status, refused.out)
    assert "session-ledger verify" in refused.err


def test_verify_notices_a_shorter_log_by_the_checkpoint(served: Place, stores: Stores, made: Made) -> None:
    older = made(stores.copy(served.store))
    served.done("user", "add", "alice", "--password-stdin", typed=ALICE + "\n")
    with served.serving():
        pass
    stores.replace(served.store, older)
    assert 1 == served.run("verify").status
    assert "fit" in served.done("verify", "--no-checkpoint")


def test_rebuild_puts_right_what_was_changed(served: Place) -> None:
    tables.rows(served.store, "UPDATE subjects SET roles = 'viewer'")
    assert 1 == served.run("verify").status
    assert "1 of the stored rows" in served.done("rebuild")
    assert "fit" in served.done("verify")
    assert "0 of the stored rows" in served.done("rebuild")


def test_a_checkpoint_that_was_touched_is_a_finding(served: Place) -> None:
    note = served.folder / "checkpoints" / "checkpoint"
    lines = note.read_text().splitlines(keepends=True)
    note.write_text("".join([lines[0], "3\n", *lines[2:]]))
    ended = served.run("verify")
    assert (1, "") == (ended.status, ended.out)
    assert "checkpoint is damaged" in ended.err


def test_verify_accepts_a_checkpoint_under_an_older_master_key(served: Place) -> None:
    both = "2:" + sha256(b"a newer key").hexdigest() + "," + MASTER_KEY
    assert "continues the checkpoint" in Place(served.folder, served.store, LEDGER_MASTER_KEY=both).done("verify")


def test_migrate_makes_a_folder_and_a_file_that_only_the_owner_reads(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert "now has the schema" in place.done("migrate")
    assert (0o700, 0o600) == (place.data.stat().st_mode & 0o777, place.database.stat().st_mode & 0o777)
    assert "already" in place.done("migrate")
    assert [] == list(place.data.glob("*-*.db"))


def test_every_command_explains_itself_with_an_example(place: Place) -> None:
    asked = [(), ("user",), ("subject",), ("keys",), ("client",), ("webhook",)]
    commands = {name: place.done(*name, "--help") for name in asked}
    listed = [(*name, one) for name, text in commands.items() for one in names_in(text)]
    silent = [" ".join(one) for one in listed if not EXAMPLE.search(help_of(place, one))]
    assert [] == silent
    assert len(listed) >= 20


def help_of(place: Place, name: tuple[str, ...]) -> str:
    return " ".join(place.done(*name, "--help").split())


def names_in(text: str) -> list[str]:
    commands = text.partition("Commands:\n")[2].partition("\n\n")[0]
    return [line.split()[0] for line in commands.splitlines() if line.startswith("  ") and line[2] != " "]


def test_the_version_is_that_of_the_project(place: Place) -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert stated == settings.VERSION
    assert stated in place.done("--version")
