"""Use cases of trusted backends: families of users that they authenticated themselves, and their accounts. No HTTP."""

import secrets
from typing import Any, NamedTuple

from core import assertion, ending, repeat, subject
from core.assertion import Assert, Assertion, Outcome
from core.beginning import Begin
from core.families import Families
from core.grants import Backend
from core.issued import Issued
from core.issuer import new_jti
from core.presence import Presence
from core.repeat import Asked, Place
from core.subject import Outcome as AccountOutcome
from core.token import NONCE_BYTES, hash_nonce
from core.tools import Tools
from core.visit import Visit
from events import ids
from events.decision import Decide, Origin, Streams
from events.families import Held
from events.subject import Subject

CLOCKS_DIFFER = 60
"""Seconds by which a backend's clock may be ahead of ours."""


class Wanted(NamedTuple):
    """A family to begin, for somebody whom the caller authenticated."""

    subject: bytes
    client: str
    amr: str = ""
    acr: str = ""
    auth_time: int = 0
    """Seconds since the epoch; 0 is now."""
    presence: Presence = Presence()
    """Of the user, not of the backend; empty where that is not told."""
    device: str = ""
    replaces: bytes | None = None
    jkt: str = ""
    """Thumbprint of the key that the family is bound to."""
    key: str = ""
    """The `Idempotency-Key`; empty for none."""
    body: bytes = b""
    """The request, always in the same form."""

    def __repr__(self) -> str:
        return f"Wanted(client={self.client!r})"


class Backends:
    """What clients do in their own name. Who may what is decided here; every method raises Unavailable."""

    def __init__(self, tools: Tools, families: Families) -> None:
        self._tools = tools
        self._families = families

    async def subject(self, caller: Backend, stream: bytes) -> Subject | None:
        """A subject that the caller reaches: it created it, or it has or had a family of it."""
        owner = await self._tools.subjects.get(stream)
        if owner is None or caller.client.operator or owner.client == caller.client.client:
            return owner
        return owner if await self._tools.families.has(stream, caller.client.client) else None

    async def family(self, caller: Backend, stream: bytes) -> Held | None:
        """A family that the caller reaches."""
        held = await self._tools.families.get(stream)
        return held if held is not None and caller.reaches(held.family.client) else None

    async def begin(self, wanted: Wanted, caller: Backend, visit: Visit) -> Issued | Outcome:
        """Begin a family, or answer what the same request came to before. Raises KeyUnavailable."""
        tools = self._tools
        if not caller.reaches(wanted.client):
            return Outcome.CLIENT
        if await self.subject(caller, wanted.subject) is None:
            return Outcome.UNKNOWN
        place, before = self._places(wanted, caller)
        signing = tools.keys.signing
        command = Assert(self._begin(wanted, place, caller), place, before)
        presence = wanted.presence
        told = Visit(presence, visit.request, visit.arrived)
        origin = told.origin if presence != Presence() else Origin(visit.request)
        subjects = Streams(subjects=frozenset((wanted.subject,)))
        found: Assertion = await tools.ledger.submit(subjects, assertion.begin_for(command), origin, visit.arrived)
        if found.answer is None or found.place is None:
            return found.outcome
        return self._families.issuer.issued(found.answer, found.place.nonce, signing)

    async def end(self, held: Held, caller: Backend, reason: str, visit: Visit, ticket: str = "") -> AccountOutcome:
        """End a family that the caller reaches. Idempotent."""
        rule = ending.revoke(held.family.id, caller.actor, reason, ticket=ticket)
        return await self._unless_staff(held.family.subject, rule, visit)

    async def end_all(
        self, owner: Subject, caller: Backend, reason: str, visit: Visit, ticket: str = ""
    ) -> AccountOutcome:
        """End all families of a subject that the caller reaches. Idempotent."""
        rule = ending.revoke_all(owner.id, caller.actor, reason, reaches=caller.reaches, ticket=ticket)
        return await self._unless_staff(owner.id, rule, visit)

    async def disable(self, owner: Subject, caller: Backend, reason: str, visit: Visit) -> AccountOutcome:
        """Nobody signs in as this subject any more; every family of it ends. Idempotent."""
        return await self._unless_staff(owner.id, subject.disable(owner.id, reason, caller.actor), visit)

    async def enable(self, owner: Subject, caller: Backend, visit: Visit) -> AccountOutcome:
        """Sign-in works again; no family comes back. Idempotent."""
        return await self._unless_staff(owner.id, subject.enable(owner.id, caller.actor), visit)

    async def _unless_staff(self, owner: bytes, rule: Decide, visit: Visit) -> AccountOutcome:
        streams = Streams(subjects=frozenset((owner,)))
        found: Any = await self._tools.ledger.submit(
            streams, subject.unless_staff(owner, rule), visit.origin, visit.arrived
        )
        return found if isinstance(found, AccountOutcome) else AccountOutcome.DONE

    def _places(self, wanted: Wanted, caller: Backend) -> tuple[Place, tuple[Place, ...]]:
        """Where the family begins, and where the same request may have begun it: also under an older master key."""
        master, at = self._tools.master, int(self._tools.wall() * 1_000_000)
        if not wanted.key:
            stream = ids.new_id(at, secrets.token_bytes(ids.RANDOM_BYTES))
            return Place(stream, secrets.token_bytes(NONCE_BYTES), master.current), ()
        asked = Asked(caller.client.client, wanted.key, wanted.body)
        keys = {number: master.repeat_key(number) or b"" for number in master.numbers}
        before = (place for number, key in keys.items() for place in repeat.places(key, number, asked, at))
        return repeat.place(keys[master.current], master.current, asked, at), tuple(before)

    def _begin(self, wanted: Wanted, place: Place, caller: Backend) -> Begin:
        terms = self._tools.terms
        return Begin(
            family=place.family,
            subject=wanted.subject,
            client=wanted.client,
            carriage="body",
            nonce=hash_nonce(place.nonce),
            key=place.number,
            jti=new_jti(),
            tags=self._families.issuer.tags(wanted.presence, wanted.jkt),
            defaults=terms.defaults,
            password_version=0,
            amr=wanted.amr,
            audience=terms.audience,
            device=wanted.device,
            replaces=wanted.replaces,
            actor=caller.actor,
            auth_time=wanted.auth_time,
            acr=wanted.acr,
            jkt=wanted.jkt,
        )
