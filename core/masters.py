"""The master keys of a ledger: whether those that are given are its own, and which one signs. The keys: master.py."""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from core import start
from core.key_source import Source
from core.master import MasterKeys
from core.start import StartError
from events import families, heads, processes
from events.erased import ErasedList
from events.processes import Signing
from events.sqlite_store import SqliteStore
from events.store import Store


class _Known(NamedTuple):
    """What a ledger says of its master keys."""

    size: int
    checks: dict[int, str]
    signing: Signing


def fitting(store: Store, folder: Path, source: Source | None) -> MasterKeys:
    """The keys of this source, or else of the file in `folder`, which an empty SQLite ledger gets. Raises StartError.

    Keys that the ledger has not been used with yet are noted in it, so that a wrong one is noticed at the next start.
    The key that signs is the one that all processes agreed on, see `core/agreement.py`.
    """
    found = store.read(_known)
    if source is None:
        if not isinstance(store, SqliteStore) and not found.checks:
            raise StartError(
                "A ledger on PostgreSQL is begun with a key that all its services share: set LEDGER_MASTER_KEY, "
                "LEDGER_MASTER_KEY_FILE or LEDGER_MASTER_KEY_FROM, to 1: and what `openssl rand -hex 32` prints."
            )
        text, _made = start.own_master_key(folder, empty=found.size == 0 and not found.checks)
    else:
        text = source.read()
    master = start.parse_master_key(text)
    note(store, master, found.checks)
    if found.signing.number in master.numbers:
        master.sign_with(found.signing.number)
    return master


def note(store: Store, master: MasterKeys, known: dict[int, str] | None = None) -> None:
    """Note what the ledger does not know yet of these keys. Raises StartError for a key that is not its."""
    new = start.unknown_keys(master, store.read(heads.key_checks) if known is None else known)
    if new:
        store.transact(lambda connection: heads.add_key_checks(connection, new))


def demand_all(store: Store, master: MasterKeys, now: int) -> None:
    """Refuse keys without which somebody would be signed out: families stand under one that is not here.

    `now` in microseconds. Raises StartError.
    """

    def left_behind(connection: Connection) -> int | None:
        missing = {*heads.key_checks(connection)} - {*master.numbers}
        return families.left_behind(connection, missing, now) if missing else None

    left = store.read(left_behind)
    if left is not None:
        raise StartError(
            f"Sessions stand under master key {left}, which is not here: put it behind the others until session-ledger "
            f"keys master says that it may go, or end them with session-ledger keys rotate --refresh --now --number "
            f"{left}."
        )


def erased_list(folder: Path, master: MasterKeys) -> ErasedList:
    """The list of the erased in the folder of checkpoints, for who has the keys."""
    return ErasedList(folder, erased_keys(master))


def erased_keys(master: MasterKeys) -> dict[int, bytes]:
    """Those that vouch for the list of the erased, the one that signs first."""
    order = sorted(master.numbers, key=lambda number: number != master.current)
    return {number: master.erased_key(number) or b"" for number in order}


def at_hand(folder: Path, source: Source | None) -> MasterKeys | None:
    """The keys of this source, or else of the file in `folder`, if there is one; writes nothing. Raises StartError."""
    file = folder / start.KEY_FILE
    if source is None and not file.exists():
        return None
    return start.parse_master_key(source.read() if source else file.read_text("utf-8").strip())


def _known(connection: Connection) -> _Known:
    return _Known(heads.size(connection), heads.key_checks(connection), processes.signing_of(connection))
