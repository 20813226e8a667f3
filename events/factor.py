"""Second factors of a subject, in its stream: facts, state, fold. Keys, secrets and names come from private rows."""

from functools import lru_cache
from typing import ClassVar, TypeAlias, assert_never

import msgspec

from events.fact import Fact
from events.private import Account

TOTP = "totp"
PASSKEY = "passkey"
RECOVERY = "recovery"
SPENT_FOR = 10 * 60 * 1_000_000
"""Microseconds for which a sign-in that was carried through is remembered, so that it cannot be carried through twice.
Longer than one may take."""


class SubjectFactorAdded(Fact):
    """A second factor was added and proved. Its account row holds its name and the wrapped secret or public key."""

    TYPE: ClassVar[str] = "subject.factor_added"
    CODE: ClassVar[int] = 26

    subject: str
    factor: str
    """Random, of this subject only."""
    kind: str
    """`totp` or `passkey`."""
    key: int = 0
    """Number of the master key that its secret is wrapped under."""
    step: int = 0
    """Time step (RFC 6238) of the code that proved it; older ones are used up."""
    counter: int = 0
    """What the authenticator counted so far."""
    synced: bool = False
    """Whether copies of the passkey may be on several devices."""


class SubjectFactorRemoved(Fact):
    """A second factor is worth nothing any more. With the last one the recovery codes go."""

    TYPE: ClassVar[str] = "subject.factor_removed"
    CODE: ClassVar[int] = 27

    subject: str
    factor: str
    kind: str
    reason: str
    """`removed` by the person; one of the reasons of staff where others took it away."""
    ticket: str = ""


class SubjectFactorUsed(Fact):
    """A second factor was given, in the commit of the sign-in or of the confirmation that it was for."""

    TYPE: ClassVar[str] = "subject.factor_used"
    CODE: ClassVar[int] = 28

    subject: str
    client: str
    factor: str
    kind: str
    purpose: str
    """`sign_in`, or `again` before something dangerous."""
    step: int = 0
    """Time step of the code; it and older ones are used up."""
    counter: int = 0
    """What the authenticator counted."""
    ceremony: str = ""
    """Fingerprint of the attempt that this was for, which is used up."""
    key: int = 0
    """Number of the master key that the secret was wrapped under anew (account row); 0 where it stays."""


class SubjectFactorFailed(Fact):
    """After the right password, a second factor did not fit. Many in a row make guessing wait until `until`."""

    TYPE: ClassVar[str] = "subject.factor_failed"
    CODE: ClassVar[int] = 29

    subject: str
    client: str
    kind: str
    reason: str
    """`wrong`, `replayed` (a code that was used) or `cloned` (an authenticator that counts backwards)."""
    failures: int = 0
    """Wrong codes in a row from networks of this sort, this one included; 0 for what nobody guesses."""
    known: bool = False
    """Whether the network is one that the subject signs in from; the two sorts are counted apart."""
    until: int = 0
    factor: str = ""
    network_tag: str = ""


class SubjectRecoveryCodesMade(Fact):
    """Recovery codes were made; those before are worth nothing. The account row holds their hashes."""

    TYPE: ClassVar[str] = "subject.recovery_codes_made"
    CODE: ClassVar[int] = 30

    subject: str
    count: int
    """How many."""


class SubjectRecoveryCodeUsed(Fact):
    """A recovery code was given in place of a second factor. It works once."""

    TYPE: ClassVar[str] = "subject.recovery_code_used"
    CODE: ClassVar[int] = 31

    subject: str
    client: str
    code: int
    """Which one of them, from 0."""
    left: int
    """How many there are still."""
    purpose: str
    """`sign_in`, or `again` before something dangerous."""
    ceremony: str = ""
    """Fingerprint of the attempt that this was for, which is used up."""


class SubjectFactorAsked(Fact):
    """The password was right and the second factor was asked for. Where nothing follows, the password may be stolen."""

    TYPE: ClassVar[str] = "subject.factor_asked"
    CODE: ClassVar[int] = 32

    subject: str
    client: str
    network_tag: str = ""


FactorChange: TypeAlias = (
    SubjectFactorAdded
    | SubjectFactorRemoved
    | SubjectFactorUsed
    | SubjectFactorFailed
    | SubjectRecoveryCodesMade
    | SubjectRecoveryCodeUsed
    | SubjectFactorAsked
)


class Factor(msgspec.Struct, frozen=True, omit_defaults=True):
    """One second factor."""

    id: str
    kind: str
    added_at: int
    used_at: int = 0
    name: str = ""
    """As its owner called it."""
    key: int = 0
    wrapped: str = ""
    """Of one-time codes: their secret, under the master key of that number."""
    step: int = 0
    credential: str = ""
    """Of a passkey: its id, base64url."""
    public_key: str = ""
    """Of a passkey: COSE key, base64url."""
    counter: int = 0
    synced: bool = False

    def __repr__(self) -> str:
        return f"Factor(id={self.id!r}, kind={self.kind!r})"


class Factors(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a subject has beside its password. Written into one column of its row."""

    held: tuple[Factor, ...] = ()
    codes: tuple[str, ...] = ()
    """Hashes of the recovery codes; empty where one was used."""
    codes_at: int = 0
    spent: tuple[tuple[str, int], ...] = ()
    """Attempts that were carried through lately, and when."""
    failures: tuple[int, int] = (0, 0)
    """Wrong codes in a row: from networks that are new to the subject, and from those it signs in from."""
    blocked_until: tuple[int, int] = (0, 0)

    def __repr__(self) -> str:
        return f"Factors(held={len(self.held)}, left={self.left})"

    @property
    def left(self) -> int:
        """Recovery codes that still work."""
        return sum(map(bool, self.codes))

    def get(self, factor: str) -> Factor | None:
        """The factor of this id."""
        return next((one for one in self.held if one.id == factor), None)

    def of_kind(self, kind: str) -> tuple[Factor, ...]:
        """In the order in which they were added."""
        return tuple(one for one in self.held if one.kind == kind)


NONE = Factors()
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Factors).decode


@lru_cache(maxsize=1024)
def read(text: str) -> Factors:
    """What the column says."""
    return _decode(text) if text else NONE


def after(text: str, at: int, fact: FactorChange, account: Account) -> str:
    """What the column says after one more fact; empty where there is nothing to say."""
    changed = evolve(read(text), at, fact, account)
    return "" if changed == NONE else _encode(changed).decode()


def evolve(state: Factors, at: int, fact: FactorChange, account: Account) -> Factors:
    """The state after one more fact."""
    change = msgspec.structs.replace
    match fact:
        case SubjectFactorAdded():
            others = (one for one in state.held if one.id != fact.factor)
            return change(state, held=(*others, _added(at, fact, account)))
        case SubjectFactorRemoved():
            held = tuple(one for one in state.held if one.id != fact.factor)
            return change(state, held=held) if held else Factors(spent=state.spent)
        case SubjectFactorUsed():
            held = tuple(_used(one, at, fact, account) if one.id == fact.factor else one for one in state.held)
            return change(_passed(state, at, fact.ceremony), held=held)
        case SubjectFactorFailed():
            failures, until = list(state.failures), list(state.blocked_until)
            failures[fact.known] = fact.failures or failures[fact.known]
            until[fact.known] = fact.until or until[fact.known]
            return change(state, failures=(failures[0], failures[1]), blocked_until=(until[0], until[1]))
        case SubjectRecoveryCodesMade():
            return change(state, codes=tuple(account.secret.split()), codes_at=at)
        case SubjectRecoveryCodeUsed():
            codes = tuple("" if place == fact.code else one for place, one in enumerate(state.codes))
            return change(_passed(state, at, fact.ceremony), codes=codes)
        case SubjectFactorAsked():
            return state
        case _:
            assert_never(fact)


def _added(at: int, fact: SubjectFactorAdded, account: Account) -> Factor:
    return Factor(
        id=fact.factor,
        kind=fact.kind,
        added_at=at,
        name=account.device,
        key=fact.key,
        wrapped=account.wrapped,
        step=fact.step,
        credential=account.credential,
        public_key=account.public_key,
        counter=fact.counter,
        synced=fact.synced,
    )


def _used(held: Factor, at: int, fact: SubjectFactorUsed, account: Account) -> Factor:
    used = msgspec.structs.replace(held, used_at=at, step=max(held.step, fact.step), counter=fact.counter)
    return msgspec.structs.replace(used, key=fact.key, wrapped=account.wrapped) if fact.key else used


def _passed(state: Factors, at: int, ceremony: str) -> Factors:
    """A factor that fitted ends the rows of wrong ones; of attempts only those are remembered that could come again."""
    spent = tuple(one for one in state.spent if one[1] > at - SPENT_FOR)
    mine = ((ceremony, at),) if ceremony else ()
    return msgspec.structs.replace(state, spent=(*spent, *mine), failures=(0, 0), blocked_until=(0, 0))
