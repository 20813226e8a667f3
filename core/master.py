"""The master keys and all that is derived from them. Says nothing of where they are kept; never shows one."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
MAX_NUMBER: Final = 255
"""The number of a key is one byte of every refresh token."""

LABELS: Final = ("refresh", "tag", "csrf", "wrap", "checkpoint", "check", "repeat", "erased", "step", "nonce")
_ENTRY: Final = re.compile(r"(?:([1-9][0-9]{0,2}):)?([0-9A-Fa-f]{64})")
_WRAP_VERSION: Final = b"\x01"
_MIN_DISTINCT: Final = 16
"""Distinct values that 32 random bytes do not fall short of (about once in 10^10 keys)."""


class MasterKeys:
    """One or more numbered keys of 32 bytes: the first wants to sign, one signs, all verify.

    Each use has a key of its own, HKDF-SHA256 (RFC 5869) with a label, computed once. A method that is asked for a
    number that is not here answers None: numbers come out of tokens and out of the ledger. Keys are learned while the
    process runs and none is forgotten, so what was read of a number once holds until the end.
    """

    __slots__ = ("_derived", "_wrapping", "current", "numbers")

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        self.numbers = tuple(keys)
        """All of them, the one that is to sign first."""
        self.current = self.numbers[0]
        """The one that signs."""
        self._derived: Mapping[int, Mapping[str, bytes]] = MappingProxyType(
            {number: _derive_all(secret) for number, secret in keys.items()}
        )
        self._wrapping = _ciphers(self._derived)

    @classmethod
    def parse(cls, text: str) -> "MasterKeys":
        """Reads `number:64 hex digits`, several separated by commas; a bare key is number 1.

        Raises ValueError with one sentence, which never contains a key.
        """
        keys: dict[int, bytes] = {}
        for place, entry in enumerate(text.split(","), start=1):
            number, secret = _parse_entry(place, entry.strip())
            if number in keys:
                msg = f"the master key has two entries with the number {number}"
                raise ValueError(msg)
            if secret in keys.values():
                msg = f"entry {place} of the master key repeats another entry's key"
                raise ValueError(msg)
            keys[number] = secret
        return cls(keys)

    def learn(self, others: "MasterKeys") -> None:
        """Take these keys up and their order; which one signs stays. Those known under a number here stay as well.

        Raises ValueError, which holds no key, where a number is another key here; then nothing is learned.
        """
        for number in set(self.numbers) & set(others.numbers):
            if self.check_value(number) != others.check_value(number):
                msg = f"the master key {number} is another key than the {number} in use: give a new key a new number"
                raise ValueError(msg)
        kept = tuple(number for number in self.numbers if number not in others.numbers)
        # The keys first, then their numbers: whoever finds a number finds its key.
        self._derived = MappingProxyType({**others.derived(), **self._derived})
        self._wrapping = _ciphers(self._derived)
        self.numbers = (*others.numbers, *kept)

    def derived(self) -> Mapping[int, Mapping[str, bytes]]:
        """All that is derived, by number and label: for another `MasterKeys`, and for nobody else."""
        return self._derived

    def sign_with(self, number: int) -> None:
        """From now on this one signs. Raises ValueError for a number that is not here."""
        if number not in self.numbers:
            msg = f"there is no master key {number}"
            raise ValueError(msg)
        self.current = number

    def refresh_key(self, number: int) -> bytes | None:
        """For the MAC of refresh tokens."""
        return self._key(number, "refresh")

    def tag_key(self, number: int) -> bytes | None:
        """For tags of device, network and country."""
        return self._key(number, "tag")

    def csrf_key(self, number: int) -> bytes | None:
        """For CSRF tokens. Use the family's key number, or try all of `numbers`: they must survive a new master key."""
        return self._key(number, "csrf")

    def repeat_key(self, number: int) -> bytes | None:
        """For what a repeated request of a backend must find again."""
        return self._key(number, "repeat")

    def erased_key(self, number: int) -> bytes | None:
        """For the MAC of the list of the erased."""
        return self._key(number, "erased")

    def step_key(self, number: int) -> bytes | None:
        """For what stands between the password and the second factor."""
        return self._key(number, "step")

    def nonce_key(self, number: int) -> bytes | None:
        """For the nonces that proofs of keys must hold (RFC 9449 §8)."""
        return self._key(number, "nonce")

    def checkpoint_seed(self, number: int) -> bytes | None:
        """The Ed25519 seed (RFC 8032) that signs checkpoints."""
        return self._key(number, "checkpoint")

    def check_value(self, number: int) -> str | None:
        """16 hex digits that may be stored and shown; a wrong key is noticed by them at start."""
        key = self._key(number, "check")
        return None if key is None else key[:8].hex()

    def wrap(self, number: int, kid: str, plaintext: bytes, random12: bytes) -> str:
        """Encrypts a private key for the ledger: base64url of version ‖ nonce ‖ AES-256-GCM, bound to its `kid`.

        `random12` is used once. Raises ValueError for a number that is not here.
        """
        cipher = self._wrapping.get(number)
        if cipher is None or len(random12) != NONCE_BYTES:
            msg = f"wrapping takes a known number and {NONCE_BYTES} random bytes"
            raise ValueError(msg)
        sealed = cipher.encrypt(random12, plaintext, kid.encode())
        return urlsafe_b64encode(_WRAP_VERSION + random12 + sealed).decode()

    def unwrap(self, number: int, kid: str, blob: str) -> bytes | None:
        """What `wrap` was given; None where number, key, kid or a single bit differs."""
        cipher = self._wrapping.get(number)
        try:
            raw = urlsafe_b64decode(blob)
            if cipher is None or not raw.startswith(_WRAP_VERSION):
                return None
            return cipher.decrypt(raw[1 : 1 + NONCE_BYTES], raw[1 + NONCE_BYTES :], kid.encode())
        except (ValueError, InvalidTag):
            return None

    def __repr__(self) -> str:
        return f"MasterKeys(numbers={self.numbers})"

    def _key(self, number: int, label: str) -> bytes | None:
        derived = self._derived.get(number)
        return None if derived is None else derived[label]


def generate(random32: bytes, number: int = 1) -> str:
    """The text of a new master key, as `MasterKeys.parse` reads it."""
    text = f"{number}:{random32.hex()}"
    MasterKeys.parse(text)
    return text


def _ciphers(derived: Mapping[int, Mapping[str, bytes]]) -> Mapping[int, AESGCM]:
    return MappingProxyType({number: AESGCM(keys["wrap"]) for number, keys in derived.items()})


def _derive_all(secret: bytes) -> Mapping[str, bytes]:
    # The master key is uniform, so a salt would add nothing (RFC 5869 §3.1); the label keeps the uses apart.
    return {
        label: HKDF(SHA256(), KEY_BYTES, salt=None, info=f"session-ledger/1/{label}".encode()).derive(secret)
        for label in LABELS
    }


def _parse_entry(place: int, entry: str) -> tuple[int, bytes]:
    found = _ENTRY.fullmatch(entry)
    if not found:
        msg = f"entry {place} of the master key is not `number:64 hex digits`"
        raise ValueError(msg)
    number, secret = int(found[1] or 1), bytes.fromhex(found[2])
    if number > MAX_NUMBER:
        msg = f"entry {place} of the master key has a number above {MAX_NUMBER}"
        raise ValueError(msg)
    if _looks_typed(secret):
        msg = f"entry {place} of the master key is not random; make one with `openssl rand -hex 32`"
        raise ValueError(msg)
    return number, secret


def _looks_typed(secret: bytes) -> bool:
    """All zero, few different bytes, one half twice, or counting up or down (RFC 8725 §3.5)."""
    steps = {(b - a) % 256 for a, b in pairwise(secret)}
    half = len(secret) // 2
    return len(set(secret)) < _MIN_DISTINCT or len(steps) < _MIN_DISTINCT // 2 or secret[:half] == secret[half:]
