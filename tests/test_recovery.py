"""A restored copy: it does not serve before `recover`, revives nothing, and contradicts no checkpoint."""

import asyncio
import os
import shutil
from pathlib import Path

import httpx
import pytest

import app
from core.recovery import recover
from core.start import StartError
from events.checkpoint import public_of
from events.checkpoints import CheckpointStore
from events.log import LedgerRecovered
from events.sqlite import sync_read_engine
from events.verify import Intact, verify
from settings import Settings
from tests.conftest import MakeSettings, running, visiting
from tests.test_tour import refresh, sign_in


async def lived(settings: Settings, copy: Path) -> dict[str, str]:
    """A session is refreshed, the database is copied, and the session is refreshed and signed out."""
    async with running(settings) as service, visiting(service) as http:
        first = await sign_in(http)
        second = (await refresh(http, first["refresh_token"])).json()
    shutil.copy(settings.database_file, copy)
    async with running(settings) as service, visiting(service) as http:
        third = (await refresh(http, second["refresh_token"])).json()
        await http.post("/auth/logout", json={"refresh_token": third["refresh_token"]})
    return {"second": second["refresh_token"], "third": third["refresh_token"]}


def restored(settings: Settings, copy: Path, *, seconds: float) -> CheckpointStore:
    """The copy in the place of the database, whose last checkpoint was signed so long after its last event."""
    for beside in settings.data_dir.glob("ledger.db*"):
        beside.unlink()
    shutil.copy(copy, settings.database_file)
    note = settings.checkpoint_dir / "checkpoint"
    os.utime(note, (note.stat().st_atime, note.stat().st_mtime + seconds))
    return CheckpointStore(settings.checkpoint_dir)


async def recovered(settings: Settings, store: CheckpointStore, *, keep_sessions: bool) -> None:
    """What the command does."""
    service = app.prepare(settings)
    service._open()
    signed = store.signed(public_of(service.master.checkpoint_seed(1) or b""))
    assert signed is not None
    await recover(service.ledger, service.history, store, signed, keep_sessions=keep_sessions)
    await service._close()


def verified(settings: Settings) -> bool:
    with sync_read_engine(settings.database_file).connect() as connection:
        return isinstance(verify(connection), Intact)


async def codes(http: httpx.AsyncClient, tokens: dict[str, str]) -> dict[str, str]:
    return {name: (await refresh(http, token)).json().get("code", "ok") for name, token in tokens.items()}


async def test_an_older_copy_does_not_serve_before_it_is_recovered(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make_settings()
    await lived(settings, tmp_path / "copy.db")
    restored(settings, tmp_path / "copy.db", seconds=3600)

    with pytest.raises(StartError, match=r"events are gone.*session-ledger recover"):
        async with running(settings):
            pass


async def test_after_recovery_no_session_of_before_is_alive(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make_settings()
    tokens = await lived(settings, tmp_path / "copy.db")
    store = restored(settings, tmp_path / "copy.db", seconds=3600)
    await recovered(settings, store, keep_sessions=False)

    async with running(settings) as service, visiting(service) as http:
        refused = await codes(http, tokens)
        fresh = await refresh(http, (await sign_in(http))["refresh_token"])

    assert {"second": "session_revoked", "third": "session_revoked"} == refused
    assert 200 == fresh.status_code
    assert verified(settings)


async def test_kept_sessions_live_on_and_a_newer_token_is_ahead_and_never_reused(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings()
    tokens = await lived(settings, tmp_path / "copy.db")
    store = restored(settings, tmp_path / "copy.db", seconds=3600)
    await recovered(settings, store, keep_sessions=True)

    async with running(settings) as service, visiting(service) as http:
        ahead = await refresh(http, tokens["third"])
        goes_on = await refresh(http, tokens["second"])

    assert (401, "refresh_refused") == (ahead.status_code, ahead.json()["code"])
    assert 200 == goes_on.status_code


async def test_a_small_loss_goes_on_with_an_alarm_and_a_new_name(
    make_settings: MakeSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings()
    tokens = await lived(settings, tmp_path / "copy.db")
    store = restored(settings, tmp_path / "copy.db", seconds=0)
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


async def test_the_old_checkpoint_is_kept_as_evidence(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make_settings()
    await lived(settings, tmp_path / "copy.db")
    store = restored(settings, tmp_path / "copy.db", seconds=3600)
    before = store.last()
    assert before is not None

    await recovered(settings, store, keep_sessions=False)

    kept = settings.checkpoint_dir / f"checkpoint.{before.split(chr(10))[0].rpartition('/')[2]}"
    assert before == await asyncio.to_thread(kept.read_text)


async def test_a_crash_between_the_event_and_the_folder_is_made_up_for_at_the_next_start(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    await lived(settings, tmp_path / "copy.db")
    store = restored(settings, tmp_path / "copy.db", seconds=3600)
    with monkeypatch.context() as crash:
        crash.setattr(CheckpointStore, "set_aside", lambda *_: None)
        await recovered(settings, store, keep_sessions=False)

    async with running(settings) as service:
        await service.checkpointing.run()

    assert verified(settings)
    assert 1 == len(list(settings.checkpoint_dir.glob("checkpoint.*[0-9a-f][0-9a-f]")))
