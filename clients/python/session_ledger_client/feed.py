"""The revocation feed: what was revoked, how fresh that knowledge is, and what to do next. Fetches nothing itself."""

import json
import logging
import os
import random
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from session_ledger_client.assertion import signer
from session_ledger_client.claims import Claims
from session_ledger_client.errors import InvalidToken, Unavailable

FAIL_OPEN: Final = "fail_open"
"""Where the feed is older than `max_age`, go on with what is known: a revoked token is good until it expires."""
FAIL_CLOSED: Final = "fail_closed"
"""Where the feed is older than `max_age`, accept nothing (503)."""
SCOPE: Final = "revocations:read"
MAX_BYTES: Final = 2_000_000
_ACK: Final = 30.0
"""Seconds between two words of ours to the ledger at most, so that it knows us alive."""
_LONGEST_WAIT: Final = 20
_SKEW: Final = 60
_LOG: Final = logging.getLogger("session_ledger_client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """How to follow revocations, and what to do where that fails."""

    client_id: str
    """A confidential client with the scope `revocations:read`; an operator, to see the sessions of other clients."""
    client_secret: str = field(default="", repr=False)
    """How it proves itself; or `client_key`, one of the two."""
    client_key: str = field(default="", repr=False)
    """Its private key, as PEM: the ledger holds the public one (`client update … --keys`), and no secret need exist."""
    on_stale: Literal["fail_open", "fail_closed"]
    """There is no default: see FAIL_OPEN and FAIL_CLOSED."""
    max_age: float = 30.0
    """Seconds since the ledger last said what is revoked; at least 4."""
    name: str = ""
    """Of this process, as the dashboard shows it; the host and the process, unless given."""
    start_wait: float = 5.0
    """Seconds that the first tokens wait for the first answer."""

    def __post_init__(self) -> None:
        if bool(self.client_secret) == bool(self.client_key):
            raise ValueError("a client proves itself by client_secret or by client_key, one of the two")
        if self.client_key:
            signer(self.client_key)
        if self.on_stale not in {FAIL_OPEN, FAIL_CLOSED}:
            raise ValueError("on_stale is FAIL_OPEN or FAIL_CLOSED")
        if self.max_age < 4:
            raise ValueError("max_age is at least 4 seconds: an answer without news may take half of it")


class Revocations:
    """All that was revoked and has not expired. What was learned once is kept until then, whatever comes later."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.sessions: dict[str, float] = {}
        self.keys: dict[str, float] = {}
        self.clients: dict[str, tuple[float, float]] = {}
        self.issued_before = 0.0
        self._clock = clock

    def apply(self, document: dict[str, Any]) -> int:
        """Add what an answer says; how many entries it had. Raises KeyError, TypeError, ValueError for no such."""
        listed = document["revocations"]
        for one in listed:
            until = _seconds(one["until"])
            match one["kind"]:
                case "session":
                    self.sessions[one["sid"]] = until
                case "key":
                    self.keys[one["kid"]] = until
                case "client":
                    self.clients[one["client_id"]] = (_seconds(one["at"]), until)
        if document["issued_before"]:
            self.issued_before = max(self.issued_before, _seconds(document["issued_before"]))
        return len(listed)

    def check(self, claims: Claims) -> None:
        """Raises InvalidToken where the token was revoked."""
        if claims.session_id in self.sessions or claims.key_id in self.keys or claims.issued_at < self.issued_before:
            raise InvalidToken("revoked")
        if claims.session_id is None and claims.issued_at <= self.clients.get(claims.client_id, (-1.0, 0.0))[0]:
            raise InvalidToken("revoked")

    def forget(self) -> None:
        """Drop what has expired everywhere."""
        now = self._clock() - _SKEW
        for known in (self.sessions, self.keys):
            for name in [name for name, until in list(known.items()) if until < now]:
                del known[name]
        for name in [name for name, (_, until) in list(self.clients.items()) if until < now]:
            del self.clients[name]


class Follower:
    """One reader of the feed. Its driver does what `asks` says and hands in what came of it."""

    def __init__(self, feed: Feed, clock: Callable[[], float] = time.monotonic) -> None:
        self.feed = feed
        self.revocations = Revocations()
        self.name = feed.name or _own_name()
        self._clock = clock
        self._cursor = ""
        self._answered = float("-inf")
        self._acked = ("", float("-inf"))
        self._failures = 0

    @property
    def age(self) -> float:
        """Seconds since the ledger last said what is revoked."""
        return self._clock() - self._answered

    @property
    def loaded(self) -> bool:
        """Whether it ever said so."""
        return self._answered > float("-inf")

    def check(self, claims: Claims) -> None:
        """Raises InvalidToken for a revoked token, Unavailable where the feed is too old for it to be accepted."""
        self.revocations.check(claims)
        if self.feed.on_stale == FAIL_CLOSED and self.age > self.feed.max_age:
            raise Unavailable("revocations")

    def asks(self) -> tuple[dict[str, str], float]:
        """Query of the next GET, and how many seconds its answer may take."""
        if not self._cursor:
            return {}, 10.0
        wait = 0 if self._failures else min(_LONGEST_WAIT, int(self.feed.max_age / 2))
        return {"after": self._cursor, "wait": str(wait)}, wait + min(10.0, self.feed.max_age / 4)

    def took(self, status: int, body: bytes) -> float:
        """What was answered; seconds until the next GET."""
        if status == 410 and self._cursor:
            self._cursor = ""  # the ledger went on from a copy: what is known stays, and a new snapshot is added
            return 0.0
        if status != 200 or len(body) > MAX_BYTES:
            return self.failed(f"HTTP {status}")
        try:
            document = json.loads(body)
            self.revocations.apply(document)
            cursor, more = document["cursor"], document["more"]
        except (ValueError, KeyError, TypeError):
            return self.failed("an answer that is none")
        if self._failures:
            _LOG.warning("revocation feed: answers again after %d failures", self._failures)
        self._cursor, self._failures = cursor, 0
        if more:
            return 0.0
        self._answered = self._clock()
        self.revocations.forget()
        return 0.0

    def failed(self, why: str) -> float:
        """There was no usable answer; seconds until the next GET."""
        self._failures += 1
        if self._failures in {1, 10} or self._failures % 100 == 0:
            _LOG.warning("revocation feed: %s (failure %d)", why, self._failures)
        return float(min(5.0, 0.2 * 2 ** min(self._failures, 6)) * random.uniform(0.5, 1.0))  # noqa: S311 - spreads readers in time

    def acknowledgement(self) -> dict[str, str] | None:
        """What to tell the ledger now, None where it knows."""
        said, when = self._acked
        if not self._cursor or not self.loaded or (said == self._cursor and self._clock() - when < _ACK):
            return None
        return {"verifier": self.name, "cursor": self._cursor}

    def acknowledged(self, told: dict[str, str]) -> None:
        """The ledger knows."""
        self._acked = (told["cursor"], self._clock())


def _own_name() -> str:
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:48]
    return f"{host}/{os.getpid()}"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
