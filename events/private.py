"""Private rows: what is known of people, kept beside the log so that it can be deleted while the log still verifies."""

import hashlib
import ipaddress
from base64 import urlsafe_b64encode
from functools import lru_cache

import msgspec

SALT_BYTES = 16
CONTEXT = 1
"""Kind of row that expires by age (`CONTEXT_TTL`)."""
ACCOUNT = 2
"""Kind of row that lives as long as its subject, client or key."""


class Context(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a request came from: client address and user agent (cut to 512 characters by the door)."""

    ip: str = ""
    agent: str = ""


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    """What people typed, or what is secret even when wrapped. A fact uses the fields that it means."""

    name: str = ""
    password: str = ""
    """argon2id hash (PHC string) or one that was imported, never the password."""
    device: str = ""
    note: str = ""
    wrapped: str = ""
    """A private signing key, the secret of a webhook or of one-time codes; encrypted by the master key (base64url)."""
    secret: str = ""
    """base64url SHA-256 of a client's secret or of recovery codes, never they themselves. They are random, so nothing
    slower is needed."""
    external: str = ""
    """What an application calls a subject that it created."""
    url: str = ""
    """Where a webhook is sent to; such an address may hold a secret of its owner."""
    credential: str = ""
    """Id of a passkey, base64url."""
    public_key: str = ""
    """Public key of a passkey, base64url of its COSE form."""

    def __repr__(self) -> str:
        return "Account()"


_encode = msgspec.json.Encoder(order="sorted").encode
_CONTEXT = msgspec.json.Decoder(Context)
_ACCOUNT = msgspec.json.Decoder(Account)


def encode(data: Context | Account) -> bytes:
    """The bytes that are stored, and hashed as stored."""
    return _encode(data)


def decode_context(data: bytes | None) -> Context:
    """An expired or absent row reads as an empty context."""
    return Context() if data is None else _CONTEXT.decode(data)


def decode_account(data: bytes | None) -> Account:
    """An erased or absent row reads as an empty account."""
    return Account() if data is None else _ACCOUNT.decode(data)


def binding(salt: bytes, data: bytes) -> str:
    """What the event holds of a private row: base64url SHA-256(salt ‖ data), 43 characters."""
    return urlsafe_b64encode(hashlib.sha256(salt + data).digest())[:43].decode()


@lru_cache(maxsize=8192)
def packed_ip(ip: str) -> bytes | None:
    """4 or 16 bytes for the search column, None where there is no address."""
    try:
        return ipaddress.ip_address(ip).packed
    except ValueError:
        return None
