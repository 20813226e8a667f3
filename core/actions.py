"""Use cases of actions: kill at once, freeze and carry out a selection, resume after a crash, prove the effect."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from core import action, ending, erasure, judgement, master_revocation
from core.action import Confirmed, Kill, Outcome, Selection
from core.dpop import Proof
from core.erasures import Erasures
from core.judgement import Refresh
from core.policy import Policy
from core.token import Token
from core.verdict import Tags, Verdict
from events import action as past
from events import ids
from events.action import Action
from events.actions import ActionReader, Denied
from events.client import stream_of as client_stream
from events.decision import Moment, Origin, States, Streams, Use
from events.families import FamilyReader
from events.family import Family
from events.ledger import Ledger

SLICE = 200
"""Families ended at a time; less than a batch, so that refreshes go between."""

StartedSince = Callable[[str, int, int], Awaitable[tuple[bytes, ...]]]
"""Living families that match a query and began behind a time (microseconds), up to a number."""


class Effect(NamedTuple):
    """What can be said now of one family that an action ended."""

    family: Family
    refused: bool
    """The rule of refresh on freshly read state refuses the newest token: the self-test."""
    verdict: Verdict
    access_until: int
    """Until when access tokens of it can be alive, seconds."""


class Receipt(NamedTuple):
    """The proof that an action worked, as of now."""

    action: Action
    ended: int
    first: int | None
    last: int | None
    """Positions of its revocations in the log."""
    effects: tuple[Effect, ...]
    """Of the first families, at most as many as were asked for."""
    alive: int
    """Of all that it ended, how many may still have an access token alive."""
    alive_until: int
    """The latest expiry of an access token of any of them, seconds."""
    denied: Denied

    @property
    def final(self) -> bool:
        """Whether looking again will only change what others try."""
        return self.action.status == past.FINISHED and self.alive_until <= time.time()


@dataclass(frozen=True, slots=True)
class Actions:
    """What staff do to families, one or many. Everything raises Unavailable when the ledger cannot be used."""

    ledger: Ledger
    reader: ActionReader
    families: FamilyReader
    defaults: Policy
    started_since: StartedSince
    erasures: Erasures | None = None
    """None where nobody is erased."""
    _running: set[bytes] = field(default_factory=set)
    """What this process is carrying out just now."""
    _behind: dict[bytes, asyncio.Task[None]] = field(default_factory=dict)

    def new_id(self) -> bytes:
        """An id for a preview; confirming it twice is one action."""
        return ids.new_id(int(time.time() * 1_000_000), secrets.token_bytes(ids.RANDOM_BYTES))

    async def kill(self, command: Kill, origin: Origin) -> Outcome:
        """End what was shown of one subject, or all that lives of it, in one commit. Idempotent."""
        streams = Streams(actions=frozenset((command.confirmed.action,)), families=frozenset(command.shown))
        outcome: Outcome = await self.ledger.submit(streams, action.kill(command), origin)
        return outcome

    async def set_enabled(self, confirmed: Confirmed, owner: bytes, origin: Origin, *, enabled: bool) -> Outcome:
        """Allow or stop somebody's sign-in; stopping ends all families in the same commit. Idempotent."""
        streams = Streams(actions=frozenset((confirmed.action,)), subjects=frozenset((owner,)))
        decide = action.set_enabled(confirmed, owner, enabled=enabled)
        outcome: Outcome = await self.ledger.submit(streams, decide, origin)
        return outcome

    async def plan(self, selection: Selection, origin: Origin) -> Outcome:
        """Freeze a selection for its preview."""
        streams = Streams(actions=frozenset((selection.action,)))
        outcome: Outcome = await self.ledger.submit(streams, action.plan(selection), origin)
        return outcome

    async def confirm(self, confirmed: Confirmed, origin: Origin, *, include_new: bool) -> Outcome:
        """Start a frozen selection; `carry_out` does it. A second confirmation changes nothing."""
        streams = Streams(actions=frozenset((confirmed.action,)))
        decide = action.start(confirmed, include_new=include_new)
        outcome: Outcome = await self.ledger.submit(streams, decide, origin)
        return outcome

    async def carry_out(self, stream: bytes) -> None:
        """End the families of a started selection, then finish it.

        If we crash anywhere in here, `resume` runs it again: a family that ended is passed over, and what is stated at
        the end is counted from the log, not from this run.
        """
        if stream in self._running:
            return
        self._running.add(stream)
        try:
            await self._carry_out(stream)
        finally:
            self._running.discard(stream)

    def carry_out_behind(self, stream: bytes) -> None:
        """Carry it out behind the answer that is given now. If that fails, `resume` does it."""
        if stream in self._behind:
            return
        task = asyncio.create_task(self.carry_out(stream), name="carry out action")
        self._behind[stream] = task
        task.add_done_callback(lambda done: self._done(stream, done))

    async def carried_out(self, stream: bytes, within: float) -> bool:
        """Whether it is finished within so many seconds; otherwise it goes on behind the answer."""
        self.carry_out_behind(stream)
        if (task := self._behind.get(stream)) is not None:
            await asyncio.wait({task}, timeout=within)
        state = await self.reader.get(stream)
        return state is not None and state.status == past.FINISHED

    async def close(self) -> None:
        """Stop what is being carried out; it goes on with the next start."""
        waiting = list(self._behind.values())
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _done(self, stream: bytes, task: asyncio.Task[None]) -> None:
        self._behind.pop(stream, None)
        if not task.cancelled():
            task.exception()  # the ledger was unavailable: the job takes it up

    async def _carry_out(self, stream: bytes) -> None:
        state = await self.reader.get(stream)
        if state is None or state.status != past.STARTED:
            return
        if state.kind == erasure.KIND:
            if self.erasures is not None:
                await self.erasures.carry_out(state)
            return
        if state.kind == master_revocation.KIND:
            await self._end_under(int(state.target), state)
            return
        targets = await self.reader.targets(stream)
        await self._end(targets, state)
        added = await self._new_ones(state) if state.include_new else ()
        await self._end(added, state)
        done = frozenset((await self.reader.done(stream)).families)
        planned = frozenset(targets)
        decide = action.finish(stream, len(done), len(planned - done), len(done - planned))
        await self.ledger.submit(Streams(actions=frozenset((stream,))), decide)

    async def _end_under(self, number: int, state: Action) -> None:
        """End what stands under a master key that was revoked. None can begin there, so what is found grows less."""
        cursor = b""
        while found := await self.families.under(number, cursor, SLICE):
            await self._end(found, state)
            cursor = found[-1]
        done = await self.reader.effects(state.id, 0, 0)
        spared, added = max(0, state.planned - done.ended), max(0, done.ended - state.planned)
        decide = action.finish(state.id, done.ended, spared, added)
        await self.ledger.submit(Streams(actions=frozenset((state.id,))), decide)

    async def resume(self) -> int:
        """The job: carry out what a crash stopped; answers how many actions that were."""
        unfinished = await self.reader.unfinished()
        for one in unfinished:
            await self.carry_out(one.id)
        return len(unfinished)

    async def new_matches(self, state: Action) -> tuple[bytes, ...]:
        """Living families that match the selection's query and began after it was frozen."""
        return await self._new_ones(state)

    async def receipt(self, stream: bytes, limit: int = 50) -> Receipt | None:
        """What the action did, and the proof of it, read freshly."""
        state = await self.reader.get(stream)
        if state is None:
            return None
        done = await self.reader.effects(stream, int(time.time()), limit)
        states = await self.families.all_seen(done.families)
        ended = (states.family(one) for one in done.families)
        effects = tuple(self._effect(states, one) for one in ended if one is not None)
        denied = await self.reader.denied_since(stream, done.first or 0)
        return Receipt(state, done.ended, done.first, done.last, effects, done.alive, done.alive_until, denied)

    def _effect(self, states: States, state: Family) -> Effect:
        verdict = self_test(states, state, self.defaults)
        living = verdict in {Verdict.ROTATED, Verdict.RETRIED}
        return Effect(state, not living, verdict, state.access_until)

    async def _end(self, targets: Sequence[bytes], state: Action) -> None:
        part_of = ids.to_text(past.PREFIX, state.id)
        for start in range(0, len(targets), SLICE):
            await asyncio.gather(*(self._revoke(one, state, part_of) for one in targets[start : start + SLICE]))

    async def _revoke(self, target: bytes, state: Action, part_of: str) -> None:
        decide = ending.revoke(target, state.actor, state.reason, ticket=state.ticket, action=part_of)
        await self.ledger.submit(Streams(families=frozenset((target,))), decide)

    async def _new_ones(self, state: Action) -> tuple[bytes, ...]:
        if not state.query:
            return ()  # picked one by one: nothing new can match
        return await self.started_since(state.query, state.begun_at, action.MAX_SELECTION)


def self_test(states: States, found: Family, defaults: Policy) -> Verdict:
    """What refresh would answer now to the newest token of the family: the real rule, on state that is read for it.

    Tags and key are those of the family's own context, so nothing but its state can refuse it.
    """
    command = Refresh(
        token=Token(found.key, found.id, b"", found.generation),
        client=found.client,
        carriage=found.carriage,
        tags=lambda _number, _owner: Tags(found.device_tag, found.network_tag, found.country_tag),
        key=found.key,
        jti="",
        defaults=defaults,
        proof=Proof(found.jkt, Use(b"", 0)),
    )
    now = int(time.time() * 1_000_000)
    app, owner = states.client(client_stream(found.client)), states.subject(found.subject)
    verdict, _reason = judgement.weigh(command, found, owner, app, states.log(), Moment(now, now, now, 0))
    return verdict


def kind_of(state: Action) -> str:
    """What an action is about, for people."""
    return {
        "revoke_family": "Revoke sessions",
        "revoke_subject": "Sign out everywhere",
        "revoke_selection": "Revoke a selection",
        "disable_subject": "Disable a user",
        "enable_subject": "Enable a user",
        "revoke_key": "Revoke a signing key",
        "erase_subject": "Erase a user",
        master_revocation.KIND: "Revoke a master key",
    }.get(state.kind, state.kind)
