"""Windows that all processes share: in a Redis or Valkey, and in this process for as long as that does not answer."""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from limits.aio.storage import RedisStorage, Storage

from core.counters import Counters
from core.start import StartError

if TYPE_CHECKING:
    from redis.asyncio import BlockingConnectionPool

ANSWER = 0.25
"""Seconds that a count may take, its connection included. A sign-in waits no longer for it."""
PAUSE = 1.0
"""Seconds after a failure in which nobody asks again: an outage costs one request a second its 250 ms, not each."""
WARN: Final = 60.0
CONNECTIONS: Final = 16
"""Of one process; who finds all in use waits, within `ANSWER`."""

T = TypeVar("T")


class SharedCounters(Storage):
    """A storage that never fails: what the shared one does not answer in time is counted here instead.

    Then a budget is as large as there are processes, for so long; nobody is refused and no sign-in fails because of it.
    """

    STORAGE_SCHEME = None
    base_exceptions = ValueError

    def __init__(self, url: str, key: bytes) -> None:
        """`key` keeps ledgers that share a server apart. Connects when something is counted. Raises StartError."""
        super().__init__()
        self._pool = connections(url)
        name = hmac.digest(key, b"limits", "sha256")[:6].hex()
        through: Any = {"connection_pool": self._pool, "implementation": "redispy"}
        self._there = RedisStorage("redis://", key_prefix=f"session-ledger:{name}", **through)
        self._here = Counters()
        theirs: Any = self._there.base_exceptions
        self._faults: tuple[type[Exception], ...] = (*theirs, OSError, ValueError)
        self._asked_again = self._told_again = float("-inf")

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return await self._either(lambda one: one.incr(key, expiry, amount))

    async def get(self, key: str) -> int:
        return await self._either(lambda one: one.get(key))

    async def get_expiry(self, key: str) -> float:
        return await self._either(lambda one: one.get_expiry(key))

    async def clear(self, key: str) -> None:
        await self._either(lambda one: one.clear(key))

    async def check(self) -> bool:
        """Whether the shared storage answers; a warning where it does not."""
        await self.get("start")
        return time.monotonic() >= self._asked_again

    async def reset(self) -> int | None:
        return await self._either(lambda one: one.reset())

    async def close(self) -> None:
        """Give the connections up."""
        await self._pool.aclose()

    async def _either(self, ask: Callable[[Storage], Awaitable[T]]) -> T:
        if time.monotonic() >= self._asked_again:
            try:
                async with asyncio.timeout(ANSWER):
                    return await ask(self._there)
            except self._faults as error:
                self._failed(error)
        return await ask(self._here)

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        self._asked_again = now + PAUSE
        if now >= self._told_again:
            self._told_again = now + WARN
            structlog.get_logger().warning("limits_not_shared", error=type(error).__name__)


def connections(url: str) -> "BlockingConnectionPool":
    """To `url`, none of them open yet. Raises StartError, which holds nothing of it."""
    try:
        from redis.asyncio import BlockingConnectionPool  # noqa: PLC0415 - an optional dependency
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError:
        raise StartError("LEDGER_LIMITS_URL needs a package more: pip install 'session-ledger[redis]'.") from None
    once = Retry(NoBackoff(), 1)  # a connection that the server closed while nobody used it is no failure
    try:
        pool = BlockingConnectionPool.from_url(
            url.replace("valkey", "redis", 1), max_connections=CONNECTIONS, timeout=None, retry=once
        )
        pool.make_connection()  # type: ignore[no-untyped-call]  # looks at the options, opens nothing
    except (TypeError, ValueError):
        raise StartError(
            "LEDGER_LIMITS_URL cannot be used: check its port, its database number and what stands behind its ?."
        ) from None
    return pool
