"""What is known of a request: the device and network behind it, and the tags that rules compare. Pure, with caches."""

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from functools import cache, lru_cache

from ua_parser import OS, Domain, Resolver, UserAgent, load_lazy_builtins
from ua_parser.regex import Resolver as CompiledResolver

from core.address import network_of

MAX_AGENT = 512
"""Characters of a user agent that are kept."""
TAG_CHARACTERS = 11
"""base64url of 8 bytes."""

_DEVICE = b"device"
_NETWORK = b"network"
_COUNTRY = b"country"


@dataclass(frozen=True, slots=True)
class Presence:
    """`ip` as `core.address.client_address` gives it, `agent` as `clean_agent` does. Personal data, both."""

    ip: str = ""
    agent: str = ""

    @property
    def device(self) -> str:
        """Browser family and system without versions, `Chrome|Windows`: an update of either is no new device."""
        return _parsed(self.agent)[0]

    @property
    def network(self) -> str:
        return network_of(self.ip)

    def device_tag(self, key: bytes, family: bytes, bound: str = "") -> str:
        """The tag of the device in this family; `bound` is the thumbprint of a DPoP key where one is bound."""
        return _tag(key, family, _DEVICE, f"{self.device}|{bound}" if bound else self.device)

    def network_tag(self, key: bytes, owner: bytes) -> str:
        """The tag of the network, for a family or a subject."""
        return _tag(key, owner, _NETWORK, self.network)

    @staticmethod
    def country_tag(key: bytes, owner: bytes, country: str) -> str:
        """The tag of a country, which somebody else knows of the address."""
        return _tag(key, owner, _COUNTRY, country)


def clean_agent(raw: bytes) -> str:
    """A User-Agent header as text that may be kept and shown: printable characters only, at most `MAX_AGENT`."""
    text = raw[: 4 * MAX_AGENT].decode("utf-8", "replace")
    if not text.isprintable():
        text = "".join(c for c in text if c.isprintable())
    return text[:MAX_AGENT]


def describe(agent: str) -> str:
    """For people: `Chrome 147 · Windows`, `curl 8`, or the name that an unknown agent gives itself."""
    return _parsed(agent)[1]


def warm_up() -> None:
    """Load the patterns (some 250 ms), so that the first sign-in does not wait for them."""
    _resolver()(" ", Domain.ALL)


@cache
def _resolver() -> Resolver:
    return CompiledResolver(load_lazy_builtins())


@lru_cache(maxsize=4096)
def _parsed(agent: str) -> tuple[str, str]:
    found = _resolver()(agent, Domain.USER_AGENT | Domain.OS)
    browser = found.user_agent or UserAgent(_product(agent))
    system = found.os or OS("Other")
    name = f"{browser.family} {browser.major}" if browser.major else browser.family
    shown = name if found.os is None else f"{name} · {system.family}"
    return f"{browser.family}|{system.family}", shown


def _product(agent: str) -> str:
    """What stands before the version: an unknown program is told from another by the name it gives itself."""
    return agent.partition("/")[0].partition(" ")[0].replace("|", "")[:32] or "Other"


@lru_cache(maxsize=65_536)
def _tag(key: bytes, owner: bytes, kind: bytes, value: str) -> str:
    """HMAC-SHA-256(key, owner 0x00 kind 0x00 value), cut to 8 bytes.

    Owners are ids of 16 bytes, so the parts cannot run into each other; the key keeps likely values from being
    tried, the owner keeps one person's tags from linking across families.
    """
    mac = hmac.digest(key, b"\x00".join((owner, kind, value.encode("utf-8", "replace"))), "sha256")
    return urlsafe_b64encode(mac[:8])[:TAG_CHARACTERS].decode()
