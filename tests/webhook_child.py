"""A process that delivers webhooks until everything is delivered, or until it is killed."""

import asyncio
import os
from typing import Any

import app
from core.delivering import Delivering
from core.passwords import Hasher
from settings import Settings
from tests.conftest import CHEAP


def deliver(given: dict[str, Any]) -> None:
    """Work on the ledger of these settings. Ends with 0 when nothing is left."""
    try:
        asyncio.run(_deliver(Settings.model_validate(given)))
    except BaseException:  # noqa: BLE001 - only its status leaves a forked process
        os._exit(1)
    os._exit(0)


async def _deliver(settings: Settings) -> None:
    service = app.prepare(settings, Hasher(**CHEAP))
    await service.start()
    for job in service._jobs:
        job.cancel()
    delivering = Delivering(service.delivery_tools._replace(leads=lambda: True))
    while True:
        await delivering.run()
        await delivering.settle()
        cursors = await service.deliveries.cursors()
        newest = await service.history.newest()
        if cursors and all(one.position >= newest for one in cursors.values()):
            break
    await service.stop()
