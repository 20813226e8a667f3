"""Country and operator from databases that the operator brings: real files of MaxMind's format."""

from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet  # type: ignore[import-untyped]

from core.geography import NOWHERE, Geography, UnusableDatabase, Whence
from tests.browsers import Browser
from tests.conftest import MakeSettings, running, visiting


def database(path: Path, **records: dict[str, Any]) -> Path:
    """A database in which each network has one record."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test")
    for network, record in records.items():
        writer.insert_network(IPSet([network.replace("_", ".") + "/24"]), record)
    writer.to_db_file(str(path))
    return path


@pytest.fixture
def countries(tmp_path: Path) -> Path:
    germany: dict[str, Any] = {"country": {"iso_code": "DE"}}
    return database(tmp_path / "country.mmdb", **{"203_0_113_0": germany, "192_0_2_0": {"country_code": "RO"}})


@pytest.fixture
def operators(tmp_path: Path) -> Path:
    record = {"autonomous_system_number": 64500, "autonomous_system_organization": "Example <b>Net</b>"}
    return database(tmp_path / "asn.mmdb", **{"203_0_113_0": record})


def test_country_and_operator_come_from_two_files(countries: Path, operators: Path) -> None:
    geography = Geography([countries, operators])

    assert Whence("DE", "AS64500 Example <b>Net</b>") == geography.of("203.0.113.7")
    assert Whence("RO", "") == geography.of("192.0.2.9")
    assert "DE · AS64500 Example <b>Net</b>" == str(geography.of("203.0.113.7"))
    geography.close()


@pytest.mark.parametrize("ip", ["198.51.100.1", "2001:db8::1", "", "not an address", "203.0.113.7.1"])
def test_what_no_database_knows_is_nowhere(countries: Path, ip: str) -> None:
    assert NOWHERE == Geography([countries]).of(ip)


def test_without_a_database_nothing_is_known() -> None:
    assert NOWHERE == Geography().of("203.0.113.7")


@pytest.mark.parametrize("content", [b"", b"no database", bytes(4096)])
def test_a_file_that_is_no_database_is_refused_with_a_sentence(tmp_path: Path, content: bytes) -> None:
    wrong = tmp_path / "wrong.mmdb"
    wrong.write_bytes(content)

    with pytest.raises(UnusableDatabase, match=r"LEDGER_GEO_DATABASES must name \.mmdb files"):
        Geography([wrong])


async def test_the_dashboard_tells_it_beside_the_address_and_keeps_it_text(
    make_settings: MakeSettings, countries: Path, operators: Path
) -> None:
    async with running(make_settings(geo_databases=(countries, operators))) as service, visiting(service) as http:
        browser = Browser(http)
        await browser.signs_in()
        await browser.opens("/dashboard/events")

    assert "DE · AS64500 Example &lt;b&gt;Net&lt;/b&gt;" in browser.page
