"""A restored copy: it does not serve before `recover`, revives nothing, and contradicts no checkpoint."""

import asyncio
import os

import httpx
import pytest

import app
from core.recovery import recover
from core.start import StartError
from events.checkpoint import public_of
from events.checkpoints import CheckpointStore
from events.log import LedgerRecovered
from events.store import Store
from events.stores import store_at
from events.verify import Intact, verify
from settings import Settings
from tests.conftest import Made, MakeSettings, running, visiting
from tests.databases import Stores
from tests.visitors import refresh, sign_in


@pytest.fixture
def backup(store: Store, stores: Stores, made: Made) -> "Backup":
    return Backup(store, stores, made)


class Backup:
    """A copy of this test's ledger, made at one time and restored at another."""

    def __init__(self, store: Store, stores: Stores, made: Made) -> None:
        self._store, self._stores, self._made = store, stores, made
        self._copy = store

    def take(self) -> None:
        self._copy = self._made(self._stores.copy(self._store))

    def restore(self) -> None:
        self._stores.replace(self._store, self._copy)


async def lived(settings: Settings, backup: Backup) -> dict[str, str]:
    """A session is refreshed, the database is copied, and the session is refreshed and signed out."""
    async with running(settings) as service, visiting(service) as http:
        first = await sign_in(http)
        second = (await refresh(http, first["refresh_token"])).json()
    backup.take()
    async with running(settings) as service, visiting(service) as http:
        third = (await refresh(http, second["refresh_token"])).json()
        await http.post("/auth/logout", json={"refresh_token": third["refresh_token"]})
    return {
        "second": second["refresh_token"],
        "third": third["refresh_token"],
        "access": second["access_token"],
    }


def restored(settings: Settings, backup: Backup, *, seconds: float) -> CheckpointStore:
    """The copy in the place of the database, whose last checkpoint was signed so long after its last event."""
    backup.restore()
    note = settings.checkpoint_dir / "checkpoint"
    os.utime(note, (note.stat().st_atime, note.stat().st_mtime + seconds))
    return CheckpointStore(settings.checkpoint_dir)


async def recovered(settings: Settings, store: CheckpointStore, *, keep_sessions: bool) -> None:
    """What the command does."""
    service = app.prepare(settings)
    service._open()
    signed = store.signed(public_of(service.master.checkpoint_seed(1) or b""))
    assert signed is not None
    await recover(service.ledger, service.history, store, signed, keep_sessions=keep_sessions, actor="cli")
    await service._close()


def verified(settings: Settings) -> bool:
    return isinstance(store_at(settings.database_url).read(verify), Intact)


async def codes(http: httpx.AsyncClient, tokens: dict[str, str]) -> dict[str, str]:
    given = {name: token for name, token in tokens.items() if name != "access"}
    return {name: (await refresh(http, token)).json().get("code", "ok") for name, token in given.items()}


async def who(http: httpx.AsyncClient, access_token: str) -> int:
    """The status of the one question that every access token may ask."""
    return (await http.get("/auth/me", headers={"Authorization": f"Bearer {access_token}"})).status_code


async def test_an_older_copy_does_not_serve_before_it_is_recovered(make_settings: MakeSettings, backup: Backup) -> None:
    settings = make_settings()
    await lived(settings, backup)
    restored(settings, backup, seconds=3600)

    with pytest.raises(StartError, match=r"events are gone.*session-ledger recover"):
        async with running(settings):
            pass


async def test_after_recovery_no_session_of_before_is_alive(make_settings: MakeSettings, backup: Backup) -> None:
    settings = make_settings()
    tokens = await lived(settings, backup)
    store = restored(settings, backup, seconds=3600)
    await recovered(settings, store, keep_sessions=False)

    async with running(settings) as service, visiting(service) as http:
        before = await who(http, tokens["access"])
        refused = await codes(http, tokens)
        fresh = await refresh(http, (await sign_in(http))["refresh_token"])
        after = await who(http, fresh.json()["access_token"])

    assert {"second": "session_revoked", "third": "session_revoked"} == refused
    assert (401, 200, 200) == (before, fresh.status_code, after)
    assert verified(settings)


async def test_kept_sessions_live_on_and_a_newer_token_is_ahead_and_never_reused(
    make_settings: MakeSettings, backup: Backup
) -> None:
    settings = make_settings()
    tokens = await lived(settings, backup)
    store = restored(settings, backup, seconds=3600)
    await recovered(settings, store, keep_sessions=True)

    async with running(settings) as service, visiting(service) as http:
        ahead = await refresh(http, tokens["third"])
        goes_on = await refresh(http, tokens["second"])

    assert (401, "refresh_refused") == (ahead.status_code, ahead.json()["code"])
    assert 200 == goes_on.status_code


async def test_a_small_loss_goes_on_with_an_alarm_and_a_new_name(
    make_settings: MakeSettings, backup: Backup, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings()
    tokens = await lived(settings, backup)
    store = restored(settings, backup, seconds=0)
    before = store.last()
    assert before is not None

    async with running(settings) as service, visiting(service) as http:
        goes_on = await refresh(http, tokens["second"])
        facts = [event.fact for event in await service.history.before(None, 20)]

    note = store.last()
    assert note is not None
    assert 200 == goes_on.status_code
    assert 1 == sum(isinstance(fact, LedgerRecovered) for fact in facts)
    assert before.split("\n")[0] != note.split("\n")[0]
    assert "commits_lost" in capsys.readouterr().out
    assert verified(settings)


async def test_the_old_checkpoint_is_kept_as_evidence(make_settings: MakeSettings, backup: Backup) -> None:
    settings = make_settings()
    await lived(settings, backup)
    store = restored(settings, backup, seconds=3600)
    before = store.last()
    assert before is not None

    await recovered(settings, store, keep_sessions=False)

    kept = settings.checkpoint_dir / f"checkpoint.{before.split(chr(10))[0].rpartition('/')[2]}"
    assert before == await asyncio.to_thread(kept.read_text)


async def test_a_crash_between_the_event_and_the_folder_is_made_up_for_at_the_next_start(
    make_settings: MakeSettings, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    await lived(settings, backup)
    store = restored(settings, backup, seconds=3600)
    with monkeypatch.context() as crash:
        crash.setattr(CheckpointStore, "set_aside", lambda *_: None)
        await recovered(settings, store, keep_sessions=False)

    async with running(settings) as service:
        await service.checkpointing.run()

    assert verified(settings)
    assert 1 == len(list(settings.checkpoint_dir.glob("checkpoint.*[0-9a-f][0-9a-f]")))
