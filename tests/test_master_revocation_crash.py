"""kill -9 while the emergency brake is pulled: it was never pulled, or every session under the key is ended."""

import asyncio
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import app
from core.action import Confirmed
from core.master_revocation import Outcome
from core.passwords import Hasher
from events.decision import Origin
from events.rebuild import rebuild
from events.store import Store
from settings import Settings
from tests import tables
from tests.check import check, events_of
from tests.conftest import CHEAP, MASTER_KEY, MakeSettings, running, visiting
from tests.databases import alone
from tests.processes import FORKING
from tests.test_erasure_crash import Fate
from tests.test_master_revocation import BOTH, retirement_of
from tests.test_master_rotation import refreshed, signed_in

FAMILIES = 4
IN_THE_COMMIT = ("locked", "decided", "events inserted", "written")
AFTER_IT = ("committed", "ended one", "ended all")


def child(given: dict[str, Any], point: str) -> None:
    """Revoke the key and end what stands under it, and die at the point."""

    async def live() -> None:
        fate = Fate(point)
        service = app.prepare(Settings.model_validate(given), Hasher(**CHEAP))
        writer = service.store.writer
        service.store.writer = partial(writer, trace=fate)  # type: ignore[method-assign]
        await service.start()
        for job in service._jobs:  # their commits would pass the points, too
            job.cancel()
        await asyncio.gather(*service._jobs, return_exceptions=True)
        confirmed = Confirmed(service.actions.new_id(), "cli", "compromised", "INC-7", "a laptop", 9)
        standing = await service.family_reader.under(1, b"", 9)
        fate.armed = True
        await retirement_of(service).revoke(confirmed, 1, len(standing), service.writer.now(), Origin())
        state = await service.actions.reader.get(confirmed.action)
        assert state is not None
        await service.actions._end(standing[:1], state)
        fate("ended one")
        await service.actions._end(standing[1:], state)
        fate("ended all")

    asyncio.run(live())


@pytest.mark.parametrize("point", [*IN_THE_COMMIT, *AFTER_IT])
async def test_a_brake_that_is_killed_is_pulled_to_the_end_or_never_was(
    make_settings: MakeSettings, store: Store, tmp_path: Path, point: str
) -> None:
    async with running(make_settings(master_key=MASTER_KEY)) as service, visiting(service) as http:
        tokens = [await signed_in(http) for _ in range(FAMILIES)]
    settings = make_settings(master_key=BOTH)
    given = settings.model_dump(include={"database_url", "data_dir", "checkpoint_dir"})
    process = FORKING.Process(target=child, args=(given | {"master_key": BOTH, "admin_password": "x" * 20}, point))
    process.start()
    await asyncio.to_thread(process.join, 60)
    assert -signal.SIGKILL == process.exitcode
    alone(store)
    check(store)
    said = [event.name for event in events_of(store) if event.name == "master_key.revoked"]
    assert bool(said) == (point in AFTER_IT)

    async with running(settings) as service, visiting(service) as http:
        if not said:
            tokens = [await refreshed(http, token) for token in tokens]  # nobody is signed out, and they move
            return
        await service.actions.resume()
        assert [] == await service.family_reader.under(1, b"", 9)
        (action,) = tables.rows(store, "SELECT status, ended FROM actions")
        assert ("finished", FAMILIES) == action
        answers = [await http.post("/auth/refresh", json={"refresh_token": token}) for token in tokens]
        assert {401} == {answer.status_code for answer in answers}
        again = Confirmed(service.actions.new_id(), "cli", "compromised", "", "", 9)
        assert Outcome.UNCHANGED == await retirement_of(service).revoke(again, 1, 0, service.writer.now(), Origin())
    assert [] == rebuild(store)
    check(store)
