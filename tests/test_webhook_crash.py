"""kill -9 of the process that delivers, while a receiver is answering: nothing is lost, and the order holds."""

import os
import signal
from pathlib import Path

from core.webhook import Plan
from events.store import Store
from events.webhook import STANDARD
from settings import Settings
from tests import visitors
from tests.applications import issued_to
from tests.check import check
from tests.conftest import VISIT, MakeSettings, running
from tests.processes import FORKING
from tests.receivers import Answer, Arrived, Receiver, in_order
from tests.webhook_child import deliver

SESSIONS, ROTATIONS = 6, 4
KILLS = (1, 20)
"""After so many requests in all."""


def told(settings: Settings) -> dict[str, object]:
    """As text, for another process."""
    given = settings.model_dump(include={"data_dir", "checkpoint_dir", "database_url", "public_url", "webhook_http"})
    key = {"master_key": settings.master_key_text} if settings.master_key_text else {}
    return given | key | {"webhook_networks": "127.0.0.0/8"}


async def with_sessions(settings: Settings, url: str) -> tuple[str, list[int]]:
    """A ledger in which sessions were refreshed in turns: the secret of its webhook, and what it must be told."""
    async with running(settings) as service:
        for job in service._jobs:
            job.cancel()
        made = await service.webhooks.register("", "cli", Plan(STANDARD, url=url, query="type:token.*"))
        tokens = [(await issued_to(service, "web")).refresh_token for _ in range(SESSIONS)]
        for _ in range(ROTATIONS):
            read = [service.families.read_token(token) for token in tokens]
            issued = [await service.families.refresh(one, "web", "body", VISIT) for one in read if one]
            tokens = [one.refresh_token for one in issued]  # type: ignore[union-attr]
        positions = [one.position for one in await visitors.facts(service) if one.fact.TYPE.startswith("token.")]
    return made.secret, positions


async def test_whenever_the_process_is_killed_each_event_arrives_in_order_at_least_once(
    make_settings: MakeSettings, store: Store, tmp_path: Path
) -> None:
    receiver = Receiver()
    settings = make_settings(webhook_http=True, webhook_networks="127.0.0.0/8")
    secret, expected = await with_sessions(settings, receiver.url)
    left, running_now = list(KILLS), [0]
    statuses: list[int | None] = []

    def kill_at_times(_: Arrived) -> Answer:
        if left and len(receiver.arrived) >= left[0]:
            left.pop(0)
            os.kill(running_now[0], signal.SIGKILL)
        return Answer()

    receiver.answers = kill_at_times
    while not statuses or statuses[-1] != 0:
        child = FORKING.Process(target=deliver, args=(told(settings),))
        child.start()
        assert child.pid is not None
        running_now[0] = child.pid
        child.join(60)
        statuses.append(child.exitcode)
    receiver.close()

    first = receiver.first_of_each()
    assert [-signal.SIGKILL] * len(KILLS) + [0] == statuses
    assert sorted(expected) == sorted(one.event["position"] for one in first)
    assert len(first) < len(receiver.arrived)
    assert in_order(first)
    assert all(one.verified(secret) for one in receiver.arrived)
    check(store, tmp_path / "checkpoints")
