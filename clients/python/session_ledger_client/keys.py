"""The ledger's public keys, and when to fetch them again. Fetches nothing itself.

Keys are used for as long as the ledger allows (`max-age`, at most an hour). A `kid` that is not known leads to one
fetch; then none for a while, so that garbage makes no storm. Where the ledger cannot be reached, the last keys count
for another hour: the longest life of an access token.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from session_ledger_client.errors import InvalidToken, Unavailable

ALGORITHMS: Final = ("EdDSA", "ES256", "RS256")
"""All that a ledger signs with and whose keys can be published."""
MAX_BYTES: Final = 65_536
_MAX_KEYS: Final = 32
_MAX_AGE: Final = 3600.0
_MIN_AGE: Final = 30.0
_MIN_RSA: Final = 2048
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_AGE: Final = re.compile(r"(?:^|[ ,])max-age=(\d{1,9})(?:$|[ ,])")


class Key(NamedTuple):
    """A public key, for one algorithm only."""

    kid: str
    algorithm: str
    verify: Callable[[bytes, bytes], bool]
    """Whether a signature is of a message."""


class KeyCache:
    """Keys by `kid`. `clock` gives seconds that never go back."""

    def __init__(
        self,
        algorithms: tuple[str, ...] = ALGORITHMS,
        cooldown: float = 10.0,
        max_stale: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._algorithms = algorithms
        self._cooldown = cooldown
        self._max_stale = max_stale
        self._clock = clock
        self._keys: Mapping[str, Key] = {}
        self._fresh_until = self._usable_until = self._not_before = float("-inf")
        self.fetches = 0
        """How often they were asked for, successfully or not."""

    def look(self, kid: str, *, fetched: bool = False) -> Key | None:
        """The key; None where they should be fetched first.

        After that ask with `fetched`. Raises InvalidToken for a key that there is not, Unavailable where nobody knows.
        """
        now, key = self._clock(), self._keys.get(kid)
        fresh = now < self._fresh_until
        if fresh and key is not None:
            return key
        if not fetched and now >= self._not_before:
            return None
        if key is not None and now < self._usable_until:
            return key
        if fresh:
            raise InvalidToken("key")
        raise Unavailable("keys")

    def took(self, cache_control: str, body: bytes) -> None:
        """What the ledger answered with 200. Raises ValueError, and keeps what it had, for what is no key set."""
        keys = _read(body, self._algorithms)
        now, said = self._attempted(), _AGE.search(cache_control.lower())
        age = min(max(float(said[1]) if said else 300.0, _MIN_AGE), _MAX_AGE)
        self._keys, self._fresh_until, self._usable_until = keys, now + age, now + age + self._max_stale

    def failed(self) -> None:
        """There was no answer, or no usable one: not again at once."""
        self._attempted()

    def _attempted(self) -> float:
        self.fetches += 1
        now = self._clock()
        self._not_before = now + self._cooldown
        return now


def _read(body: bytes, algorithms: tuple[str, ...]) -> dict[str, Key]:
    """The keys that are for us. Those of other uses and algorithms are left out, as RFC 7517 §5 asks for."""
    document = json.loads(body) if len(body) <= MAX_BYTES else None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > _MAX_KEYS:
        raise ValueError("no key set")
    found = [key for one in listed if isinstance(one, dict) and (key := _key(one, algorithms))]
    keys = {key.kid: key for key in found}
    if len(keys) != len(found):
        raise ValueError("two keys have one name")
    return keys


def _key(member: dict[str, Any], algorithms: tuple[str, ...]) -> Key | None:
    kid, algorithm = member.get("kid"), member.get("alg")
    if not isinstance(kid, str) or algorithm not in algorithms or member.get("use", "sig") != "sig":
        return None
    if member.get("kty") == "oct" or _PRIVATE & member.keys():
        return None
    try:
        loaded = jwt.PyJWK(member, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if isinstance(loaded.key, RSAPublicKey) and loaded.key.key_size < _MIN_RSA:
        return None
    how, key = loaded.Algorithm, loaded.key
    return Key(kid, str(algorithm), lambda message, signature: bool(how.verify(message, key, signature)))
