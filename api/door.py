"""What the routes of this door work with, in one value that the wiring provides."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from api.streams import Open
from core.actions import Actions
from core.backends import Backends
from core.checkpointing import Checkpointing
from core.clients import Clients
from core.erasures import Erasures
from core.families import Families
from core.grants import Grants
from core.keys import Keys
from core.limits import Limits
from core.polling import Polling
from core.posting import Poster
from core.proofs import Proofs
from core.revocations import Revocations, Watch
from core.subjects import Subjects
from core.webhooks import Webhooks
from events.deliveries import DeliveryReader
from events.families import FamilyReader
from events.family_search import FamilySearch
from events.history import HistoryReader
from events.search import EventSearch


class Door(NamedTuple):
    """Use cases and readers."""

    families: Families
    subjects: Subjects
    clients: Clients
    keys: Keys
    reader: FamilyReader
    history: HistoryReader
    checkpointing: Checkpointing
    grants: Grants
    backends: Backends
    erasures: Erasures
    actions: Actions
    proofs: Proofs
    family_search: FamilySearch
    limits: Limits
    search: EventSearch
    revocations: Revocations
    webhooks: Webhooks
    deliveries: DeliveryReader
    poster: Poster
    polling: Polling
    growth: Watch
    """Waits for events of any kind."""
    streams: Open
    stopping: asyncio.Event
    now: Callable[[], int]
    """The ledger's time, microseconds since the epoch."""
    ready: Callable[[], Awaitable[bool]]
    """Whether the ledger can commit now."""
    own_origin: str
    web_origins: frozenset[str]
    """Origins that the settings allow the client `web`."""


Given: TypeAlias = NamedDependency[SkipValidation[Door]]
