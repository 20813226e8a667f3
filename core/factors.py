"""Use cases of the second factor in a sign-in: the second step, a passkey alone, confirming. Knows no HTTP."""

from dataclasses import dataclass
from typing import NamedTuple

from core import beginning, codes, factor, passkey, totp
from core.factor import AGAIN, SIGN_IN, Code, Given, Proof, Recovery
from core.families import Families
from core.issued import Denied, Issued
from core.passkey import Site
from core.policy import DASHBOARD
from core.step import NOBODY, Purpose, Step
from core.steps import Session, Steps
from core.token import Token
from core.tools import Tools
from core.verdict import Verdict
from core.visit import SignIn, Visit
from events.factor import PASSKEY, RECOVERY, TOTP, Factor
from events.subject import Subject


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


@dataclass(frozen=True, slots=True)
class Factors:
    """Second factors. Every method raises Unavailable when the ledger cannot be used."""

    tools: Tools
    families: Families
    steps: Steps
    site: Site

    async def sign_in(self, command: SignIn, visit: Visit) -> Issued | Denied | Asked:
        """The first step: the session where the password is all, else what leads to the second. Raises Busy."""
        owner = await self.families.verified(command, visit)
        if isinstance(owner, Denied):
            return owner
        if not factor.is_needed(owner, command.client):
            return await self.families.begin(owner, command, visit)
        # Committed before it is answered: a stolen password leaves a trace even if nothing follows.
        asked = factor.ask(owner.id, command.client, self.steps.network(owner, visit))
        await self.tools.about_subject(owner.id, asked, visit)
        return Asked(self.steps.mint(Purpose.SECOND, owner.id, owner.password_version, visit))

    async def expected(self, text: str, visit: Visit) -> Subject | None:
        """Who is on the way between the two steps, if that step is still good."""
        found = self.steps.read(text, Purpose.SECOND, visit)
        owner = await self.tools.subjects.get(found.whose) if found else None
        return owner if found and owner and self._is_open(found, owner) else None

    async def second(self, text: str, typed: Typed, visit: Visit, replaces: Token | None) -> Issued | Denied:
        """The second step. `stale` where the first has to be done again."""
        found = self.steps.read(text, Purpose.SECOND, visit)
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
        found, held = self.steps.read(text, purpose, visit), owner.second.of_kind(PASSKEY)
        if found is None or not held or not self.site.takes_passkeys:
            return ""
        return passkey.to_sign(self.site, self.steps.challenge(found), held, alone=purpose is Purpose.AGAIN)

    def to_sign_alone(self, visit: Visit) -> tuple[Asked, str]:
        """What the browser holds until a passkey has signed, and what it asks for: whoever the person chooses to be."""
        made = self.steps.mint(Purpose.ALONE, NOBODY, 0, visit)
        found = self.steps.read(made, Purpose.ALONE, visit)
        assert found is not None  # noqa: S101 - made just now
        return Asked(made), passkey.to_sign(self.site, self.steps.challenge(found), (), alone=True)

    async def alone(self, text: str, credential: str, visit: Visit, replaces: Token | None) -> Issued | Denied:
        """Sign in with a passkey that knows its owner, without a password.

        What does not fit is counted by the limits and not written down: anybody could fill the log with it.
        """
        found, stream = self.steps.read(text, Purpose.ALONE, visit), passkey.owner_of(credential)
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
        found = self.steps.read(text, Purpose.AGAIN, visit) if text else None
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
        network = self.steps.network(owner, visit)
        kind = _kind_of(typed)
        wait = factor.wait(owner, network, self.tools.now()) if kind == TOTP else 0
        if wait:
            return Denied(Verdict.THROTTLED, wait)
        given = self._given(owner, typed, kind, found)
        if given is None:
            wrong = factor.fail(owner.id, DASHBOARD, kind, "wrong", network)
            verdict = Verdict(await self.tools.about_subject(owner.id, wrong, visit))
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
        return passkey.asserted(self.site, typed.credential, self.steps.challenge(found), owner.second.of_kind(PASSKEY))

    def _code(self, owner: Subject, held: Factor, typed: str) -> Code | None:
        master = self.tools.master
        place = totp.place(owner.id, held.id)
        secret = master.unwrap(held.key, place, held.wrapped)
        if secret is None:  # its master key is gone: a recovery code or staff help on
            return None
        fitting = totp.step_of("".join(typed.split()), secret, self.tools.wall())
        if fitting is None:
            return None
        if held.key == master.current:
            return Code(held.id, fitting)
        return Code(held.id, fitting, master.current, self.tools.wrapped(place, secret))

    def _is_open(self, found: Step, owner: Subject) -> bool:
        """Nothing happened meanwhile that ends it: another password, the roles gone, the step used up."""
        spent = {ceremony for ceremony, _ in owner.second.spent}
        fits = beginning.admits(owner, DASHBOARD) and found.version == owner.password_version
        return fits and found.ceremony not in spent


def _kind_of(typed: Typed) -> str:
    """What somebody means to have given: digits alone are a one-time code."""
    if typed.credential:
        return PASSKEY
    return TOTP if "".join(typed.code.split()).isdecimal() else RECOVERY
