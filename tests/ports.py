"""Ports for servers of tests and benches, each handed out once in a long time, to whichever process asks.

Asking the system for any free one is not enough: between that and the moment when a server listens, which may be
seconds, another process is given the same, or a connection uses it. Servers that share a port on purpose (SO_REUSEPORT)
would then both answer at it.
"""

import fcntl
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

FIRST, LAST = 12_000, 32_000
"""Below those that systems give to connections."""


def free_port(following: int = 0) -> int:
    """A port of this machine that nobody listens on, and that nobody else is given for thousands of calls.

    With `following`, so are as many after it: for programs that take more than they are told.
    """
    with (Path(tempfile.gettempdir()) / "session-ledger-test-ports").open("a+") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        turn.seek(0)
        last = int(turn.read() or random.randrange(FIRST, LAST))
        port = next(number for number in _after(last) if all(map(_is_free, range(number, number + following + 1))))
        turn.truncate(0)
        turn.write(str(port + following))
    return port


def _after(last: int) -> Iterator[int]:
    return (FIRST + (last + step - FIRST) % (LAST - FIRST) for step in count(1))


def _is_free(port: int) -> bool:
    with socket.socket() as one, suppress(OSError):
        one.bind(("127.0.0.1", port))
        return True
    return False
