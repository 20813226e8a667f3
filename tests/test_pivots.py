"""From a network to what came from it: as going through all events finds, however much of the log is walked first."""

import ipaddress
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from events import pivots
from events.family import TokenIssued, TokenRefused, TokenReuseDetected, TokenRotated
from events.history import Event, HistoryReader
from events.pivots import Network, PivotReader, Traffic
from events.store import Store
from tests.databases import Stores
from tests.many_events import ADDRESSES, many_events
from tests.tables import beside

NETWORKS = ("203.0.113.7/32", "203.0.113.0/24", "203.0.0.0/8", "32.1.13.184/31", "2001:db8::/32", "2001:db8::1/128")
NOTHING = "192.0.2.0/24"


@pytest.fixture(scope="session")
def written(stores: Stores) -> Store:
    """Written once, then only read."""
    store = stores.fresh()
    beside(many_events(store))
    return store


class Log(NamedTuple):
    """All events, oldest first, and the reader that is tried on them."""

    events: list[Event]
    reader: PivotReader

    async def traffic(self, network: Network) -> Traffic:
        found = await self.reader.traffic(network, self.events[0].at, self.events[-1].at + 1, 10_000)
        assert isinstance(found, Traffic)
        return found

    def newest_from(self, network: Network) -> list[Event]:
        """What is looked at, oldest first."""
        there = [one for one in self.events if one.context.ip and ipaddress.ip_address(one.context.ip) in network]
        return there[-pivots.LISTED :]


@pytest.fixture
async def log(written: Store) -> AsyncIterator[Log]:
    engine = written.readers()
    yield Log(await HistoryReader(engine).after(-1, 10_000), PivotReader(engine))
    await engine.dispose()


def sums(events: list[Event]) -> tuple[int, int]:
    """How often it went well with a family, and how often not."""
    good, bad = (TokenIssued, TokenRotated), (TokenRefused, TokenReuseDetected)
    return sum(isinstance(one.fact, good) for one in events), sum(isinstance(one.fact, bad) for one in events)


@pytest.mark.parametrize("network", [*NETWORKS, NOTHING])
@pytest.mark.parametrize(("many", "listed"), [(20_000, 2_000), (1, 2_000), (1, 20), (20_000, 20)])
async def test_what_came_from_a_network_is_what_going_through_all_events_finds(
    log: Log, monkeypatch: pytest.MonkeyPatch, network: str, many: int, listed: int
) -> None:
    monkeypatch.setattr(pivots, "_MANY", many)
    monkeypatch.setattr(pivots, "LISTED", listed)
    asked = ipaddress.ip_network(network)
    newest, found = log.newest_from(asked), await log.traffic(asked)
    looked_at = [one for one in newest if not one.fact.actor.startswith("staff:")]
    families = {one.stream for one in looked_at if one.fact.TYPE.startswith(("token.", "family."))}
    of_each = {stream: [one for one in looked_at if one.stream == stream] for stream in families}

    assert (network == NOTHING) is (not looked_at)
    assert (len(newest) == listed) is found.capped
    assert families == {one.family.id for one in found.visitors}
    assert {stream: (*sums(own), own[0].at, own[-1].at) for stream, own in of_each.items()} == {
        one.family.id: (one.good, one.bad, one.first_at, one.last_at) for one in found.visitors
    }


async def test_the_families_that_came_last_are_listed_first_and_the_others_are_counted(log: Log) -> None:
    network = ipaddress.ip_network("203.0.113.0/24")
    everything = await log.traffic(network)
    few = await log.reader.traffic(network, log.events[0].at, log.events[-1].at + 1, 3)

    assert isinstance(few, Traffic)
    assert sorted((one.last_at for one in everything.visitors), reverse=True) == [
        one.last_at for one in everything.visitors
    ]
    assert everything.visitors[:3] == few.visitors
    assert (0, len(everything.visitors) - 3) == (everything.more, few.more)


def test_the_ledger_has_addresses_of_every_network_that_is_asked_for() -> None:
    asked = [ipaddress.ip_network(one) for one in NETWORKS]
    assert all(any(ipaddress.ip_address(a) in network for a in ADDRESSES if a) for network in asked)
