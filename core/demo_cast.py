"""Who does what and when in a demonstration: all stories by the moment of their beginning. Runs none of them."""

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from core import client
from core import demo_staff as desk
from core import demo_stories as stories
from core.demo_lives import Beginning, Life, in_browser, on_phone
from core.demo_pen import Pen, origin
from core.demo_session import Session
from core.demo_staff import Leak, Member, Raid
from core.demo_stories import THEFTS
from core.demo_world import ANDROID, BROWSERS, DAY, HOUR, IOS, MINUTE, Device, Person, busy, people
from core.policy import SECOND
from core.subject import change_roles
from events import ids
from events.client import ClientRegistered, stream_of
from events.decision import Streams, Submission

APPLICATIONS = (
    ClientRegistered(actor="cli", client=IOS, idle_ttl=14 * 86_400),
    ClientRegistered(actor="cli", client=ANDROID, idle_ttl=14 * 86_400),
)
LAST_THEFTS = (24 * MINUTE, 5 * HOUR, 13 * HOUR, 27 * HOUR)
"""So long before the end. At the first of them, which is the last, nobody has looked yet."""


class Size(NamedTuple):
    """How much of it there is to be."""

    families: int
    days: int
    """At least 7: the stories have to fit in."""
    seed: int


class Cast:
    """Everybody, from a seed. The same seed, size and end give the same story; secrets are new each time."""

    def __init__(self, pen: Pen, size: Size, end: int) -> None:
        self.pen = pen
        self.size = size
        self.end = end
        self.start = end - size.days * DAY
        self.random = Random(size.seed)  # noqa: S311 - a story, not a secret
        self.people = people(self.random, max(12, size.families // 5), self.start, end)
        self.staff = [
            Member(self._employee(name), role)
            for name, role in (("admin", "admin"), ("rosa", "responder"), ("noor", "responder"), ("viktor", "viewer"))
        ]
        self.admin = self.staff[0]
        found, compromised = end - 50 * HOUR, self.start + size.days * DAY * 45 // 100
        on_call = self.on_call()
        self.raid = Raid(end - 53 * HOUR, found, [], on_call, self._session(on_call, found - 8 * MINUTE))
        self.leak = Leak(compromised, self.admin, self._session(self.admin, compromised - 7 * MINUTE))
        thefts = len(LAST_THEFTS) + size.families // 400
        self.victims = self.random.sample(self.people[: max(thefts, len(self.people) // 4)], thefts)
        """Each is stolen from once: what is done about one theft must not hide another."""

    def on_call(self) -> Member:
        """Who kills."""
        return self.random.choice(self.staff[:3])

    def _session(self, one: Member, at: int) -> Session:
        return one.session(self.pen, self._own(at), at)

    def beginnings(self) -> list[Beginning]:
        """All stories, by time."""
        found = [*self._foundations(), *self._ordinary(), *self._at_work(), *self._thefts(), *self._troubles()]
        return sorted((one for one in found if one.at < self.end), key=lambda one: one.at)

    def _foundations(self) -> Iterator[Beginning]:
        for number, fact in enumerate(APPLICATIONS):
            at = self.start + (number + 2) * MINUTE
            streams = Streams(clients=frozenset((stream_of(fact.client),)))
            told = Submission(streams, client.register(fact), origin(self.random), at / SECOND)
            yield Beginning(at, iter((told,)))
        for one in self.staff:
            yield Beginning(one.person.since, self._employed(one))
        for owner in self.people:
            yield Beginning(owner.since, self._registered(owner))

    def _employed(self, one: Member) -> Iterator[Submission]:
        """The first admin is made as one; the others get their roles from the admin."""
        person, first = one.person, one is self.admin
        yield self.pen.register(self.random, person.since, person, one.role if first else "")
        if not first:
            granted = change_roles(person.subject, one.role, self.admin.actor)
            yield self.pen.of_subject(granted, person.subject, person.since + 10 * MINUTE, origin(self.random))

    def _registered(self, one: Person) -> Iterator[Submission]:
        """Made when it is due: there may be many."""
        yield self.pen.register(self._own(one.since), one.since, one)

    def _ordinary(self) -> Iterator[Beginning]:
        calm = {one.subject for one in self.victims}
        for number in range(self.size.families):
            one, at = self._somebody(), 0
            while at < one.since + MINUTE or self.random.random() > self._demand(at, one.zone):
                at = self.random.randrange(self.start, self.end)
            # Whoever changes the password or signs out everywhere is not there to be stolen from.
            live = on_phone if self.random.random() < 0.28 or one.subject in calm else in_browser
            yield Beginning(at, self._lived(live, number, one, at))

    def _lived(self, live: Callable[[Pen, Random, Person, int], Life], number: int, one: Person, at: int) -> Life:
        """A random takes some memory, so it is made when the story begins."""
        yield from live(self.pen, self._own(number), one, at)

    def _demand(self, at: int, zone: int) -> float:
        """The service grows while it is told of."""
        return busy(at, zone) * (0.55 + 0.45 * (at - self.start) / (self.end - self.start))

    def _at_work(self) -> Iterator[Beginning]:
        for one in self.staff:
            for day in range(self.size.days):
                at = self.start + day * DAY + self.random.randrange(DAY)
                if at > one.person.since + HOUR and self.random.random() < 3 * busy(at, one.person.zone):
                    yield Beginning(at, desk.at_the_dashboard(self.pen, self._own(at), one, at))

    def _thefts(self) -> Iterator[Beginning]:
        for number, owner in enumerate(self.victims):
            last = number < len(LAST_THEFTS)
            ago = LAST_THEFTS[number] if last else self.random.randrange(DAY, (self.size.days - 4) * DAY)
            at, steal = self.end - ago, THEFTS[number % len(THEFTS)]
            yield Beginning(at - 4 * DAY, steal(self.pen, self._own(at), owner, at))
            answered = at + self.random.randrange(18 * MINUTE, 70 * MINUTE)
            if number and self.random.random() < 0.7:
                killed = desk.signed_out_everywhere(self.pen, self._own(answered), owner, self.on_call(), answered)
                yield Beginning(answered - 6 * MINUTE, killed)

    def _troubles(self) -> Iterator[Beginning]:
        yield from self._raids()
        yield from self._duties()
        times = max(2, self.size.families // 700)
        for _ in range(times):
            for trouble, lead in ((stories.retry_storm, HOUR), (stories.guessing, 20 * HOUR)):
                at = self._sometime(lead)
                yield Beginning(at - lead, trouble(self.pen, self._own(at), self._somebody(at - lead), at))
            at = self._sometime(DAY)
            lost = desk.lost_phone(self.pen, self._own(at), self._somebody(at - DAY), self.on_call(), at)
            yield Beginning(at - DAY, lost)
            for change in (desk.left, desk.helped):
                at = self._sometime(HOUR)
                yield Beginning(at - HOUR, change(self.pen, self._own(at), self._newcomer(at), self.admin, at))
        last = self.end - 3 * HOUR
        phone = self._somebody(last - HOUR)
        yield Beginning(last - HOUR, stories.retry_storm(self.pen, self._own(last), phone, last))

    def _raids(self) -> Iterator[Beginning]:
        """Two: one that staff found and ended, one of this night, whose sessions still live."""
        for at, taken in ((self.raid.began, self.raid.taken), (self.end - 150 * MINUTE, list[bytes]())):
            owners = [self._somebody(at) for _ in range(36)]
            yield Beginning(at, stories.stuffing(self.pen, self._own(at), owners, at, taken))

    def _duties(self) -> Iterator[Beginning]:
        """Who ends the raid and the leaked key has signed in for it."""
        for duty, at, kind, query in (
            (self.raid, self.raid.found - 8 * MINUTE, "network", self.raid.evidence),
            (self.leak, self.leak.found - 7 * MINUTE, "key", ""),
        ):
            life = desk.on_duty(self._own(at), duty.session, duty.staff, at, kind, query)
            yield Beginning(at, life)

    def _sometime(self, lead: int) -> int:
        return self.random.randrange(self.start + 3 * HOUR + lead, self.end - 10 * MINUTE)

    def _somebody(self, at: int = 0) -> Person:
        """Some sign in far more often than others. With `at`, one who was there at that time."""
        while True:
            one = self.people[int(len(self.people) * self.random.random() ** 1.5)]
            if not at or one.since < max(at, self.start + 3 * HOUR):
                return one

    def _newcomer(self, at: int) -> Person:
        """None of those who are stolen from."""
        known = [one for one in self.people[len(self.people) // 2 :] if one.since < at - HOUR]
        return self.random.choice(known)

    def _own(self, number: int) -> Random:
        """A random of one story's own, so that it does not depend on what others draw."""
        return Random(self.size.seed * 0x1_0000_0001 + number)  # noqa: S311 - a story, not a secret

    def _employee(self, name: str) -> Person:
        since = self.start + 5 * MINUTE
        return Person(
            subject=ids.new_id(since, self.random.randbytes(ids.RANDOM_BYTES)),
            name=name,
            zone=1,
            since=since,
            home=f"10.20.{len(name)}.{ord(name[0])}",
            office=f"203.0.113.{ord(name[0])}",
            browser=Device("web", self.random.choice(BROWSERS[:9])),
            phone=Device(IOS, ""),
        )
