"""Many at once, below HTTP: on the real ledger, with real threads, connections and locks."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.util import await_only

import app
from core import beginning, client, ending, family, subject, token
from core.judgement import Refresh
from core.policy import WEB, Policy
from core.subject import Outcome, Register
from core.token import Token
from core.verdict import Answer, Verdict
from events import family as past
from events import ids
from events import ledger as queue
from events.client import ClientRegistered, stream_of
from events.decision import Change, Decision, Moment, States, Streams
from events.ledger import MAX_BATCH, MAX_WAITING, Ledger, Unavailable
from events.sealing import TooLarge
from events.store import Store
from events.writer import Writer
from tests import holders
from tests.check import check, events_of, family_rows
from tests.conftest import TestClock, visiting
from tests.given import a_begin, numbered
from tests.holders import ALICE

STRICT = Policy(leeway=0)


class Gate:
    """Holds the writer at a named point until it is opened, in its thread or on the event loop."""

    def __init__(self, point: str) -> None:
        self._point = point
        self._open = threading.Event()
        self._open.set()
        self.reached = threading.Event()

    def __call__(self, point: str) -> None:
        if point == self._point and not self._open.is_set():
            self.reached.set()
            if threading.current_thread() is threading.main_thread():
                await_only(asyncio.to_thread(self._open.wait, 20))
            assert self._open.wait(20)

    def close(self) -> None:
        self.reached.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def somebody_waits(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 20)


@asynccontextmanager
async def opened(store: Store, *, gate: Gate | None = None, clock: TestClock | None = None) -> AsyncIterator[Ledger]:
    """A ledger with people in it, checked from outside when it is closed."""
    more: dict[str, Any] = {"trace": gate} if gate else {}
    ledger = Ledger(store.writer(clock.clock, **more) if clock else store.writer(**more))
    try:
        await holders.people(ledger)
        yield ledger
    finally:
        if gate:
            gate.open()
        await ledger.close()
    check(store)


@pytest.fixture
async def busy(store: Store) -> AsyncIterator[Ledger]:
    """The ledger under the real clock."""
    async with opened(store) as ledger:
        yield ledger


@pytest.fixture
def gate() -> Gate:
    return Gate("locked")


def types(store: Store, stream: bytes) -> Counter[str]:
    """How many facts of each type the log holds of one stream."""
    return Counter(one.name for one in events_of(store) if one.stream == stream)


def engine_of(writer: Writer) -> Engine:
    """What its connection comes from."""
    engine: Any = writer._hold._engine  # type: ignore[attr-defined]
    return getattr(engine, "sync_engine", engine)  # type: ignore[no-any-return]


async def settled(*work: Awaitable[Any]) -> list[Any]:
    """Results and exceptions of what was done together, in order."""
    return await asyncio.gather(*work, return_exceptions=True)


# One token, many at once


async def test_fifty_parallel_refreshes_are_one_rotation_and_one_successor(busy: Ledger, store: Store) -> None:
    first = await holders.begin(busy)

    answers = await asyncio.gather(*(holders.refresh(busy, first) for _ in range(50)))

    assert {Verdict.ROTATED: 1, Verdict.RETRIED: 49} == Counter(answer.verdict for answer in answers)
    assert 1 == len({holders.successor(first, answer) for answer in answers})
    assert 50 == len({answer.jti for answer in answers})
    assert {"token.issued": 1, "token.rotated": 1, "token.retried": 49} == types(store, first.family)


async def test_fifty_parallel_refreshes_without_leeway_are_one_winner_and_a_dead_family(
    busy: Ledger, store: Store
) -> None:
    first = await holders.begin(busy)

    answers = await asyncio.gather(*(holders.refresh(busy, first, STRICT) for _ in range(50)))
    winner = next(answer for answer in answers if answer.verdict is Verdict.ROTATED)

    assert {Verdict.ROTATED: 1, Verdict.REUSED: 1, Verdict.REVOKED: 48} == Counter(a.verdict for a in answers)
    assert Verdict.REVOKED is (await holders.refresh(busy, holders.successor(first, winner), STRICT)).verdict
    assert {
        "token.issued": 1,
        "token.rotated": 1,
        "token.reuse_detected": 1,
        "family.revoked": 1,
        "token.refused": 1,
    } == types(store, first.family)


async def test_two_processes_worth_of_writers_never_make_two_successors(store: Store) -> None:
    async with opened(store) as one, opened(store) as other:
        current = await holders.begin(one)
        for _ in range(60):
            answers = await asyncio.gather(holders.refresh(one, current), holders.refresh(other, current))

            assert {Verdict.ROTATED: 1, Verdict.RETRIED: 1} == Counter(answer.verdict for answer in answers)
            (current,) = {holders.successor(current, answer) for answer in answers}

    assert 61 == family_rows(store)[current.family].generation


async def test_of_two_processes_worth_of_strict_writers_one_wins_and_the_family_ends(store: Store) -> None:
    async with opened(store) as one, opened(store) as other:
        for _ in range(20):
            first = await holders.begin(one)
            answers = await asyncio.gather(holders.refresh(one, first, STRICT), holders.refresh(other, first, STRICT))

            assert {Verdict.ROTATED, Verdict.REUSED} == {answer.verdict for answer in answers}

    assert {past.REVOKED} == {row.status for row in family_rows(store).values()}


# Refresh against revoke


async def test_nothing_of_a_thousand_families_lives_after_revoke_returned(
    busy: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_WAIT", 60.0)
    chance = random.Random(7)

    async def use(current: Token, gone: asyncio.Event) -> int:
        rotated = 0
        while True:
            late = gone.is_set()
            answer = await holders.refresh(busy, current)
            if answer.verdict is Verdict.REVOKED:
                return rotated
            assert (Verdict.ROTATED, False) == (answer.verdict, late)
            current, rotated = holders.successor(current, answer), rotated + 1

    async def end(stream: bytes, gone: asyncio.Event) -> None:
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        assert Verdict.ENDED is (await holders.revoke(busy, stream)).verdict
        gone.set()

    rotations = 0
    for _ in range(20):
        families = await asyncio.gather(*(holders.begin(busy) for _ in range(50)))
        events = [asyncio.Event() for _ in families]
        used, _ = await asyncio.gather(
            asyncio.gather(*(use(first, gone) for first, gone in zip(families, events, strict=True))),
            asyncio.gather(*(end(first.family, gone) for first, gone in zip(families, events, strict=True))),
        )
        rotations += sum(used)

    rows = family_rows(store).values()
    assert (1000, {past.REVOKED}) == (len(rows), {row.status for row in rows})
    assert rotations == sum(row.generation - 1 for row in rows) > 100


async def test_nobody_signs_in_past_a_disabling(busy: Ledger, store: Store) -> None:
    async def disable() -> Outcome:
        found: Outcome = await busy.submit(Streams(subjects=frozenset((ALICE,))), subject.disable(ALICE, "left", "cli"))
        return found

    async def enable() -> None:
        await busy.submit(Streams(subjects=frozenset((ALICE,))), subject.enable(ALICE, "cli"))

    begun = 0
    for turn in range(40):
        commands = [_begin(busy, 10 * turn + n) for n in range(4)]
        answers = await settled(*commands[:2], disable(), *commands[2:])

        assert Outcome.DONE is answers.pop(2)
        assert [Verdict.BEGUN] * 2 + [Verdict.INVALID] * 2 == [answer.verdict for answer in answers]
        assert [] == [row for row in family_rows(store).values() if row.living]
        begun += 2
        await enable()

    assert begun == len(family_rows(store))


async def _begin(ledger: Ledger, number: int, owner: bytes = ALICE, **more: Any) -> Answer:
    command = a_begin(number, owner, **more)
    found: Answer = await ledger.submit(beginning.needs(command), beginning.begin(command))
    return found


# One batch


async def test_two_commands_of_one_batch_see_each_other(busy: Ledger) -> None:
    first = await holders.begin(busy)
    before = busy.batches

    rotated, again, ended, late = await asyncio.gather(
        holders.refresh(busy, first),
        holders.refresh(busy, first._replace(generation=2)),
        holders.revoke(busy, first.family),
        holders.refresh(busy, first._replace(generation=3)),
    )

    assert 1 == busy.batches - before
    assert [Verdict.ROTATED, Verdict.ROTATED, Verdict.ENDED, Verdict.REVOKED] == [
        one.verdict for one in (rotated, again, ended, late)
    ]


async def test_a_family_that_began_in_this_batch_is_refreshed_in_it(busy: Ledger) -> None:
    command = a_begin(1, ALICE)
    refresh = Refresh(Token(1, numbered(1), b"nonce-of-family-", 1), WEB, "body", command.tags, 1, "", Policy())

    begun, rotated = await asyncio.gather(
        busy.submit(beginning.needs(command), beginning.begin(command)),
        busy.submit(family.named(refresh), family.refresh(refresh)),
    )

    assert (Verdict.BEGUN, Verdict.ROTATED) == (begun.verdict, rotated.verdict)


async def test_a_name_is_given_once_in_a_batch(busy: Ledger) -> None:
    names = [Register(numbered(n), "bob", "hash", "", "cli") for n in range(5)]

    outcomes = await asyncio.gather(
        *(busy.submit(Streams(subjects=frozenset((one.subject,))), subject.register(one)) for one in names)
    )

    assert [Outcome.DONE, *[Outcome.NAME_TAKEN] * 4] == outcomes


async def test_a_batch_of_sign_ins_keeps_the_limit(busy: Ledger, store: Store) -> None:
    small = ClientRegistered(actor="cli", client="small", family_limit=2)
    await busy.submit(Streams(clients=frozenset((stream_of("small"),))), client.register(small))

    answers = await asyncio.gather(*(_begin(busy, n, client="small") for n in range(6)))

    assert [0, 0, 1, 1, 1, 1] == [answer.ended for answer in answers]
    assert 2 == sum(row.living for row in family_rows(store).values())


async def test_a_family_expires_once_however_many_notice_it_together(store: Store, clock: TestClock) -> None:
    async with opened(store, clock=clock) as ledger:
        first = await holders.begin(ledger, arrived=clock.monotonic_now)
        clock.pass_(8 * 86_400)

        *answers, swept = await settled(
            *(holders.refresh(ledger, first, arrived=clock.monotonic_now) for _ in range(5)),
            ledger.submit(Streams(families=frozenset((first.family,))), ending.expire(first.family, Policy())),
        )

    assert ([Verdict.EXPIRED] * 5, 0) == ([answer.verdict for answer in answers], swept)
    assert {"token.issued": 1, "family.expired": 1, "token.refused": 1} == types(store, first.family)


async def test_a_rule_that_raises_fails_alone(busy: Ledger) -> None:
    def wrong(_states: States, _moment: Moment) -> Decision:
        raise ZeroDivisionError

    first = await holders.begin(busy)
    before = busy.batches
    good, bad, also_good = await settled(
        holders.refresh(busy, first),
        busy.submit(Streams(), wrong),
        holders.refresh(busy, first._replace(generation=2)),
    )

    assert isinstance(bad, ZeroDivisionError)
    assert [Verdict.ROTATED] * 2 == [good.verdict, also_good.verdict]
    assert 1 == busy.batches - before


async def test_a_body_that_is_too_large_fails_alone_and_leaves_no_trace(busy: Ledger, store: Store) -> None:
    first = await holders.begin(busy)
    streams = Streams(families=frozenset((first.family,)))
    before = len(events_of(store))

    large, rotated = await settled(
        busy.submit(streams, ending.revoke(first.family, "cli", "x" * 17_000)), holders.refresh(busy, first)
    )

    assert isinstance(large, TooLarge)
    assert Verdict.ROTATED is rotated.verdict
    assert before + 1 == len(events_of(store))


async def test_what_the_database_refuses_fails_alone(busy: Ledger, store: Store) -> None:
    first, second = await holders.begin(busy), await holders.begin(busy)

    def blind(_states: States, _moment: Moment) -> Decision:
        """Begins a stream that exists, because it never looked."""
        return Decision(None, (Change(ids.named_id("client", WEB), ClientRegistered(actor="cli", client=WEB)),))

    good, bad, also_good = await settled(
        holders.revoke(busy, first.family), busy.submit(Streams(), blind), holders.revoke(busy, second.family)
    )

    assert isinstance(bad, IntegrityError)
    assert [Verdict.ENDED] * 2 == [good.verdict, also_good.verdict]
    assert {past.REVOKED} == {row.status for row in family_rows(store).values()}


async def test_a_batch_is_one_commit(store: Store) -> None:
    writer = store.writer()
    said: list[str] = []
    event.listen(engine_of(writer), "commit", lambda _connection: said.append("COMMIT"))

    ledger = Ledger(writer)
    await holders.people(ledger)
    tokens = await asyncio.gather(*(holders.begin(ledger) for _ in range(99)))
    said.clear()
    before = ledger.batches, ledger.commands

    for generation in (1, 2, 3):
        current = [one._replace(generation=generation) for one in tokens]
        await asyncio.gather(*(holders.refresh(ledger, one) for one in current))
    await ledger.close()

    batches, commands = ledger.batches - before[0], ledger.commands - before[1]
    assert (3, 297) == (batches, commands)
    assert batches == len(said)


async def test_commands_on_their_way_join_the_batch_that_follows_another(busy: Ledger) -> None:
    token = await holders.begin(busy)
    answers: list[asyncio.Task[Answer]] = []

    async def arrives(turns: int) -> Answer:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await holders.refresh(busy, token)

    def committed(_commands: int, _seconds: float) -> None:
        busy.committed = lambda _commands, _seconds: None
        answers.extend(asyncio.create_task(arrives(turns)) for turns in range(4))

    before, busy.committed = busy.batches, committed
    first = asyncio.create_task(holders.refresh(busy, token))
    for _ in range(3):  # it is taken, and being committed
        await asyncio.sleep(0)
    waited = asyncio.create_task(holders.refresh(busy, token))
    await asyncio.gather(first, waited)
    await asyncio.gather(*answers)

    assert 2 == busy.batches - before
    assert 4 == len(answers)


async def test_a_batch_has_a_bound(busy: Ledger) -> None:
    before = busy.batches

    await asyncio.gather(*(holders.revoke(busy, numbered(n)) for n in range(MAX_BATCH + 1)))

    assert 2 == busy.batches - before


# Queue, cancellation, closing


async def test_a_full_queue_turns_new_commands_away_at_once(store: Store, gate: Gate) -> None:
    async with opened(store, gate=gate) as ledger:
        gate.close()
        running = asyncio.create_task(holders.revoke(ledger, numbered(0)))
        await gate.somebody_waits()
        waiting = [asyncio.create_task(holders.revoke(ledger, numbered(n))) for n in range(MAX_WAITING)]
        await asyncio.sleep(0)

        with pytest.raises(Unavailable):
            await asyncio.wait_for(holders.revoke(ledger, numbered(1)), 1)
        gate.open()
        answers = await asyncio.gather(running, *waiting)

    assert {Verdict.UNKNOWN} == {answer.verdict for answer in answers}


async def test_who_would_wait_too_long_is_turned_away_at_once(
    store: Store, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_WAIT", 0.05)
    async with opened(store, gate=gate) as ledger:
        gate.close()
        running = asyncio.create_task(holders.revoke(ledger, numbered(0)))
        await gate.somebody_waits()
        waiting = asyncio.create_task(holders.revoke(ledger, numbered(1)))
        await asyncio.sleep(0.1)

        with pytest.raises(Unavailable):
            await asyncio.wait_for(holders.revoke(ledger, numbered(2)), 1)
        gate.open()
        await asyncio.gather(running, waiting)

        assert Verdict.UNKNOWN is (await holders.revoke(ledger, numbered(3))).verdict


@pytest.mark.parametrize("point", ["locked", "decided", "events inserted", "written", "committed"])
async def test_a_caller_that_goes_away_stops_nothing_and_blocks_nobody(store: Store, point: str) -> None:
    gate = Gate(point)
    async with opened(store, gate=gate) as ledger:
        first, second = await holders.begin(ledger), await holders.begin(ledger)
        gate.close()
        running = asyncio.create_task(holders.refresh(ledger, first))
        await gate.somebody_waits()
        queued = asyncio.create_task(holders.refresh(ledger, second))
        await asyncio.sleep(0)
        running.cancel()
        queued.cancel()
        left = await asyncio.gather(running, queued, return_exceptions=True)
        gate.open()

        again = await asyncio.gather(holders.refresh(ledger, first), holders.refresh(ledger, second))

    assert [asyncio.CancelledError] * 2 == [type(one) for one in left]
    assert [Verdict.RETRIED] * 2 == [answer.verdict for answer in again]
    assert {2} == {row.generation for row in family_rows(store).values()}


async def test_a_hundred_callers_that_come_and_go_leave_whole_commits_only(busy: Ledger, store: Store) -> None:
    chance = random.Random(11)
    tokens = await asyncio.gather(*(holders.begin(busy) for _ in range(90)))
    tasks = [asyncio.create_task(holders.refresh(busy, one)) for one in tokens]
    for _ in range(20):
        await asyncio.sleep(chance.random() / 1000)
        chance.choice(tasks).cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    again = await asyncio.gather(*(holders.refresh(busy, one) for one in tokens))

    for before, after in zip(answers, again, strict=True):
        done = isinstance(before, Answer)
        assert after.verdict in ({Verdict.RETRIED} if done else {Verdict.RETRIED, Verdict.ROTATED})
    assert {2} == {row.generation for row in family_rows(store).values()}


async def test_closing_commits_what_waits_and_takes_no_more(store: Store, gate: Gate) -> None:
    async with opened(store, gate=gate) as ledger:
        tokens = [await holders.begin(ledger) for _ in range(3)]
        gate.close()
        running = asyncio.create_task(holders.refresh(ledger, tokens[0]))
        await gate.somebody_waits()
        waiting = [asyncio.create_task(holders.refresh(ledger, one)) for one in tokens[1:]]
        await asyncio.sleep(0)
        closing = asyncio.create_task(ledger.drain())
        await asyncio.sleep(0)

        with pytest.raises(Unavailable):
            await holders.refresh(ledger, tokens[0])
        gate.open()
        await closing
        answers = await asyncio.gather(running, *waiting)

    assert [Verdict.ROTATED] * 3 == [answer.verdict for answer in answers]


async def test_who_gives_up_waiting_for_the_end_does_not_stop_it(store: Store, gate: Gate) -> None:
    async with opened(store, gate=gate) as ledger:
        first = await holders.begin(ledger)
        gate.close()
        running = asyncio.create_task(holders.refresh(ledger, first))
        await gate.somebody_waits()
        impatient = asyncio.create_task(ledger.drain())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        gate.open()

        assert Verdict.ROTATED is (await running).verdict


# Garbage


def garbage(genuine: str, foreign: str) -> Iterator[str]:
    """Tokens that nobody gave out: every character changed in turn, cut, padded, of another key."""
    for place in range(len(genuine)):
        yield genuine[:place] + ("A" if genuine[place] != "A" else "B") + genuine[place + 1 :]
    yield from (genuine[:-1], genuine + "A", genuine + "=", genuine + "\n", genuine.upper(), "", "slr_", "x" * 5000)
    yield foreign


async def test_garbage_tokens_run_no_sql_statement(service: app.Service) -> None:
    for job in service._jobs:
        job.cancel()
    await asyncio.gather(*service._jobs, return_exceptions=True)
    said: list[str] = []
    for engine in (service.engine.sync_engine, engine_of(service.writer)):
        event.listen(engine, "before_cursor_execute", lambda *_args: said.append("a statement"))
    mac_key = service.master.refresh_key(service.master.current)
    assert mac_key is not None
    nobody = Token(service.master.current, numbered(1), b"n" * 16, 1)
    genuine = token.mint(nobody, mac_key)
    codes: Counter[str] = Counter()

    async with visiting(service) as http:
        for text in garbage(genuine, token.mint(nobody, b"another key of 32 bytes, not ours")):
            for path in ("/auth/refresh", "/auth/logout", "/auth/logout-all"):
                answer = await http.post(path, json={"refresh_token": text})
                codes[f"{answer.status_code}"] += 1
        in_vain = len(said)
        await http.post("/auth/refresh", json={"refresh_token": genuine})

    assert 0 == in_vain
    assert 0 < len(said), "a genuine token is looked up, so the counting works"
    assert {"401", "204"} == set(codes)
