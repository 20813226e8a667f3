"""What the routes of this door work with, and who is looking; two values that the wiring and the gate provide."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from core.actions import Actions
from core.clients import Clients
from core.enrolling import Enrolling
from core.erasures import Erasures
from core.factors import Factors
from core.families import Families
from core.geography import Geography
from core.keys import Keys
from core.lookup import Lookup
from core.retirement import Retirement
from core.revocations import Revocations
from core.steps import Session
from core.subjects import Subjects
from core.token import Token
from core.verification import Verification
from core.watching import Watching
from core.webhooks import Webhooks
from dashboard.pages import Pages
from dashboard.tails import Tails
from events import ids
from events.deliveries import DeliveryReader
from events.families import FamilyReader
from events.family import PREFIX, Family
from events.family_search import FamilySearch
from events.history import HistoryReader
from events.overview import OverviewReader
from events.pivots import PivotReader
from events.search import EventSearch
from events.standing import Standing
from events.subject import PREFIX as SUBJECT
from events.subject import Subject
from events.subjects import SubjectReader

ANYONE: Final = "anyone"
"""Whoever is signed in, even if all roles were taken away meanwhile."""
VIEWER: Final = "viewer"
RESPONDER: Final = "responder"
ADMIN: Final = "admin"
REACH: Final = {
    VIEWER: frozenset({VIEWER, RESPONDER, ADMIN}),
    RESPONDER: frozenset({RESPONDER, ADMIN}),
    ADMIN: frozenset({ADMIN}),
}
"""What a route asks for, and the roles that have it."""


class Condition(NamedTuple):
    """How the service is, as the system page shows it. Times are microseconds."""

    version: str
    waiting: int
    """Commands that wait for a commit."""
    commands: int
    batches: int
    """Committed since the start."""
    signed: int
    """Events that the last checkpoint covers."""
    signed_at: int
    note: str
    sizes: dict[str, int]
    """Bytes of the files, by name."""


class Door(NamedTuple):
    """Use cases, readers and pages."""

    families: Families
    factors: Factors
    enrolling: Enrolling
    history: HistoryReader
    family_reader: FamilyReader
    subject_reader: SubjectReader
    own_origin: str
    pages: Pages
    now: Callable[[], int]
    """Microseconds since the epoch."""
    actions: Actions
    watching: Watching
    lookup: Lookup
    subjects: Subjects
    erasures: Erasures
    family_search: FamilySearch
    pivots: PivotReader
    overview: OverviewReader
    keys: Keys
    clients: Clients
    verification: Verification
    condition: Callable[[], Condition]
    living: Callable[[], float]
    """How many families live, as last counted; NaN where they were not."""
    search: EventSearch
    tails: Tails
    revocations: Revocations
    geography: Geography
    webhooks: Webhooks
    deliveries: DeliveryReader
    retirement: Retirement
    standing: Callable[[], Mapping[int, Standing] | None]
    """What stands under each master key, as last counted."""
    failing: Callable[[], str]
    """Why the master keys could not be read the last time: a sentence, empty where they could."""


class Staff(NamedTuple):
    """Somebody who was let in, as committed just now."""

    subject: Subject
    family: Family
    token: Token
    csrf: str

    def __repr__(self) -> str:
        return f"Staff(family={self.family_id!r})"

    @property
    def name(self) -> str:
        return self.subject.name

    @property
    def family_id(self) -> str:
        """`fam_…` of the session at this dashboard."""
        return ids.to_text(PREFIX, self.family.id)

    @property
    def subject_id(self) -> str:
        """`sub_…`, as events name an actor."""
        return ids.to_text(SUBJECT, self.subject.id)

    @property
    def session(self) -> Session:
        """As the use cases of second factors take it."""
        return Session(self.subject, self.family, self.token)

    @property
    def role(self) -> str:
        """The highest one."""
        return next((role for role in (ADMIN, RESPONDER, VIEWER) if role in self.subject.role_set), "no role")

    def may(self, role: str) -> bool:
        """Whether this person has the role or a higher one."""
        return role == ANYONE or bool(REACH[role] & self.subject.role_set)


Given: TypeAlias = NamedDependency[SkipValidation[Door]]
GivenStaff: TypeAlias = NamedDependency[SkipValidation[Staff]]
