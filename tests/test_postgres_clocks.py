"""Machines whose clocks differ on one ledger: only PostgreSQL takes several. Ledger time is the server's, for all."""

from collections.abc import AsyncIterator

import pytest

from core.policy import Policy
from core.token import Token
from core.verdict import Answer, Verdict
from events.commit import Clock
from events.ledger import Ledger
from events.postgres_store import PostgresStore
from tests import holders
from tests.check import check, events_of
from tests.databases import set_clock

MINUTE, HOUR = 60.0, 3600.0
APART = 10 * MINUTE
EPOCH = 1_800_000_000.0


class Machine:
    """A process on the ledger, whose own wall clock is so far ahead; what passes it sees as everybody does."""

    def __init__(self, store: PostgresStore, ahead: float, room: "Room") -> None:
        self.room, self.ahead = room, ahead
        self.writer = store.writer(Clock(self.own_clock, lambda: room.monotonic))
        self.ledger = Ledger(self.writer)

    def own_clock(self) -> float:
        return EPOCH + self.room.passed + self.ahead

    async def begin(self, policy: Policy = holders.DEFAULTS) -> Token:
        return await holders.begin(self.ledger, policy, self.room.monotonic)

    async def refresh(self, token: Token, policy: Policy = holders.DEFAULTS) -> Answer:
        return await holders.refresh(self.ledger, token, policy, self.room.monotonic)


class Room:
    """Two machines, ten minutes apart, and the server's clock, which can be set."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.passed = self.stepped = 0.0
        self.step(0)
        self.slow, self.fast = Machine(store, -APART / 2, self), Machine(store, APART / 2, self)

    @property
    def monotonic(self) -> float:
        return 1_000.0 + self.passed

    @property
    def server(self) -> float:
        return EPOCH + self.passed + self.stepped

    def pass_(self, seconds: float) -> None:
        self.passed += seconds
        self.step(0)

    def step(self, seconds: float) -> None:
        """Set the server's clock forward or back."""
        self.stepped += seconds
        set_clock(self.store, self.server)


@pytest.fixture
async def room(postgres_store: PostgresStore) -> AsyncIterator[Room]:
    one = Room(postgres_store)
    await holders.people(one.slow.ledger)
    yield one
    for machine in (one.slow, one.fast):
        await machine.ledger.close()
    check(postgres_store)


@pytest.mark.alone
async def test_machines_ten_minutes_apart_agree_on_the_time(room: Room) -> None:
    token = await room.slow.begin()
    for number in range(6):
        room.pass_(20)
        machine = (room.fast, room.slow)[number % 2]
        answer = await machine.refresh(token)
        token = holders.successor(token, answer)
        assert (Verdict.ROTATED, int(room.server)) == (answer.verdict, answer.issued_at)
        assert abs(machine.writer.now() / 1_000_000 - room.server) < 1
        assert abs(machine.writer.wall() - room.server) < 1

    times = [event.at / 1_000_000 for event in events_of(room.store) if event.stream == token.family]
    assert [EPOCH + 20 * number for number in range(7)] == [round(at, 1) for at in times]


@pytest.mark.parametrize(("after", "verdict"), [(9, Verdict.RETRIED), (11, Verdict.REUSED)])
async def test_a_leeway_is_as_long_at_the_other_machine(room: Room, after: int, verdict: Verdict) -> None:
    token = await room.slow.begin()
    await room.fast.begin()
    room.pass_(30)
    await room.slow.refresh(token)
    room.pass_(after)
    again = await room.fast.refresh(token)

    assert verdict is again.verdict


async def test_a_family_idles_out_at_both_machines_together(room: Room) -> None:
    policy = Policy(idle_ttl=7200, absolute_ttl=100_000)
    tokens = [await room.slow.begin(policy) for _ in range(3)]
    room.pass_(7190)
    still = await room.fast.refresh(tokens[0], policy)
    room.pass_(20)
    gone = [
        (await machine.refresh(token, policy)).verdict
        for machine, token in zip((room.slow, room.fast), tokens[1:], strict=True)
    ]

    assert Verdict.ROTATED is still.verdict
    assert [Verdict.EXPIRED] * 2 == gone


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_when_the_servers_clock_is_set_an_honest_retry_at_either_machine_stays_one(
    room: Room, step: float
) -> None:
    tokens = [await room.slow.begin() for _ in range(2)]
    await room.fast.begin()
    for token in tokens:
        await room.slow.refresh(token)
    room.pass_(4)
    room.step(step)
    room.pass_(1)
    retries = [
        (await machine.refresh(token)).verdict for machine, token in zip((room.fast, room.slow), tokens, strict=True)
    ]

    assert [Verdict.RETRIED] * 2 == retries


async def test_a_servers_clock_that_is_set_back_and_forth_signs_nobody_out_and_time_only_goes_on(room: Room) -> None:
    token = await room.slow.begin()
    for step in (HOUR, -HOUR, -HOUR, HOUR, HOUR):
        room.step(step)
        for machine in (room.fast, room.slow):
            room.pass_(2)
            answer = await machine.refresh(token)
            assert Verdict.ROTATED is answer.verdict
            token = holders.successor(token, answer)

    times = [event.at for event in events_of(room.store)]
    assert sorted(times) == times


async def test_a_thief_is_noticed_after_the_servers_clock_was_set_and_its_leeway_has_passed(room: Room) -> None:
    token = await room.slow.begin()
    await room.fast.begin()
    await room.slow.refresh(token)
    room.step(HOUR)
    for machine in (room.slow, room.fast):
        await machine.begin()
    room.pass_(11)
    for machine in (room.slow, room.fast):
        await machine.ledger.probe()
    stolen = await room.fast.refresh(token)

    assert Verdict.REUSED is stolen.verdict
