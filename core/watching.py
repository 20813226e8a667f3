"""Looking is audited: what staff looked up, previewed and took out becomes events of their own session."""

from collections.abc import Callable
from dataclasses import dataclass

from events import family, ids, subject
from events.decision import Change, Decide, Decision, Moment, Need, Origin, States, Streams
from events.fact import Fact
from events.family import Family
from events.ledger import Ledger
from events.private import Account


@dataclass(frozen=True, slots=True)
class Watching:
    """Writes `dashboard.…` facts on the stream of the staff member's own family. Raises Unavailable."""

    ledger: Ledger

    async def looked_up(self, session: Family, kind: str, fingerprint: str, origin: Origin) -> None:
        """Somebody looked something up; of what was entered only a fingerprint is kept."""
        await self._note(
            session,
            lambda about: family.DashboardLookedUp(kind=kind, fingerprint=fingerprint, **about),
            origin,
        )

    async def exported(self, session: Family, query: str, form: str, position: int, origin: Origin) -> None:
        """Somebody took events out; the query as typed goes to a private row."""
        await self._note(
            session,
            lambda about: family.DashboardExported(format=form, position=position, **about),
            origin,
            Account(note=query) if query else None,
        )

    async def previewed(self, session: Family, target: str, origin: Origin) -> None:
        """Somebody looked at what a kill would end."""
        await self._note(session, lambda about: family.DashboardPreviewed(target=target, **about), origin)

    async def _note(
        self,
        session: Family,
        made: Callable[[dict[str, str]], Fact],
        origin: Origin,
        account: Account | None = None,
    ) -> None:
        owner = ids.to_text(subject.PREFIX, session.subject)
        fact = made({"actor": f"staff:{owner}", "subject": owner, "client": session.client})
        streams = Streams(families=frozenset((session.id,)))
        await self.ledger.submit(streams, _noted(session.id, streams, fact, account), origin)


def _noted(stream: bytes, streams: Streams, fact: Fact, account: Account | None) -> Decide:
    def decide(states: States, _moment: Moment) -> Decision | Need:
        lacking = states.lacking(streams)
        if lacking is not None:
            return Need(lacking)
        if states.family(stream) is None:
            return Decision(None)
        return Decision(None, (Change(stream, fact, account),))

    return decide
