"""What a client's policy may be: names, origins, audiences, scopes, lifetimes. Pure; registers nothing."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from core import client_assertion
from core.client_assertion import MAX_KEYS
from core.origin import origin_of
from core.policy import DASHBOARD, MAX_ACCESS_TTL, MAX_LIVING
from core.scope import SERVICE, WORD
from events.client import (
    CONFIDENTIAL,
    OBSERVE,
    OPTIONAL,
    PUBLIC,
    REQUIRE_LOGIN,
    REQUIRED,
    REVOKE,
    Client,
    ClientRegistered,
)

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A client's id: what stands in tokens, cookie names and requests."""
_LIKE_OURS: Final = re.compile(r"[a-z]{2,3}_[a-z2-7]{26}")
"""No client can look like a user: `sub` of its own tokens is its name (RFC 9068 §5)."""
_AUDIENCE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-\"$-~]{1,250}")
"""An absolute URI without a fragment (RFC 8707 §2)."""
MAX_LISTED: Final = 32
MIN_ACCESS_TTL: Final = 30
MIN_TTL: Final = 60
DAY: Final = 86_400
MAX_TTL: Final = 400 * DAY
"""Browsers keep no cookie for longer (RFC 6265bis §5.5), and the settings allow no more either."""
MAX_OF_DASHBOARD: Final = {"idle_ttl": 3600, "absolute_ttl": DAY}
"""Who may end anybody's sessions signs in every day (NIST SP 800-63B-4 §2.2.3: 24 hours, an hour unused).
It does not follow the settings, which are for users."""
REACTIONS: Final = (OBSERVE, REQUIRE_LOGIN, REVOKE)
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OF_DASHBOARD: Final = frozenset("origins type first_party audiences scopes operator dpop keys keys_only".split())


class Flaw(NamedTuple):
    """The field that cannot be so, and a sentence that says why."""

    field: str
    text: str

    def __str__(self) -> str:
        return self.text


def flaw(fact: ClientRegistered) -> Flaw | None:
    """What is wrong with a policy, the first thing only."""
    return next(_flaws(fact), None)


def refused_change(state: Client, fact: ClientRegistered) -> Flaw | None:
    """What can never change: a client's type, and what the dashboard's own client is."""
    if fact.type != state.type:
        return Flaw("type", "A client stays public or confidential for good: register another one.")
    if state.client == DASHBOARD:
        changed = next((name for name in sorted(_OF_DASHBOARD) if getattr(fact, name) != getattr(state, name)), None)
        return Flaw(changed, "Only lifetimes and limits of the dashboard's own client can change.") if changed else None
    return None


def _flaws(fact: ClientRegistered) -> Iterator[Flaw]:
    if not NAME.fullmatch(fact.client):
        yield Flaw("client", "A client has 1 to 64 letters, digits, dots, hyphens and underscores.")
    if _LIKE_OURS.fullmatch(fact.client):
        yield Flaw("client", "A client must not look like an id of this ledger.")
    if fact.type not in {PUBLIC, CONFIDENTIAL}:
        yield Flaw("type", "A client is public or confidential.")
    yield from _lists(fact)
    yield from _lifetimes(fact)
    yield from _powers(fact)
    yield from _keys(fact)


def _lists(fact: ClientRegistered) -> Iterator[Flaw]:
    for name in ("origins", "audiences", "scopes"):
        listed = getattr(fact, name).split()
        if len(listed) > MAX_LISTED or len(set(listed)) != len(listed):
            yield Flaw(name, f"At most {MAX_LISTED} {name}, each once.")
    for one in fact.origins.split():
        if not _is_origin(one):
            yield Flaw("origins", "An origin is like https://app.example.com: no path; http for localhost only.")
    if not all(_AUDIENCE.fullmatch(one) for one in fact.audiences.split()):
        yield Flaw("audiences", "An audience is a URI without a fragment, like https://api.example.com.")
    if not all(WORD.fullmatch(one) for one in fact.scopes.split()):
        yield Flaw("scopes", "A scope has 1 to 64 visible characters, no quotation marks and no backslashes.")


def _is_origin(text: str) -> bool:
    try:
        same = origin_of(text) == text
    except ValueError:
        return False
    parts = urlsplit(text)
    return same and (parts.scheme == "https" or parts.hostname in _LOCAL)


def _lifetimes(fact: ClientRegistered) -> Iterator[Flaw]:
    if fact.access_ttl and not MIN_ACCESS_TTL <= fact.access_ttl <= MAX_ACCESS_TTL:
        yield Flaw("access_ttl", f"Access tokens live {MIN_ACCESS_TTL} to {MAX_ACCESS_TTL} seconds.")
    for name in ("idle_ttl", "absolute_ttl"):
        given, at_dashboard = getattr(fact, name), fact.client == DASHBOARD
        most = MAX_OF_DASHBOARD[name] if at_dashboard else MAX_TTL
        if (given or at_dashboard) and not MIN_TTL <= given <= most:
            yield Flaw(name, f"A lifetime of families is {MIN_TTL} to {most} seconds.")
    if fact.absolute_ttl and fact.idle_ttl > fact.absolute_ttl:
        yield Flaw("idle_ttl", "A family cannot be idle for longer than it can live.")
    if not -1 <= fact.leeway <= (fact.access_ttl or MAX_ACCESS_TTL) // 10:
        yield Flaw("leeway", "The leeway is at most a tenth of the access token's lifetime.")
    if not 0 <= fact.family_limit <= MAX_LIVING:
        yield Flaw("family_limit", f"At most {MAX_LIVING} living families for each user.")


def _powers(fact: ClientRegistered) -> Iterator[Flaw]:
    for name in ("on_device_change", "on_network_change", "on_country_change"):
        if getattr(fact, name) not in REACTIONS:
            yield Flaw(name, f"One of {', '.join(REACTIONS)}.")
    for name in ("first_party", "operator", "keys_only"):
        if getattr(fact, name) not in {0, 1}:
            yield Flaw(name, "Yes or no.")
    if fact.type == PUBLIC and any(word in SERVICE for word in fact.scopes.split()):
        yield Flaw("scopes", "A public client cannot hold scopes of our own routes: everybody could read its proof.")
    if fact.type == PUBLIC and fact.operator:
        yield Flaw("operator", "Only a confidential client can be an operator.")


def _keys(fact: ClientRegistered) -> Iterator[Flaw]:
    if fact.dpop not in {OPTIONAL, REQUIRED}:
        yield Flaw("dpop", f"One of {OPTIONAL}, {REQUIRED}.")
    if fact.keys and client_assertion.written(fact.keys) != fact.keys:
        yield Flaw("keys", f"A JWK set of 1 to {MAX_KEYS} public keys: P-256, Ed25519, or RSA of 2048 bits and more.")
    if fact.keys and fact.type == PUBLIC:
        yield Flaw("keys", "Only a confidential client proves itself.")
    if fact.keys_only and not fact.keys:
        yield Flaw("keys_only", "A client without keys would have no way to prove itself.")
