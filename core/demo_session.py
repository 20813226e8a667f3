"""Sessions of a demonstration, held as their owners hold them: by token. Each method makes one command; none reads."""

import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from random import Random

from core import beginning, ending, family, subject, token, watching
from core.beginning import Begin
from core.demo_pen import Pen, origin
from core.demo_world import Device, Person
from core.judgement import Refresh
from core.policy import SECOND
from core.presence import Presence
from core.token import Token
from core.verdict import HOLDER, TagsFor
from events import ids
from events.decision import Decide, Decision, Moment, Need, Origin, States, Streams, Submission
from events.family import PREFIX, Family


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

    @property
    def subject(self) -> bytes:
        """Whose it is."""
        return self.owner.subject

    @property
    def client(self) -> str:
        """At which door."""
        return self.device.client

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

    def look_up(self, at: int, presence: Presence, kind: str) -> Submission:
        """Staff enter something into the box; nobody can tell what."""
        look = watching.looked_up(self, kind, self.random.randbytes(6).hex())
        return self._submission(look.streams, look.decide, at, presence)

    def export(self, at: int, presence: Presence, query: str, form: str) -> Submission:
        """Staff take events out: what is in the log when it is decided."""
        streams = watching.exported(self, query, form, 0).streams

        def decide(states: States, moment: Moment) -> Decision | Need:
            return watching.exported(self, query, form, self.pen.size).decide(states, moment)

        return self._submission(streams, decide, at, presence)

    def preview(self, at: int, presence: Presence, target: str) -> Submission:
        """Staff look at what an action would do."""
        look = watching.previewed(self, target)
        return self._submission(look.streams, look.decide, at, presence)

    def preview_all_of(self, at: int, presence: Presence, owner: bytes) -> Submission:
        """The same, from one of the owner's sessions; nothing where none lives."""
        streams = Streams(families=frozenset((self.id,)), living_of=frozenset((owner,)))

        def decide(states: States, moment: Moment) -> Decision | Need:
            lacking = states.lacking(streams)
            if lacking is not None:
                return Need(lacking)
            living = states.living_of(owner)
            if not living:
                return Decision(None)
            return watching.previewed(self, ids.to_text(PREFIX, living[-1].id)).decide(states, moment)

        return self._submission(streams, decide, at, presence)

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


def _until_noticed(rule: Decide, stream: bytes) -> Decide:
    """An application that was told that its session has ended does not ask again."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        state = states.by_stream.get(stream)
        if isinstance(state, Family) and not state.living and state.refusals:
            return Decision(None)
        return rule(states, moment)

    return decide
