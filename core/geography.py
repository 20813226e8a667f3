"""Country and network operator of an address, from databases that the operator brings. Calls nobody; pure but for them.

MaxMind's format is what several publishers use; which databases are given decides what is known.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import maxminddb

LOOKED_INTO: Final = 256
"""Records of a database, to see what it tells."""


class UnusableDatabase(Exception):
    """A file that was named is no such database. One sentence that says what to do."""


class Whence(NamedTuple):
    """What is known of an address; empty where nothing is."""

    country: str = ""
    """ISO 3166-1, two letters."""
    operator: str = ""
    """`AS3320 Deutsche Telekom AG`."""

    def __str__(self) -> str:
        return " · ".join(part for part in self if part)


NOWHERE = Whence()


class Geography:
    """Answers from memory-mapped files; without any, nothing is known of any address. Raises UnusableDatabase."""

    def __init__(self, databases: Sequence[Path] = ()) -> None:
        self._readers = [_opened(path) for path in databases]
        self.of = lru_cache(maxsize=4096)(self._of)
        self.tells_countries = any(map(_tells_countries, self._readers))

    def country_of(self, ip: str) -> str:
        """The country's code; empty where it is not known. Some microseconds, and less for an address seen before."""
        return self.of(ip).country if self._readers else ""

    def close(self) -> None:
        """Give up the files."""
        for reader in self._readers:
            reader.close()

    def _of(self, ip: str) -> Whence:
        """Where an address is said to be. Never raises: what is no address is nowhere."""
        records = [record for reader in self._readers if isinstance(record := _looked_up(reader, ip), dict)]
        if not records:
            return NOWHERE
        return Whence(_country(records), _operator(records))


def _opened(path: Path) -> Any:
    try:
        return maxminddb.open_database(path)
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        raise UnusableDatabase(
            f"LEDGER_GEO_DATABASES must name .mmdb files that this user can read, and {path} is none: remove it or "
            "give another."
        ) from error


def _tells_countries(reader: Any) -> bool:
    """Whether its first records say one: publishers name their databases as they like."""
    return any(isinstance(record, dict) and _country([record]) for _, record in islice(reader, LOOKED_INTO))


def _looked_up(reader: Any, ip: str) -> object:
    try:
        return reader.get(ip)
    except (ValueError, maxminddb.InvalidDatabaseError):  # no address, or an IPv6 one in an IPv4 database
        return None


def _country(records: Sequence[dict[str, Any]]) -> str:
    """Publishers differ: a record of its own, or a plain code."""
    for record in records:
        country = record.get("country") or record.get("country_code")
        code = country.get("iso_code", "") if isinstance(country, dict) else country
        if isinstance(code, str) and code:
            return code[:2]
    return ""


def _operator(records: Sequence[dict[str, Any]]) -> str:
    for record in records:
        number = record.get("autonomous_system_number") or record.get("asn")
        name = record.get("autonomous_system_organization") or record.get("as_name") or ""
        if number:
            return f"AS{str(number).removeprefix('AS')} {str(name)[:64]}".strip()
    return ""
