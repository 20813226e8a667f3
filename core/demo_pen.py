"""What writes a demonstration's commands: each is what a door would submit, with the moment at which it is decided.

Sessions are held as their owners hold them, by token. Reads nothing; whether it works out, the rules say.
"""

import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from random import Random

from core import action, beginning, ending, family, subject, token
from core.action import Confirmed, Kill
from core.beginning import Begin
from core.demo_world import Device, Person
from core.family import Refresh
from core.master import MasterKeys
from core.policy import SECOND, Policy
from core.presence import Presence
from core.token import Token
from core.verdict import HOLDER, Tags, TagsFor
from events import ids
from events.decision import Decide, Decision, Moment, Need, Origin, States, Streams, Submission
from events.family import Family
from events.private import Context


class Pen:
    """Makes commands. `size` is that of the log as last committed; staff saw it on their previews."""

    def __init__(self, master: MasterKeys, defaults: Policy, password: str) -> None:
        self.master = master
        self.defaults = defaults
        self.password = password
        """Hash of the password that everybody has."""
        self.size = 0

    def tags(self, presence: Presence) -> TagsFor:
        """As the use cases compute them, once for each family."""
        known: dict[tuple[int, bytes], Tags] = {}

        def tags(number: int, owner: bytes) -> Tags:
            found = known.get((number, owner))
            if found is None:
                key = self.master.tag_key(number) or b""
                found = known[number, owner] = Tags(presence.device_tag(key, owner), presence.network_tag(key, owner))
            return found

        return tags

    def register(self, random: Random, at: int, owner: Person, roles: str = "") -> Submission:
        """An account, taken over from elsewhere by the command line."""
        command = subject.Register(owner.subject, subject.compared(owner.name), self.password, roles, "cli")
        streams = Streams(subjects=frozenset((owner.subject,)), names=frozenset((command.name,)))
        return Submission(streams, subject.register(command), origin(random), at / SECOND)

    def fail(self, random: Random, at: int, owner: Person, client: str, presence: Presence) -> Submission:
        """A wrong password."""
        network = self.tags(presence)(self.master.current, owner.subject).network
        decide = subject.fail(owner.subject, client, network)
        return self.of_subject(decide, owner.subject, at, origin(random, presence))

    def of_subject(self, decide: Decide, owner: bytes, at: int, came: Origin) -> Submission:
        """A rule about one subject."""
        return Submission(Streams(subjects=frozenset((owner,))), decide, came, at / SECOND)

    def kill(self, random: Random, at: int, kill: Kill, presence: Presence) -> Submission:
        """Staff end sessions of one subject, as just previewed: the log as it is, all that lives if all is meant."""
        streams = Streams(actions=frozenset((kill.confirmed.action,)), families=frozenset(kill.shown))

        def decide(states: States, moment: Moment) -> Decision | Need:
            previewed = kill._replace(confirmed=kill.confirmed._replace(position=self.size))
            return (_all_shown(previewed) if kill.everything else action.kill(previewed))(states, moment)

        return Submission(streams, decide, origin(random, presence), at / SECOND)

    def confirmed(self, random: Random, at: int, staff: str, reason: str, note: str = "") -> Confirmed:
        """What somebody of the staff confirmed, with the number of an incident."""
        stream = ids.new_id(at, random.randbytes(ids.RANDOM_BYTES))
        return Confirmed(stream, staff, reason, f"INC-{random.randrange(4000, 9999)}", note, self.size)


@dataclass(slots=True)
class Session:
    """A family in somebody's hands. The nonce is a real secret: tokens of it work as any others."""

    pen: Pen
    random: Random
    owner: Person
    device: Device
    id: bytes
    nonce: bytes
    generation: int
    tags: dict[Presence, TagsFor]

    @classmethod
    def new(cls, pen: Pen, random: Random, owner: Person, device: Device, at: int) -> "Session":
        """One that has not begun."""
        stream = ids.new_id(at, random.randbytes(ids.RANDOM_BYTES))
        return cls(pen, random, owner, device, stream, secrets.token_bytes(token.NONCE_BYTES), 1, {})

    def sign_in(self, at: int, presence: Presence) -> Submission:
        """With the right password."""
        command = self.begin(presence)
        return self._submission(beginning.needs(command), _as_verified(command), at, presence)

    def use(self, at: int, presence: Presence, generation: int = 0, *, insist: bool = False) -> Submission:
        """Refresh with the newest token, or with one that was kept.

        Who finds the session ended gives up, unless they insist.
        """
        presented = generation or self.generation
        self.generation += presented == self.generation
        command = self._refresh(presented, presence)
        rule = family.refresh(command)
        decide = rule if insist else _until_noticed(rule, self.id)
        return self._submission(family.named(command), decide, at, presence)

    def ask_again(self, at: int, presence: Presence) -> Submission:
        """The answer got lost: the same token once more."""
        return self.use(at, presence, self.generation - 1)

    def sign_out(self, at: int, presence: Presence, *, everywhere: bool = False) -> Submission:
        """By its holder."""
        hashed = token.hash_nonce(self.nonce)
        decide = ending.revoke(self.id, HOLDER, "logout", nonce=hashed)
        if everywhere:
            decide = ending.revoke_all_by(self.id, hashed, "logout_all")
        return self._submission(Streams(families=frozenset((self.id,))), decide, at, presence)

    def change_password(self, at: int, presence: Presence) -> tuple["Session", Submission]:
        """The session that replaces this one and all others."""
        new = Session.new(self.pen, self.random, self.owner, self.device, at)
        command = new.begin(presence)._replace(replaces=self.id)

        def decide(states: States, moment: Moment) -> Decision | Need:
            return subject.change_password(_current(states, command), self.pen.password)(states, moment)

        return new, self._submission(beginning.needs(command), decide, at, presence)

    def lapse(self, at: int) -> Submission:
        """The sweeper looks whether a limit has passed."""
        decide = ending.expire(self.id, self.pen.defaults)
        return Submission(Streams(families=frozenset((self.id,))), decide, Origin(), at / SECOND)

    def _submission(self, streams: Streams, decide: Decide, at: int, presence: Presence) -> Submission:
        return Submission(streams, decide, origin(self.random, presence), at / SECOND)

    def begin(self, presence: Presence) -> Begin:
        """The command of a sign-in."""
        return Begin(
            family=self.id,
            subject=self.owner.subject,
            client=self.device.client,
            carriage=self.device.carriage,
            nonce=token.hash_nonce(self.nonce),
            key=self.pen.master.current,
            jti=_jti(self.random),
            tags=self._tags(presence),
            defaults=self.pen.defaults,
            password_version=0,
            device=self.device.name,
        )

    def _refresh(self, generation: int, presence: Presence) -> Refresh:
        return Refresh(
            token=Token(self.pen.master.current, self.id, self.nonce, generation),
            client=self.device.client,
            carriage=self.device.carriage,
            tags=self._tags(presence),
            key=self.pen.master.current,
            jti=_jti(self.random),
            defaults=self.pen.defaults,
        )

    def _tags(self, presence: Presence) -> TagsFor:
        found = self.tags.get(presence)
        if found is None:
            found = self.tags[presence] = self.pen.tags(presence)
        return found


def origin(random: Random, presence: Presence | None = None) -> Origin:
    """A request of its own; from nowhere where no presence is given."""
    context = Context(presence.ip, presence.agent) if presence else None
    return Origin(urlsafe_b64encode(random.randbytes(12)).decode(), context)


def _jti(random: Random) -> str:
    return urlsafe_b64encode(random.randbytes(16))[:22].decode()


def _current(states: States, command: Begin) -> Begin:
    """The password was verified a moment ago: against the one that is current when this is decided."""
    owner = states.by_stream.get(command.subject)
    return command._replace(password_version=getattr(owner, "password_version", 0))


def _as_verified(command: Begin) -> Decide:
    def decide(states: States, moment: Moment) -> Decision | Need:
        return beginning.begin(_current(states, command))(states, moment)

    return decide


def _all_shown(kill: Kill) -> Decide:
    """Nobody kills where nothing lives."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        lacking = states.lacking(Streams(living_of=frozenset((kill.subject,))))
        if lacking is not None:
            return Need(lacking)
        shown = tuple(one.id for one in states.living_of(kill.subject))
        return action.kill(kill._replace(shown=shown))(states, moment) if shown else Decision(None)

    return decide


def _until_noticed(rule: Decide, stream: bytes) -> Decide:
    """An application that was told that its session has ended does not ask again."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        state = states.by_stream.get(stream)
        if isinstance(state, Family) and not state.living and state.refusals:
            return Decision(None)
        return rule(states, moment)

    return decide
