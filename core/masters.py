"""Where the master keys come from, and whether they are the ledger's. The keys themselves are `core/master.py`."""

from pathlib import Path

from core import start
from core.master import MasterKeys
from events import heads, sqlite


def fitting(database: Path, folder: Path, text: str | None) -> MasterKeys:
    """The keys of this text, or else of the file in `folder`, which an empty ledger gets. Raises StartError.

    Keys that the ledger has not been used with yet are noted in it, so that a wrong one is noticed at the next start.
    """
    with sqlite.sync_read_engine(database).connect() as connection:
        empty = heads.size(connection) == 0
        known = heads.key_checks(connection)
    if text is None:
        text, _made = start.own_master_key(folder, empty=empty and not known)
    master = start.parse_master_key(text)
    new = start.unknown_keys(master, known)
    if new:
        with sqlite.transaction(database) as connection:
            heads.add_key_checks(connection, new)
    return master


def at_hand(folder: Path, text: str | None) -> MasterKeys | None:
    """The keys of this text, or else of the file in `folder`, if there is one; writes nothing. Raises StartError."""
    file = folder / start.KEY_FILE
    if text is None and file.exists():
        text = file.read_text("utf-8").strip()
    return None if text is None else start.parse_master_key(text)
