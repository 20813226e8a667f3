"""Use cases of whoever has second factors: adding, taking away, new recovery codes, another password. Knows no HTTP."""

import re
import secrets
from dataclasses import dataclass
from typing import NamedTuple

from core import beginning, codes, enrolment, factor, passkey, subject, totp
from core.enrolment import Add, Added, New, Outcome
from core.issued import Denied, Issued
from core.passkey import Site
from core.policy import DASHBOARD
from core.step import Purpose
from core.steps import Session, Steps
from core.token import NONCE_BYTES
from core.tools import Tools
from core.verdict import Verdict
from core.visit import SignIn, Visit
from events import ids
from events.factor import PASSKEY, TOTP
from events.family import PREFIX as FAMILY
from events.private import Account
from events.subject import Subject

OFFERED = 15 * 60
"""Seconds to scan a QR code and type what the app says."""
_ID_BYTES = 9


class Offer(NamedTuple):
    """A new secret of one-time codes, before it is proved; `sealed` comes back with the code."""

    secret: bytes
    sealed: str

    def __repr__(self) -> str:
        return "Offer()"


class Enrolled(NamedTuple):
    """What adding came to: the session that goes on, and recovery codes where they were made."""

    outcome: Outcome
    issued: Issued | None = None
    codes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Enrolled({self.outcome!r})"


@dataclass(frozen=True, slots=True)
class Enrolling:
    """Every method that is awaited raises Unavailable when the ledger cannot be used."""

    tools: Tools
    steps: Steps
    site: Site
    required: frozenset[str] = frozenset()
    """Roles that must have a second factor."""

    def offer(self, session: Session) -> Offer:
        """A new secret for an app; nothing is stored before a code of it comes back."""
        master, secret = self.tools.master, secrets.token_bytes(totp.SECRET_BYTES)
        until = int(self.tools.wall()) + OFFERED
        wrapped = self.tools.wrapped(_offered(session), until.to_bytes(8) + secret)
        return Offer(secret, f"{master.current}.{wrapped}")

    def opened(self, session: Session, sealed: str) -> Offer | None:
        """The offer again, if it was made in this session lately."""
        number, _, wrapped = sealed.partition(".")
        if not re.fullmatch("[0-9]{1,3}", number):
            return None
        plain = self.tools.master.unwrap(int(number), _offered(session), wrapped)
        if plain is None or int.from_bytes(plain[:8]) < self.tools.wall():
            return None
        return Offer(plain[8:], sealed)

    async def add_totp(self, session: Session, offer: Offer, code: str, name: str, visit: Visit) -> Enrolled | None:
        """Add it once a code proves that the app has it; None where the code does not fit."""
        fitting = totp.step_of("".join(code.split()), offer.secret, self.tools.wall())
        if fitting is None:
            return None
        made, number = secrets.token_urlsafe(_ID_BYTES), self.tools.master.current
        wrapped = self.tools.wrapped(totp.place(session.owner.id, made), offer.secret)
        added = New(made, TOTP, Account(device=name, wrapped=wrapped), key=number, step=fitting)
        return await self._add(session, added, "otp", visit)

    def to_add(self, session: Session, visit: Visit) -> tuple[str, str]:
        """A step, and what the browser is asked to make a passkey of."""
        made = self.steps.begun(session, Purpose.ADDING, visit)
        found = self.steps.read(made, Purpose.ADDING, visit)
        assert found is not None  # noqa: S101 - made just now
        owner = session.owner
        held = owner.second.of_kind(PASSKEY)
        return made, passkey.to_make(self.site, self.steps.challenge(found), (owner.id, owner.name), held)

    async def add_passkey(
        self, session: Session, text: str, credential: str, name: str, visit: Visit
    ) -> Enrolled | None:
        """Add what the browser made; None where it does not prove that it was made here, for this page."""
        found = self.steps.read(text, Purpose.ADDING, visit)
        if found is None or found.whose != session.family.id:
            return None
        made = passkey.made(self.site, credential, self.steps.challenge(found))
        if made is None:
            return None
        account = Account(device=name, credential=made.credential, public_key=made.public_key)
        number = secrets.token_urlsafe(_ID_BYTES)
        added = New(number, PASSKEY, account, counter=made.counter, synced=made.synced)
        return await self._add(session, added, "swk" if made.synced else "hwk", visit)

    async def make_codes(self, session: Session, visit: Visit) -> tuple[str, ...]:
        """New recovery codes, shown this once; none where there is no factor that they could stand in for."""
        written, hashes = _new_codes()
        done = await self.tools.about_subject(session.owner.id, enrolment.make_codes(session.owner.id, hashes), visit)
        return written if done is Outcome.DONE else ()

    async def remove(self, session: Session, named: str, visit: Visit) -> Outcome:
        """Its owner takes one away."""
        rule = enrolment.remove(session.owner.id, named, self.required)
        return Outcome(await self.tools.about_subject(session.owner.id, rule, visit))

    async def reset(
        self, owner: Subject, actor: str, reason: str, visit: Visit | None = None, *, ticket: str = "", note: str = ""
    ) -> Outcome:
        """Others take all away; every session at the dashboard ends. Idempotent."""
        rule = enrolment.reset(owner.id, actor, reason, ticket, note)
        return Outcome(await self.tools.about_subject(owner.id, rule, visit))

    async def change_password(self, session: Session, new: str, visit: Visit) -> Issued | Denied:
        """Change the own password. The caller asked for a fresh sign-in and checked the new one. Raises Busy."""
        tools, was = self.tools, session.family
        hashed = await tools.hasher.hash(new)
        nonce, signing = secrets.token_bytes(NONCE_BYTES), tools.keys.signing
        command = SignIn(session.owner.name, "", DASHBOARD, "cookie", replaces=session.token)
        begin = self.steps.issuer.to_begin(session.owner, command, visit, nonce)
        begin = begin._replace(amr=was.amr, acr=was.acr, auth_time=was.auth_time)
        # A session of somebody with a factor has one in its `amr`: adding the first ends those that have not.
        rule = subject.change_password(begin, hashed, proven=not session.owner.second.held or was.amr != "pwd")
        answer = await tools.ledger.submit(beginning.needs(begin), rule, visit.origin, visit.arrived)
        return (
            self.steps.issuer.issued(answer, nonce, signing)
            if answer.verdict is Verdict.BEGUN
            else Denied(answer.verdict)
        )

    def must_enrol(self, owner: Subject) -> bool:
        """Whether the role asks for a second factor and there is none."""
        return factor.must_enrol(owner, self.required)

    async def _add(self, session: Session, added: New, method: str, visit: Visit) -> Enrolled:
        tools, was = self.tools, session.family
        nonce = secrets.token_bytes(NONCE_BYTES)
        command = SignIn(session.owner.name, "", DASHBOARD, "cookie", replaces=session.token)
        begin = self.steps.issuer.to_begin(session.owner, command, visit, nonce)
        # It goes on as it was, and says now what else was proved: the own factor, in this very request.
        amr = " ".join(dict.fromkeys((*was.amr.split(), method)))
        begin = begin._replace(amr=amr, acr=factor.TWO_FACTORS, auth_time=was.auth_time)
        written, hashes = _new_codes()
        signing = tools.keys.signing
        rule = enrolment.add(Add(begin, added, hashes))
        done: Added = await tools.ledger.submit(beginning.needs(begin), rule, visit.origin, visit.arrived)
        if done.outcome is not Outcome.DONE:
            return Enrolled(done.outcome)
        return Enrolled(
            done.outcome, self.steps.issuer.issued(done.answer, nonce, signing), written if done.codes else ()
        )


def _offered(session: Session) -> str:
    return f"totp offered in {ids.to_text(FAMILY, session.family.id)}"


def _new_codes() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Recovery codes as they are shown, and as they are stored."""
    written = tuple(codes.written(secrets.token_bytes(codes.BYTES)) for _ in range(codes.COUNT))
    return written, tuple(codes.hashed(one) or "" for one in written)
