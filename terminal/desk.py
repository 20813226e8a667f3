"""What a command does with a ledger, beside a running service. Works without the master key; prints nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from core import checks, ending, masters
from core.clients import Clients
from core.erasures import Erasures
from core.master import MasterKeys
from core.outbound import Outbound
from core.passwords import Hasher, load_banned
from core.reason import cleaned_note
from core.start import StartError
from core.subjects import Subjects
from core.target import Reach
from core.verdict import Answer
from core.webhooks import Webhooks
from events import heads, ids
from events.actions import ActionReader
from events.budget import TooSlow
from events.client import Client
from events.clients import read_clients
from events.decision import Streams
from events.deliveries import DeliveryReader
from events.erased import ErasedList
from events.erasing import STAFF
from events.erasures import ErasureReader
from events.families import FamilyReader
from events.filters import Query
from events.history import Event, HistoryReader
from events.key import Key
from events.keys import read_keys
from events.ledger import Ledger
from events.search import EventSearch
from events.store import Store
from events.stores import store_at
from events.subject import PREFIX
from events.subjects import SubjectReader
from events.webhooks import WebhookReader
from settings import Settings, load

ACTOR = "cli"
PAGE = 500
FOLLOW_SECONDS = 0.3
SEARCH_SECONDS = 30.0
"""A terminal may wait longer than a page."""

T = TypeVar("T")


class Slow(Exception):
    """A search found no answer in time; its text says what to do."""


@asynccontextmanager
async def opened(store: Store, words: Iterable[str], listed: ErasedList | None = None) -> AsyncIterator["Desk"]:
    """A ledger beside a service or alone; `words` are in no password. Raises StartError for one never served.

    `listed` is for who has the master key, which only the list of the erased needs.
    """
    checks.ledger(store)
    if store.read(heads.size) == 0:
        raise StartError(f"The ledger at {store.place} is empty: start it once with session-ledger serve.")
    writer, engine, hasher = store.writer(), store.readers(), Hasher()
    ledger = Ledger(writer)
    try:
        subjects = Subjects(ledger, SubjectReader(engine), hasher, load_banned(words))
        readers = ErasureReader(engine), subjects.reader, ActionReader(engine)
        erasures = Erasures(ledger, writer, store, *readers, listed)
        yield Desk(ledger, engine, subjects, HistoryReader(engine), erasures)
    finally:
        await engine.dispose()
        await ledger.close()  # last: the writer alone puts the write-ahead log back into the database
        hasher.close()


@dataclass(frozen=True, slots=True)
class Desk:
    """Use cases and readers. Everything raises Unavailable when the ledger cannot be used."""

    ledger: Ledger
    engine: AsyncEngine
    subjects: Subjects
    history: HistoryReader
    erasures: Erasures

    @property
    def families(self) -> FamilyReader:
        """Sessions, as they are now."""
        return FamilyReader(self.engine)

    async def revoke(self, family: bytes, reason: str, note: str = "", ticket: str = "") -> Answer:
        """End a family; when this returns, nothing of it is accepted by any process. Idempotent."""
        decide = ending.revoke(family, ACTOR, reason, cleaned_note(note), ticket)
        answer: Answer = await self.ledger.submit(Streams(families=frozenset((family,))), decide)
        return answer

    @property
    def applications(self) -> Clients:
        """Registering and changing clients. A running service follows within seconds."""
        return Clients(self.ledger, self.clients)

    async def clients(self) -> list[Client]:
        """All of them, by name."""
        return await read_clients(self.engine)

    def webhooks(self, settings: Settings) -> Webhooks:
        """Setting up and changing webhooks; the master key is needed where there is a secret to make only."""

        async def check(url: str) -> None:
            outbound = Outbound(Reach(settings.webhook_http, settings.webhook_networks))
            try:
                await outbound.check(url)
            finally:
                await outbound.close()

        def master() -> MasterKeys:
            return masters.fitting(store_at(settings.database_url), settings.data_dir, settings.master_key_source)

        return Webhooks(self.ledger, WebhookReader(self.engine), master, check, _now)

    @property
    def deliveries(self) -> DeliveryReader:
        """What became of what webhooks were sent."""
        return DeliveryReader(self.engine)

    async def keys(self) -> list[Key]:
        """All signing keys that there ever were, the oldest first."""
        return sorted(await read_keys(self.engine), key=lambda one: (one.created_at, one.id))

    async def events(self, stream: bytes | None, limit: int, *, follow: bool) -> AsyncIterator[list[Event]]:
        """The newest events, oldest first, of all streams or of one; with `follow`, for ever, as they are committed."""
        end = await self._end(stream)
        place = max(end - limit, -1 if stream is None else 0)
        while True:
            found = await self._after(stream, place)
            if found:
                place = found[-1].position if stream is None else found[-1].version
                yield found
            elif not follow:
                return
            else:
                await asyncio.sleep(FOLLOW_SECONDS)

    async def found(self, query: Query, limit: int, *, follow: bool) -> AsyncIterator[list[Event] | Query]:
        """As `events`, of those that match. Where a bound in time was added, the query as answered comes first."""
        search = EventSearch(self.engine, SEARCH_SECONDS)
        page = _quick(await search.page(query, _now(), limit=max(1, limit)))
        if page.added:
            yield page.query
        if limit and page.events:
            yield page.events[::-1]
        place = page.size - 1
        while follow:
            await asyncio.sleep(FOLLOW_SECONDS)
            later = _quick(await search.tail(query, _now(), place, PAGE))
            if later:
                place = later[-1].position
                yield later

    async def unknown(self, query: Query) -> list[str]:
        """Login names of a query that nobody holds now."""
        return await self.subjects.reader.unknown(query.logins)

    async def _end(self, stream: bytes | None) -> int:
        """The last position of the log, -1 if it is empty; or the last version of a stream, 0 if there is none."""
        if stream is None:
            return (await self.history.head()).size - 1
        last = await self.history.tail_of_stream(stream, 1)
        return last[0].version if last else 0

    async def _after(self, stream: bytes | None, place: int) -> list[Event]:
        if stream is None:
            return await self.history.after(place, PAGE)
        return await self.history.of_stream(stream, place, PAGE)

    async def names(self, events: Iterable[Event]) -> dict[str, str]:
        """Login names of the subjects of these events and of the staff who acted, by `sub_…`."""
        some = list(events)
        told = {getattr(one.fact, "subject", "") for one in some}
        told |= {one.fact.actor.removeprefix(STAFF) for one in some if one.fact.actor.startswith(STAFF)}
        streams = frozenset(ids.parse(PREFIX, text) for text in told if text)
        found = await self.subjects.reader.names(streams)
        return {ids.to_text(PREFIX, stream): name for stream, name in found.items()}


def at_desk(work: Callable[[Desk], Awaitable[T]]) -> T:
    """Open the ledger of the settings, do the work, close it."""

    async def run() -> T:
        settings = load()
        master = _master(settings)
        listed = None if master is None else masters.erased_list(settings.checkpoint_dir, master)
        async with opened(store_at(settings.database_url), settings.words_of_ours, listed) as desk:
            return await work(desk)

    return asyncio.run(run())


def _master(settings: Settings) -> MasterKeys | None:
    """None where there is none, or where a secret manager cannot be asked: few commands need it, and say so."""
    source = settings.master_key_source
    try:
        return masters.at_hand(settings.data_dir, source)
    except StartError:
        if source is None or source.lasting:
            raise
        return None


def _quick(answer: T | TooSlow) -> T:
    if isinstance(answer, TooSlow):
        raise Slow(f"No answer within {answer.seconds:.0f} seconds: name a user, a family or a shorter time.")
    return answer


def _now() -> int:
    return time.time_ns() // 1000
