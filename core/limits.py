"""How often somebody may try: windows that count sign-ins and refreshes. Gives verdicts; knows no HTTP and no SQL."""

import hmac
import math
import time
import unicodedata
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

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
MAX_COUNTERS = 100_000
"""In memory, about 30 MB. Beyond it the oldest windows are forgotten."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """Too often; worth another try after so many seconds."""

    retry_after: int


class Counters(Storage):
    """Fixed windows in this process.

    The library's own memory storage goes through all its keys in a thread a hundred times a second, and its memory has
    no bound: 50,000 keys cost a third of a core. Here a full table makes room when a key is added. Windows begin
    with their first count, so insertion order is nearly the order of expiry. Counts run on the monotonic clock.
    """

    STORAGE_SCHEME = None
    base_exceptions = ValueError

    def __init__(self, size: int = MAX_COUNTERS) -> None:
        super().__init__()
        self._size = size
        self._windows: dict[str, tuple[float, int]] = {}

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = time.monotonic()
        until, count = self._windows.get(key, (0.0, 0))
        if until <= now:
            self._windows.pop(key, None)
            until, count = now + expiry, 0
            if len(self._windows) >= self._size:
                self._make_room(now)
        self._windows[key] = (until, count + amount)
        return count + amount

    def get(self, key: str) -> int:
        until, count = self._windows.get(key, (0.0, 0))
        return count if until > time.monotonic() else 0

    def get_expiry(self, key: str) -> float:
        """Wall time in seconds, as the library wants it."""
        until, _ = self._windows.get(key, (0.0, 0))
        return time.time() + max(0.0, until - time.monotonic())

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    def _make_room(self, now: float) -> None:
        """Drop what has ended; where that frees less than a tenth, the oldest tenth too. Seldom, so cheap."""
        self._windows = {key: window for key, window in self._windows.items() if window[0] > now}
        for key in list(self._windows)[: max(0, len(self._windows) - self._size * 9 // 10)]:
            del self._windows[key]


class Limits:
    """The windows of one service. Synchronous, microseconds each; a shared storage would block for its round trip.

    `leeway` is the shortest leeway configured, in seconds: no refresh is asked to wait longer than a third of it (at
    least one second), or a throttled honest retry would come too late and look like a theft. `key` hides account names
    from the storage. Every window begins with its first attempt and never moves, however often somebody tries.
    """

    def __init__(self, *, enabled: bool, leeway: int, key: bytes, storage: Storage | None = None) -> None:
        self._enabled = enabled
        self._key = key
        self._windows = FixedWindowRateLimiter(storage or Counters())
        third = max(1, leeway // 3)
        self._family = _window("family", REFRESH_PER_FAMILY, third)
        self._refreshes = _window("refreshes", REFRESH_PER_NETWORK_EACH_SECOND * third, third)
        self._network = _window("network", LOGIN_PER_NETWORK, LOGIN_PER_NETWORK_SECONDS)
        self._account = _window("account", LOGIN_PER_ACCOUNT, LOGIN_PER_ACCOUNT_SECONDS)
        self._both = _window("both", LOGIN_PER_BOTH, LOGIN_PER_BOTH_SECONDS)
        self._known = _window("known", 1, KNOWN_NETWORK_SECONDS)

    def refresh(self, family: bytes, network: str) -> Throttled | None:
        """Count a refresh whose MAC is already verified. One family that runs wild does not use up its network."""
        if not self._enabled:
            return None
        return self._count(self._family, family.hex()) or self._count(self._refreshes, network)

    def login(self, network: str, account: str) -> Throttled | None:
        """Count an attempt, before the password is looked at, so that parallel attempts cannot slip through."""
        if not self._enabled:
            return None
        name = self._hidden(account)
        refused = self._count(self._network, network) or self._count(self._both, network, name)
        if refused or not self._windows.test(self._known, network, name):
            return refused
        return self._count(self._account, name)

    def logged_in(self, network: str, account: str) -> None:
        """Give back what this account used up from this network, and remember that it belongs there."""
        if not self._enabled:
            return
        name = self._hidden(account)
        self._windows.clear(self._both, network, name)
        self._windows.clear(self._known, network, name)
        self._windows.hit(self._known, network, name)

    def _count(self, window: RateLimitItem, *who: str) -> Throttled | None:
        if self._windows.hit(window, *who):
            return None
        left = self._windows.get_window_stats(window, *who).reset_time - time.time()
        return Throttled(min(window.get_expiry(), max(1, math.ceil(left))))

    def _hidden(self, account: str) -> str:
        """One key for all spellings of a name, so that case and look-alike forms share one budget."""
        folded = unicodedata.normalize("NFKC", account).casefold().strip()
        return hmac.digest(self._key, folded.encode("utf-8", "surrogatepass"), "sha256")[:16].hex()


def _window(name: str, amount: int, seconds: int) -> RateLimitItem:
    return RateLimitItemPerSecond(amount, seconds, namespace=name)
