"""From a change to the rows that store it: where it came from is filled in, what is private is bound and put beside."""

import os
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from events import action, fact, ids, merkle, private, subject
from events.decision import Change, Origin


class TooLarge(ValueError):
    """A fact's body is over `fact.MAX_BODY`."""


class Seal:
    """Fills into the facts of one command where it came from, and what binds their private rows."""

    __slots__ = ("_context", "_ip", "_request", "_salts")

    def __init__(self, origin: Origin, salts: Iterator[bytes]) -> None:
        self._request, self._salts = origin.request, salts
        self._context = private.encode(origin.context) if origin.context else None
        self._ip = private.packed_ip(origin.context.ip) if origin.context else None

    def stated(self, position: int, change: Change, beside: list[tuple[Any, ...]]) -> fact.Fact:
        """The fact as it is stored; its private rows are put `beside`."""
        context = account = ""
        if self._context is not None:
            context = self._bind(beside, position, private.CONTEXT, self._context, self._ip)
        if change.account is not None:
            account = self._bind(beside, position, private.ACCOUNT, private.encode(change.account), None)
        return replace(change.fact, request=self._request, context=context, account=account)

    def bare(self, change: Change) -> fact.Fact:
        """The fact as it is stored where nothing may stand beside it."""
        return replace(change.fact, request=self._request)

    def _bind(self, beside: list[tuple[Any, ...]], position: int, kind: int, data: bytes, ip: bytes | None) -> str:
        salt = next(self._salts)
        beside.append((position, kind, salt, data, ip))
        return private.binding(salt, data)


def fresh_salts(expected: int) -> Iterator[bytes]:
    """Fresh salts without end, drawn so many at a time.

    Each draw lets go of the interpreter's lock, and the event loop may keep it for as long as it is busy.
    """
    while True:
        drawn = os.urandom(private.SALT_BYTES * (expected or 1))
        yield from (drawn[at : at + private.SALT_BYTES] for at in range(0, len(drawn), private.SALT_BYTES))


def event_row(position: int, stream: bytes, version: int, at: int, stated: fact.Fact) -> tuple[Any, ...]:
    """The row of one event in the order of its columns, its leaf last. Raises TooLarge."""
    body = fact.encode(stated)
    if len(body) > fact.MAX_BODY:
        msg = f"{stated.TYPE} has a body of {len(body)} bytes; {fact.MAX_BODY} are allowed"
        raise TooLarge(msg)
    leaf = merkle.leaf_hash(at, stream, version, stated.CODE, body)
    return (position, stream, version, stated.CODE, at, *derived(stated), body, leaf)


DERIVED = ("subject", "client", "actor", "request", "jti", "action")
"""The columns that the audit log searches, in the order of their table."""


def derived(stated: fact.Fact) -> tuple[Any, ...]:
    """What stands in the columns `DERIVED`, all of it taken from the fact."""
    named = getattr(stated, "subject", "")
    jti = getattr(stated, "jti", "")
    part_of = getattr(stated, "action", "")
    return (
        ids.parse(subject.PREFIX, named) if named else None,
        getattr(stated, "client", "") or None,
        stated.actor,
        urlsafe_b64decode(stated.request) if stated.request else None,
        urlsafe_b64decode(jti + "==") if jti else None,
        ids.parse(action.PREFIX, part_of) if part_of else None,
    )
