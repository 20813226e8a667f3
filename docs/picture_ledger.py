"""What the pictures are of: a demonstration that ends now, and the service on it. Opens no browser."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from mmdb_writer import MMDBWriter
from netaddr import IPSet  # type: ignore[import-untyped]

import app
from core import demo, masters
from core.demo_cast import Size
from core.keys import KeyPolicy
from core.start import KEY_FILE
from events import migrate
from events.stores import store_at
from settings import Settings
from tests.serving import answering

PORT: Final = 8977
URL: Final = f"http://localhost:{PORT}"
COUNTRIES: Final = {"203.0.113.0/24": "XA", "198.51.100.0/24": "XB", "192.0.2.0/24": "XC", "100.64.0.0/10": "XA"}
SIZE: Final = Size(families=900, days=30, seed=5)


class Filled(NamedTuple):
    """A ledger with a past, and who can sign in."""

    settings: Settings
    password: str
    """Of everybody."""
    somebody: str
    ended: int
    """When the story ended, microseconds: what happened of late is counted back from here."""


async def filled(folder: Path) -> Filled:
    """Tell the story into a new ledger in this folder."""
    (folder / "data").mkdir()
    given = {"data_dir": folder / "data", "checkpoint_dir": folder / "checkpoints", "public_url": URL, "port": PORT}
    settings = Settings.model_validate(
        given | {"trusted_proxies": "127.0.0.1", "geo_databases": (countries(folder / "countries.mmdb"),)}
    )
    ledger = store_at(settings.database_url)
    migrate.bring_up(ledger)
    master = masters.fitting(ledger, settings.data_dir, settings.master_key_source)
    keys = KeyPolicy.rotating(settings.signing_algorithm, settings.key_rotation)
    end = time.time_ns() // 1000
    place = demo.Place(ledger, settings.checkpoint_dir, master, settings.policy, keys)
    told = await demo.fill(place, SIZE, end, lambda _hours: None)
    followed(settings.data_dir / KEY_FILE)
    return Filled(settings, told.password, told.somebody, end)


def followed(file: Path) -> None:
    """Put another master key before the first, which all sessions of the story stand under."""
    file.write_text(f"2:{secrets.token_hex(32)},{file.read_text('utf-8').strip()}\n", "utf-8")


def countries(path: Path) -> Path:
    """Some of the addresses of the story are in countries; the user-assigned codes of ISO 3166-1 are nobody's."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Countries of the pictures")
    for network, code in COUNTRIES.items():
        writer.insert_network(IPSet([network]), {"country": {"iso_code": code}})
    writer.to_db_file(str(path))
    return path


@asynccontextmanager
async def serving_it(settings: Settings) -> AsyncIterator[None]:
    """The service, as long as this lasts."""
    service = app.prepare(settings)
    await service.start()
    try:
        async with answering(app.create_app(service), PORT, service.stopping):
            yield
    finally:
        await service.stop()
