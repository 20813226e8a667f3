"""A ledger of a few hundred events with some of everything that can be asked for, written by the service's writer."""

import random
from base64 import urlsafe_b64encode
from typing import Any

from events import family, ids, subject
from events.client import ClientRegistered, stream_of
from events.commit import Clock
from events.decision import Change, Decision, Origin, Streams
from events.ledger import Ledger
from events.private import Account, Context
from events.store import Store

BEGAN = 1_800_000_000
"""Seconds since the epoch."""
PEOPLE = ("alice", "bob", "charlie", "d'arcy, ann", "ci*bot")
CLIENTS = ("web", "mobile-ios", "mobile_web")
AGENTS = ("Mozilla/5.0 Firefox/140.0", "Mozilla/5.0 Chrome/141 100%", "curl/8.5 [x]", "Sonde ÉÜ", "")
ADDRESSES = (
    "203.0.113.7",
    "203.0.113.200",
    "198.51.100.9",
    "32.1.13.184",  # the first four bytes of the next one
    "2001:db8::1",
    "2001:db8:0:1::7",
    "",
)
REASONS = ("reuse", "user_request", "userXrequest", "stolen_token")
ACTORS = ("subject", "policy", "system", "cli", "client:web", "staff:")


class Story:
    """Things that happen by chance, the same ones each time."""

    def __init__(self, seed: int = 7) -> None:
        self.chance = random.Random(seed)
        self.subjects = {name: self.stream() for name in PEOPLE}
        self.families: list[tuple[bytes, str, str]] = []
        self.actions = [ids.to_text("act", self.stream()) for _ in range(2)]
        self.now = float(BEGAN)

    def stream(self) -> bytes:
        return ids.new_id(BEGAN * 1_000_000 + self.chance.randrange(10**12), self.chance.randbytes(ids.RANDOM_BYTES))

    def code(self, size: int) -> str:
        return urlsafe_b64encode(self.chance.randbytes(size)).decode().rstrip("=")

    def origin(self) -> Origin:
        if self.chance.random() < 0.1:
            return Origin()
        return Origin(self.code(12), Context(self.chance.choice(ADDRESSES), self.chance.choice(AGENTS)))

    def actor(self) -> str:
        actor = self.chance.choice(ACTORS)
        staff = self.subjects[self.chance.choice(PEOPLE)]
        return actor + ids.to_text("sub", staff) if actor == "staff:" else actor

    def beginning(self) -> list[Change]:
        """Clients and people."""
        clients = [Change(stream_of(c), ClientRegistered(actor="cli", client=c)) for c in CLIENTS]
        people = [
            Change(
                stream,
                subject.SubjectRegistered(actor="cli", subject=ids.to_text("sub", stream)),
                Account(name=name),
            )
            for name, stream in self.subjects.items()
        ]
        return clients + people

    def issued(self) -> Change:
        name, client, stream = self.chance.choice(PEOPLE), self.chance.choice(CLIENTS), self.stream()
        self.families.append((stream, name, client))
        at = int(self.now)
        fact = family.TokenIssued(
            actor="subject",
            subject=ids.to_text("sub", self.subjects[name]),
            client=client,
            key=1,
            nonce="n" * 43,
            carriage="cookie",
            jti=self.code(16),
            exp=at + 900,
            idle_until=(at + 7 * 86_400) * 1_000_000,
            ends_at=(at + 30 * 86_400) * 1_000_000,
            auth_time=at,
            amr="pwd",
        )
        return Change(stream, fact, Account(device=self.chance.choice(("", "a laptop"))))

    def change(self) -> Change:
        stream, name, client = self.chance.choice(self.families)
        whose: Any = {"subject": ids.to_text("sub", self.subjects[name]), "client": client}
        exp = int(self.now) + 900
        match self.chance.randrange(8):
            case 0:
                fact: family.FamilyChange = family.FamilyRevoked(
                    actor=self.actor(),
                    reason=self.chance.choice(REASONS),
                    ticket=self.chance.choice(("", "INC-1")),
                    action=self.chance.choice(("", *self.actions)),
                    **whose,
                )
            case 1:
                fact = family.TokenRefused(actor="subject", generation=1, reason="revoked", **whose)
            case 2:
                fact = family.TokenReuseDetected(actor="subject", generation=1, current=3, kind="older", **whose)
            case 3:
                fact = family.FamilyExpired(actor="system", reason="idle", **whose)
            case _:
                fact = family.TokenRotated(
                    actor="subject",
                    generation=self.chance.randrange(2, 90),
                    jti=self.code(16),
                    exp=exp,
                    idle_until=exp * 1_000_000,
                    **whose,
                )
        return Change(stream, fact)


async def many_events(store: Store, events: int = 400) -> Story:
    """Fill an empty ledger; what happens between two batches takes from nothing to some hours."""
    story = Story()
    ledger = Ledger(store.writer(Clock(wall=lambda: story.now, shared=False)))
    await _submit(ledger, story, story.beginning(), Origin())
    for number in range(events):
        story.now += story.chance.choice((0.0, 0.001, 1.0, 300.0, 5_000.0))
        begins = number < 5 or story.chance.random() < 0.15
        await _submit(ledger, story, [story.issued() if begins else story.change()], story.origin())
    await ledger.close()
    return story


async def _submit(ledger: Ledger, story: Story, changes: list[Change], origin: Origin) -> None:
    of = frozenset(change.stream for change in changes)
    streams = Streams(
        families=of & {stream for stream, _, _ in story.families},
        subjects=of & set(story.subjects.values()),
        clients=of & {stream_of(client) for client in CLIENTS},
    )
    await ledger.submit(streams, lambda _states, _moment: Decision(None, tuple(changes)), origin)
