"""The ring of signing keys as one immutable value, made from states. Rotates nothing (that is `core/key.py`)."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from core import pair
from core.master import MasterKeys
from events.key import ACTIVE, NEXT, RETIRED, Key

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The active key, ready to sign."""

    kid: str
    algorithm: str
    head: bytes = field(repr=False)
    """The header segment and its dot: the same for every token of this key."""
    sign: Callable[[bytes], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A key that verifies, and for one algorithm only (RFC 8725 §3.1)."""

    kid: str
    algorithm: str
    key: Any = field(repr=False)
    until: float = float("inf")
    """Seconds since the epoch; from then on nothing signed by it is accepted."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What signs, what verifies, what is published."""

    signing: SigningKey | None = None
    verifying: Mapping[str, VerifyKey] = field(default_factory=dict)
    """By `kid`: next (another process may sign with it before we know), active, retired. Never revoked ones."""
    unreadable: tuple[str, ...] = ()
    """Keys that are needed, but that no master key here unwraps."""
    published: tuple[tuple[float, Mapping[str, Any]], ...] = ()
    """Until when, and the public JWK."""

    @classmethod
    def of(cls, keys: Iterable[Key], master: MasterKeys) -> "KeyRing":
        """The ring of these states. Keys that do not unwrap are left out and named in `unreadable`."""
        signing: SigningKey | None = None
        verifying: dict[str, VerifyKey] = {}
        unreadable: list[str] = []
        published: list[tuple[float, Mapping[str, Any]]] = []
        for key in sorted((k for k in keys if k.status in (NEXT, ACTIVE, RETIRED)), key=_age):
            until = key.retire_at / _SECOND if key.status == RETIRED else float("inf")
            private = master.unwrap(key.wrapped_by, key.key, key.wrapped)
            if private is None and needs_private(key):
                unreadable.append(key.key)
            if key.status == ACTIVE and private is not None:
                signing = _signing(key, private)
            if key.public:
                verifying[key.key] = VerifyKey(
                    key.key, key.algorithm, pair.load_public(key.algorithm, key.public), until
                )
                published.append((until, _entry(key)))
            elif private is not None:
                verifying[key.key] = VerifyKey(key.key, key.algorithm, private, until)
        return cls(signing, MappingProxyType(verifying), tuple(unreadable), tuple(published))

    def jwks(self, now: float) -> dict[str, Any]:
        """The JWK set (RFC 7517 §5) at `now`, in seconds. Public members only; HS256 keys are never in it."""
        return {"keys": [dict(entry) for until, entry in self.published if now < until]}


def _age(key: Key) -> tuple[int, bytes]:
    return (key.created_at, key.id)


def needs_private(key: Key) -> bool:
    """Whether its private half will be used again: to sign, or to verify where there is no public one."""
    return key.status in (NEXT, ACTIVE) or not key.public


def _signing(key: Key, private: bytes) -> SigningKey:
    algorithm = pair.signer(key.algorithm)
    header = json.dumps({"alg": key.algorithm, "kid": key.key, "typ": "at+jwt"}, separators=(",", ":"))
    head = urlsafe_b64encode(header.encode()).rstrip(b"=") + b"."
    prepared = algorithm.prepare_key(pair.load_private(key.algorithm, private))
    return SigningKey(key.key, key.algorithm, head, partial(algorithm.sign, key=prepared))


def _entry(key: Key) -> Mapping[str, Any]:
    return {**json.loads(key.public), "use": "sig", "alg": key.algorithm, "kid": key.key}
