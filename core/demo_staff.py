"""What staff do in a demonstration: look around, answer a theft, a call or a raid, disable an account. Runs nothing.

Whoever ends something has signed in before, looked for it and seen the preview.
"""

from datetime import UTC, datetime
from random import Random
from typing import NamedTuple

from core import subject
from core.action import Kill
from core.demo_lives import Life, about, expires
from core.demo_pen import Pen, origin
from core.demo_session import Session
from core.demo_world import DAY, HOUR, MINUTE, Device, Person
from core.policy import DASHBOARD, SECOND
from core.presence import Presence
from events import ids
from events import subject as past
from events.family import PREFIX

KINDS = ("subject", "subject", "subject", "network", "family", "event", "access_token", "refresh_token", "nothing")
"""What is looked up, as often."""
QUERIES = ("op:fail at:24h", "op:admin at:7d", "type:token.reuse_detected at:7d", "op:revoke at:7d")
"""What is taken out for the tickets of the week."""


class Member(NamedTuple):
    """One of the staff."""

    person: Person
    role: str

    @property
    def actor(self) -> str:
        """As events name them."""
        return f"staff:{ids.to_text(past.PREFIX, self.person.subject)}"

    @property
    def presence(self) -> Presence:
        """Where they sit."""
        return Presence(self.person.office, self.person.browser.agent)

    def session(self, pen: Pen, random: Random, at: int) -> Session:
        """At the dashboard; one that has not begun."""
        return Session.new(pen, random, self.person, Device(DASHBOARD, self.person.browser.agent), at)


class Raid(NamedTuple):
    """Sessions that a stranger got with passwords from elsewhere, and staff end together."""

    began: int
    found: int
    taken: list[bytes]
    staff: Member
    session: Session
    """Of whoever ends it."""

    @property
    def query(self) -> str:
        """What staff selected them by."""
        return f"client:web is:living started:{self._time}..5m"

    @property
    def evidence(self) -> str:
        """What they took out before."""
        return f"client:web op:fail,create at:{self._time}..5m"

    @property
    def _time(self) -> str:
        return f"{datetime.fromtimestamp(self.began // SECOND, UTC):%Y-%m-%dT%H:%MZ}"


class Leak(NamedTuple):
    """A signing key that somebody may have read, and that the admin revokes."""

    found: int
    staff: Member
    session: Session


def at_the_dashboard(pen: Pen, random: Random, one: Member, at: int) -> Life:
    """Somebody looks around for a while, and now and then takes something out."""
    session, presence = one.session(pen, random, at), one.presence
    yield session.sign_in(at, presence)
    for _ in range(about(random, 4)):
        at += random.randrange(5 * MINUTE, 13 * MINUTE)
        yield session.use(at, presence)
        if random.random() < 0.35:
            yield session.look_up(at + 20 * SECOND, presence, random.choice(KINDS))
        if one.role != "viewer" and random.random() < 0.06:
            yield session.export(at + 2 * MINUTE, presence, random.choice(QUERIES), random.choice(("csv", "json")))
    if random.random() < 0.6:
        yield session.sign_out(at + 4 * MINUTE, presence)
    else:
        yield expires(session, random, at)


def lost_phone(pen: Pen, random: Random, owner: Person, staff: Member, at: int) -> Life:
    """Somebody calls: the phone is gone. Staff end its session, and it is told so when it asks again."""
    presence = owner.on_phone(random)
    session = Session.new(pen, random, owner, owner.phone, at - DAY)
    yield session.sign_in(at - DAY, presence)
    for hours in (20, 15, 9, 3):
        yield session.use(at - hours * HOUR, presence)
    desk = staff.session(pen, random, at - 5 * MINUTE)
    yield desk.sign_in(at - 5 * MINUTE, staff.presence)
    yield desk.look_up(at - 4 * MINUTE, staff.presence, "subject")
    yield desk.preview(at - 50 * SECOND, staff.presence, ids.to_text(PREFIX, session.id))
    confirmed = pen.confirmed(random, at, staff.actor, "lost_device", "called the desk, identity checked")
    yield pen.kill(random, at, Kill(confirmed, owner.subject, (session.id,), everything=False), staff.presence)
    yield expires(desk, random, at - 5 * MINUTE)
    yield session.use(at + 5 * HOUR, presence)


def signed_out_everywhere(pen: Pen, random: Random, owner: Person, staff: Member, at: int) -> Life:
    """After a theft, staff end all that the owner has at `at`, some minutes after they were called."""
    called, presence = at - 6 * MINUTE, staff.presence
    desk = staff.session(pen, random, called)
    yield desk.sign_in(called, presence)
    yield desk.look_up(called + MINUTE, presence, random.choice(("family", "subject", "refresh_token")))
    yield desk.preview_all_of(at - 70 * SECOND, presence, owner.subject)
    confirmed = pen.confirmed(random, at, staff.actor, "stolen_token", "called the owner, who did not do this")
    yield pen.kill(random, at, Kill(confirmed, owner.subject, (), everything=True), presence)
    yield expires(desk, random, called)


def left(pen: Pen, random: Random, owner: Person, staff: Member, at: int) -> Life:
    """Somebody leaves: the account is disabled, and now and then enabled again."""
    yield from _switched(pen, random, owner, staff, at, random.choice(("left", "suspicious")))
    if random.random() < 0.3:
        yield from _switched(pen, random, owner, staff, at + 26 * HOUR, "user_request", enabled=True)


def helped(pen: Pen, random: Random, owner: Person, staff: Member, at: int) -> Life:
    """Staff set a password for somebody who has forgotten it."""
    for _ in range(3):
        yield pen.fail(random, at - 20 * MINUTE, owner, owner.browser.client, owner.at_desk(random))
    decide = subject.set_password(owner.subject, pen.password, staff.actor)
    yield pen.of_subject(decide, owner.subject, at, origin(random, staff.presence))
    session = Session.new(pen, random, owner, owner.browser, at)
    yield session.sign_in(at + 4 * MINUTE, owner.at_desk(random))
    yield expires(session, random, at + 4 * MINUTE)


def on_duty(random: Random, session: Session, staff: Member, at: int, kind: str, query: str = "") -> Life:
    """Signed in at `at`, looking into something that is then ended; with a query, evidence is taken out first."""
    yield session.sign_in(at, staff.presence)
    yield session.look_up(at + MINUTE, staff.presence, kind)
    if query:
        yield session.export(at + 3 * MINUTE, staff.presence, query, "csv")
    yield session.use(at + 6 * MINUTE, staff.presence)
    yield expires(session, random, at + 6 * MINUTE)


def _switched(
    pen: Pen, random: Random, owner: Person, staff: Member, at: int, reason: str, *, enabled: bool = False
) -> Life:
    began, presence = at - 3 * MINUTE, staff.presence
    desk = staff.session(pen, random, began)
    yield desk.sign_in(began, presence)
    yield desk.look_up(began + 40 * SECOND, presence, "subject")
    yield desk.preview(at - 30 * SECOND, presence, ids.to_text(past.PREFIX, owner.subject))
    confirmed = pen.confirmed(random, at, staff.actor, reason)
    yield pen.switch(at, confirmed, owner.subject, origin(random, presence), enabled=enabled)
    yield expires(desk, random, began)
