"""What writes a demonstration's commands: each is what a door would submit, with the moment at which it is decided.

Sessions are held as their owners hold them, by token. Reads nothing; whether it works out, the rules say.
"""

from base64 import urlsafe_b64encode
from random import Random

from core import action, subject
from core.action import Confirmed, Kill
from core.context import tags_of
from core.demo_world import Person
from core.master import MasterKeys
from core.policy import SECOND, Policy
from core.presence import Presence
from core.verdict import TagsFor
from events import ids
from events.decision import Decide, Decision, Moment, Need, Origin, States, Streams, Submission, knowing
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
        return tags_of(presence, self.master.tag_key, lambda _ip: "")

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

    def switch(self, at: int, confirmed: Confirmed, owner: bytes, came: Origin, *, enabled: bool) -> Submission:
        """Staff allow or stop somebody's sign-in, as just previewed."""
        streams = Streams(actions=frozenset((confirmed.action,)), subjects=frozenset((owner,)))

        def decide(states: States, moment: Moment) -> Decision | Need:
            seen = confirmed._replace(position=self.size)
            return action.set_enabled(seen, owner, enabled=enabled)(states, moment)

        return Submission(streams, decide, came, at / SECOND)

    def confirmed(self, random: Random, at: int, staff: str, reason: str, note: str = "") -> Confirmed:
        """What somebody of the staff confirmed, with the number of an incident."""
        stream = ids.new_id(at, random.randbytes(ids.RANDOM_BYTES))
        return Confirmed(stream, staff, reason, f"INC-{random.randrange(4000, 9999)}", note, self.size)


def origin(random: Random, presence: Presence | None = None) -> Origin:
    """A request of its own; from nowhere where no presence is given."""
    context = Context(presence.ip, presence.agent) if presence else None
    return Origin(urlsafe_b64encode(random.randbytes(12)).decode(), context)


def _all_shown(kill: Kill) -> Decide:
    """Nobody kills where nothing lives."""

    def decide(states: States, moment: Moment) -> Decision | Need:
        shown = tuple(one.id for one in states.living_of(kill.subject))
        return action.kill(kill._replace(shown=shown))(states, moment) if shown else Decision(None)

    return knowing(Streams(living_of=frozenset((kill.subject,))), decide)
