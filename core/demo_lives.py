"""What happens on ordinary days of a demonstration: sessions in browsers and on phones. No thieves, no staff."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from core.demo_pen import Pen
from core.demo_session import Session
from core.demo_world import ANDROID, DAY, HOUR, IOS, MINUTE, Person, busy
from core.policy import DASHBOARD, SECOND, WEB
from core.presence import Presence
from events.decision import Submission

Life = Iterator[Submission]
"""Commands of one story, in order of time."""
IDLE = {WEB: 7 * DAY, IOS: 14 * DAY, ANDROID: 14 * DAY, DASHBOARD: 15 * MINUTE}
"""How long a session of each client may go unused; those of longer settings live on."""
SWEEP = 30 * SECOND
"""At most so long after its limit a family is seen to have expired."""
TYPING = 40 * SECOND
"""From the first try to the right password."""


class Beginning(NamedTuple):
    """A story and when it begins."""

    at: int
    life: Life


def in_browser(pen: Pen, random: Random, owner: Person, at: int) -> Life:
    """Sittings of some refreshes each; then a sign-out, or nothing any more until the limit."""
    session, presence = Session.new(pen, random, owner, owner.browser, at), owner.at_desk(random)
    yield from _mistyped(pen, random, owner, owner.browser.client, presence, at)
    at += TYPING
    yield session.sign_in(at, presence)
    while True:
        for _ in range(about(random, 3.4)):
            at += random.randrange(15 * MINUTE, 19 * MINUTE)
            yield from _used(session, random, at, presence)
        if random.random() < 0.62:
            break
        presence = owner.at_desk(random)
        at = _next_time(random, at + 3 * HOUR, owner.zone)
    if random.random() < 0.02:
        at += 2 * MINUTE
        session, changed = session.change_password(at, presence)
        yield changed
    if random.random() < 0.3:
        yield session.sign_out(at + 3 * MINUTE, presence, everywhere=random.random() < 0.04)
    else:
        yield from _forgotten(session, random, at, presence)


def on_phone(pen: Pen, random: Random, owner: Person, at: int) -> Life:
    """Opened some times a day for weeks, between Wi-Fi and mobile; an answer is lost now and then."""
    session, presence = Session.new(pen, random, owner, owner.phone, at), owner.on_phone(random)
    yield from _mistyped(pen, random, owner, owner.phone.client, presence, at)
    at += TYPING
    yield session.sign_in(at, presence)
    for _ in range(about(random, 13)):
        at = _next_time(random, at + random.randrange(16 * MINUTE, 9 * HOUR), owner.zone)
        presence = owner.on_phone(random) if random.random() < 0.3 else presence
        yield from _used(session, random, at, presence, lost=0.05)
    if random.random() < 0.08:
        yield session.sign_out(at + 3 * MINUTE, presence)
    else:
        yield from _forgotten(session, random, at, presence)


def _used(session: Session, random: Random, at: int, presence: Presence, lost: float = 0.008) -> Life:
    yield session.use(at, presence)
    if random.random() < lost:
        yield session.ask_again(at + random.randrange(SECOND, 8 * SECOND), presence)


def _mistyped(pen: Pen, random: Random, owner: Person, client: str, presence: Presence, at: int) -> Life:
    if random.random() < 0.05:
        for ago in range(random.choice((1, 1, 1, 2, 3)), 0, -1):
            yield pen.fail(random, at + TYPING - ago * 9 * SECOND, owner, client, presence)


def expires(session: Session, random: Random, used: int) -> Submission:
    """What the sweeper does when nobody comes back."""
    return session.lapse(used + IDLE[session.device.client] + random.randrange(SECOND, SWEEP))


def _forgotten(session: Session, random: Random, at: int, presence: Presence) -> Life:
    end = expires(session, random, at)
    yield end
    if random.random() < 0.15:
        yield session.use(round(end.arrived * SECOND) + random.randrange(HOUR, 2 * DAY), presence)


def about(random: Random, mean: float) -> int:
    """A count: often few, sometimes many."""
    return min(round(random.expovariate(1 / mean)), int(mean * 6))


def _next_time(random: Random, at: int, zone: int) -> int:
    """A moment after this one at which people of this zone do something."""
    while random.random() > busy(at, zone):
        at += random.randrange(20 * MINUTE, 100 * MINUTE)
    return at + random.randrange(10 * MINUTE)
