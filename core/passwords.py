"""Hashing passwords: argon2id in a few threads of its own, so that a storm of sign-ins starves nothing else."""

import asyncio
import os
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import argon2

from core import imported
from core.password import CONTEXT_WORDS, Banned, normalise

MEMORY_KIB: Final = 65_536
TIME_COST: Final = 1
"""64 MiB in one pass: about 75 ms on one core of the machine it was chosen on, where three passes took 160 ms. More
than what OWASP and ASVS 11.4.2 ask for (47,104 KiB in one pass); memory is what costs an attacker."""
WAITING: Final = 64
"""Passwords that may wait for a thread: with one thread, the last of them waits for about 5 s."""
NICENESS: Final = 10
"""Hashing yields the processor to everything else."""
RETRY_AFTER: Final = 2

_COMMON: Final = Path(__file__).with_name("common_passwords.txt")
_T = TypeVar("_T")


class Busy(Exception):
    """Too many passwords are being checked; `retry_after` in seconds."""

    retry_after: Final = RETRY_AFTER


def load_banned(words: Iterable[str] = ()) -> Banned:
    """The list that is shipped, with the context words of the product and those given (organisation, host)."""
    return Banned(_common(), (*CONTEXT_WORDS, *words))


@cache
def _common() -> frozenset[str]:
    lines = _COMMON.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


class Hasher:
    """argon2id (RFC 9106), parallelism 1. `hash` and both `verify…` raise `Busy` at once when the queue is full."""

    def __init__(
        self,
        *,
        memory_kib: int = MEMORY_KIB,
        time_cost: int = TIME_COST,
        threads: int | None = None,
        waiting: int = WAITING,
    ) -> None:
        self._argon2 = argon2.PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        # No password hashes to this (chance 2^-256), and the attempt costs what every other costs.
        self._nobody = f"$argon2id$v=19$m={memory_kib},t={time_cost},p=1${_text(bytes(16))}${_text(bytes(32))}"
        size = threads or max(1, (os.cpu_count() or 1) // 2)
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="argon2", initializer=_yield_to_others)
        self._limit = size + waiting
        self._taken = 0

    async def hash(self, password: str) -> str:
        """The PHC string. Raises ValueError for what `core.password.check` refuses as too long or no text."""
        data = normalise(password)
        if data is None:
            msg = "this password cannot be hashed"
            raise ValueError(msg)
        return await self._run(lambda: self._argon2.hash(data))

    async def verify(self, phc: str, password: str) -> bool:
        """Whether it is the password. An empty or broken hash, or no password at all, costs the same and is False."""
        data = normalise(password)
        return await self._run(lambda: self._matches(phc or self._nobody, data))

    async def verify_nobody(self, password: str) -> bool:
        """False, after as long as `verify` takes: for names that nobody has."""
        return await self.verify(self._nobody, password)

    def needs_rehash(self, phc: str) -> bool:
        """Whether this hash was made with other parameters than today's, or in another way."""
        return imported.is_foreign(phc) or self._argon2.check_needs_rehash(phc)

    @property
    def waiting(self) -> int:
        """Passwords being hashed or waiting for it."""
        return self._taken

    def close(self) -> None:
        """Ends the threads; what still waits is cancelled."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _matches(self, phc: str, data: bytes | None) -> bool:
        if imported.is_foreign(phc):
            return imported.matches(phc, data or b"") and data is not None
        try:
            return self._argon2.verify(phc, data or b"") and data is not None
        except argon2.exceptions.VerifyMismatchError:
            return False
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return phc != self._nobody and self._matches(self._nobody, data)

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._taken >= self._limit:
            raise Busy
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            # A caller that goes away while waiting takes its work with it; what runs already runs to its end.
            self._taken -= 1


def _text(data: bytes) -> str:
    return b64encode(data).rstrip(b"=").decode()


def _yield_to_others() -> None:
    """Lowers this thread's priority; only Linux has one for each thread. argon2 does not hold the interpreter lock."""
    if sys.platform == "linux":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        except OSError:
            return
