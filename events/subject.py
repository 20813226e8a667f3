"""A subject, whose families they are: facts, state, fold. Names and password hashes come from private rows."""

from typing import ClassVar, TypeAlias, assert_never

import msgspec

from events import factor
from events.fact import Fact
from events.factor import FactorChange, Factors
from events.private import Account

PREFIX = "sub"
UPGRADED = "upgraded"
EXTERNAL = "\x1f"
"""What only `external_key` has in it."""
KNOWN_NETWORKS = 4
"""How many networks of successful sign-ins a subject remembers."""


class SubjectRegistered(Fact):
    """A subject was created. Login name, password hash and what an application calls it are in its account row."""

    TYPE: ClassVar[str] = "subject.registered"
    CODE: ClassVar[int] = 17

    subject: str
    roles: str = ""
    client: str = ""
    """The application that created it, where one did."""


class SubjectPasswordChanged(Fact):
    """The password was changed or set; the account row holds the new hash."""

    TYPE: ClassVar[str] = "subject.password_changed"
    CODE: ClassVar[int] = 18

    subject: str
    reason: str
    """`changed` by the user, `set` by staff, `upgraded` to today's hash cost."""


class SubjectLoginFailed(Fact):
    """A wrong password was given for this subject."""

    TYPE: ClassVar[str] = "subject.login_failed"
    CODE: ClassVar[int] = 19

    subject: str
    client: str
    failures: int
    """Consecutive failures, this one included."""
    network_tag: str = ""


class SubjectLoginBlocked(Fact):
    """So many wrong passwords in a row that unknown networks must wait until `until`."""

    TYPE: ClassVar[str] = "subject.login_blocked"
    CODE: ClassVar[int] = 20

    subject: str
    client: str
    until: int


class SubjectRolesChanged(Fact):
    """The subject's roles were replaced."""

    TYPE: ClassVar[str] = "subject.roles_changed"
    CODE: ClassVar[int] = 21

    subject: str
    roles: str


class SubjectDisabled(Fact):
    """The subject may not sign in; all its families ended in the same commit."""

    TYPE: ClassVar[str] = "subject.disabled"
    CODE: ClassVar[int] = 22

    subject: str
    reason: str
    action: str = ""
    """The action that this is a part of."""


class SubjectEnabled(Fact):
    """The subject may sign in again. No family comes back."""

    TYPE: ClassVar[str] = "subject.enabled"
    CODE: ClassVar[int] = 23

    subject: str
    action: str = ""
    """The action that this is a part of."""


class SubjectErased(Fact):
    """Everything that is known of the person was deleted: private rows, name, password. Never comes back.

    Accounts for every private row that is gone of an earlier event of this subject, and for the contexts of what it
    did as staff. Neither it nor any later event of the subject has a private row.
    """

    TYPE: ClassVar[str] = "subject.erased"
    CODE: ClassVar[int] = 24

    subject: str
    reason: str
    action: str = ""
    """The action that this is a part of."""
    texts: str = ""
    """Positions of other events whose typed texts (notes, queries) were about this subject and went too."""


class SubjectLoginSucceeded(Fact):
    """A right password ended a row of failures, or came from another network than the one before."""

    TYPE: ClassVar[str] = "subject.login_succeeded"
    CODE: ClassVar[int] = 25

    subject: str
    client: str
    network_tag: str


OwnChange: TypeAlias = (
    SubjectPasswordChanged
    | SubjectLoginFailed
    | SubjectLoginBlocked
    | SubjectRolesChanged
    | SubjectDisabled
    | SubjectEnabled
    | SubjectErased
    | SubjectLoginSucceeded
)
SubjectChange: TypeAlias = OwnChange | FactorChange

ENABLED = "enabled"
DISABLED = "disabled"
ERASED = "erased"


class Subject(msgspec.Struct, frozen=True):
    """The fold of a subject's facts. Times are microseconds since the epoch."""

    id: bytes
    version: int
    status: str
    name: str
    """Login name as compared: NFC and case-folded. Unique. `sub_…`, its own id, where it has none."""
    password: str
    """argon2id hash (PHC string), or the one that was imported; empty where there is no password."""
    password_version: int
    """Version at which the password was last set; a sign-in holds only while it is still this one."""
    roles: str
    registered_at: int
    failures: int = 0
    blocked_until: int = 0
    networks: str = ""
    """Tags of the networks of the last successful sign-ins, newest first."""
    client: str = ""
    """The application that created it, where one did."""
    external: str = ""
    """What that application calls it, as `external_key` writes it. Unique."""
    factors: str = ""
    """What it has beside the password, as `factor.read` reads it; empty where it has nothing."""

    def __repr__(self) -> str:
        return f"Subject(id={self.id.hex()}, version={self.version}, status={self.status!r})"

    @property
    def enabled(self) -> bool:
        return self.status == ENABLED

    @property
    def erased(self) -> bool:
        return self.status == ERASED

    @property
    def role_set(self) -> frozenset[str]:
        return frozenset(self.roles.split())

    @property
    def names(self) -> list[str]:
        """What it is found by: its login name, and what an application calls it."""
        return [name for name in (self.name, self.external) if name]

    @property
    def second(self) -> Factors:
        """Second factors and recovery codes."""
        return factor.read(self.factors)


def external_key(client: str, external: str) -> str:
    """An application's own id of a subject, as it is compared. No login name can be one: U+001F is in none."""
    return f"{client}{EXTERNAL}{external}"


def begin(stream: bytes, at: int, fact: SubjectRegistered, account: Account) -> Subject:
    """The state after registration."""
    return Subject(
        id=stream,
        version=1,
        status=ENABLED,
        name=account.name,
        password=account.password,
        password_version=1,
        roles=fact.roles,
        registered_at=at,
        client=fact.client,
        external=external_key(fact.client, account.external) if account.external else "",
    )


def evolve(state: Subject, at: int, fact: SubjectChange, account: Account) -> Subject:
    """The state after one more fact."""
    if isinstance(fact, FactorChange):
        factors = factor.after(state.factors, at, fact, account)
        return msgspec.structs.replace(state, version=state.version + 1, factors=factors)
    return _changed(state, fact, account)


def _changed(state: Subject, fact: OwnChange, account: Account) -> Subject:  # noqa: C901 - a case each
    version = state.version + 1
    match fact:
        case SubjectPasswordChanged():
            return msgspec.structs.replace(
                state,
                version=version,
                password=account.password,
                password_version=state.password_version if fact.reason == UPGRADED else version,
                failures=state.failures if fact.reason == UPGRADED else 0,
                blocked_until=state.blocked_until if fact.reason == UPGRADED else 0,
            )
        case SubjectLoginFailed():
            return msgspec.structs.replace(state, version=version, failures=fact.failures)
        case SubjectLoginBlocked():
            return msgspec.structs.replace(state, version=version, blocked_until=fact.until)
        case SubjectRolesChanged():
            return msgspec.structs.replace(state, version=version, roles=fact.roles)
        case SubjectDisabled():
            return msgspec.structs.replace(state, version=version, status=DISABLED)
        case SubjectEnabled():
            return msgspec.structs.replace(state, version=version, status=ENABLED)
        case SubjectErased():
            return _forgotten(state, fact)
        case SubjectLoginSucceeded():
            networks = _remembered(state.networks, fact.network_tag)
            return msgspec.structs.replace(state, version=version, failures=0, blocked_until=0, networks=networks)
        case _:
            assert_never(fact)


def _forgotten(state: Subject, fact: SubjectErased) -> Subject:
    """What is left of a person: an id, and when and by which application it was created."""
    return Subject(
        id=state.id,
        version=state.version + 1,
        status=ERASED,
        name=fact.subject,
        password="",
        password_version=state.password_version,
        roles="",
        registered_at=state.registered_at,
        client=state.client,
    )


def _remembered(networks: str, tag: str) -> str:
    others = [n for n in networks.split() if n != tag]
    return " ".join([tag, *others][:KNOWN_NETWORKS])
