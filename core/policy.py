"""What applies to a client's families: the settings, narrowed by the client's own policy. Pure."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from events.client import OBSERVE, Client

SECOND = 1_000_000
"""Ledger time is in microseconds."""

MAX_ACCESS_TTL = 3600
"""Seconds; a longer one would outlive what our verifier and the retiring of signing keys allow for."""

MAX_LIVING = 100
"""Living families of one subject, over all clients."""

DASHBOARD = "dashboard"
WEB = "web"


class Policy(NamedTuple):
    """Lifetimes in seconds."""

    access_ttl: int = 900
    idle_ttl: int = 604_800
    absolute_ttl: int = 2_592_000
    leeway: float = 10
    """How long the token before the current one still gets the same successor; 0 is strict."""
    family_limit: int = MAX_LIVING
    on_device_change: str = OBSERVE
    on_network_change: str = OBSERVE
    on_country_change: str = OBSERVE


@lru_cache(maxsize=1024)
def of(client: Client, defaults: Policy) -> Policy:
    """The client's policy: its own values where it has any, the settings' otherwise.

    A leeway is never more than a tenth of the access token's lifetime.
    """
    access_ttl = min(client.access_ttl or defaults.access_ttl, MAX_ACCESS_TTL)
    leeway = defaults.leeway if client.leeway < 0 else client.leeway
    return Policy(
        access_ttl=access_ttl,
        idle_ttl=client.idle_ttl or defaults.idle_ttl,
        absolute_ttl=client.absolute_ttl or defaults.absolute_ttl,
        leeway=min(leeway, access_ttl / 10),
        family_limit=client.family_limit or defaults.family_limit,
        on_device_change=client.on_device_change,
        on_network_change=client.on_network_change,
        on_country_change=client.on_country_change,
    )


def shortest_leeway(clients: Iterable[Client], defaults: Policy) -> float:
    """Of all clients that have one, in seconds; 0 where the settings give none to those that inherit it."""
    if not defaults.leeway:
        return 0
    leeways = (of(one, defaults).leeway for one in clients)
    return min((leeway for leeway in leeways if leeway), default=defaults.leeway)
