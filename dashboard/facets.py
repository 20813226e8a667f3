"""Which values the matches of a search have, with staff by their login names. Reads only."""

from dashboard.door import Door
from dashboard.rows import STAFF
from events import ids, subject
from events.budget import TooSlow
from events.filters import Query
from events.tallies import Facets


async def facets(door: Door, query: Query, now: int, as_of: int | None) -> Facets | TooSlow:
    """Types, clients and actors, the most frequent first, as a filter takes them. Raises Unavailable."""
    found = await door.search.facets(query, now, as_of=as_of)
    if isinstance(found, TooSlow):
        return found
    streams = {actor: ids.from_text(subject.PREFIX, actor.removeprefix(STAFF)) for actor, _ in found.values["actor"]}
    names = await door.subject_reader.names(frozenset(stream for stream in streams.values() if stream))
    known = {actor: f"{STAFF}{names[stream]}" for actor, stream in streams.items() if stream in names}
    actors = [(known.get(actor, actor), number) for actor, number in found.values["actor"]]
    return found._replace(values={**found.values, "actor": actors})
