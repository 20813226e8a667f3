"""Looking is audited: what staff looked up, previewed and took out becomes events of their own session."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from events import family, ids, subject
from events.decision import Change, Decide, Decision, Moment, Origin, States, Streams, knowing
from events.fact import Fact
from events.ledger import Ledger
from events.private import Account


class Session(Protocol):
    """The family of whoever looked."""

    @property
    def id(self) -> bytes:
        """Its stream."""

    @property
    def subject(self) -> bytes:
        """Whose it is."""

    @property
    def client(self) -> str:
        """At which door."""


class Look(NamedTuple):
    """A fact on its way to the stream of that session."""

    streams: Streams
    decide: Decide


def looked_up(session: Session, kind: str, fingerprint: str) -> Look:
    """Somebody looked something up; of what was entered only a fingerprint is kept."""
    actor, owner = _who(session)
    fact = family.DashboardLookedUp(
        actor=actor, subject=owner, client=session.client, kind=kind, fingerprint=fingerprint
    )
    return _look(session, fact)


def exported(session: Session, query: str, form: str, position: int) -> Look:
    """Somebody took events out; the query as typed goes to a private row."""
    actor, owner = _who(session)
    fact = family.DashboardExported(actor=actor, subject=owner, client=session.client, format=form, position=position)
    return _look(session, fact, Account(note=query) if query else None)


def previewed(session: Session, target: str) -> Look:
    """Somebody looked at what an action would do."""
    actor, owner = _who(session)
    return _look(session, family.DashboardPreviewed(actor=actor, subject=owner, client=session.client, target=target))


@dataclass(frozen=True, slots=True)
class Watching:
    """Writes these facts. Raises Unavailable."""

    ledger: Ledger

    async def looked_up(self, session: Session, kind: str, fingerprint: str, origin: Origin) -> None:
        """As the function of this name."""
        await self._submit(looked_up(session, kind, fingerprint), origin)

    async def exported(self, session: Session, query: str, form: str, position: int, origin: Origin) -> None:
        """As the function of this name."""
        await self._submit(exported(session, query, form, position), origin)

    async def previewed(self, session: Session, target: str, origin: Origin) -> None:
        """As the function of this name."""
        await self._submit(previewed(session, target), origin)

    async def _submit(self, look: Look, origin: Origin) -> None:
        await self.ledger.submit(look.streams, look.decide, origin)


def _who(session: Session) -> tuple[str, str]:
    owner = ids.to_text(subject.PREFIX, session.subject)
    return f"staff:{owner}", owner


def _look(session: Session, fact: Fact, account: Account | None = None) -> Look:
    streams = Streams(families=frozenset((session.id,)))

    def decide(states: States, _moment: Moment) -> Decision:
        if states.family(session.id) is None:
            return Decision(None)
        return Decision(None, (Change(session.id, fact, account),))

    return Look(streams, knowing(streams, decide))
