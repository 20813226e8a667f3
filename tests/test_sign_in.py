"""Signing in and changing the password, as use cases: what waits for what, what is counted, and what is never kept."""

import asyncio
import statistics
import threading
import time
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

import app
from core.access import Refusal
from core.issued import Absent, Denied, Issued, Present
from core.passwords import Busy, Hasher
from core.presence import Presence
from core.subject import FREE_FAILURES
from core.token import Token
from core.verdict import Answer, Verdict
from core.visit import SignIn, Visit
from events.subject import Subject
from tests.check import check, events_of, family_rows, found_in_files, found_in_store
from tests.conftest import CHEAP, PASSWORD, MakeSettings, TestClock, running
from tests.given import numbered
from tests.test_races import Gate

ALICE = "crimson-harbor-27-thistle"
OTHER = "walnut-orbit-84-sapphire"
WRONG = "not-the-password-of-anybody"
HOME, CAFE = "192.0.2.7", "198.51.100.9"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def visit(ip: str = HOME) -> Visit:
    return Visit(Presence(ip, FIREFOX), "AAAAAAAAAAAAAAAA", time.monotonic())


async def attempt(
    service: app.Service, name: str = "alice", password: str = ALICE, ip: str = HOME, client: str = "web"
) -> Issued | Denied:
    return await service.families.sign_in(SignIn(name, password, client, "body"), visit(ip))


async def signed_in(service: app.Service, ip: str = HOME) -> Issued:
    issued = await attempt(service, ip=ip)
    assert isinstance(issued, Issued)
    return issued


async def verdict(service: app.Service, password: str = ALICE, ip: str = HOME, name: str = "alice") -> Verdict:
    found = await attempt(service, name, password, ip)
    return found.verdict if isinstance(found, Denied) else found.answer.verdict


def token(service: app.Service, issued: Issued) -> Token:
    found = service.families.read_token(issued.refresh_token)
    assert found is not None
    return found


async def present(service: app.Service, issued: Issued) -> Present:
    found = await service.families.authenticate(issued.access_token)
    assert isinstance(found, Present)
    return found


async def alice(service: app.Service) -> Subject:
    found = await service.subjects.find("alice")
    assert found is not None
    return found


@pytest.fixture
async def house(service: app.Service) -> app.Service:
    """The service, and alice has an account."""
    await service.subjects.register("alice", ALICE, "", "cli")
    return service


@pytest.fixture
def gate(house: app.Service) -> Gate:
    """Holds the ledger's writer."""
    held = Gate("locked")
    house.writer._trace = held
    return held


async def hold(house: app.Service, gate: Gate) -> asyncio.Task[Answer]:
    """From here on nothing is committed until the gate opens, and what is asked for waits in the queue."""
    gate.close()
    held_up = asyncio.create_task(house.families.revoke(numbered(1), "cli", "left"))
    await gate.somebody_waits()
    return held_up


async def until(reached: Callable[[], bool]) -> None:
    for _ in range(5000):
        if reached():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to that")


# What waits for what


async def test_who_is_signed_in_is_in_the_ledger_before_the_answer(house: app.Service) -> None:
    issued = await signed_in(house)

    assert family_rows(house.store)[issued.family.id] == issued.family


async def test_a_wrong_password_is_answered_without_waiting_for_the_ledger(house: app.Service, gate: Gate) -> None:
    held_up = await hold(house, gate)

    denied = await asyncio.wait_for(attempt(house, password=WRONG), 5)
    gate.open()
    await held_up
    await house.families.close()

    assert Denied(Verdict.INVALID) == denied
    assert 1 == (await alice(house)).failures
    assert "subject.login_failed" == events_of(house.store)[-1].name


async def test_a_right_password_waits_for_its_commit(house: app.Service, gate: Gate) -> None:
    held_up = await hold(house, gate)
    waiting = asyncio.create_task(signed_in(house))
    await asyncio.sleep(0.1)
    early = waiting.done()
    gate.open()
    await held_up

    assert (False, Verdict.BEGUN) == (early, (await waiting).answer.verdict)


async def test_stopping_waits_for_what_was_still_to_be_counted(make_settings: MakeSettings) -> None:
    async with running(make_settings()) as service:
        await service.subjects.register("alice", ALICE, "", "cli")
        await asyncio.gather(*(attempt(service, password=WRONG) for _ in range(5)))

    assert 5 == sum(one.name == "subject.login_failed" for one in events_of(service.store))


# What is counted and what is never kept


async def test_a_name_that_nobody_has_leaves_no_trace(house: app.Service) -> None:
    """People type their passwords there."""
    await signed_in(house)
    before = len(events_of(house.store))

    with capture_logs() as lines:
        answers = [await attempt(house, name, WRONG) for name in (PASSWORD + "!", "Straße-" + OTHER)]
    await house.families.close()
    await house.checkpointing.run()

    assert [Denied(Verdict.INVALID)] * 2 == answers
    assert before == len(events_of(house.store))
    typed = [PASSWORD + "!", "Straße-" + OTHER, OTHER, WRONG]
    assert set() == found_in_store(house.store, typed)
    assert set() == found_in_files([house.settings.checkpoint_dir], typed)
    assert OTHER not in str(lines)


@pytest.mark.parametrize("name", ["alice\x00", "\x00", "a\x00lice"])
async def test_a_name_that_no_database_takes_is_nobodys(house: app.Service, name: str) -> None:
    """PostgreSQL refuses U+0000 in text."""
    assert Denied(Verdict.INVALID) == await attempt(house, name, ALICE)
    assert await house.subjects.find(name) is None


async def test_failures_in_a_row_hold_across_a_restart_and_end_with_the_right_password(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings(rate_limits=False)
    async with running(settings) as service:
        await service.subjects.register("alice", ALICE, "", "cli")
        await signed_in(service)
        for _ in range(FREE_FAILURES):
            await attempt(service, password=WRONG, ip=CAFE)
    async with running(settings) as service:
        counted = await alice(service)
        elsewhere = await verdict(service, ip=CAFE)
        at_home = await verdict(service)
        after = await alice(service)

    assert FREE_FAILURES == counted.failures
    assert (Verdict.BLOCKED, Verdict.BEGUN) == (elsewhere, at_home)
    assert (0, 0) == (after.failures, after.blocked_until)
    check(service.store, settings.checkpoint_dir, [ALICE, WRONG])


async def test_guessing_while_blocked_is_not_counted_and_lengthens_nothing(make_settings: MakeSettings) -> None:
    async with running(make_settings(rate_limits=False)) as service:
        await service.subjects.register("alice", ALICE, "", "cli")
        for _ in range(FREE_FAILURES):
            await attempt(service, password=WRONG, ip=CAFE)
        await service.families.close()
        blocked = await alice(service)
        answers = [await verdict(service, password, CAFE) for password in (WRONG, ALICE, WRONG)]
        await service.families.close()

        assert [Verdict.BLOCKED] * 3 == answers
        assert blocked == await alice(service)


async def test_a_disabled_account_is_denied_like_a_wrong_password_and_without_a_commit(house: app.Service) -> None:
    await house.subjects.disable(await alice(house), "left", "cli")
    before = house.ledger.commands

    assert Denied(Verdict.INVALID) == await attempt(house)
    assert before == house.ledger.commands


async def test_what_is_left_out_of_the_log_is_counted_and_said(house: app.Service) -> None:
    clock = TestClock(time.time())
    clock.rules_service(house)
    held = token(house, await signed_in(house))

    async def wrong_carriage() -> None:
        await house.families.refresh(held, "web", "cookie", visit())

    for _ in range(5):
        await wrong_carriage()
    await house.families.refresh(held, "mobile", "body", visit())
    clock.pass_(60)
    await wrong_carriage()

    notes = [one for one in events_of(house.store) if one.name == "token.refused"]
    assert [b'"omitted"' in one.body for one in notes] == [False, False, True]
    assert b'"omitted":4' in notes[-1].body


# Changing the password


async def test_a_new_password_ends_every_session_and_begins_one(house: app.Service) -> None:
    first, second = await signed_in(house), await signed_in(house, CAFE)
    begun = await house.families.change_password(await present(house, first), ALICE, OTHER, visit())
    assert isinstance(begun, Issued)

    found = [await house.families.authenticate(one.access_token) for one in (first, second)]
    assert [Refusal.ENDED] * 2 == [one.why for one in found if isinstance(one, Absent)]
    assert (await present(house, begun)).family.id == begun.family.id
    old = await house.families.refresh(token(house, second), "web", "body", visit())
    assert isinstance(old, Denied)
    assert Verdict.REVOKED is old.verdict
    assert [Verdict.INVALID, Verdict.BEGUN] == [await verdict(house, password) for password in (ALICE, OTHER)]


async def test_a_wrong_current_password_changes_nothing_and_is_counted(house: app.Service) -> None:
    first = await signed_in(house)
    denied = await house.families.change_password(await present(house, first), WRONG, OTHER, visit())
    await house.families.close()

    assert Denied(Verdict.INVALID) == denied
    assert (await present(house, first)).family.living
    assert 1 == (await alice(house)).failures


async def test_guessing_the_password_with_a_stolen_access_token_is_blocked_too(make_settings: MakeSettings) -> None:
    async with running(make_settings(rate_limits=False)) as service:
        await service.subjects.register("alice", ALICE, "", "cli")
        here = await present(service, await signed_in(service))
        for _ in range(FREE_FAILURES):
            await service.families.change_password(here, WRONG, OTHER, visit(CAFE))
        await service.families.close()

        assert Denied(Verdict.BLOCKED) == await service.families.change_password(here, ALICE, OTHER, visit(CAFE))
        assert isinstance(await service.families.change_password(here, ALICE, OTHER, visit(HOME)), Issued)


async def test_a_sign_in_that_verified_the_old_password_fails_inside_the_decision(
    house: app.Service, gate: Gate
) -> None:
    """Both wait in one queue: the change first, behind it who was verified against what it replaces."""
    owner = await alice(house)
    held_up = await hold(house, gate)
    changing = asyncio.create_task(house.subjects.set_password(owner, OTHER, "cli"))
    await until(lambda: house.ledger.waiting == 1)
    late = asyncio.create_task(attempt(house))
    await until(lambda: house.ledger.waiting == 2)
    gate.open()
    await asyncio.gather(held_up, changing)

    assert Denied(Verdict.INVALID) == await late
    assert {} == family_rows(house.store)


# The cost of hashing


async def test_a_hash_of_yesterdays_cost_is_made_anew_behind_the_answer(make_settings: MakeSettings) -> None:
    async with running(make_settings()) as service:
        await service.subjects.register("alice", ALICE, "", "cli")
        kept = await signed_in(service)
        old = await alice(service)
    async with running(make_settings(), Hasher(memory_kib=128, time_cost=1)) as service:
        parallel = await asyncio.gather(signed_in(service), signed_in(service), signed_in(service))
        await service.families.close()
        new = await alice(service)
        await signed_in(service)
        await service.families.close()
        again = await alice(service)
        refreshed = [
            await service.families.refresh(token(service, one), "web", "body", visit()) for one in (kept, *parallel)
        ]

    assert ("$m=64," in old.password, "$m=128," in new.password) == (True, True)
    assert (old.password_version, new.password) == (new.password_version, again.password)
    assert all(isinstance(one, Issued) for one in refreshed)
    assert b'"reason":"upgraded"' in b"".join(one.body for one in events_of(service.store))


async def test_a_storm_of_sign_ins_cannot_starve_a_refresh(make_settings: MakeSettings) -> None:
    """The one hashing thread is held up for good here; sixty-four passwords wait for it."""
    hasher, stuck = Hasher(**CHEAP, threads=1, waiting=64), threading.Event()
    async with running(make_settings(rate_limits=False), hasher) as service:
        await service.subjects.register("alice", ALICE, "", "cli")
        held = token(service, await signed_in(service))
        hasher._threads.submit(stuck.wait, 30)
        storm = [asyncio.create_task(verdict(service, WRONG, name=f"user-{number}")) for number in range(65)]
        await until(lambda: hasher.waiting == 65)

        refreshed = [
            await asyncio.wait_for(service.families.refresh(held._replace(generation=g), "web", "body", visit()), 5)
            for g in (1, 2, 3)
        ]
        with pytest.raises(Busy):
            await attempt(service)
        waited = [one.done() for one in storm]
        stuck.set()
        answers = await asyncio.gather(*storm)

        assert [Verdict.ROTATED] * 3 == [one.answer.verdict for one in refreshed if isinstance(one, Issued)]
        assert (False, {Verdict.INVALID}) == (any(waited), set(answers))
        assert Verdict.BEGUN is await verdict(service)


async def test_nobody_and_somebody_cost_one_hash_each(house: app.Service, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes: list[str] = []
    matches = house.hasher._matches

    def counted(phc: str, data: bytes | None) -> bool:
        hashes.append(phc[:30])
        return matches(phc, data)

    monkeypatch.setattr(house.hasher, "_matches", counted)
    for name in ("alice", "nobody", "admin"):
        await verdict(house, WRONG, name=name)

    assert 3 == len(hashes)
    assert 1 == len({one[:22] for one in hashes}), "all of the same cost"


@pytest.mark.alone
@pytest.mark.soak
async def test_medians_of_five_hundred_tries_of_somebody_and_nobody_are_within_five_milliseconds(
    make_settings: MakeSettings,
) -> None:
    async with running(make_settings(rate_limits=False), Hasher()) as service:
        await service.subjects.register("alice", ALICE, "", "cli")
        took: dict[str, list[float]] = {"alice": [], "nobody": []}
        for number in range(500):
            for name, times in took.items():
                began = time.perf_counter()
                await verdict(service, WRONG, ip=f"203.0.{number % 250}.{number // 250}", name=name)
                times.append(time.perf_counter() - began)
    somebody, nobody = (statistics.median(times) for times in took.values())

    assert abs(somebody - nobody) < 0.005
