"""Erasing somebody: what ends, what is deleted and what stays, while others go on; and that the log is still proved."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

import app
from core import erasures, masters
from core.action import Confirmed, Kill, Selection
from core.erasure import Erasure
from core.presence import Presence
from core.subject import Outcome
from core.subjects import BadName
from core.visit import Visit
from events import erasing, ids, private
from events.action import FINISHED, STARTED
from events.decision import Origin
from events.rebuild import rebuild
from events.store import Scrubbed, Store
from events.subject import ERASED, Subject
from events.verify import Finding, verify
from settings import Settings
from tests import tables
from tests.check import check, events_of, found_in_files, found_in_store
from tests.conftest import MASTER_KEY, Made, MakeSettings, running, visiting
from tests.databases import Stores
from tests.processes import Place
from tests.test_recovery import Backup, restored
from tests.visitors import BOB, code, refresh, sign_in, visiting_from

NAME = "marguerite.lefevre@example.org"
PASSWORD = "cobalt-lantern-68-meadow"
EXTERNAL = "customer-no-8472-lefevre"
HOME, SHARED = "198.51.100.23", "192.0.2.77"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 lefevre"
DEVICE = "Marguerite's tablet"
NOTE = "she called from her mother's phone"
OURS = (NAME, EXTERNAL, HOME, AGENT, DEVICE, NOTE)
"""What must be nowhere afterwards. `SHARED` is an address that somebody else used, too."""


class House:
    """A service in which Marguerite and Bob have sessions, and staff have looked into both."""

    def __init__(self, service: app.Service) -> None:
        self.service = service
        self.tokens: list[str] = []

    async def begin(self) -> None:
        await self.service.subjects.register(NAME, PASSWORD, "", "cli")
        await self.service.subjects.register("bob", BOB, "", "cli")
        for address in (HOME, HOME, SHARED):
            self.tokens.append(await self.signed_in(NAME, PASSWORD, address, AGENT, DEVICE))
        async with visiting_from(self.service, SHARED, headers={"user-agent": "bob's"}) as http:
            self.bobs = (await sign_in(http, "bob", BOB))["refresh_token"]

    async def signed_in(self, name: str, given: str, address: str, agent: str, device: str) -> str:
        async with visiting_from(self.service, address, headers={"user-agent": agent}) as http:
            found = await sign_in(http, name, given, device=device)
        token: str = found["refresh_token"]
        return token

    async def refreshed(self, token: str, address: str = HOME) -> httpx.Response:
        async with visiting_from(self.service, address, headers={"user-agent": AGENT}) as http:
            return await refresh(http, token)

    async def owner(self, name: str = NAME) -> Subject:
        found = await self.service.subjects.find(name)
        assert found is not None
        return found

    async def erase(self, owner: Subject, **more: Any) -> Outcome:
        """From the first commit to the finished action."""
        command = Erasure(erasures.new_action(), owner.id, "cli", "user_request", **more)
        outcome = await self.service.erasures.erase(owner, command)
        for begun in await self.service.erasures.unfinished(owner.id):
            assert await self.service.erasures.carry_out(begun)
        return outcome

    async def again(self, owner: Subject) -> Subject:
        found = await self.service.subject_reader.get(owner.id)
        assert found is not None
        return found

    def private_of(self, owner: Subject) -> list[Any]:
        """What stands beside the events of somebody."""
        query = "SELECT p.position FROM event_private p JOIN events e ON e.position = p.position WHERE e.subject = ?"
        return tables.rows(self.service.store, query, owner.id)


@pytest.fixture
async def house(service: app.Service) -> House:
    made = House(service)
    await made.begin()
    return made


async def test_nothing_of_the_person_is_found_afterwards_and_the_log_still_fits(house: House) -> None:
    owner, store = await house.owner(), house.service.store
    assert {NAME, DEVICE, AGENT} <= found_in_store(store, OURS)

    assert Outcome.DONE == await house.erase(owner)

    check(store, house.service.settings.checkpoint_dir, OURS)
    assert [] == house.private_of(owner)
    assert [] == rebuild(store)


async def test_sessions_and_sign_in_end_and_the_name_is_free(house: House) -> None:
    owner = await house.owner()
    await house.erase(owner)

    answers = [code(await house.refreshed(token)) for token in house.tokens]
    async with visiting(house.service) as http:
        denied = await http.post("/auth/login", json={"username": NAME, "password": PASSWORD, "mode": "body"})
        by_id = await http.post(
            "/auth/login", json={"username": ids.to_text("sub", owner.id), "password": PASSWORD, "mode": "body"}
        )
    await house.service.subjects.register(NAME, PASSWORD, "", "cli")

    assert [(401, "session_revoked")] * 3 == answers
    assert [(401, "invalid_credentials")] * 2 == [code(denied), code(by_id)]
    assert (await house.owner()).id != owner.id
    assert (await house.again(owner)).status == ERASED
    check(house.service.store)


async def test_what_is_left_of_an_account_is_an_id(house: House) -> None:
    owner = await house.owner()
    await house.erase(owner)

    left = await house.again(owner)

    stated = ids.to_text("sub", owner.id)
    assert (ERASED, stated, "", "", "", "") == (
        left.status,
        left.name,
        left.password,
        left.external,
        left.networks,
        left.roles,
    )


async def test_a_refusal_after_the_erasure_stores_no_address(house: House) -> None:
    owner = await house.owner()
    await house.erase(owner)
    before = len(events_of(house.service.store))

    await house.refreshed(house.tokens[0], "203.0.113.99")

    later = events_of(house.service.store)[before:]
    assert ["token.refused"] == [event.name for event in later]
    assert b"context" not in later[0].body
    assert [] == house.private_of(owner)
    check(house.service.store, secrets=["203.0.113.99"])


async def test_somebody_else_at_the_same_address_is_untouched(house: House) -> None:
    bob = await house.owner("bob")
    before = house.private_of(bob)
    await house.erase(await house.owner())

    async with visiting(house.service) as http:
        assert (await refresh(http, house.bobs)).status_code == 200

    assert before == house.private_of(bob)[: len(before)]
    there = tables.rows(
        house.service.store, "SELECT position FROM event_private WHERE ip = ?", private.packed_ip(SHARED)
    )
    assert there
    assert set(there) <= set(before)


async def test_a_second_erasure_changes_nothing(house: House) -> None:
    owner = await house.owner()
    await house.erase(owner)
    size = len(events_of(house.service.store))

    assert Outcome.UNCHANGED == await house.erase(await house.again(owner))
    assert size == len(events_of(house.service.store))


async def test_nothing_brings_an_erased_account_back(house: House) -> None:
    owner = await house.owner()
    await house.erase(owner)
    subjects = house.service.subjects

    outcomes = [
        await subjects.enable(owner, "cli"),
        await subjects.disable(owner, "left", "cli"),
        await subjects.set_password(owner, "orchid-planet-31-velvet", "cli"),
        await subjects.change_roles(owner, "admin", "cli"),
    ]

    assert [Outcome.ERASED] * 4 == outcomes
    assert (await house.again(owner)).status == ERASED


async def test_notes_and_queries_about_the_person_go_and_those_about_others_stay(house: House) -> None:
    owner, bob = await house.owner(), await house.owner("bob")
    for whom in (owner, bob):
        families = await house.service.family_reader.of_subject(whom.id)
        stream = house.service.actions.new_id()
        confirmed = Confirmed(stream, "staff:test", "suspicious", "", NOTE if whom is owner else "bob's note", 0)
        await house.service.actions.kill(Kill(confirmed, whom.id, (families[0].id,), everything=False), Origin())
    await plan(house.service, f"user:{NAME}", [])
    await plan(house.service, "user:bob", [])

    await house.erase(owner)

    actions = await house.service.actions.reader.latest(10)
    assert {"", "bob's note"} == {one.note for one in actions}
    assert {"", "user:bob"} == {one.query for one in actions}
    check(house.service.store, secrets=OURS)
    assert [] == rebuild(house.service.store)


async def test_a_name_that_is_a_word_takes_nobodys_notes_with_it(house: House) -> None:
    service = house.service
    await service.subjects.register("user", PASSWORD, "", "cli")
    bob = await house.owner("bob")
    (living, *_), stream = await service.family_reader.of_subject(bob.id), service.actions.new_id()
    confirmed = Confirmed(stream, "staff:test", "suspicious", "", "the user called", 0)
    await service.actions.kill(Kill(confirmed, bob.id, (living.id,), everything=False), Origin())
    await plan(service, "user:bob", [])

    await house.erase(await house.owner("user"))

    actions = await service.actions.reader.latest(10)
    assert {"", "the user called"} == {one.note for one in actions}
    assert {"", "user:bob"} == {one.query for one in actions}


async def test_nobody_is_called_like_an_id_which_an_erasure_needs(house: House) -> None:
    owner = await house.owner()

    with pytest.raises(BadName):
        await house.service.subjects.register(ids.to_text("sub", owner.id).upper(), BOB, "", "cli")


async def test_erasures_at_the_same_time_share_what_they_wait_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, scrubs = house.service, list[int]()
    for number in range(4):
        await service.subjects.register(f"guest-{number}", PASSWORD, "", "cli")
    guests = [await house.owner(f"guest-{number}") for number in range(4)]
    real = service.store.scrub

    def scrub() -> Scrubbed:
        scrubs.append(1)
        return real()

    monkeypatch.setattr(service.store, "scrub", scrub)

    await asyncio.gather(*(house.erase(guest) for guest in guests))

    assert len(scrubs) < len(guests)
    assert [] == await service.actions.reader.unfinished()


async def plan(service: app.Service, query: str, families: list[bytes]) -> None:
    await service.actions.plan(Selection(service.actions.new_id(), "staff:test", query, 0, tuple(families)), Origin())


async def test_the_addresses_of_somebody_who_was_staff_go_from_what_they_did_to_others(house: House) -> None:
    service = house.service
    await service.subjects.register("dora", PASSWORD, "responder", "cli")
    dora, bob = await house.owner("dora"), await house.owner("bob")
    families = await service.family_reader.of_subject(bob.id)
    stream = service.actions.new_id()
    actor = f"staff:{ids.to_text('sub', dora.id)}"
    desk = Visit(Presence("203.0.113.55", "dora's browser"), "AAAAAAAAAAAAAAAA", time.monotonic()).origin
    confirmed = Confirmed(stream, actor, "suspicious", "", "bob asked", 0)
    await service.actions.kill(Kill(confirmed, bob.id, (families[0].id,), everything=False), desk)

    await house.erase(dora)

    check(service.store, secrets=["dora", "203.0.113.55"])
    kept = await service.actions.reader.get(stream)
    assert kept is not None
    assert "bob asked" == kept.note


BREATH = 0.06
"""Seconds between two refreshes, so that none of them meets the limit of its family."""


async def test_an_erasure_under_load_leaves_no_readable_context_behind_it(house: House) -> None:
    owner = await house.owner()
    going = asyncio.Event()

    async def use(token: str) -> None:
        while not going.is_set():
            answer = await house.refreshed(token)
            await asyncio.sleep(BREATH)
            if answer.status_code == 401:
                return
            if answer.status_code == 503:
                continue
            token = answer.json()["refresh_token"]

    async def bobs_use() -> int:
        token, times = house.bobs, 0
        while not going.is_set():
            answer = await house.refreshed(token, SHARED)
            await asyncio.sleep(BREATH)
            if answer.status_code == 503:
                continue  # a busy machine: nothing was decided
            assert answer.status_code == 200, answer.text
            token, times = answer.json()["refresh_token"], times + 1
        return times

    users = [asyncio.create_task(use(token)) for token in house.tokens]
    bob = asyncio.create_task(bobs_use())
    await asyncio.sleep(0.3)
    assert Outcome.DONE == await house.erase(owner)
    await asyncio.wait_for(asyncio.gather(*users), 10)
    await asyncio.sleep(0.1)
    going.set()

    assert await bob > 3
    said = next(event for event in events_of(house.service.store) if event.name == "subject.erased")
    later = [e for e in events_of(house.service.store)[said.position :] if e.subject == owner.id]
    assert not any(b'"context"' in event.body for event in later)
    assert [] == house.private_of(owner)
    check(house.service.store, house.service.settings.checkpoint_dir, [NAME, EXTERNAL, DEVICE, HOME])


async def test_many_rows_go_in_slices_and_a_crash_between_them_is_made_up_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await house.owner()
    monkeypatch.setattr(erasing, "SLICE", 2)
    command = Erasure(erasures.new_action(), owner.id, "cli", "user_request")
    await house.service.erasures.erase(owner, command)
    begun = await house.service.actions.reader.get(command.action)
    assert begun is not None
    assert begun.status == STARTED
    assert house.private_of(owner)
    check(house.service.store)

    assert 1 == await house.service.actions.resume()

    done = await house.service.actions.reader.get(command.action)
    assert done is not None
    assert (FINISHED, 3) == (done.status, done.ended)
    assert [] == house.private_of(owner)
    check(house.service.store, secrets=OURS)


@pytest.fixture
def backup(store: Store, stores: Stores, made: Made) -> Backup:
    return Backup(store, stores, made)


async def erased_after_a_backup(settings: Settings, backup: Backup) -> bytes:
    """The ledger is copied, then she is erased; answers who she was."""
    async with running(settings) as service:
        house = House(service)
        await house.begin()
        owner = await house.owner()
    backup.take()
    async with running(settings) as service:
        assert Outcome.DONE == await House(service).erase(owner)
    return owner.id


async def test_a_copy_that_lost_little_forgets_her_again_before_it_serves(
    make_settings: MakeSettings, backup: Backup, store: Store
) -> None:
    settings = make_settings(max_loss=7200)
    owner = await erased_after_a_backup(settings, backup)
    restored(settings, backup, seconds=60)
    assert NAME in found_in_store(store, OURS)

    service = app.prepare(settings)
    await service.start()
    left = await service.subject_reader.get(owner)
    await service.stop()

    assert left is not None
    assert ERASED == left.status
    said = next(event for event in events_of(store) if event.name == "subject.erased")
    assert (b'"reason":"restored"' in said.body, "system") == (True, said.actor)
    check(store, settings.checkpoint_dir, OURS)


async def test_recover_erases_again_whom_the_copy_knows(
    make_settings: MakeSettings, backup: Backup, store: Store, tmp_path: Path
) -> None:
    settings = make_settings(master_key=MASTER_KEY)
    await erased_after_a_backup(settings, backup)
    restored(settings, backup, seconds=3600)

    told = await asyncio.to_thread(Place(tmp_path, store, LEDGER_MASTER_KEY=MASTER_KEY).done, "recover")

    assert "Erased again, as the list in checkpoints says: 1." in told
    check(store, secrets=OURS)


async def test_a_line_that_somebody_else_wrote_into_the_list_erases_nobody(
    make_settings: MakeSettings, backup: Backup, store: Store
) -> None:
    settings = make_settings(max_loss=7200)
    async with running(settings) as service:
        house = House(service)
        await house.begin()
        bob = await house.owner("bob")
    line = f"{ids.to_text('sub', bob.id)} 99 1800000000000000 1 {'0' * 64}"
    (settings.checkpoint_dir / "erased").write_text(f"{line}\nhalf a li")

    async with running(settings) as service:
        await service.erasures.reapply()

        assert (await House(service).owner("bob")).enabled


async def test_the_list_is_made_again_from_the_log_where_it_is_gone(house: House) -> None:
    owner = await house.owner()
    await house.erase(owner)
    path = house.service.settings.checkpoint_dir / "erased"
    listed = masters.erased_list(path.parent, house.service.master)
    before = listed.all()
    path.unlink()

    house.service.erasures._origin = ""
    await house.service.erasures.run()

    assert before == listed.all()
    assert [owner.id] == [line.subject for line in before]
    assert set() == found_in_files([path.parent], OURS)


async def test_the_command_shows_first_and_erases_beside_a_service(tmp_path: Path, store: Store) -> None:
    place = Place(tmp_path, store, LEDGER_MASTER_KEY=MASTER_KEY)
    with place.serving() as child:
        place.done("user", "add", NAME, "--password-stdin", typed=f"{PASSWORD}\n")
        assert 200 == place.sign_in(NAME, PASSWORD)

        shown = place.done("subject", "erase", NAME)
        assert re.search("^ +1  sessions that live", shown, re.MULTILINE)
        assert "Nothing has changed" in shown
        assert 200 == place.sign_in(NAME, PASSWORD)

        done = place.done("subject", "erase", NAME, "--yes", "--ticket", "GDPR-7")
        assert "is erased." in done
        assert 401 == place.sign_in(NAME, PASSWORD)
        logged = child.out

    assert NAME not in logged
    place.done("verify")
    assert "; 0 of the stored rows" in place.done("rebuild")
    check(store, tmp_path / "checkpoints", [NAME, PASSWORD])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody",), "There is no account nobody."),
        (("admin", "--ticket", "a b"), "A ticket has 1 to 32 letters"),
        (("admin", "--reason", "spite"), "Invalid value for '--reason'"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    arguments: tuple[str, ...], said: str, tmp_path: Path, sqlite_store: Store
) -> None:
    place = Place(tmp_path, sqlite_store, LEDGER_MASTER_KEY=MASTER_KEY)
    with place.serving():
        ended = place.run("subject", "erase", *arguments)

    assert ended.status == 2
    assert said in ended.err


async def test_a_row_that_goes_without_an_erasure_of_its_owner_is_named(house: House) -> None:
    owner, bob = await house.owner(), await house.owner("bob")
    await house.erase(owner)
    (bobs, *_), store = house.private_of(bob), house.service.store
    with tables.opened(store) as found:
        found.run("DELETE FROM event_private WHERE position = ?", bobs[0])

    named = store.read(verify)

    assert f"#{bobs[0]}: its private row is gone, and no event says why" == str(named)


async def test_an_erasure_accounts_for_no_row_of_a_later_event_and_no_account_of_what_staff_did_to_others(
    house: House,
) -> None:
    service = house.service
    await service.subjects.register("dora", PASSWORD, "responder", "cli")
    dora, bob = await house.owner("dora"), await house.owner("bob")
    (living, *_), stream = await service.family_reader.of_subject(bob.id), service.actions.new_id()
    confirmed = Confirmed(stream, f"staff:{ids.to_text('sub', dora.id)}", "suspicious", "", "bob asked", 0)
    await service.actions.kill(Kill(confirmed, bob.id, (living.id,), everything=False), Origin())
    await house.erase(dora)
    noted = next(event.position for event in events_of(service.store) if event.name == "action.started")
    with tables.opened(service.store) as found:
        found.run("DELETE FROM event_private WHERE position = ?", noted)
    assert isinstance(service.store.read(verify), Finding)
