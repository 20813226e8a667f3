"""What every fact has in common, and the bytes it is stored as. Knows no noun; those are in `family.py` and so on."""

from typing import ClassVar

import msgspec

MAX_BODY = 16 * 1024
"""Bytes of a stored body at most; a larger fact fails alone (design §3)."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Something that happened. Immutable, past tense, without personal data or secrets.

    `actor` is who caused it: `subject`, `staff:sub_…`, `client:NAME`, `policy`, `system` or `cli`.
    The ledger fills in the rest when it appends: `request` is our id of the request, `context` and `account`
    bind the private rows: base64url SHA-256(salt ‖ data).
    """

    TYPE: ClassVar[str]
    """Name in the catalogue, `noun.happened`."""
    CODE: ClassVar[int]
    """Number in the log's header; never reused, never renumbered."""

    actor: str
    request: str = ""
    context: str = ""
    account: str = ""


_encoder = msgspec.json.Encoder(order="sorted")
encode = _encoder.encode
"""Body bytes: compact JSON, sorted keys, integers only. Written once; the stored bytes are what is hashed."""
