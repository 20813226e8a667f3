"""Which master keys the living processes know, and the one that all of them sign with. A table beside the log.

A new key signs when every living process would sign with it first, and so knows it. What a process announces and what
it reads happens in one transaction of the writer, one process after the other: nobody starts without the key that
signs, and no key signs that somebody who started does not know.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from events import schema

_P, _HEAD = schema.processes.c, schema.head.c


class Process(NamedTuple):
    """A process that lives, as it said last."""

    holder: str
    numbers: tuple[int, ...]
    """Of its master keys, the one that it would sign with first."""
    signs: int
    """Number of the key that it signs with."""


class Signing(NamedTuple):
    """The master key that everybody signs with; 0 before the first start."""

    number: int
    since: int
    """Microseconds since the epoch."""


class Agreement(NamedTuple):
    """What holds after an announcement."""

    signing: Signing
    others: tuple[Process, ...]


def announce(holder: str, numbers: tuple[int, ...], now: int, until: int) -> Callable[[Connection], Agreement]:
    """Say that `holder` lives until then (microseconds) and knows these keys; settle which one signs.

    Nothing is said for one that does not know the key that signs. A key that was revoked never begins to sign.
    """

    def work(connection: Connection) -> Agreement:
        connection.execute(delete(schema.processes).where((_P.until <= now) | (_P.holder == holder)))
        others = living(connection, now)
        signing = _settled(connection, {numbers[0], *(one.numbers[0] for one in others)}, now)
        if signing.number in numbers:
            text = " ".join(map(str, numbers))
            row = {"holder": holder, "numbers": text, "signs": signing.number, "until": until}
            connection.execute(insert(schema.processes).values(row))
        return Agreement(signing, others)

    return work


def _settled(connection: Connection, wanted: set[int], now: int) -> Signing:
    """The key that signs: another than before only where all want the same one."""
    before = signing_of(connection)
    if len(wanted) != 1 or before.number in wanted or wanted <= revoked(connection):
        return before
    after = Signing(wanted.pop(), now)
    connection.execute(update(schema.head).values(signing_key=after.number, signing_since=after.since))
    return after


def living(connection: Connection, now: int) -> tuple[Process, ...]:
    """Who said that it lives, and whose time is not over."""
    rows = connection.execute(select(_P.holder, _P.numbers, _P.signs).where(_P.until > now).order_by(_P.holder))
    return tuple(Process(holder, tuple(map(int, numbers.split())), signs) for holder, numbers, signs in rows)


def signing_of(connection: Connection) -> Signing:
    """The key that everybody signs with."""
    return Signing(*connection.execute(select(_HEAD.signing_key, _HEAD.signing_since)).one())


def revoked(connection: Connection) -> set[int]:
    """Numbers of the keys whose refresh tokens are refused."""
    told = connection.execute(select(schema.log.c.revoked_keys)).scalar_one_or_none()
    return {int(number) for number in (told or "").split()}


def secrets(connection: Connection, now: int) -> Counter[int]:
    """How many secrets of webhooks each key wraps; microseconds."""
    hook = schema.webhooks.c
    kept = connection.execute(select(hook.wrapped, hook.wrapped_by, hook.before, hook.before_by, hook.before_until))
    found: Counter[int] = Counter()
    for wrapped, by, before, before_by, until in kept:
        found.update([by] if wrapped else [])
        found.update([before_by] if before and now < until else [])
    return found


def leave(holder: str) -> Callable[[Connection], None]:
    """The process ends: nobody need wait for it."""

    def work(connection: Connection) -> None:
        connection.execute(delete(schema.processes).where(_P.holder == holder))

    return work
