"""Use cases of proofs that come with requests: of a key (RFC 9449), and of a client (RFC 7523). Knows no HTTP.

At routes that give tokens what was used is written with the ledger's batch, so one process or start never takes what
another has taken. At routes that only read, each process remembers by itself.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from core import client_assertion, dpop
from core.dpop import Asked, Flaw, Proof
from core.master import MasterKeys
from core.once import spend
from core.policy import SECOND
from events import uses
from events.client import Client
from events.decision import Streams, Use
from events.ledger import Ledger
from events.writer import Writer

MOST_SEEN: Final = 65_536
"""Proofs that one process remembers, about 200 bytes each; the oldest go first, some before their time in a flood."""


class Seen:
    """What this process took, for as long as it could come again."""

    def __init__(self, most: int = MOST_SEEN) -> None:
        self._most = most
        self._until: OrderedDict[bytes, int] = OrderedDict()

    def take(self, use: Use, now: int) -> bool:
        """Whether it is new; from now on it is not. `now` in microseconds."""
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        if self._until.get(use.value, 0) > now:
            return False
        self._until[use.value] = use.until
        self._until.move_to_end(use.value)
        if len(self._until) > self._most:
            self._until.popitem(last=False)
        return True


class Proofs:
    """Checks what proves a key or a client."""

    def __init__(self, ledger: Ledger, writer: Writer, master: MasterKeys, wall: Callable[[], float]) -> None:
        self._ledger = ledger
        self._writer = writer
        self._master = master
        self._wall = wall
        self._seen = Seen()

    def nonce(self) -> str:
        """What a proof must hold now (RFC 9449 §8)."""
        return dpop.nonce(self._key(self._master.current), self._wall())

    def of_key(self, text: str, method: str, url: str) -> Proof | Flaw:
        """A proof at a route that gives tokens: right, with our nonce. Whether it is new is the ledger's to say."""
        return dpop.check(text, Asked(method, url, self._wall(), is_nonce=self._is_nonce))

    def of_token(self, text: str, method: str, url: str, token: str, jkt: str) -> Flaw | None:
        """What is wrong with the proof that came with a bound access token; None for nothing."""
        now = self._wall()
        proof = dpop.check(text, Asked(method, url, now, token))
        if isinstance(proof, Flaw):
            return proof
        if proof.jkt != jkt:
            return Flaw.BINDING
        return None if self._seen.take(proof.use, int(now * SECOND)) else Flaw.REPLAYED

    async def of_client(self, text: str, client: Client, audience: str) -> bool:
        """Whether this assertion proves the client, and had not done so before. Raises Unavailable."""
        use = client_assertion.check(text, client, audience, self._wall())
        return use is not None and await self.spend(use)

    async def spend(self, use: Use) -> bool:
        """Use a value up where no other decision does it: whether it was new. Raises Unavailable."""
        new: bool = await self._ledger.submit(Streams(uses=frozenset((use.value,))), spend(use))
        return new

    async def forget(self) -> int:
        """The job: delete what is too old to come again; answers how many that were. Raises Unavailable."""
        now, gone = int(self._wall() * SECOND), 0
        while deleted := await self._writer.maintain(uses.forget(now)):
            gone += deleted
        return gone

    def _is_nonce(self, text: str) -> bool:
        return dpop.is_nonce(map(self._key, self._master.numbers), text, self._wall())

    def _key(self, number: int) -> bytes:
        return self._master.nonce_key(number) or b""
