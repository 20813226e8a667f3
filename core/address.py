"""Where a request came from: the client's address behind trusted proxies, and its network. Pure; reads no request."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS = 16
"""Of X-Forwarded-For, counted from the right. A longer way through trusted proxies is not believed."""

V4_PREFIX = 24
V6_PREFIX = 56
"""What one subscriber holds: providers delegate a /56 to a home (RIPE-690 §4.2). A limit per /64 would give
that home 256 budgets; one per /48 would put 256 homes into one."""


@lru_cache(maxsize=8192)
def parse(text: str) -> Address | None:
    """The address written as `text`, or None. IPv4 inside IPv6 (`::ffff:192.0.2.1`) is IPv4; a zone is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    return None if address.scope_id else address.ipv4_mapped or address


def client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """The address that evidence and limits use, or "" where even the peer has none (a Unix socket).

    `forwarded` is X-Forwarded-For, repeated headers joined with commas. It counts only when the peer is a trusted
    proxy: then the right-most hop that is not trusted is the client, because every hop further left was
    written by that client. A hop that is no address ends the belief in the whole header: the peer stands.
    """
    nearest = parse(peer)
    if nearest is None:
        return ""
    if not forwarded or not _among(nearest, trusted):
        return str(nearest)
    farthest = nearest
    for hop in reversed(forwarded.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
        address = parse(_without_port(hop.strip()))
        if address is None:
            return str(nearest)
        if not _among(address, trusted):
            return str(address)
        farthest = address
    return str(farthest)


@lru_cache(maxsize=8192)
def network_of(ip: str) -> str:
    """The network that limits and tags see: /24 of IPv4, /56 of IPv6; "" for what is no address."""
    address = parse(ip)
    if address is None:
        return ""
    prefix = V4_PREFIX if address.version == 4 else V6_PREFIX
    return str(ipaddress.ip_network((address, prefix), strict=False))


def _among(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _without_port(hop: str) -> str:
    """Some proxies write `192.0.2.1:4711` or `[2001:db8::1]:4711`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
