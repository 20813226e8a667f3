"""Answering on a port until a signal comes: granian's embedded server and its end. Knows no route, no ledger."""

import asyncio
import errno
import gc
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from core.start import StartError

IDLE_SECONDS: Final = 65
"""How long a connection may be silent, and how long the head of a request may take: granian has one clock for both.
Longer than proxies keep idle connections (nginx: 60), so that none of them sends into a connection that ends."""
HEAD_BYTES: Final = 64 * 1024
"""What is buffered of a request's head. The edge refuses sooner; this is for what never gets there."""
CONNECTIONS: Final = 4096
SPARE_DESCRIPTORS: Final = 128
"""For the database, the log and the rest of the process."""
BACKLOG: Final = 1024
DRAIN_SECONDS: Final = 2.5
"""How long requests under way may take when the service stops. A connection that hangs is cut then."""
CUT_SECONDS: Final = 2.0
"""How long they may go on before they are refused: what the server cuts gets a 500 that says nothing."""
OPEN_SECONDS: Final = 5.0
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_WHY: Final = {
    errno.EADDRINUSE: "is in use: stop what uses it, or set {setting} to another port",
    errno.EACCES: "may not be used by this user: set {setting} to a port above 1023",
    errno.EADDRNOTAVAIL: "is not on this machine: set LEDGER_HOST to one of its addresses",
}


def claim(host: str, port: int, setting: str = "LEDGER_PORT") -> str:
    """The numeric address of `host`, once the port proved to be free. Raises StartError."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise StartError(f"LEDGER_HOST must be an address of this machine, and {host} is none.") from None
    with closing(socket.socket(family, kind, protocol)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            probe.listen()
        except OSError as error:
            why = _WHY.get(error.errno or 0, f"cannot be used ({error.strerror})").format(setting=setting)
            raise StartError(f"Port {port} of {host} {why}.") from None
    return str(where[0])


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop for `asyncio.Runner`: uvloop's where it is installed (not on Windows)."""
    try:
        import uvloop  # noqa: PLC0415 - an optional dependency
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def told_to_stop() -> asyncio.Event:
    """Set by Ctrl-C or SIGTERM, from now on. Further signals change nothing: stopping is bounded."""
    stop = asyncio.Event()
    for one in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    return stop


async def serve(
    app: Any,
    address: str,
    port: int,
    stop: asyncio.Event,
    ready: Callable[[], None],
    cut: Callable[[], None] = lambda: None,
) -> bool:
    """Answer requests until `stop` is set, then end those under way; False where the server ended by itself.

    `ready` is called when the port answers, `cut` when requests under way are to be refused. After this returns nothing
    new is accepted.
    """
    _settle()
    server = Server(
        app,
        address,
        port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=_connections(),
        http1_settings=HTTP1Settings(header_read_timeout=IDLE_SECONDS * 1000, max_buffer_size=HEAD_BYTES),
        log_enabled=False,
    )
    running = asyncio.create_task(server.serve(), name="server")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    opening = asyncio.create_task(_opened(address, port), name="opening")
    await asyncio.wait({running, stopping, opening}, return_when=asyncio.FIRST_COMPLETED)
    if opening.done() and opening.result():
        ready()
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    asked = stop.is_set()
    server.stop()  # type: ignore[no-untyped-call]
    _, slow = await asyncio.wait({running}, timeout=CUT_SECONDS)
    if slow:
        cut()
    _, hanging = await asyncio.wait({running}, timeout=DRAIN_SECONDS - CUT_SECONDS)
    if hanging:
        # The loop ends with this task undone, and the server reports into a loop that is not there any more.
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    for task in (stopping, opening):
        task.cancel()
    return asked


def _settle() -> None:
    """Whatever exists now stays for as long as we serve, so the garbage collector need not look at it again.

    It would go through all of it, 80 ms each time, once in a few hundred refreshes. What a batch makes is gone with it,
    so looking for circles once in 700 new objects, as is usual, finds nothing in a batch of 256.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 50, 50)


async def _opened(address: str, port: int) -> bool:
    """Whether the port answered within `OPEN_SECONDS`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(OPEN_SECONDS):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(address, port)
                    writer.close()
                    return True
                await asyncio.sleep(0.01)
    return False


def _connections() -> int:
    """How many connections may be open: as many as there are descriptors for, after asking for more of those."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + SPARE_DESCRIPTORS
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(SPARE_DESCRIPTORS, most - SPARE_DESCRIPTORS)
