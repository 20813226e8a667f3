"""The rules of a second factor that is given: whether it counts, what it uses up, how long guessing waits. Pure."""

from typing import Any, NamedTuple, TypeAlias

from core.policy import DASHBOARD, SECOND
from core.verdict import HOLDER, STAFF_ROLES, Verdict
from events import factor, ids, subject
from events.decision import Change, Decide, Decision, Moment, States, Streams, knowing
from events.factor import PASSKEY, RECOVERY, TOTP, Factor
from events.private import Account
from events.subject import Subject

FREE_FAILURES = 5
"""Wrong codes in a row, after the right password, before guessing waits."""
FIRST_BLOCK = 30
LONGEST_BLOCK = 900
"""Seconds. A block doubles from the first to the longest and always ends by itself. It holds for codes that can be
guessed, and for one sort of network: whoever guesses from elsewhere keeps nobody out who comes from where they always
come from, and a passkey or a recovery code is never made to wait."""
MOST_SPENT = 64
"""Attempts of one subject that are carried through in ten minutes."""
TWO_FACTORS = "aal2"
"""`acr` of a session with a second factor: authentication assurance level 2 (NIST SP 800-63B-4 §2.2)."""
SIGN_IN = "sign_in"
AGAIN = "again"


class Code(NamedTuple):
    """A one-time code that fitted, and the time step it is of."""

    factor: str
    step: int
    key: int = 0
    """Number of the master key that its secret was wrapped under anew; 0 where it stays."""
    wrapped: str = ""

    def __repr__(self) -> str:
        return f"Code(factor={self.factor!r})"


class Assertion(NamedTuple):
    """A passkey's signature that was verified."""

    factor: str
    counter: int
    verified: bool
    """Whether the authenticator knows that it was its owner (PIN, finger), not just somebody."""


class Recovery(NamedTuple):
    """Hash of a recovery code."""

    hashed: str

    def __repr__(self) -> str:
        return "Recovery()"


Given: TypeAlias = Code | Assertion | Recovery


class Proof(NamedTuple):
    """A second factor on its way into a sign-in."""

    given: Given
    ceremony: str
    """Fingerprint of the attempt; it counts once. Empty where the factor itself counts once."""
    purpose: str
    alone: bool = False
    """Whether no password came with it."""


class Judged(NamedTuple):
    """Whether the proof counts (no refusal), the facts either way, and how the session says it was begun."""

    refusal: Verdict | None = None
    changes: tuple[Change, ...] = ()
    amr: str = ""
    acr: str = ""


def is_needed(owner: Subject, client: str) -> bool:
    """Whether the password alone begins no session. Applications have their own sign-in; this is about staff."""
    return client == DASHBOARD and bool(owner.second.held)


def must_enrol(owner: Subject, required: frozenset[str]) -> bool:
    """Whether somebody has one of these roles and no second factor yet."""
    return bool(owner.role_set & required & STAFF_ROLES) and not owner.second.held


def judge(owner: Subject, client: str, proof: Proof | None, network: str, now: int) -> Judged:
    """Decide under the ledger's lock: two processes with one code see each other."""
    if proof is None:
        return Judged(Verdict.FACTOR) if is_needed(owner, client) else Judged()
    if client != DASHBOARD:
        return Judged(Verdict.FACTOR)
    spent = {ceremony for ceremony, _ in owner.second.spent}
    if (proof.ceremony and proof.ceremony in spent) or len(spent) >= MOST_SPENT:
        return Judged(Verdict.STALE)
    match proof.given:
        case Code():
            return _code(owner, client, proof, proof.given, network, now)
        case Assertion():
            return _assertion(owner, client, proof, proof.given, network, now)
        case Recovery():
            return _recovery(owner, client, proof, proof.given, network, now)


def _code(owner: Subject, client: str, proof: Proof, given: Code, network: str, now: int) -> Judged:
    held = owner.second.get(given.factor)
    if held is None or held.kind != TOTP or proof.alone:
        return Judged(Verdict.FACTOR)
    if wait(owner, network, now):
        return Judged(Verdict.THROTTLED)
    if given.step <= held.step:
        return Judged(Verdict.FACTOR, (failed(owner, client, TOTP, "replayed", network, now, held),))
    fact = factor.SubjectFactorUsed(
        **_about(owner, client, held),
        purpose=proof.purpose,
        step=given.step,
        ceremony=proof.ceremony,
        key=given.key,
    )
    account = Account(wrapped=given.wrapped) if given.key else None
    return Judged(None, (Change(owner.id, fact, account),), "pwd otp", TWO_FACTORS)


def _assertion(owner: Subject, client: str, proof: Proof, given: Assertion, network: str, now: int) -> Judged:
    held = owner.second.get(given.factor)
    if held is None or held.kind != PASSKEY or (proof.alone and not given.verified):
        return Judged(Verdict.FACTOR)
    if (given.counter or held.counter) and given.counter <= held.counter:
        # A counter that does not grow says that there are two of it (WebAuthn §6.1.1); synced passkeys count nothing.
        return Judged(Verdict.FACTOR, (failed(owner, client, PASSKEY, "cloned", network, now, held),))
    fact = factor.SubjectFactorUsed(
        **_about(owner, client, held), purpose=proof.purpose, counter=given.counter, ceremony=proof.ceremony
    )
    method = "swk" if held.synced else "hwk"
    amr = f"{method} mfa" if proof.alone else f"pwd {method}"
    return Judged(None, (Change(owner.id, fact),), amr, TWO_FACTORS)


def _recovery(owner: Subject, client: str, proof: Proof, given: Recovery, network: str, now: int) -> Judged:
    second = owner.second
    if not given.hashed or given.hashed not in second.codes or proof.alone:
        return Judged(Verdict.FACTOR, (failed(owner, client, RECOVERY, "wrong", network, now),))
    fact = factor.SubjectRecoveryCodeUsed(
        actor=HOLDER,
        subject=ids.to_text(subject.PREFIX, owner.id),
        client=client,
        code=second.codes.index(given.hashed),
        left=second.left - 1,
        purpose=proof.purpose,
        ceremony=proof.ceremony,
    )
    return Judged(None, (Change(owner.id, fact),), "pwd otp", TWO_FACTORS)


def _about(owner: Subject, client: str, held: Factor) -> dict[str, Any]:
    name = ids.to_text(subject.PREFIX, owner.id)
    return {"actor": HOLDER, "subject": name, "client": client, "factor": held.id, "kind": held.kind}


def wait(owner: Subject, network: str, now: int) -> int:
    """Seconds for which codes from such a network are not looked at, 0 where they are."""
    left = owner.second.blocked_until[_is_known(owner, network)] - now
    return -(-left // SECOND) if left > 0 else 0


def block_after(failures: int) -> int:
    """Seconds that guessing waits after so many wrong codes in a row."""
    if failures < FREE_FAILURES:
        return 0
    return int(min(FIRST_BLOCK * 2 ** min(failures - FREE_FAILURES, 10), LONGEST_BLOCK))


def failed(
    owner: Subject, client: str, kind: str, reason: str, network: str, now: int, held: Factor | None = None
) -> Change:
    """What is written of a factor that does not fit. Only what can be guessed makes anybody wait."""
    known = _is_known(owner, network)
    failures = owner.second.failures[known] + 1 if kind == TOTP else 0
    pause = block_after(failures)
    fact = factor.SubjectFactorFailed(
        actor=HOLDER,
        subject=ids.to_text(subject.PREFIX, owner.id),
        client=client,
        kind=kind,
        reason=reason,
        failures=failures,
        known=known,
        until=now + pause * SECOND if pause else 0,
        factor=held.id if held else "",
        network_tag=network,
    )
    return Change(owner.id, fact)


def fail(stream: bytes, client: str, kind: str, reason: str, network: str) -> Decide:
    """Count a factor that did not fit; while guessing waits, nothing more is counted. Answers a Verdict."""

    def decide(states: States, moment: Moment) -> Decision:
        owner = states.subject(stream)
        if owner is None or not owner.second.held:
            return Decision(Verdict.FACTOR)
        if kind == TOTP and wait(owner, network, moment.now):
            return Decision(Verdict.THROTTLED)
        return Decision(Verdict.FACTOR, (failed(owner, client, kind, reason, network, moment.now),))

    return knowing(Streams(subjects=frozenset((stream,))), decide)


def ask(stream: bytes, client: str, network: str) -> Decide:
    """The password was right: that the second factor is asked for is written down."""

    def decide(states: States, _moment: Moment) -> Decision:
        owner = states.subject(stream)
        if owner is None or not owner.enabled:
            return Decision(None)
        name = ids.to_text(subject.PREFIX, stream)
        fact = factor.SubjectFactorAsked(actor=HOLDER, subject=name, client=client, network_tag=network)
        return Decision(None, (Change(stream, fact),))

    return knowing(Streams(subjects=frozenset((stream,))), decide)


def _is_known(owner: Subject, network: str) -> bool:
    return network in owner.networks.split()
