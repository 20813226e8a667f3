"""What a token must be to be accepted here, and holding it against that. No I/O: keys and revocations are handed in."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from session_ledger_client import token
from session_ledger_client.claims import Claims
from session_ledger_client.dpop import Bindings, Request
from session_ledger_client.errors import InvalidToken
from session_ledger_client.keys import Key
from session_ledger_client.token import Header

MAX_TTL: Final = 3600
"""Seconds that an access token of a Session Ledger lives at most."""
_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Who must have issued a token, and for whom."""

    issuer: str
    """Exactly as in `iss`."""
    audience: str
    """This resource server, exactly as in `aud`."""
    origin: str = ""
    """How the public reaches this resource server, `https://orders.example.com`: what the proofs of tokens that are
    bound to a key must name (RFC 9449). Without it those tokens are refused."""
    clients: bool = False
    """Whether tokens count, too, that a client holds for itself, without a user."""
    leeway: int = 5
    """Seconds by which the clocks may differ."""
    clock: Callable[[], float] = time.time


class Reader:
    """Holds tokens against rules. Headers that were good once are remembered: there is one for each key."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._headers: dict[str, Header] = {}
        self._bindings = Bindings(rules.origin)

    def header(self, segment: str) -> Header:
        """Which key it says. Raises InvalidToken."""
        return self._headers.get(segment) or token.header(segment)

    def claims(self, parts: token.Segments, header: Header, key: Key) -> Claims:
        """What the token says, once everything about it is right. Raises InvalidToken."""
        if header.algorithm != key.algorithm:
            raise InvalidToken("header")
        if not key.verify(f"{parts.header}.{parts.payload}".encode(), token.decoded(parts.signature)):
            raise InvalidToken("signature")
        if len(self._headers) < _REMEMBERED:
            self._headers[parts.header] = header
        claims = token.claims(parts.payload, key.kid)
        self._check(claims)
        return claims

    def bound(self, text: str, claims: Claims, request: Request | None) -> None:
        """Hold a token that is right by itself against how it came. Raises InvalidToken."""
        self._bindings.check(text, claims, request, self._rules.clock())

    def _check(self, claims: Claims) -> None:
        rules, now = self._rules, self._rules.clock()
        if claims.issuer != rules.issuer:
            raise InvalidToken("issuer")
        if claims.audience != rules.audience:
            raise InvalidToken("audience")
        if claims.session_id is None and not rules.clients:
            raise InvalidToken("claims")
        if now >= claims.expires_at + rules.leeway:
            raise InvalidToken("expired")
        if claims.issued_at > now + rules.leeway:
            raise InvalidToken("not_yet")
        if not 0 < claims.expires_at - claims.issued_at <= MAX_TTL:
            raise InvalidToken("lifetime")
