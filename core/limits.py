"""How often somebody may try: windows that count sign-ins and refreshes. Gives verdicts; knows no HTTP and no SQL."""

import hmac
import math
import time
import unicodedata
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter

from core.counters import Counters

LOGIN_PER_NETWORK = 300
LOGIN_PER_NETWORK_SECONDS = 60
"""All attempts, right or wrong: each costs a password hash. Enough for a company that signs in at nine."""
LOGIN_PER_ACCOUNT = 30
LOGIN_PER_ACCOUNT_SECONDS = 15 * 60
"""Attempts on one account from all networks that it has not signed in from."""
LOGIN_PER_BOTH = 10
LOGIN_PER_BOTH_SECONDS = 5 * 60
"""Attempts on one account from one network; a successful one gives them back."""
KNOWN_NETWORK_SECONDS = 30 * 24 * 3600
"""How long a network that signed in keeps its own budget, so that nobody elsewhere can lock its user out."""
REFRESH_PER_FAMILY = 64
"""In one window of a third of the leeway."""
REFRESH_PER_NETWORK_EACH_SECOND = 200
"""Times the seconds of the window: whole companies sit behind one address."""
PROOFS_PER_CLIENT = 20
"""Wrong secrets of one client from one network."""
PROOFS_PER_NETWORK = 100
"""Wrong secrets of whatever clients from one network."""
PROOFS_SECONDS = 5 * 60


@dataclass(frozen=True, slots=True)
class Throttled:
    """Too often; worth another try after so many seconds."""

    retry_after: int


class Limits:
    """The windows of one service: microseconds each in this process, a round trip each in a storage that is shared.

    `leeway` is the shortest leeway configured, in seconds: no refresh is asked to wait longer than a third of it (at
    least one second), or a throttled honest retry would come too late and look like a theft. `key` hides account names
    from the storage. Every window begins with its first attempt and never moves, however often somebody tries.
    """

    def __init__(self, *, enabled: bool, leeway: float, key: bytes, storage: Storage | None = None) -> None:
        self._enabled = enabled
        self._key = key
        self._windows = FixedWindowRateLimiter(storage or Counters())
        self._third = 0
        self.follow(leeway)
        self._network = _window("network", LOGIN_PER_NETWORK, LOGIN_PER_NETWORK_SECONDS)
        self._account = _window("account", LOGIN_PER_ACCOUNT, LOGIN_PER_ACCOUNT_SECONDS)
        self._both = _window("both", LOGIN_PER_BOTH, LOGIN_PER_BOTH_SECONDS)
        self._known = _window("known", 1, KNOWN_NETWORK_SECONDS)
        self._proofs = _window("proofs", PROOFS_PER_CLIENT, PROOFS_SECONDS)
        self._all_proofs = _window("all proofs", PROOFS_PER_NETWORK, PROOFS_SECONDS)

    def follow(self, leeway: float) -> None:
        """From now on this is the shortest leeway; windows that run begin anew where it changes them."""
        third = max(1, int(leeway // 3))
        if third != self._third:
            self._third = third
            self._family = _window("family", REFRESH_PER_FAMILY, third)
            self._refreshes = _window("refreshes", REFRESH_PER_NETWORK_EACH_SECOND * third, third)

    async def refresh(self, family: bytes, network: str) -> Throttled | None:
        """Count a refresh whose MAC is already verified. One family that runs wild does not use up its network."""
        if not self._enabled:
            return None
        return await self._count(self._family, family.hex()) or await self._count(self._refreshes, network)

    async def login(self, network: str, account: str) -> Throttled | None:
        """Count an attempt, before the password is looked at, so that parallel attempts cannot slip through."""
        if not self._enabled:
            return None
        name = self._hidden(account)
        refused = await self._count(self._network, network) or await self._count(self._both, network, name)
        if refused or not await self._windows.test(self._known, network, name):
            return refused
        return await self._count(self._account, name)

    async def logged_in(self, network: str, account: str) -> None:
        """Give back what this account used up from this network, and remember that it belongs there."""
        if not self._enabled:
            return
        name = self._hidden(account)
        await self._windows.clear(self._both, network, name)
        await self._windows.clear(self._known, network, name)
        await self._windows.hit(self._known, network, name)

    async def proof(self, network: str, client: str) -> Throttled | None:
        """Whether this network has given too many wrong secrets. Looks only: right ones cost nothing."""
        if not self._enabled:
            return None
        for window, who in ((self._proofs, (network, self._hidden(client))), (self._all_proofs, (network,))):
            if not await self._windows.test(window, *who):
                return await self._wait(window, *who)
        return None

    async def proof_failed(self, network: str, client: str) -> None:
        """Count a wrong secret, or a client that there is not."""
        if self._enabled:
            await self._windows.hit(self._proofs, network, self._hidden(client))
            await self._windows.hit(self._all_proofs, network)

    async def _count(self, window: RateLimitItem, *who: str) -> Throttled | None:
        if await self._windows.hit(window, *who):
            return None
        return await self._wait(window, *who)

    async def _wait(self, window: RateLimitItem, *who: str) -> Throttled:
        left = (await self._windows.get_window_stats(window, *who)).reset_time - time.time()
        return Throttled(min(window.get_expiry(), max(1, math.ceil(left))))

    def _hidden(self, account: str) -> str:
        """One key for all spellings of a name, so that case and look-alike forms share one budget."""
        folded = unicodedata.normalize("NFKC", account).casefold().strip()
        return hmac.digest(self._key, folded.encode("utf-8", "surrogatepass"), "sha256")[:16].hex()


def _window(name: str, amount: int, seconds: int) -> RateLimitItem:
    return RateLimitItemPerSecond(amount, seconds, namespace=name)
