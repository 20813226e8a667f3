"""Where we may connect to on somebody's word: addresses of URLs and networks (CWE-918, ASVS 1.3.6). Pure."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

MAX_URL: Final = 1024
_PLAIN: Final = re.compile(r"[!-~]+")
_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A host's name; its last part begins with a letter, so no other spelling of an address is one (`0x7f.1`)."""
_CLOSED: Final = tuple(
    ip_network(text)
    for text in (
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # the platform of Azure's machines, on a public address
        "64:ff9b:1::/48",  # NAT64 of one's own
        "fec0::/10",
        "::/96",
    )
)
"""Not on the internet, though `is_global` of Python 3.11 says so."""
_NAT64: Final = ip_network("64:ff9b::/96")


class Reach(NamedTuple):
    """What may be reached beyond https on the internet."""

    http: bool = False
    networks: tuple[Network, ...] = ()
    """Of one's own, where receivers are."""


class Target(NamedTuple):
    """Where a URL leads."""

    scheme: str
    host: str
    """A name, or an address without brackets."""
    port: int
    path: str
    """With its query."""


class Barred(ValueError):
    """Why nothing is sent to a URL, as a sentence for people. Echoes nothing of it."""


def target(url: str, reach: Reach) -> Target:
    """Where the URL leads. Raises Barred: for more than https, host, port, path and query, and for a barred address."""
    if len(url) > MAX_URL or not _PLAIN.fullmatch(url):
        raise Barred(f"A URL is at most {MAX_URL} visible ASCII characters long.")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise Barred("This is not a URL, such as https://app.example.com/hooks.") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and reach.http):
        raise Barred("The URL must begin with https://.")
    if "@" in parts.netloc or "#" in url or "\\" in url:
        raise Barred("The URL must have no user, no password and no fragment.")
    if port == 0:
        raise Barred("The port is 1 to 65535.")
    _check_host(host, reach)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def is_open(address: str, networks: tuple[Network, ...] = ()) -> bool:
    """Whether we may connect to a numeric address: it is on the internet, or in one of these networks.

    An IPv6 address that stands for an IPv4 one (mapped, 6to4, Teredo, NAT64) is as good as that.
    """
    try:
        found = _meant(ip_address(address))
    except ValueError:  # one with a zone (`fe80::1%eth0`) may be that of any link
        return False
    if any(found in network for network in networks):
        return True
    barred = found.is_multicast or found.is_reserved or any(found in network for network in _CLOSED)
    return found.is_global and not barred


def _check_host(host: str, reach: Reach) -> None:
    try:
        ip_address(host)
    except ValueError:
        if len(host) > 253 or not _NAME.fullmatch(host):
            raise Barred("The host must be a name or an ordinary IP address.") from None
        return
    if not is_open(host, reach.networks):
        raise Barred("This address is not on the internet, and no setting allows it.")


def _meant(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id:
        raise ValueError("an address of one link")
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour or address
