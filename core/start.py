"""What happens before the first request: the master key, the log's beginning, clients, keys, the first admin."""

import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from core import log
from core.clients import Clients
from core.keys import Keys
from core.master import MasterKeys, generate
from core.recovery import new_origin
from core.subjects import Subjects, WeakPassword, initial_password
from events.client import OBSERVE, Client
from events.decision import Streams
from events.ledger import Ledger
from events.log import STREAM

ADMIN = "admin"
KEY_FILE = "master-key"
PASSWORD_FILE = "admin-password"  # noqa: S105 - a file's name


class StartError(Exception):
    """Why the service cannot start, as one sentence that says what to do."""


class FirstAdmin(NamedTuple):
    """The account that was just made, and its password where we made that too."""

    name: str
    password: str | None

    def __repr__(self) -> str:
        return f"FirstAdmin(name={self.name!r})"


def own_master_key(folder: Path, *, empty: bool) -> tuple[str, bool]:
    """The key in `DATA_DIR/master-key`, made now for an empty ledger; and whether it was made. Raises StartError."""
    path = folder / KEY_FILE
    if path.exists():
        return path.read_text("utf-8").strip(), False
    if not empty:
        raise StartError(
            "This ledger was begun with a master key that is not here: set LEDGER_MASTER_KEY or LEDGER_MASTER_KEY_FILE "
            f"to it, or put the file {KEY_FILE} back into {folder}."
        )
    text = generate(secrets.token_bytes(32))
    # If we crash after this line, the next start finds the key: it is on disk before anything depends on it.
    write_secret(path, text)
    return text, True


def parse_master_key(text: str) -> MasterKeys:
    """The keys. Raises StartError without any part of them."""
    try:
        return MasterKeys.parse(text)
    except ValueError as error:
        raise StartError(f"The master key cannot be used: {error}") from None


def unknown_keys(master: MasterKeys, known: Mapping[int, str]) -> dict[int, str]:
    """Check values of keys that this ledger has not been used with yet. Raises StartError for a key that is not its."""
    new: dict[int, str] = {}
    for number in master.numbers:
        check = master.check_value(number) or ""
        if number in known and known[number] != check:
            raise StartError(
                f"Master key {number} is not the key {number} that this ledger was begun with: set LEDGER_MASTER_KEY "
                "to that one, or give a new key a number of its own and put it first."
            )
        if number not in known:
            new[number] = check
    if known and not set(known) & set(master.numbers):
        raise StartError(
            "None of the master keys is known to this ledger: put the one that it was begun with behind the new one."
        )
    return new


async def begin(ledger: Ledger, clients: Clients, keys: Keys) -> str:
    """First event, built-in clients, signing keys; each only where it is not there yet. Answers the log's name."""
    origin: str = await ledger.submit(Streams(logs=frozenset((STREAM,))), log.start(new_origin()))
    await clients.ensure()
    await keys.ensure()
    return origin


def warn_of_countries(clients: Iterable[Client], *, known: bool) -> None:
    """Say it loudly where a policy about countries can never apply."""
    waiting = [one.client for one in clients if one.on_country_change != OBSERVE]
    if waiting and not known:
        structlog.get_logger().warning("no_database_of_countries", setting="LEDGER_GEO_DATABASES", clients=waiting)


async def check_first_password(subjects: Subjects, given: str | None) -> None:
    """Refuse a weak password for the first account before anything is written. Raises StartError, which tells why."""
    if given is None or await subjects.reader.page(limit=1):
        return
    try:
        subjects.checked(given, ADMIN)
    except WeakPassword as error:
        why = str(error).partition(". ")[0]
        raise StartError(f"LEDGER_ADMIN_PASSWORD cannot be used: {why[0].lower()}{why[1:]}") from None


async def first_admin(subjects: Subjects, given: str | None, folder: Path, *, terminal: bool) -> FirstAdmin | None:
    """Make the account `admin` in a ledger that has no account yet; a given password was checked before.

    A password that we made goes to the terminal, or to a file that its first use deletes. The file is written first:
    if we crash between the two, there is a file without an account, and the next start writes another.
    """
    if await subjects.reader.page(limit=1):
        return None
    made = None if given else initial_password()
    if made is not None and not terminal:
        write_secret(folder / PASSWORD_FILE, made)
    await subjects.register(ADMIN, given or made or "", "admin", "system")
    return FirstAdmin(ADMIN, made)


def how_to_sign_in(made: FirstAdmin | None, folder: Path, *, terminal: bool) -> str:
    """One sentence after a start, empty once the first password was used. Holds a password only for a terminal."""
    file = folder.absolute() / PASSWORD_FILE
    if made is None:
        return f"Sign in as {ADMIN} with the password in {file}; its first use deletes it." if file.exists() else ""
    if made.password is None:
        return f"Sign in as {ADMIN} with the password in LEDGER_ADMIN_PASSWORD."
    if terminal:
        return f"Sign in as {ADMIN} with the password {made.password} (it is shown only now)."
    return f"Sign in as {ADMIN} with the password in {file}; its first use deletes it."


def forget_password_file(folder: Path) -> None:
    """Delete the initial password after its first use."""
    (folder / PASSWORD_FILE).unlink(missing_ok=True)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
