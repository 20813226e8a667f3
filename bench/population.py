"""People and their families in a ledger, written by its own front door; and the tokens that clients go on with."""

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from bench.client import AGENT
from core import token
from core.master import MasterKeys
from core.presence import Presence
from core.token import Token
from events import family, ids, subject
from events.decision import Change, Decision, Origin, Streams
from events.ledger import Ledger
from events.private import Account, Context

ADDRESS = "127.0.0.1"
PASSWORD = "violet-copper-lantern-71-meadow"
"""Of everybody here."""
ORIGIN = Origin("bench-bench-benc", Context(ADDRESS, AGENT))
_AT_ONCE = 200
_YEAR = 31_536_000


class Person(NamedTuple):
    """Somebody's family, which is signed in."""

    name: str
    subject: bytes
    token: Token
    first: bool
    """Whether this family is the person's first."""


async def populate(ledger: Ledger, master: MasterKeys, size: int, password: str = "", each: int = 1) -> list[Person]:
    """So many families, `each` of them of one person. `password` is the hash that everybody has."""
    people: list[Person] = []
    numbers = iter(range(0, size, each))
    while some := [one for number in islice(numbers, _AT_ONCE // each) for one in _person(master, number, each)]:
        changes = tuple(change for one in some for change in _changes(master, one, password))
        streams = Streams(frozenset(p.token.family for p in some), frozenset(p.subject for p in some))
        await ledger.submit(streams, lambda _states, _moment, changes=changes: Decision(None, changes), ORIGIN)  # type: ignore[misc]
        people += some
    return people


def _person(master: MasterKeys, number: int, each: int) -> Iterator[Person]:
    at = time.time_ns() // 1000
    who = ids.new_id(at, secrets.token_bytes(ids.RANDOM_BYTES))
    for nth in range(each):
        which = ids.new_id(at, secrets.token_bytes(ids.RANDOM_BYTES))
        token = Token(master.current, which, secrets.token_bytes(16), 1)
        yield Person(f"person-{number}", who, token, first=nth == 0)


def _changes(master: MasterKeys, one: Person, password: str) -> Iterator[Change]:
    said = ids.to_text(subject.PREFIX, one.subject)
    if one.first:
        registered = subject.SubjectRegistered(actor="cli", subject=said)
        yield Change(one.subject, registered, Account(name=one.name, password=password))
    yield Change(one.token.family, issued(master, one))


def issued(master: MasterKeys, one: Person) -> family.TokenIssued:
    """The family's first fact, for a browser that signed in from this machine."""
    now = time.time_ns() // 1000
    presence, key = Presence(ADDRESS, AGENT), master.tag_key(one.token.key) or b""
    return family.TokenIssued(
        actor="subject",
        subject=ids.to_text(subject.PREFIX, one.subject),
        client="web",
        key=one.token.key,
        nonce=one.token.nonce_hash,
        carriage="body",
        jti=urlsafe_b64encode(secrets.token_bytes(16))[:22].decode(),
        exp=now // 1_000_000 + 900,
        idle_until=now + _YEAR * 1_000_000,
        ends_at=now + _YEAR * 1_000_000,
        auth_time=now // 1_000_000,
        amr="pwd",
        device_tag=presence.device_tag(key, one.token.family),
        network_tag=presence.network_tag(key, one.token.family),
    )


def texts(master: MasterKeys, people: list[Person]) -> list[str]:
    """The refresh tokens, as clients hold them."""
    key = master.refresh_key(master.current) or b""
    return [token.mint(one.token, key) for one in people]
