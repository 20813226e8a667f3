"""Honest clients, thieves, lost answers, crashes and wrong clocks against the real ledger, beside a small model."""

import asyncio
import secrets
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.exc import OperationalError

from core import beginning, client, ending, family, token
from core.judgement import Refresh
from core.policy import SECOND, Policy
from core.token import Token
from core.verdict import Answer, Tags, Verdict
from events import ids
from events.client import ClientRegistered, stream_of
from events.decision import Decide, Decision, Moment, Streams
from events.family import LIVING, Family
from events.ledger import Ledger, Unavailable
from events.writer import untraced
from tests import holders
from tests.check import check, family_rows
from tests.conftest import TestClock
from tests.databases import Files, Server, Stores
from tests.holders import ALICE, jti

MAC_KEY = bytes(range(32))
IDLE, ABSOLUTE = 1_000, 5_000
"""Seconds that a family lives: without use, and at all."""
POLICY = Policy(idle_ttl=IDLE, absolute_ttl=ABSOLUTE)
LEEWAYS = {"web": 10, "strict": 0, "patient": 90}
"""Clients, and what each allows in seconds."""
ACCEPTED = {Verdict.ROTATED, Verdict.RETRIED}
DURATIONS = st.sampled_from([0.0, 0.001, 1.0, 5.0, 9.999, 10.0, 10.001, 30.0, 89.999, 90.001, 200.0, 1000.0])
LONG_AGO = 360 * SECOND
"""Faults that are closer together count as one."""
BEFORE_COMMIT = ("locked", "decided", "events inserted", "private rows inserted", "written")


class Died(Exception):
    """The process ended at this point."""


@dataclass
class Session:
    """What the model knows of a family."""

    stream: bytes
    client: str
    device: str
    started_at: int
    rotated_at: int
    generation: int = 1
    rotated_up: float = 0.0
    """As `rotated_at`, in seconds of service: time in which nobody could be served does not count."""
    ended: Verdict | None = None
    thief_came: bool = False
    """Whether somebody who copied a token has used it."""
    texts: dict[int, set[str]] = field(default_factory=dict)
    """Every token that was given out, by generation."""

    @property
    def leeway(self) -> int:
        return LEEWAYS[self.client] * SECOND


@dataclass
class Person:
    """Somebody with a token: an honest client, or a thief who copied one."""

    session: Session
    text: str
    device: str
    honest: bool = True


class Families(RuleBasedStateMachine):
    """Every rule is something that happens to somebody; the model says what must come of it."""

    stores: ClassVar[Stores]

    @initialize(app=st.sampled_from([*LEEWAYS]))
    def begin(self, app: str) -> None:
        self.store = self.stores.fresh()
        self.clock = TestClock()
        self.clock.rules(self.store)
        self.runner = asyncio.Runner()
        self.sessions: list[Session] = []
        self.people: list[Person] = []
        self.fault: Callable[[str], None] = untraced
        self.up = 0.0
        self._open()
        self.run(holders.people(self.ledger))
        for name, leeway in LEEWAYS.items():
            fact = ClientRegistered(actor="cli", client=name, leeway=leeway, access_ttl=900)
            self.run(self.ledger.submit(Streams(clients=frozenset((stream_of(name),))), client.register(fact)))
        self.somebody_signs_in(app, "laptop")

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.run(self.ledger.close())
            self.runner.close()
            check(self.store)
            self.stores.drop(self.store)

    # What happens

    @precondition(lambda self: sum(session.ended is None for session in self.sessions) < 3)
    @rule(app=st.sampled_from([*LEEWAYS]), device=st.sampled_from(["laptop", "phone"]))
    def somebody_signs_in(self, app: str, device: str) -> None:
        nonce = secrets.token_bytes(token.NONCE_BYTES)
        command = beginning.Begin(
            family=ids.new_id(0, secrets.token_bytes(ids.RANDOM_BYTES)),
            subject=ALICE,
            client=app,
            carriage="body",
            nonce=token.hash_nonce(nonce),
            key=1,
            jti=jti(),
            tags=lambda _number, _owner: Tags(device, "home"),
            defaults=POLICY,
            password_version=1,
        )
        (answer, _moment), *_ = self.submit((beginning.needs(command), beginning.begin(command)))
        session = Session(command.family, app, device, answer.family.started_at, answer.family.rotated_at)
        session.rotated_up = self.up
        self.sessions.append(session)
        self.people.append(Person(session, self.given_out(session, Token(1, session.stream, nonce, 1)), device))

    @precondition(lambda self: len(self.people) < 12)
    @rule(data=st.data(), device=st.sampled_from(["laptop", "laptop", "phone"]), hurry=st.booleans())
    def a_thief_copies_a_token(self, data: st.DataObject, device: str, hurry: bool) -> None:
        victim = self.somebody(data)
        self.people.append(Person(victim.session, victim.text, device, honest=False))
        if hurry:
            self.present([self.people[-1]])

    @rule(data=st.data(), lost=st.booleans(), waits=st.sampled_from([0.0, 0.0, 0.0, 3.0, 20.0, 100.0]))
    def somebody_refreshes(self, data: st.DataObject, lost: bool, waits: float) -> None:
        """An answer may be lost, and a request may wait for long before it is decided."""
        self.present([self.somebody(data)], lost=lost, waits=waits)

    @rule(data=st.data(), count=st.integers(2, 5))
    def several_refresh_at_once(self, data: st.DataObject, count: int) -> None:
        """Tabs of one browser among them: who is drawn twice sends the same token twice."""
        self.present([self.somebody(data) for _ in range(count)])

    @rule(data=st.data())
    def somebody_refreshes_just_within_the_leeway(self, data: st.DataObject) -> None:
        person = self.somebody(data)
        self.let_pass_until(person.session, -0.001)
        self.present([person])

    @rule(data=st.data())
    def somebody_refreshes_just_outside_the_leeway(self, data: st.DataObject) -> None:
        person = self.somebody(data)
        self.let_pass_until(person.session, +0.001)
        self.present([person])

    @rule(data=st.data(), point=st.sampled_from([*BEFORE_COMMIT, "committed", "answered"]), down=DURATIONS)
    def the_process_ends_during_a_refresh(self, data: st.DataObject, point: str, down: float) -> None:
        person = self.somebody(data)

        def die(reached: str) -> None:
            if reached == point:
                raise Died

        self.fault = die
        command = self._refresh(person)
        moments: list[Moment] = []
        with suppress(Died):
            self.run(self._submit(family.named(command), family.refresh(command), moments))
        self.fault = untraced
        if point not in BEFORE_COMMIT:
            self.expected(person, command, moments[-1])  # it is committed, and nobody heard of it
        self.restart(down)

    @rule(data=st.data(), seconds=DURATIONS)
    def the_disk_is_full_for_a_while(self, data: st.DataObject, seconds: float) -> None:
        """Who tries meanwhile is told to come again; the checkpoint of the next second finds out that it works."""

        def full(point: str) -> None:
            if point == "written":
                raise OperationalError("COMMIT", {}, sqlite3.OperationalError("database or disk is full"))

        person = self.somebody(data)
        command = self._refresh(person)
        self.fault = full
        with pytest.raises(Unavailable):
            self.run(self._submit(family.named(command), family.refresh(command), []))
        self.clock.pass_(seconds)
        self.fault = untraced
        self._second_passes(fresh=True)

    @rule(seconds=DURATIONS)
    def time_passes(self, seconds: float) -> None:
        self.serve(seconds)

    @rule(seconds=st.sampled_from([-86_400.0, -3600.0, -10.0, -0.5, 0.5, 10.0, 300.0]))
    def the_wall_clock_is_set(self, seconds: float) -> None:
        self.clock.step(seconds)
        self._second_passes()

    def serve(self, seconds: float) -> None:
        """Time in which the service runs and its jobs do."""
        self.up += seconds
        self.clock.pass_(seconds)
        self._second_passes()

    @precondition(lambda self: len(self.sessions) > 2)
    @rule(data=st.data())
    def staff_end_a_family(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.sessions))
        streams = Streams(families=frozenset((session.stream,)))
        ((answer, _),) = self.submit((streams, ending.revoke(session.stream, "cli", "suspicious")))
        assert Verdict.ENDED is answer.verdict
        session.ended = session.ended or Verdict.REVOKED

    def somebody(self, data: st.DataObject) -> Person:
        """Mostly somebody whose family lives."""
        living = [person for person in self.people if person.session.ended is None]
        found: Person = data.draw(st.sampled_from([*living, *living, *living, *self.people]))
        return found

    # What must hold, always

    @invariant()
    def there_are_never_two_live_successors(self) -> None:
        for session, row in self.rows():
            assert all(len(texts) == 1 for texts in session.texts.values())
            newest = max(session.texts)
            assert (session.generation, session.ended is None) == (row.generation, row.status == LIVING)
            assert newest <= row.generation <= newest + 1, "at most one successor that nobody heard of yet"

    # The model

    def present(self, people: list[Person], *, lost: bool = False, waits: float = 0.0) -> None:
        """These people send their tokens at one moment; each answer must be what the model says, in order."""
        arrived, arrived_up = self.clock.monotonic_now, self.up
        commands = [self._refresh(person) for person in people]
        self.clock.pass_(waits)
        self.up += waits
        answers = self.submit(*((family.named(one), family.refresh(one)) for one in commands), arrived=arrived)
        for person, command, (answer, moment) in zip(people, commands, answers, strict=True):
            assert int(waits * SECOND) - 2 <= moment.now - moment.arrived <= int(waits * SECOND) + 2
            self.judged(person, command, answer, moment, arrived_up)
            if answer.verdict in ACCEPTED:
                text = self.given_out(person.session, command.token._replace(generation=answer.family.generation))
                person.text = person.text if lost else text

    def judged(self, person: Person, command: Refresh, answer: Answer, moment: Moment, arrived_up: float) -> None:
        session, presented = person.session, command.token.generation
        current, lived = session.generation, session.ended is None
        outside = not self.in_leeway(session, moment)
        served = arrived_up - session.rotated_up
        prompt = presented == current or (presented == current - 1 and session.leeway >= (served + 0.0001) * SECOND)

        event(f"{'honest' if person.honest else 'thief'} {answer.verdict}, {'late' if outside else 'in time'}")
        assert self.expected(person, command, moment) is answer.verdict
        if presented < current - 1:
            assert answer.verdict not in ACCEPTED, "a token older than the previous one is never accepted"
        if presented < current and outside and lived:
            assert session.ended, "the second of thief and victim is detected outside the leeway"
        if person.honest and not session.thief_came and lived and prompt:
            assert answer.verdict in {*ACCEPTED, Verdict.EXPIRED}, "an honest retry is never signed out"

    def expected(self, person: Person, command: Refresh, moment: Moment) -> Verdict:
        """What must come of this person's token now; the model goes on from there."""
        session, generation = person.session, command.token.generation
        session.thief_came |= not person.honest
        limits = (session.started_at + ABSOLUTE * SECOND, session.rotated_at + IDLE * SECOND)
        if session.ended:
            return session.ended
        if moment.now >= min(limits):
            session.ended = Verdict.EXPIRED
            return Verdict.EXPIRED
        if generation == session.generation:
            session.generation, session.rotated_at, session.device = generation + 1, moment.now, person.device
            session.rotated_up = self.up
            return Verdict.ROTATED
        one_behind = generation == session.generation - 1
        if one_behind and person.device == session.device and self.in_leeway(session, moment):
            return Verdict.RETRIED
        session.ended = Verdict.REVOKED
        return Verdict.REUSED

    def in_leeway(self, session: Session, moment: Moment) -> bool:
        """A leeway that a fault cut short runs anew afterwards; one that was over stays over."""
        over = session.rotated_at + session.leeway
        anew = over >= self.unable and moment.arrived <= self.ready + session.leeway
        return session.leeway > 0 and (moment.arrived <= over or anew)

    def given_out(self, session: Session, given: Token) -> str:
        text = token.mint(given, MAC_KEY)
        session.texts.setdefault(given.generation, set()).add(text)
        return text

    def read(self, text: str) -> Token:
        found = token.read(text, lambda _number: MAC_KEY)
        assert found is not None
        return found

    def let_pass_until(self, session: Session, beyond: float) -> None:
        """Let time pass to the edge of the leeway, as far as it is not there yet."""
        over = session.rotated_at + session.leeway
        edge = max(over, self.ready + session.leeway) if over >= self.unable else over
        self.serve(max(0.0, (edge - self.moment().now) / SECOND + beyond))

    # The ledger

    def _open(self) -> None:
        def trace(point: str) -> None:
            self.fault(point)

        self.writer = self.store.writer(self.clock.clock, trace)
        self.ledger = Ledger(self.writer)
        self.last_now, self.ready, self.unable = 0, 0, 0  # what was before it began, a process does not know
        self._second_passes(fresh=True)

    def _second_passes(self, *, fresh: bool = False) -> None:
        """The job of each second: after a start, a fault or a step of the clock, leeways run from here on."""
        self.run(self.writer.maintain(lambda _connection: None))
        now = self.moment()
        if fresh:
            assert now.now - now.ready < SECOND // 1000
            assert now.unable == (self.last_now if self.last_now > self.ready + LONG_AGO else self.unable)
        self.last_now, self.ready, self.unable = now.now, now.ready, now.unable

    def moment(self) -> Moment:
        moments: list[Moment] = []
        self.run(self._submit(Streams(), _nothing, moments))
        return moments[-1]

    def restart(self, down: float) -> None:
        self.run(self.ledger.close())
        self.clock.pass_(down)
        self._open()

    def submit(self, *commands: tuple[Streams, Decide], arrived: float | None = None) -> list[tuple[Any, Moment]]:
        """Submit together; verdicts in order, each with the moment at which it was decided."""

        async def together() -> list[tuple[Any, Moment]]:
            seen: list[list[Moment]] = [[] for _ in commands]
            work = (self._submit(*one, moments, arrived) for one, moments in zip(commands, seen, strict=True))
            verdicts = await asyncio.gather(*work)
            return [(verdict, moments[-1]) for verdict, moments in zip(verdicts, seen, strict=True)]

        answers = self.run(together())
        for _, moment in answers:
            assert moment.now >= self.last_now, "the ledger's time never goes back"
            assert (moment.ready, moment.unable) == (self.ready, self.unable)
            self.last_now = moment.now
        return answers  # type: ignore[no-any-return]

    async def _submit(
        self, streams: Streams, decide: Decide, moments: list[Moment], arrived: float | None = None
    ) -> Any:
        def noted(states: Any, moment: Moment) -> Any:
            moments.append(moment)
            return decide(states, moment)

        return await self.ledger.submit(
            streams, noted, arrived=self.clock.monotonic_now if arrived is None else arrived
        )

    def _refresh(self, person: Person) -> Refresh:
        device = person.device
        return Refresh(
            token=self.read(person.text),
            client=person.session.client,
            carriage="body",
            tags=lambda _number, _owner: Tags(device, "home"),
            key=1,
            jti=jti(),
            defaults=POLICY,
        )

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def rows(self) -> Iterator[tuple[Session, Family]]:
        rows = family_rows(self.store)
        for session in self.sessions:
            yield session, rows[session.stream]


def _nothing(_states: Any, _moment: Moment) -> Any:
    return Decision(None)


@pytest.fixture
def families(stores: Stores) -> Iterator[type[Families]]:
    """The stories on ledgers of this engine; files are in memory: what a sync costs here is no part of the story."""
    memory = Path("/dev/shm")
    if isinstance(stores, Files) and memory.is_dir():
        with tempfile.TemporaryDirectory(prefix="families", dir=memory) as folder:
            yield type("On", (Families,), {"stores": Files(Path(folder))})
    else:
        yield type("On", (Families,), {"stores": stores})


USUAL = settings(max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=[*HealthCheck])
FEWER = settings(USUAL, max_examples=10)
"""For an engine that asks a server at each step."""
LONG = settings(USUAL, max_examples=1500, stateful_step_count=80)


def test_what_the_model_says_happens_to_the_families(families: type[Families]) -> None:
    run_state_machine_as_test(families, settings=FEWER if isinstance(families.stores, Server) else USUAL)


@pytest.mark.soak
def test_what_the_model_says_happens_for_long(families: type[Families]) -> None:
    run_state_machine_as_test(families, settings=LONG)
