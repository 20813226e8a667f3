"""The emergency brake: a master key leaked; every refresh token under it dies at once, whatever crashes meanwhile."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import app
from core import family, master_revocation, masters
from core.action import Confirmed
from core.judgement import Refresh
from core.master import MasterKeys
from core.master_revocation import Outcome, Revoke
from core.policy import SECOND
from core.repeat import MEMORY
from core.retirement import Line, Retirement, lines
from core.token import Token, mint
from core.verdict import Verdict
from core.webhook import Plan
from events import ids, log
from events.decision import Origin
from events.erased import Line as ErasedLine
from events.store import Store
from events.webhook import STANDARD
from tests import tables
from tests.browsers import Browser
from tests.check import check, events_of
from tests.conftest import MASTER_KEY, PASSWORD, MakeSettings, running, visiting
from tests.given import FAMILY, NONCE, START, Past, a_client, a_family, a_refresh, a_subject, given, summary
from tests.processes import Place
from tests.test_master_rotation import refreshed, signed_in

NEW = "2:" + sha256(b"a key that has not leaked").hexdigest()
BOTH = f"{NEW},{MASTER_KEY}"
ALIVE = given(a_client(), a_subject(), a_family())
"""Alice signed in under the master key 1, and nothing else."""
MOVED = ALIVE.and_then(family.refresh(a_refresh(1, key=2)), 60)
"""She refreshed after a minute, and stands under the master key 2."""
ACTION = ids.new_id(START, b"brake----")


def revoke_key(number: int = 1) -> Revoke:
    return Revoke(Confirmed(ACTION, "cli", "compromised", "INC-7", "a laptop", 9), number, 1)


def braked(before: Past, after: float = 120) -> Past:
    return before.and_then(master_revocation.revoke(revoke_key()), after)


def presented(number: int, generation: int, **more: Any) -> Refresh:
    return a_refresh(generation, token=Token(number, FAMILY, NONCE, generation), **more)


def test_a_family_moves_to_the_key_that_signs_with_its_next_refresh() -> None:
    assert (1, 2) == (ALIVE.family().key, MOVED.family().key)
    assert Verdict.ROTATED == MOVED.when(family.refresh(presented(2, 2, key=2)), 70).verdict.verdict
    assert Verdict.RETRIED == MOVED.when(family.refresh(presented(1, 1, key=2)), 65).verdict.verdict


def test_a_key_that_a_family_has_left_makes_no_newest_token_of_it() -> None:
    """Who holds the old key and any old token could make this one."""
    forged = MOVED.when(family.refresh(presented(1, 2, key=2)), 70)

    assert (Verdict.REFUSED, ["token.refused"]) == summary(forged)
    assert "master_key" == forged.verdict.reason


def test_from_the_revocation_on_no_family_under_the_key_is_refreshed() -> None:
    before = braked(ALIVE)

    assert (Verdict.REVOKED, ["family.revoked"]) == summary(before.when(family.refresh(presented(1, 1, key=2)), 121))
    assert Verdict.REVOKED == before.when(family.check(presented(1, 1, key=2)), 121).verdict.verdict


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_a_family_that_has_moved_lives_on_and_what_leaked_cannot_end_it(generation: int) -> None:
    before = braked(MOVED, 61)

    assert (Verdict.REFUSED, ["token.refused"]) == summary(
        before.when(family.refresh(presented(1, generation, key=2)), 62)
    )
    assert Verdict.ROTATED == before.when(family.refresh(presented(2, 2, key=2)), 63).verdict.verdict


def test_a_reuse_under_a_key_that_is_trusted_is_still_a_theft() -> None:
    before = braked(MOVED, 61).and_then(family.refresh(presented(2, 2, key=2)), 70)
    before = before.and_then(family.refresh(presented(2, 3, key=2)), 80)

    assert Verdict.REUSED == before.when(family.refresh(presented(2, 2, key=2)), 200).verdict.verdict


def test_revoking_is_one_commit_and_done_once() -> None:
    first = ALIVE.when(master_revocation.revoke(revoke_key()), 120)
    again = braked(ALIVE)

    assert (Outcome.REVOKED, ["action.started", "master_key.revoked"]) == (first.verdict, first.types)
    assert Outcome.REPEATED == again.when(master_revocation.revoke(revoke_key()), 121).verdict
    other = revoke_key()._replace(confirmed=revoke_key().confirmed._replace(action=ids.new_id(START, b"other----")))
    assert (Outcome.UNCHANGED, []) == ((then := again.when(master_revocation.revoke(other), 121)).verdict, then.types)
    assert (True, False) == (
        again.states().log().has_revoked(1),  # type: ignore[union-attr]
        again.states().log().has_revoked(11),  # type: ignore[union-attr]
    )


@pytest.fixture
async def moving(make_settings: MakeSettings) -> list[str]:
    """A ledger that has gone over to a new key: the tokens of three families, the last two of which have not."""
    async with running(make_settings(master_key=MASTER_KEY)) as service, visiting(service) as http:
        tokens = [await signed_in(http) for _ in range(3)]
    async with running(make_settings(master_key=BOTH)) as service, visiting(service) as http:
        tokens[0] = await refreshed(http, tokens[0])
    return tokens


def confirmed_at(service: app.Service, position: int = 9) -> Confirmed:
    return Confirmed(service.actions.new_id(), "cli", "compromised", "INC-7", "a laptop", position)


def retirement_of(service: app.Service) -> Retirement:
    return Retirement(service.ledger, service.engine, service.family_reader)


async def test_pulling_the_brake_ends_what_stands_under_the_key_and_nothing_else(
    moving: list[str], make_settings: MakeSettings, store: Store
) -> None:
    async with running(make_settings(master_key=BOTH)) as service, visiting(service) as http:
        brake, confirmed = retirement_of(service), confirmed_at(service)
        reach = await brake.reach_of(1)
        assert (2, 1, 0) == reach
        outcome = await brake.revoke(confirmed, 1, reach.families, service.writer.now(), Origin())
        at_once = [(await http.post("/auth/refresh", json={"refresh_token": token})) for token in moving]
        await service.actions.carry_out(confirmed.action)
        receipt = await service.actions.receipt(confirmed.action)
        repeated = await brake.revoke(confirmed, 1, 2, service.writer.now(), Origin())

        assert (Outcome.REVOKED, Outcome.REPEATED) == (outcome, repeated)
        assert [200, 401, 401] == [one.status_code for one in at_once]
        assert {"session_revoked"} == {one.json()["code"] for one in at_once[1:]}
        assert receipt is not None
        assert ("finished", 2) == (receipt.action.status, receipt.action.ended + receipt.action.spared)
        assert all(effect.refused for effect in receipt.effects)
    check(store)


async def test_the_key_that_signs_is_not_revoked(service: app.Service) -> None:
    outcome = await retirement_of(service).revoke(confirmed_at(service), 1, 0, service.writer.now(), Origin())

    assert Outcome.SIGNS == outcome
    assert log.MasterKeyRevoked.TYPE not in [event.name for event in events_of(service.store)]


async def test_a_key_that_was_revoked_never_signs_again(moving: list[str], make_settings: MakeSettings) -> None:
    async with running(make_settings(master_key=BOTH)) as service:
        await retirement_of(service).revoke(confirmed_at(service), 1, 2, service.writer.now(), Origin())
    async with running(make_settings(master_key=f"{MASTER_KEY},{NEW}")) as service:
        assert 2 == service.master.current


async def test_what_a_crash_stopped_is_carried_out_by_the_next_start(
    moving: list[str], make_settings: MakeSettings, store: Store
) -> None:
    """Killed right after the commit of the revocation, and again after the first family."""
    async with running(make_settings(master_key=BOTH)) as service:
        confirmed = confirmed_at(service)
        await retirement_of(service).revoke(confirmed, 1, 2, service.writer.now(), Origin())
        (first, _) = await service.family_reader.under(1, b"", 9)
        state = await service.actions.reader.get(confirmed.action)
        assert state is not None
        await service.actions._end([first], state)
    assert [("started",)] == tables.rows(store, "SELECT status FROM actions")

    async with running(make_settings(master_key=BOTH)) as service:
        await service.actions.resume()
        done = await service.actions.reader.get(confirmed.action)

        assert done is not None
        assert ("finished", 2, 0, 0) == (done.status, done.ended, done.spared, done.added)
        assert [] == await service.family_reader.under(1, b"", 9)
    check(store)


async def test_a_leaked_key_forges_nothing_once_it_is_revoked(moving: list[str], make_settings: MakeSettings) -> None:
    leaked = MasterKeys.parse(MASTER_KEY)
    async with running(make_settings(master_key=BOTH)) as service, visiting(service) as http:
        held = service.families.read_token(moving[0])
        assert held is not None
        forged = [
            mint(held._replace(key=1, generation=generation), leaked.refresh_key(1) or b"")
            for generation in (held.generation - 1, held.generation, held.generation + 1)
        ]
        await retirement_of(service).revoke(confirmed_at(service), 1, 2, service.writer.now(), Origin())
        answers = [await http.post("/auth/refresh", json={"refresh_token": one}) for one in forged]

        assert [(401, "refresh_refused")] * 3 == [(one.status_code, one.json()["code"]) for one in answers]
        await refreshed(http, moving[0])


def served(place: Place) -> None:
    with place.serving(LEDGER_MASTER_KEY=MASTER_KEY):
        for _ in range(2):
            assert 200 == place.sign_in("admin", PASSWORD)


@pytest.fixture
def place(tmp_path: Path, store: Store) -> Place:
    return Place(tmp_path, store, LEDGER_MASTER_KEY=MASTER_KEY)


def test_the_command_previews_asks_for_yes_and_says_what_it_did(place: Place) -> None:
    served(place)
    signs = place.run("keys", "rotate", "--refresh", "--now", "--yes")
    assert (2, True) == (signs.status, "Master key 1 signs: put a new one in front" in signs.err)
    with place.serving(LEDGER_MASTER_KEY=BOTH):
        status = place.done("keys", "master").splitlines()
        assert ["2", "yes", "1", "0"] == status[1].split()[:4]
        assert ["1", "no", "1", "2"] == status[2].split()[:4]
        preview = place.run("keys", "rotate", "--refresh", "--now")
        assert 0 == preview.status
        assert "Master key 1: 2 sessions of 1 users end" in preview.err
        assert "Nothing has changed. Do it with --yes." in preview.out
        done = place.done("keys", "rotate", "--refresh", "--now", "--yes", "--ticket", "INC-7")
        assert "2 sessions ended" in done
        assert "act_" in done
        assert ["1", "revoked", "1", "0"] == place.done("keys", "master").splitlines()[2].split()[:4]
        again = place.run("keys", "rotate", "--refresh", "--now", "--number", "1", "--yes")
        assert (2, True) == (again.status, "is revoked already" in again.err)
    check(place.store)


def test_a_command_that_is_not_meant_so_changes_nothing(place: Place, on_sqlite: None) -> None:
    served(place)
    before = len(events_of(place.store))
    for arguments, words in (
        (("--refresh",), "--refresh --now together"),
        (("--now",), "--refresh --now together"),
        (("--refresh", "--now", "--number", "9"), "was never used with a master key 9"),
        (("--refresh", "--now", "--reason", "anger"), "Say why with --reason"),
        (("--refresh", "--now", "--ticket", "no way"), "A ticket has"),
    ):
        ended = place.run("keys", "rotate", *arguments, "--yes")
        assert (2, True) == (ended.status, words in ended.err), ended
    assert before == len(events_of(place.store))


async def test_no_key_may_go_before_what_stands_under_it_was_counted(
    moving: list[str], make_settings: MakeSettings
) -> None:
    async with running(make_settings(master_key=BOTH)) as service, visiting(service) as http:
        browser = Browser(http)
        await browser.signs_in()
        early = (await browser.opens("/dashboard/keys?format=json")).json()["master_keys"]
        await browser.opens("/dashboard/keys")
        page = browser.page
        await service.living.run()
        counted = (await browser.opens("/dashboard/keys?format=json")).json()["master_keys"]

    assert [(2, None, None), (1, None, None)] == [(one["number"], one["families"], one["may_go_at"]) for one in early]
    assert 3 == page.count("counting…")
    assert [(2, 2), (1, 2)] == [(one["number"], one["families"]) for one in counted]


async def test_the_dashboard_previews_and_pulls_the_brake(moving: list[str], make_settings: MakeSettings) -> None:
    async with running(make_settings(master_key=BOTH)) as service, visiting(service) as http:
        await service.living.run()
        browser = Browser(http)
        await browser.signs_in()
        await browser.opens("/dashboard/keys")
        found = (await browser.opens("/dashboard/keys?format=json")).json()["master_keys"]
        assert [(2, True, 1), (1, False, 2)] == [(one["number"], one["signs"], one["families"]) for one in found]

        asked = (await browser.opens("/dashboard/keys/master/1/revoke?format=json")).json()
        await browser.opens("/dashboard/keys/master/1/revoke")
        assert {"master_key": 1, "families": 2, "subjects": 1, "dashboard_sessions": 0} == asked
        assert "Nothing has changed yet" in browser.page
        form = browser.hidden | {"reason": "compromised", "ticket": "INC-7", "note": ""}
        flawed = await browser.sends("/dashboard/keys/master/1/revoke", form | {"reason": "lost_device"})
        done = await browser.sends("/dashboard/keys/master/1/revoke", form)
        twice = await browser.sends("/dashboard/keys/master/1/revoke", form)
        await service.actions.resume()
        await browser.opens(done.headers["location"])

        assert (422, True) == (flawed.status_code, "Choose a reason." in flawed.text)
        assert done.headers["location"] == twice.headers["location"]
        assert "No refresh token under master key 1 is taken." in browser.page
        assert "2 of 2 families ended by this action" in browser.page
        again = await browser.opens("/dashboard/keys/master/1/revoke")
        assert "/dashboard/keys?done=unchanged" == again.headers["location"]
        signs = await browser.opens("/dashboard/keys/master/2/revoke")
        assert "/dashboard/keys?done=signs" == signs.headers["location"]
        assert 404 == (await browser.opens("/dashboard/keys/master/9/revoke")).status_code


async def test_a_large_brake_wants_the_number_and_a_fresh_password(
    moving: list[str], make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(make_settings(master_key=BOTH)) as service, visiting(service) as http:
        browser = Browser(http)
        await browser.signs_in()
        monkeypatch.setattr("dashboard.danger.FEW", 1)
        await browser.opens("/dashboard/keys/master/1/revoke")
        form = browser.hidden | {"reason": "compromised", "ticket": "", "note": ""}
        tampered = form | {"families": "0", "number": "0"}
        refused = [
            await browser.sends("/dashboard/keys/master/1/revoke", one) for one in (form, form | {"number": "3"})
        ]
        assert [422, 422] == [one.status_code for one in refused]
        assert "Type the number of families: 2." in refused[0].text
        assert 422 == (await browser.sends("/dashboard/keys/master/1/revoke", tampered)).status_code

        monkeypatch.setattr("dashboard.danger.FRESH", -1)
        asked = await browser.sends("/dashboard/keys/master/1/revoke", form | {"number": "2"})
        assert asked.headers["location"].startswith("/dashboard/re-authenticate?next=")
        monkeypatch.undo()
        monkeypatch.setattr("dashboard.danger.FEW", 1)
        done = await browser.sends("/dashboard/keys/master/1/revoke", form | {"number": "2"})
        assert done.headers["location"].startswith("/dashboard/actions/act_")


async def test_the_list_of_the_erased_goes_over_to_the_new_key(make_settings: MakeSettings) -> None:
    settings = make_settings(master_key=MASTER_KEY)
    line = ErasedLine(ids.new_id(START, b"erased---"), 9, START)
    async with running(settings) as service:
        masters.erased_list(settings.checkpoint_dir, service.master).add([line])
    async with running(make_settings(master_key=BOTH)):
        pass

    alone = masters.erased_list(settings.checkpoint_dir, MasterKeys.parse(NEW))
    before = alone.path.read_bytes()
    assert [line] == alone.all()
    async with running(make_settings(master_key=BOTH)):
        pass
    assert before == alone.path.read_bytes()


async def test_an_old_key_may_go_when_nothing_stands_under_it_and_not_before(make_settings: MakeSettings) -> None:
    """What it takes: no session, no signing key, no secret of a webhook, and a day for repeated requests."""

    async def line_of(service: app.Service, number: int) -> Line:
        now = service.writer.now()
        await service.keys.refresh()
        place = await retirement_of(service).place(now)
        found = lines(place, await service.family_reader.standing(), service.keys.states, now)
        return next(one for one in found if one.number == number)

    hook = Plan(STANDARD, url="https://127.0.0.1:9/hook", query="type:key.revoked")
    allowed = {"webhook_networks": "127.0.0.0/8"}
    async with running(make_settings(master_key=MASTER_KEY, **allowed)) as service, visiting(service) as http:
        await service.webhooks.register("", "cli", hook)
        token = await signed_in(http)
        assert (True, None) == ((found := await line_of(service, 1)).signs, found.free_at)
    async with running(make_settings(master_key=BOTH, **allowed)) as service, visiting(service) as http:
        before = await line_of(service, 1)
        await service.keys.rewrap()
        wrapped = await line_of(service, 1)
        assert 1 == await service.webhooks.rewrap()
        renewed = await line_of(service, 1)
        await refreshed(http, token)
        moved = await line_of(service, 1)

        assert (1, 2, 1, None) == (before.families, before.signing_keys, before.secrets, before.free_at)
        assert (1, 0, 1, None) == (wrapped.families, wrapped.signing_keys, wrapped.secrets, wrapped.free_at)
        idle = service.defaults.idle_ttl * SECOND
        assert renewed.free_at is not None
        assert moved.free_at is not None
        assert abs(renewed.free_at - service.writer.now() - idle) < 60 * SECOND
        assert abs(moved.free_at - service.agreement.signing.since - MEMORY) < SECOND
