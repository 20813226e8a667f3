"""A service from its checks to its end, in this process or in several. Loads the web half, which takes a second."""

import asyncio
import signal
import sys
from collections.abc import Callable

import structlog

from app import create_app
from core import checks, journal, serving, start
from core.start import FirstAdmin, StartError
from events.stores import store_at
from service import Service, prepare
from settings import Settings
from terminal.workers import Workers


def serve(settings: Settings) -> bool:
    """Check, start, answer until Ctrl-C or SIGTERM, stop; False where the server ended by itself. Raises StartError."""
    with checks.sole_service(store_at(settings.database_url)):
        journal.configure_logging(settings.log_level, as_json=not sys.stdout.isatty())
        service = prepare(settings)
        address = serving.claim(settings.host, settings.port)
        if settings.metrics_port is not None:
            serving.claim(settings.host, settings.metrics_port, "LEDGER_METRICS_PORT")
        if settings.workers > 1:
            # What a first start does, and shows once, is done here: no two of the processes would agree on it.
            first_admin = asyncio.run(_begun(service))
            Workers(settings, address).run(lambda: _greet(settings, address, first_admin))
            return True
        return run(service, address, lambda: _greet(settings, address, service.first_admin))


def run(service: Service, address: str, ready: Callable[[], None]) -> bool:
    """Serve in this process until it is told to stop; `ready` is called when the port answers.

    False where the server ended by itself. Raises StartError, also for a log that turned out to be another one.
    """
    with asyncio.Runner(loop_factory=serving.new_loop) as runner:
        answered = runner.run(_served(service, address, ready))
    if service.given_up:
        raise StartError(service.given_up)
    return answered


async def _begun(service: Service) -> FirstAdmin | None:
    await service.start()
    await service.stop()
    return service.first_admin


async def _served(service: Service, address: str, ready: Callable[[], None]) -> bool:
    service.stopping = stop = serving.told_to_stop()
    await service.start()
    _reread_on_hangup(service)
    edge = create_app(service)
    try:
        return await serving.serve(edge, address, service.settings.port, stop, ready, edge.cut)
    finally:
        await service.stop()


def _reread_on_hangup(service: Service) -> None:
    """SIGHUP reads the master keys again; unless it is ignored (workers), or is what a closed terminal sends."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN or sys.stdout.isatty():
        return
    under_way: set[asyncio.Task[None]] = set()

    def reread() -> None:
        task = asyncio.create_task(service.read_master_keys(), name="read master keys")
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reread)


def _greet(settings: Settings, address: str, first_admin: FirstAdmin | None) -> None:
    """Where, with what, how to sign in, how to stop: to a terminal; else beside the log, which programs read."""
    terminal = sys.stdout.isatty()
    shown = f"[{address}]" if ":" in address else address
    kept = f"Data: {settings.data_dir.absolute()}."
    if not settings.database_url.startswith("sqlite:"):
        kept = f"Ledger: {store_at(settings.database_url).place}, {settings.workers} processes."
    told = (
        f"Session Ledger answers at {settings.public_url} (listening on {shown}:{settings.port}).",
        f"{kept} Checkpoints: {settings.checkpoint_dir.absolute()}.",
        start.how_to_sign_in(first_admin, settings.data_dir, terminal=terminal),
        "Stop with Ctrl-C." if terminal else "Stop with SIGTERM or Ctrl-C.",
    )
    print(*filter(None, told), sep="\n", file=sys.stdout if terminal else sys.stderr, flush=True)
    structlog.get_logger().info("serving", port=settings.port)
