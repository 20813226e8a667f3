"""What goes wrong in a demonstration: copied and old tokens, guessed passwords, a storm of retries.

Each story is what applications and thieves ask for; what comes of it is for the rules to say.
"""

from random import Random

from core.demo_lives import Life, expires
from core.demo_pen import Pen
from core.demo_session import Session
from core.demo_world import DAY, HOUR, MINUTE, Person, carrier, stranger
from core.policy import SECOND, WEB
from core.presence import Presence


def copied_cookie(pen: Pen, random: Random, owner: Person, at: int) -> Life:
    """A copy of a cookie is used from far away, minutes after the browser has gone on: one behind."""
    thief, presence, lasts = stranger(random), owner.at_desk(random), random.randrange(4, 9)
    began = at - lasts * 16 * MINUTE - random.randrange(2 * MINUTE, 5 * MINUTE)
    session = Session.new(pen, random, owner, owner.browser, began)
    yield session.sign_in(began, presence)
    for number in range(1, lasts + 1):
        yield session.use(began + number * 16 * MINUTE, presence)
    copied, newest = session.generation - 1, session.generation
    yield session.use(at, thief, copied, insist=True)
    yield from _aftermath(session, at, (thief, copied), (presence, newest))


def by_turns(pen: Pen, random: Random, owner: Person, at: int) -> Life:
    """The thief refreshes first; when the browser comes with the token that it still has, both are found out."""
    thief, presence = stranger(random), owner.at_desk(random)
    began = at - 3 * 16 * MINUTE
    session = Session.new(pen, random, owner, owner.browser, began)
    yield session.sign_in(began, presence)
    yield session.use(began + 15 * MINUTE, presence)
    yield session.use(began + 31 * MINUTE, presence)
    yield session.use(at - 7 * MINUTE, thief, insist=True)
    kept, newest = session.generation - 1, session.generation
    yield session.use(at, presence, kept, insist=True)
    yield from _aftermath(session, at, (thief, newest), (presence, kept))


def old_token(pen: Pen, random: Random, owner: Person, at: int) -> Life:
    """A token from days ago, out of some backup or log, on a phone's session that has long gone on."""
    thief, presence = stranger(random), owner.on_phone(random)
    began = at - 3 * DAY
    session = Session.new(pen, random, owner, owner.phone, began)
    yield session.sign_in(began, presence)
    for number in range(1, 15):
        yield session.use(began + number * 5 * HOUR, presence)
    old, newest = random.randrange(2, 6), session.generation
    yield session.use(at, thief, old, insist=True)
    yield from _aftermath(session, at, (thief, old), (presence, newest))


def _aftermath(session: Session, at: int, thief: tuple[Presence, int], owner: tuple[Presence, int]) -> Life:
    """The thief goes on trying; the owner's application asks once more and is told."""
    for after in (40 * SECOND, 50 * SECOND, 3 * MINUTE, 9 * MINUTE):
        yield session.use(at + after, *thief, insist=True)
    yield session.use(at + 11 * MINUTE, *owner, insist=True)
    for after in (14 * MINUTE, 16 * MINUTE):
        yield session.use(at + after, *thief, insist=True)


THEFTS = (copied_cookie, old_token, by_turns)


def retry_storm(pen: Pen, random: Random, owner: Person, at: int) -> Life:
    """A phone that loses the Wi-Fi asks again and again within the leeway: noise, and no theft."""
    at_home, on_the_way = Presence(owner.home, owner.phone.agent), Presence(carrier(random), owner.phone.agent)
    session = Session.new(pen, random, owner, owner.phone, at - HOUR)
    yield session.sign_in(at - HOUR, at_home)
    yield session.use(at, at_home)
    for number in range(1, random.randrange(25, 42)):
        yield session.ask_again(at + number * 200_000 + SECOND, on_the_way)
    yield session.use(at + 20 * MINUTE, on_the_way)
    yield expires(session, random, at + 20 * MINUTE)


def guessing(pen: Pen, random: Random, owner: Person, at: int) -> Life:
    """Many passwords for one account, until its network has to wait; its owner signs in all the same."""
    guesser = stranger(random)
    before = Session.new(pen, random, owner, owner.browser, at - 20 * HOUR)
    yield before.sign_in(at - 20 * HOUR, owner.at_desk(random))
    for number in range(12):
        yield pen.fail(random, at + number * 4 * SECOND, owner, WEB, guesser)
    for number in range(1, 6):
        yield pen.fail(random, at + number * 5 * MINUTE, owner, WEB, guesser)
    session = Session.new(pen, random, owner, owner.browser, at + 40 * MINUTE)
    yield session.sign_in(at + 40 * MINUTE, owner.at_desk(random))
    yield expires(before, random, at - 20 * HOUR)
    yield expires(session, random, at + 40 * MINUTE)


def stuffing(pen: Pen, random: Random, owners: list[Person], at: int, taken: list[bytes]) -> Life:
    """Passwords that leaked elsewhere are tried on many accounts; some fit. `taken` gets those sessions."""
    guesser = stranger(random)
    sessions: list[Session] = []
    for number, owner in enumerate(owners):
        at += random.randrange(SECOND, 6 * SECOND)
        if number % 4:
            yield pen.fail(random, at, owner, WEB, guesser)
            continue
        session = Session.new(pen, random, owner, owner.browser, at)
        sessions.append(session)
        taken.append(session.id)
        yield session.sign_in(at, guesser)
    yield from _kept_alive(sessions, guesser, at)


def _kept_alive(sessions: list[Session], presence: Presence, at: int) -> Life:
    for round_ in range(1, 17):
        for number, session in enumerate(sessions):
            yield session.use(at + round_ * 15 * MINUTE + number * 3 * SECOND, presence)
    ends = [expires(session, session.random, at + 4 * HOUR + MINUTE) for session in sessions]
    yield from sorted(ends, key=lambda one: one.arrived)
