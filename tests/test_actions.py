"""Actions through the real ledger: kill at once, a frozen selection, a crash in the middle, the receipt."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from core import action, beginning
from core.action import Confirmed, Kill, Outcome, Selection
from core.actions import Actions
from core.beginning import Begin
from core.clients import Clients
from core.policy import Policy
from core.verdict import Tags, Verdict
from events import action as past
from events import ids
from events.actions import ActionReader
from events.clients import read_clients
from events.decision import Change, Decision, Moment, Need, Origin, States, Streams
from events.families import FamilyReader
from events.family import LIVING, REVOKED, Family
from events.ledger import Ledger
from events.private import Account
from events.store import Store
from events.subject import SubjectRegistered

DEFAULTS = Policy()


class Scene:
    """A ledger with alice and bob, and actions over it."""

    def __init__(self, ledger: Ledger, actions: Actions) -> None:
        self.ledger = ledger
        self.actions = actions
        self.made = 0
        self.new: tuple[bytes, ...] = ()

    def id(self) -> bytes:
        self.made += 1
        return ids.new_id(int(time.time() * 1_000_000), self.made.to_bytes(ids.RANDOM_BYTES))

    async def subject(self, name: str) -> bytes:
        stream = self.id()

        def decide(states: States, _moment: Moment) -> Decision | Need:
            lacking = states.lacking(Streams(subjects=frozenset((stream,))))
            if lacking is not None:
                return Need(lacking)
            fact = SubjectRegistered(actor="cli", subject=ids.to_text("sub", stream))
            return Decision(None, (Change(stream, fact, Account(name=name)),))

        await self.ledger.submit(Streams(), decide)
        return stream

    async def family(self, owner: bytes) -> bytes:
        begin = Begin(
            family=self.id(),
            subject=owner,
            client="web",
            carriage="body",
            nonce="n",
            key=1,
            jti="j" * 22,
            tags=lambda _number, _owner: Tags("device", "network"),
            defaults=DEFAULTS,
            password_version=1,
        )
        answer = await self.ledger.submit(beginning.needs(begin), beginning.begin(begin))
        assert answer.verdict is Verdict.BEGUN
        return begin.family

    def confirmed(self, stream: bytes) -> Confirmed:
        return Confirmed(stream, "staff:test", "stolen_token", "INC-1", "seen in a log", 7)

    async def state(self, stream: bytes) -> Family:
        held = await self.actions.families.get(stream)
        assert held is not None
        return held.family


@pytest.fixture
async def scene(store: Store) -> AsyncIterator[Scene]:
    ledger = Ledger(store.writer())
    engine = store.readers()

    async def none_since(_query: str, _at: int, _limit: int) -> tuple[bytes, ...]:
        return made.new

    actions = Actions(ledger, ActionReader(engine), FamilyReader(engine), DEFAULTS, none_since)
    made = Scene(ledger, actions)
    await Clients(ledger, lambda: read_clients(engine)).ensure()
    yield made
    await ledger.close()
    await engine.dispose()


async def test_a_kill_ends_what_was_shown_and_nothing_else(scene: Scene) -> None:
    alice = await scene.subject("alice")
    shown, other = await scene.family(alice), await scene.family(alice)
    command = Kill(scene.confirmed(scene.id()), alice, (shown,), everything=False)

    outcome = await scene.actions.kill(command, Origin())

    assert outcome is Outcome.DONE
    assert (await scene.state(shown)).status == REVOKED
    assert (await scene.state(other)).status == LIVING


async def test_a_second_click_is_the_same_action(scene: Scene) -> None:
    alice = await scene.subject("alice")
    shown = await scene.family(alice)
    command = Kill(scene.confirmed(scene.id()), alice, (shown,), everything=False)

    first, second = await asyncio.gather(scene.actions.kill(command, Origin()), scene.actions.kill(command, Origin()))

    assert {Outcome.DONE, Outcome.REPEATED} == {first, second}
    receipt = await scene.actions.receipt(command.confirmed.action)
    assert receipt is not None
    assert (1, 1, 0) == (receipt.ended, receipt.action.ended, receipt.action.spared)


async def test_signing_out_everywhere_ends_families_that_began_after_the_preview(scene: Scene) -> None:
    alice = await scene.subject("alice")
    shown = await scene.family(alice)
    late = await scene.family(alice)
    command = Kill(scene.confirmed(scene.id()), alice, (shown,), everything=True)

    await scene.actions.kill(command, Origin())

    receipt = await scene.actions.receipt(command.confirmed.action)
    assert receipt is not None
    assert (2, 1) == (receipt.action.ended, receipt.action.added)
    assert (await scene.state(late)).status == REVOKED


async def test_no_more_end_than_whoever_confirmed_may_end(scene: Scene) -> None:
    alice = await scene.subject("alice")
    shown, late = await scene.family(alice), await scene.family(alice)
    refused = Kill(scene.confirmed(scene.id()), alice, (shown,), everything=True, most=1)
    allowed = refused._replace(confirmed=scene.confirmed(scene.id()), most=2)

    assert Outcome.MORE is await scene.actions.kill(refused, Origin())
    assert [True, True] == [(await scene.state(each)).living for each in (shown, late)]
    assert Outcome.DONE is await scene.actions.kill(allowed, Origin())
    assert [False, False] == [(await scene.state(each)).living for each in (shown, late)]


async def test_a_kill_that_would_hit_another_subject_changes_nothing(scene: Scene) -> None:
    alice, bob = await scene.subject("alice"), await scene.subject("bob")
    bobs = await scene.family(bob)
    command = Kill(scene.confirmed(scene.id()), alice, (bobs,), everything=False)

    outcome = await scene.actions.kill(command, Origin())

    assert outcome is Outcome.CONFLICT
    assert (await scene.state(bobs)).living


async def test_a_family_that_ended_before_the_click_is_counted_as_spared(scene: Scene) -> None:
    alice = await scene.subject("alice")
    one, two = await scene.family(alice), await scene.family(alice)
    await scene.actions.kill(Kill(scene.confirmed(scene.id()), alice, (one,), everything=False), Origin())
    command = Kill(scene.confirmed(scene.id()), alice, (one, two), everything=False)

    await scene.actions.kill(command, Origin())

    receipt = await scene.actions.receipt(command.confirmed.action)
    assert receipt is not None
    assert (1, 1) == (receipt.action.ended, receipt.action.spared)


async def selected(scene: Scene, count: int) -> tuple[bytes, tuple[bytes, ...]]:
    owners = [await scene.subject(f"user {number}") for number in range(count // 5 + 1)]
    families = tuple([await scene.family(owners[number % len(owners)]) for number in range(count)])
    stream = scene.id()
    outcome = await scene.actions.plan(Selection(stream, "staff:test", "client:web", 7, families), Origin())
    assert outcome is Outcome.DONE
    return stream, families


async def test_a_frozen_selection_is_what_was_seen_and_no_more(scene: Scene) -> None:
    stream, families = await selected(scene, 12)
    later = await scene.family(await scene.subject("late"))

    await scene.actions.confirm(scene.confirmed(stream), Origin(), include_new=False)
    await scene.actions.carry_out(stream)

    assert families == await scene.actions.reader.targets(stream)
    assert all([(await scene.state(one)).status == REVOKED for one in families])
    assert (await scene.state(later)).living


async def test_families_that_began_since_go_too_only_when_ticked(scene: Scene) -> None:
    stream, _families = await selected(scene, 3)
    scene.new = (await scene.family(await scene.subject("late")),)

    await scene.actions.confirm(scene.confirmed(stream), Origin(), include_new=True)
    await scene.actions.carry_out(stream)

    state = await scene.actions.reader.get(stream)
    assert state is not None
    assert (past.FINISHED, 4, 1) == (state.status, state.ended, state.added)


async def test_a_crash_in_the_middle_is_resumed_and_counted_once(scene: Scene) -> None:
    stream, families = await selected(scene, 20)
    await scene.actions.confirm(scene.confirmed(stream), Origin(), include_new=False)
    state = await scene.actions.reader.get(stream)
    assert state is not None
    await scene.actions._end(families[:7], state)  # and here the process is gone

    resumed = await scene.actions.resume()

    finished = await scene.actions.reader.get(stream)
    assert finished is not None
    assert (1, past.FINISHED, 20, 0) == (resumed, finished.status, finished.ended, finished.spared)
    assert 0 == await scene.actions.resume()


async def test_a_plan_that_nobody_confirmed_does_nothing(scene: Scene) -> None:
    stream, families = await selected(scene, 3)

    await scene.actions.carry_out(stream)

    assert (await scene.state(families[0])).living
    assert 0 == await scene.actions.resume()


async def test_the_receipt_asks_the_real_rule(scene: Scene) -> None:
    alice = await scene.subject("alice")
    shown = await scene.family(alice)
    command = Kill(scene.confirmed(scene.id()), alice, (shown,), everything=False)
    await scene.actions.kill(command, Origin())

    receipt = await scene.actions.receipt(command.confirmed.action)

    assert receipt is not None
    assert [(True, Verdict.REVOKED)] == [(one.refused, one.verdict) for one in receipt.effects]
    assert receipt.first == receipt.last
    assert receipt.alive_until > time.time()
    assert not receipt.final


async def test_more_than_a_selection_may_hold_is_refused_before_anything_is_written(scene: Scene) -> None:
    many = tuple(scene.id() for _ in range(action.MAX_SELECTION + 1))

    with pytest.raises(ValueError, match="at most"):
        await scene.actions.plan(Selection(scene.id(), "staff:test", "is:living", 7, many), Origin())


async def test_the_largest_selection_fits(scene: Scene) -> None:
    many = tuple(scene.id() for _ in range(action.MAX_SELECTION))
    stream = scene.id()

    outcome = await scene.actions.plan(Selection(stream, "staff:test", "is:living", 7, many), Origin())

    assert outcome is Outcome.DONE
    assert many == await scene.actions.reader.targets(stream)
