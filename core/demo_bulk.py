"""The demonstration's fast path: sessions by the million, to see how a ledger of that size feels.

No rule is asked: the facts are put together here as the rules would state them, folded by the same folds, and hashed
into the same tree, so that `verify` and `rebuild` find nothing. Four sessions for each person; three of four have
rotated once; nobody has stolen anything. For a story, see core/demo.py.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, update

from core import token
from core.master import MasterKeys
from core.policy import SECOND, WEB, Policy
from core.presence import Presence
from core.token import Token
from core.verdict import HOLDER
from events import commit, family, ids, pouring, private, schema, subject
from events.fact import Fact, encode
from events.family import Family, TokenIssued, TokenRotated
from events.merkle import Tree, leaf_hash
from events.private import Account, Context
from events.sealing import derived
from events.store import Store
from events.subject import Subject, SubjectRegistered

EACH = 4
"""Sessions of one person; all but the first of them have rotated."""
AT_ONCE = 20_000
"""Sessions in one transaction, with all that happened to them."""
_RANDOM = 64
"""Bytes of chance for each event: what ids, nonce, request and salt are cut from."""


class Plan(NamedTuple):
    """What is written. The same plan under the same master key is the same sessions."""

    families: int
    start: int
    end: int
    """Microseconds; later than all that the ledger holds, and not later than now."""
    seed: bytes
    """At most 64 bytes; who knows it can make the tokens."""
    policy: Policy
    presences: Sequence[Presence]
    password: str
    """Hash of the password that everybody has."""

    @property
    def span(self) -> int:
        """Microseconds that each transaction is told of: sessions begin in the first half, and rotate in the other."""
        return (self.end - self.start) // -(-self.families // AT_ONCE)

    def began(self, number: int) -> int:
        """When a session began."""
        turn, place = divmod(number, AT_ONCE)
        span = self.span
        return self.start + turn * span + place * (span // (2 * AT_ONCE))

    def chance(self, number: int, what: bytes) -> bytes:
        """Random bytes for this session and use."""
        return blake2b(number.to_bytes(8), key=self.seed, person=what, digest_size=_RANDOM).digest()

    def subject(self, number: int) -> bytes:
        """Whose session this is."""
        first = number - number % EACH
        return ids.new_id(self.began(first), self.chance(first, b"person")[: ids.RANDOM_BYTES])

    def token(self, number: int, key: int) -> Token:
        """The session's newest token, under the master key of this number."""
        chance = self.chance(number, b"begin")
        nonce = chance[ids.RANDOM_BYTES : ids.RANDOM_BYTES + token.NONCE_BYTES]
        generation = 2 if number % EACH else 1
        return Token(key, ids.new_id(self.began(number), chance[: ids.RANDOM_BYTES]), nonce, generation)


class Rows:
    """The rows of one transaction, positions counted from `size`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.events: list[tuple[Any, ...]] = []
        self.private: list[tuple[Any, ...]] = []
        self.subjects: list[Subject] = []
        self.families: list[Family] = []

    def add(self, stream: bytes, version: int, at: int, stated: Fact, *beside: tuple[int, bytes, bytes, Any]) -> None:
        """One event and its private rows, each of kind, salt, data and address."""
        position = self.size + len(self.events)
        self.private += [(position, *row) for row in beside]
        body, searched = encode(stated), derived(stated)
        leaf = leaf_hash(at, stream, version, stated.CODE, body)
        self.events.append((position, stream, version, stated.CODE, at, *searched, body, leaf))

    def write(self, connection: Connection) -> None:
        """All of them and the head, in the caller's transaction. Raises RuntimeError where somebody else wrote."""
        head = commit.lock_head(connection)
        if head.size != self.size or head.last_at > self.events[0][4]:
            raise RuntimeError("somebody else writes this ledger")
        tree = Tree(head.size, head.frontier)
        tree.extend(event[-1] for event in self.events)
        pouring.pour(connection, schema.subjects, [*map(msgspec.structs.astuple, self.subjects)])
        pouring.pour(connection, schema.families, [*map(msgspec.structs.astuple, self.families)])
        pouring.pour(connection, schema.event_private, self.private)
        pouring.pour(connection, schema.events, self.events)
        after = {"size": tree.size, "frontier": tree.frontier(), "last_at": self.events[-1][4]}
        connection.execute(update(schema.head).values(after))


class Writing:
    """Makes the rows. What is the same for many events is made once."""

    def __init__(self, plan: Plan, master: MasterKeys) -> None:
        self._plan = plan
        self._key = master.current
        self._tag_key = master.tag_key(master.current) or b""
        contexts = (Context(one.ip, one.agent) for one in plan.presences)
        self._contexts = [(private.encode(one), private.packed_ip(one.ip)) for one in contexts]

    def rows(self, first: int, end: int, size: int) -> Rows:
        """Of the sessions first ≤ number < end, in order of time: all begin, then those rotate that do."""
        rows, owner = Rows(size), ""
        begun: list[tuple[int, str, Family]] = []
        for number in range(first, end):
            if number % EACH == 0:
                owner = self._register(rows, number)
            begun.append((number, owner, self._begin(rows, number, owner)))
        for number, owner, state in begun:
            rows.families.append(self._rotate(rows, number, owner, state) if number % EACH else state)
        return rows

    def _register(self, rows: Rows, number: int) -> str:
        plan, stream, at = self._plan, self._plan.subject(number), self._plan.began(number)
        chance, named = plan.chance(number, b"registered"), ids.to_text(subject.PREFIX, stream)
        account = Account(name=f"person-{number // EACH}", password=plan.password)
        salt, data = chance[16:32], private.encode(account)
        bound = private.binding(salt, data)
        stated = SubjectRegistered(actor="cli", subject=named, request=_request(at, chance), account=bound)
        rows.subjects.append(subject.begin(stream, at, stated, account))
        rows.add(stream, 1, at, stated, (private.ACCOUNT, salt, data, None))
        return named

    def _begin(self, rows: Rows, number: int, owner: str) -> Family:
        plan, at, policy = self._plan, self._plan.began(number), self._plan.policy
        new, chance = plan.token(number, self._key), plan.chance(number, b"began")
        presence = plan.presences[number % len(plan.presences)]
        data, ip = self._contexts[number % len(plan.presences)]
        salt = chance[16:32]
        stated = TokenIssued(
            actor=HOLDER,
            subject=owner,
            client=WEB,
            key=new.key,
            nonce=new.nonce_hash,
            carriage="body",
            jti=_jti(at, chance),
            exp=at // SECOND + policy.access_ttl,
            idle_until=at + policy.idle_ttl * SECOND,
            ends_at=at + policy.absolute_ttl * SECOND,
            auth_time=at // SECOND,
            amr="pwd",
            device_tag=presence.device_tag(self._tag_key, new.family),
            network_tag=presence.network_tag(self._tag_key, new.family),
            request=_request(at, chance),
            context=private.binding(salt, data),
        )
        rows.add(new.family, 1, at, stated, (private.CONTEXT, salt, data, ip))
        return family.begin(new.family, at, stated, _NOTHING)

    def _rotate(self, rows: Rows, number: int, owner: str, state: Family) -> Family:
        plan, policy = self._plan, self._plan.policy
        at, chance = state.started_at + plan.span // 2, plan.chance(number, b"rotated")
        data, ip = self._contexts[number % len(plan.presences)]
        salt = chance[16:32]
        stated = TokenRotated(
            actor=HOLDER,
            subject=owner,
            client=WEB,
            generation=2,
            jti=_jti(at, chance),
            exp=at // SECOND + policy.access_ttl,
            idle_until=at + policy.idle_ttl * SECOND,
            request=_request(at, chance),
            context=private.binding(salt, data),
        )
        rows.add(state.id, 2, at, stated, (private.CONTEXT, salt, data, ip))
        return family.evolve(state, at, stated, _NOTHING)


_NOTHING = Account()


def _jti(at: int, chance: bytes) -> str:
    return urlsafe_b64encode(ids.new_id(at, chance[: ids.RANDOM_BYTES]))[:22].decode()


def _request(at: int, chance: bytes) -> str:
    return urlsafe_b64encode((at // 1000).to_bytes(6) + chance[9:15]).decode()


def write(store: Store, master: MasterKeys, plan: Plan, size: int, done: Any = lambda _families: None) -> int:
    """Write the plan behind the `size` events that there are, one transaction after the other; events afterwards.

    `done` is told how many sessions are written. The next transaction is put together while the last is written. If we
    crash inside, there are fewer sessions, and all is in order.
    """
    writing, last = Writing(plan, master), None
    with ThreadPoolExecutor(1, thread_name_prefix="bulk") as thread:
        for first in range(0, plan.families, AT_ONCE):
            rows = writing.rows(first, min(first + AT_ONCE, plan.families), size)
            size += len(rows.events)
            if last is not None:
                last.result()
                done(first)
            last = thread.submit(store.transact, rows.write)
        if last is not None:
            last.result()
    done(plan.families)
    return size
