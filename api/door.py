"""What the routes of this door work with, in one value that the wiring provides."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from core.checkpointing import Checkpointing
from core.clients import Clients
from core.families import Families
from core.keys import Keys
from core.subjects import Subjects
from events.families import FamilyReader
from events.history import HistoryReader


class Door(NamedTuple):
    """Use cases and readers."""

    families: Families
    subjects: Subjects
    clients: Clients
    keys: Keys
    reader: FamilyReader
    history: HistoryReader
    checkpointing: Checkpointing
    ready: Callable[[], Awaitable[bool]]
    """Whether the ledger can commit now."""
    own_origin: str
    web_origins: frozenset[str]
    """Origins that the settings allow the client `web`."""


Given: TypeAlias = NamedDependency[SkipValidation[Door]]
