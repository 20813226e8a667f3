"""What a selection was made from, and the page that leads back to it. Pure."""

from typing import NamedTuple
from urllib.parse import quote

from dashboard import network


class Source(NamedTuple):
    """What a selection was made from, and the page of it."""

    name: str
    place: str
    network: str = ""
    """Where it was all that came from one."""
    window: str = ""


def source_of(query: str) -> Source:
    """Of a frozen selection, by its query."""
    found = network.of_query(query)
    if found is None:
        return Source("Families", f"/dashboard/families?q={quote(query, safe='')}" if query else "/dashboard/families")
    where, (long, _) = network.told(found[0]), network.WINDOWS[found[1]]
    return Source(f"Network {where}", f"/dashboard/network/{where}?within={found[1]}", where, long)
