"""Use cases of second factors: the second step of a sign-in, confirming, adding, taking away. Knows no HTTP."""

import re
import secrets
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from core import beginning, codes, enrolment, factor, passkey, step, subject, totp
from core.enrolment import Add, Added, New, Outcome
from core.factor import AGAIN, SIGN_IN, Code, Given, Proof, Recovery
from core.families import Denied, Families, Issued, SignIn, Tools, Visit
from core.master import NONCE_BYTES
from core.passkey import Site
from core.policy import DASHBOARD
from core.step import NOBODY, Purpose, Step
from core.token import NONCE_BYTES as FAMILY_NONCE_BYTES
from core.token import Token
from core.verdict import Verdict
from events import ids
from events.decision import Decide, Origin, Streams
from events.factor import PASSKEY, RECOVERY, TOTP, Factor
from events.family import PREFIX as FAMILY
from events.family import Family
from events.private import Account
from events.subject import PREFIX, Subject

OFFERED = 15 * 60
"""Seconds to scan a QR code and type what the app says."""
_ID_BYTES = 9


class Asked(NamedTuple):
    """The password was right; what the browser holds until the second factor comes."""

    step: str

    def __repr__(self) -> str:
        return "Asked()"


class Typed(NamedTuple):
    """What came as second factor: a one-time or recovery code as typed, or a passkey's answer as JSON."""

    code: str = ""
    credential: str = ""

    def __repr__(self) -> str:
        return "Typed()"


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


class Session(NamedTuple):
    """Somebody who is signed in at the dashboard."""

    owner: Subject
    family: Family
    token: Token


@dataclass(frozen=True, slots=True)
class Factors:
    """Second factors. Every method raises Unavailable when the ledger cannot be used."""

    tools: Tools
    families: Families
    site: Site
    required: frozenset[str] = frozenset()
    """Roles that must have a second factor."""

    async def sign_in(self, command: SignIn, visit: Visit) -> Issued | Denied | Asked:
        """The first step: the session where the password is all, else what leads to the second. Raises Busy."""
        owner = await self.families.verified(command, visit)
        if isinstance(owner, Denied):
            return owner
        if not factor.is_needed(owner, command.client):
            return await self.families.begin(owner, command, visit)
        # Committed before it is answered: a stolen password leaves a trace even if nothing follows.
        await self._submit(owner.id, factor.ask(owner.id, command.client, self._network(owner, visit)), visit)
        return Asked(self._mint(Purpose.SECOND, owner.id, owner.password_version, visit))

    async def expected(self, text: str, visit: Visit) -> Subject | None:
        """Who is on the way between the two steps, if that step is still good."""
        found = self._read(text, Purpose.SECOND, visit)
        owner = await self.tools.subjects.get(found.whose) if found else None
        return owner if found and owner and self._is_open(found, owner) else None

    async def second(self, text: str, typed: Typed, visit: Visit, replaces: Token | None) -> Issued | Denied:
        """The second step. `stale` where the first has to be done again."""
        found = self._read(text, Purpose.SECOND, visit)
        owner = await self.tools.subjects.get(found.whose) if found else None
        if found is None or owner is None or not self._is_open(found, owner):
            return Denied(Verdict.STALE)
        throttled = await self.tools.limits.login(visit.presence.network, owner.name)
        if throttled is not None:
            return Denied(Verdict.THROTTLED, throttled.retry_after)
        command = SignIn(owner.name, "", DASHBOARD, "cookie", replaces=replaces)
        return await self._proved(owner, command, typed, found, SIGN_IN, visit)

    def to_sign(self, owner: Subject, text: str, purpose: Purpose, visit: Visit) -> str:
        """What a page asks the browser's passkeys for, as JSON; empty where that makes no sense here."""
        found, held = self._read(text, purpose, visit), owner.second.of_kind(PASSKEY)
        if found is None or not held or not self.site.takes_passkeys:
            return ""
        return passkey.to_sign(self.site, self.challenge(found), held, alone=purpose is Purpose.AGAIN)

    def to_sign_alone(self, visit: Visit) -> tuple[Asked, str]:
        """What the browser holds until a passkey has signed, and what it asks for: whoever the person chooses to be."""
        made = self._mint(Purpose.ALONE, NOBODY, 0, visit)
        found = self._read(made, Purpose.ALONE, visit)
        assert found is not None  # noqa: S101 - made just now
        return Asked(made), passkey.to_sign(self.site, self.challenge(found), (), alone=True)

    async def alone(self, text: str, credential: str, visit: Visit, replaces: Token | None) -> Issued | Denied:
        """Sign in with a passkey that knows its owner, without a password.

        What does not fit is counted by the limits and not written down: anybody could fill the log with it.
        """
        found, stream = self._read(text, Purpose.ALONE, visit), passkey.owner_of(credential)
        if found is None:
            return Denied(Verdict.STALE)
        owner = await self.tools.subjects.get(stream) if stream else None
        if owner is None:
            return Denied(Verdict.FACTOR)
        throttled = await self.tools.limits.login(visit.presence.network, owner.name)
        if throttled is not None:
            return Denied(Verdict.THROTTLED, throttled.retry_after)
        given = self._given(owner, Typed(credential=credential), PASSKEY, found)
        if given is None:
            return Denied(Verdict.FACTOR)
        command = SignIn(owner.name, "", DASHBOARD, "cookie", replaces=replaces)
        return await self.families.begin(owner, command, visit, Proof(given, found.ceremony, SIGN_IN, alone=True))

    async def again(self, session: Session, password: str, typed: Typed, text: str, visit: Visit) -> Issued | Denied:
        """Confirm in a session: the password with a factor, or a passkey that knows its owner. Raises Busy."""
        owner = session.owner
        command = SignIn(owner.name, password, DASHBOARD, "cookie", replaces=session.token)
        found = self._read(text, Purpose.AGAIN, visit) if text else None
        if found is not None and found.whose != session.family.id:
            return Denied(Verdict.STALE)
        if typed.credential and not password:
            throttled = await self.tools.limits.login(visit.presence.network, owner.name)
            if throttled is not None:
                return Denied(Verdict.THROTTLED, throttled.retry_after)
            return await self._proved(owner, command, typed, found, AGAIN, visit, alone=True)
        verified = await self.families.verified(command, visit)
        if isinstance(verified, Denied):
            return verified
        if not factor.is_needed(verified, DASHBOARD):
            return await self.families.begin(verified, command, visit)
        return await self._proved(verified, command, typed, found, AGAIN, visit)

    async def _proved(
        self,
        owner: Subject,
        command: SignIn,
        typed: Typed,
        found: Step | None,
        purpose: str,
        visit: Visit,
        *,
        alone: bool = False,
    ) -> Issued | Denied:
        network = self._network(owner, visit)
        kind = _kind_of(typed)
        wait = factor.wait(owner, network, self.tools.now()) if kind == TOTP else 0
        if wait:
            return Denied(Verdict.THROTTLED, wait)
        given = self._given(owner, typed, kind, found)
        if given is None:
            wrong = factor.fail(owner.id, DASHBOARD, kind, "wrong", network)
            verdict = Verdict(await self._submit(owner.id, wrong, visit))
            return Denied(verdict, factor.FIRST_BLOCK if verdict is Verdict.THROTTLED else 0)
        proof = Proof(given, found.ceremony if found else "", purpose, alone)
        issued = await self.families.begin(owner, command, visit, proof)
        if isinstance(issued, Denied) and issued.verdict is Verdict.THROTTLED:
            return issued._replace(retry_after=factor.FIRST_BLOCK)
        return issued

    def _given(self, owner: Subject, typed: Typed, kind: str, found: Step | None) -> Given | None:
        """What fits of it, before the ledger has the last word."""
        if kind == RECOVERY:
            hashed = codes.hashed(typed.code)
            return Recovery(hashed) if hashed in owner.second.codes and hashed else None
        if kind == TOTP:
            fitting = (self._code(owner, held, typed.code) for held in owner.second.of_kind(TOTP))
            return next((one for one in fitting if one), None)
        if found is None:
            return None
        return passkey.asserted(self.site, typed.credential, self.challenge(found), owner.second.of_kind(PASSKEY))

    def _code(self, owner: Subject, held: Factor, typed: str) -> Code | None:
        master = self.tools.master
        place = _place(owner.id, held.id)
        secret = master.unwrap(held.key, place, held.wrapped)
        if secret is None:  # its master key is gone: a recovery code or staff help on
            return None
        fitting = totp.step_of("".join(typed.split()), secret, self.tools.wall())
        if fitting is None:
            return None
        if held.key == master.current:
            return Code(held.id, fitting)
        return Code(held.id, fitting, master.current, self._wrapped(place, secret))

    # Adding and taking away

    def offer(self, session: Session) -> Offer:
        """A new secret for an app; nothing is stored before a code of it comes back."""
        master, secret = self.tools.master, secrets.token_bytes(totp.SECRET_BYTES)
        until = int(self.tools.wall()) + OFFERED
        wrapped = self._wrapped(_offered(session), until.to_bytes(8) + secret)
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
        wrapped = self._wrapped(_place(session.owner.id, made), offer.secret)
        added = New(made, TOTP, Account(device=name, wrapped=wrapped), key=number, step=fitting)
        return await self._add(session, added, "otp", visit)

    def to_add(self, session: Session, visit: Visit) -> tuple[str, str]:
        """A step, and what the browser is asked to make a passkey of."""
        made = self.begun(session, Purpose.ADDING, visit)
        found = self._read(made, Purpose.ADDING, visit)
        assert found is not None  # noqa: S101 - made just now
        owner = session.owner
        held = owner.second.of_kind(PASSKEY)
        return made, passkey.to_make(self.site, self.challenge(found), (owner.id, owner.name), held)

    async def add_passkey(
        self, session: Session, text: str, credential: str, name: str, visit: Visit
    ) -> Enrolled | None:
        """Add what the browser made; None where it does not prove that it was made here, for this page."""
        found = self._read(text, Purpose.ADDING, visit)
        if found is None or found.whose != session.family.id:
            return None
        made = passkey.made(self.site, credential, self.challenge(found))
        if made is None:
            return None
        account = Account(device=name, credential=made.credential, public_key=made.public_key)
        number = secrets.token_urlsafe(_ID_BYTES)
        added = New(number, PASSKEY, account, counter=made.counter, synced=made.synced)
        return await self._add(session, added, "swk" if made.synced else "hwk", visit)

    async def make_codes(self, session: Session, visit: Visit) -> tuple[str, ...]:
        """New recovery codes, shown this once; none where there is no factor that they could stand in for."""
        written, hashes = _new_codes()
        done = await self._submit(session.owner.id, enrolment.make_codes(session.owner.id, hashes), visit)
        return written if done is Outcome.DONE else ()

    async def remove(self, session: Session, named: str, visit: Visit) -> Outcome:
        """Its owner takes one away."""
        rule = enrolment.remove(session.owner.id, named, self.required)
        return Outcome(await self._submit(session.owner.id, rule, visit))

    async def reset(
        self, owner: Subject, actor: str, reason: str, visit: Visit | None = None, *, ticket: str = "", note: str = ""
    ) -> Outcome:
        """Others take all away; every session at the dashboard ends. Idempotent."""
        return Outcome(await self._submit(owner.id, enrolment.reset(owner.id, actor, reason, ticket, note), visit))

    async def change_password(self, session: Session, new: str, visit: Visit) -> Issued | Denied:
        """Change the own password. The caller asked for a fresh sign-in and checked the new one. Raises Busy."""
        tools, was = self.tools, session.family
        hashed = await tools.hasher.hash(new)
        nonce, signing = secrets.token_bytes(FAMILY_NONCE_BYTES), tools.keys.signing
        command = SignIn(session.owner.name, "", DASHBOARD, "cookie", replaces=session.token)
        begin = self.families.to_begin(session.owner, command, visit, nonce)
        begin = begin._replace(amr=was.amr, acr=was.acr, auth_time=was.auth_time)
        # A session of somebody with a factor has one in its `amr`: adding the first ends those that have not.
        rule = subject.change_password(begin, hashed, proven=not session.owner.second.held or was.amr != "pwd")
        answer = await tools.ledger.submit(beginning.needs(begin), rule, visit.origin, visit.arrived)
        return (
            self.families.issued(answer, nonce, signing) if answer.verdict is Verdict.BEGUN else Denied(answer.verdict)
        )

    def must_enrol(self, owner: Subject) -> bool:
        """Whether the role asks for a second factor and there is none."""
        return factor.must_enrol(owner, self.required)

    async def _add(self, session: Session, added: New, method: str, visit: Visit) -> Enrolled:
        tools, was = self.tools, session.family
        nonce = secrets.token_bytes(FAMILY_NONCE_BYTES)
        command = SignIn(session.owner.name, "", DASHBOARD, "cookie", replaces=session.token)
        begin = self.families.to_begin(session.owner, command, visit, nonce)
        # It goes on as it was, and says now what else was proved: the own factor, in this very request.
        amr = " ".join(dict.fromkeys((*was.amr.split(), method)))
        begin = begin._replace(amr=amr, acr=factor.TWO_FACTORS, auth_time=was.auth_time)
        written, hashes = _new_codes()
        signing = tools.keys.signing
        rule = enrolment.add(Add(begin, added, hashes))
        done: Added = await tools.ledger.submit(beginning.needs(begin), rule, visit.origin, visit.arrived)
        if done.outcome is not Outcome.DONE:
            return Enrolled(done.outcome)
        return Enrolled(done.outcome, self.families.issued(done.answer, nonce, signing), written if done.codes else ())

    # Steps

    def begun(self, session: Session, purpose: Purpose, visit: Visit) -> str:
        """A step inside a session."""
        return self._mint(purpose, session.family.id, 0, visit)

    def csrf_token(self, text: str) -> str:
        """The CSRF token of a form that belongs to a step."""
        return self.families.csrf_token(sha256(text.encode()).digest())

    def csrf_matches(self, text: str, given: str) -> bool:
        """Whether it is that one."""
        return self.families.csrf_matches(sha256(text.encode()).digest(), given)

    def challenge(self, found: Step) -> bytes:
        """What an authenticator signs for this step."""
        return step.challenge(found, self.tools.master.step_key(found.key) or b"")

    def _mint(self, purpose: Purpose, whose: bytes, version: int, visit: Visit) -> str:
        master, at = self.tools.master, int(self.tools.wall())
        nonce = secrets.token_bytes(step.NONCE_BYTES)
        made = Step(purpose, master.current, whose, version, at, nonce, self._device(master.current, whose, visit))
        return step.mint(made, master.step_key(master.current) or b"")

    def _read(self, text: str, purpose: Purpose, visit: Visit) -> Step | None:
        """One of ours, for this purpose, in time, and still in the browser that it was given to."""
        found = step.read(text, purpose, self.tools.master.step_key, self.tools.wall())
        return found if found and found.device == self._device(found.key, found.whose, visit) else None

    def _is_open(self, found: Step, owner: Subject) -> bool:
        """Nothing happened meanwhile that ends it: another password, the roles gone, the step used up."""
        spent = {ceremony for ceremony, _ in owner.second.spent}
        fits = beginning.admits(owner, DASHBOARD) and found.version == owner.password_version
        return fits and found.ceremony not in spent

    def _device(self, number: int, whose: bytes, visit: Visit) -> bytes:
        tag = visit.presence.device_tag(self.tools.master.tag_key(number) or b"", whose)
        return urlsafe_b64decode(tag + "=")

    def _network(self, owner: Subject, visit: Visit) -> str:
        return self.families.tags(visit.presence)(self.tools.master.current, owner.id).network

    def _wrapped(self, place: str, plain: bytes) -> str:
        master = self.tools.master
        return master.wrap(master.current, place, plain, secrets.token_bytes(NONCE_BYTES))

    async def _submit(self, stream: bytes, rule: Decide, visit: Visit | None) -> Any:
        streams = Streams(subjects=frozenset((stream,)))
        came, arrived = (visit.origin, visit.arrived) if visit else (Origin(), None)
        return await self.tools.ledger.submit(streams, rule, came, arrived)


def _kind_of(typed: Typed) -> str:
    """What somebody means to have given: digits alone are a one-time code."""
    if typed.credential:
        return PASSKEY
    return TOTP if "".join(typed.code.split()).isdecimal() else RECOVERY


def _place(owner: bytes, named: str) -> str:
    """What a wrapped secret is bound to."""
    return f"totp {ids.to_text(PREFIX, owner)} {named}"


def _offered(session: Session) -> str:
    return f"totp offered in {ids.to_text(FAMILY, session.family.id)}"


def _new_codes() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Recovery codes as they are shown, and as they are stored."""
    written = tuple(codes.written(secrets.token_bytes(codes.BYTES)) for _ in range(codes.COUNT))
    return written, tuple(codes.hashed(one) or "" for one in written)
