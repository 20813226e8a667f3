"""One of several processes of a `serve`: a whole service that says when it answers, and its numbers when asked."""

import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Final, NamedTuple

from core import journal
from core.metrics import Metrics
from core.start import StartError
from settings import Settings

REFUSED: Final = 2
"""Exit status of one that cannot serve: another in its place could not, either."""


class Answers(NamedTuple):
    """The port answers."""


class Refusal(NamedTuple):
    """Why the process does not serve: a sentence that says what to do."""

    sentence: str


def work(settings: Settings, address: str, says: Connection, asked: Connection) -> None:
    """The life of a worker, until SIGTERM or the end of the process that started it."""
    from service import prepare  # noqa: PLC0415 - loaded by the new process
    from terminal.running import run  # noqa: PLC0415

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that closes tells the one that started us
    journal.configure_logging(settings.log_level, as_json=not sys.stdout.isatty())
    try:
        service = prepare(settings)
        threading.Thread(target=_answer, args=(service.metrics, asked), daemon=True).start()
        ended = run(service, address, lambda: says.send(Answers()))
    except StartError as error:
        says.send(Refusal(str(error)))
        sys.exit(REFUSED)
    sys.exit(0 if ended else 1)


def _answer(metrics: Metrics, asked: Connection) -> None:
    """Tell the numbers as often as asked. When the line is gone, so is who started us: then nobody is served."""
    try:
        while True:
            asked.recv()
            asked.send(list(metrics.registry.collect()))
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
