"""The operator's log on stdout: one line per request or failure, from an allow-list. No audit: that is in events/."""

import json
import logging
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import PurePath
from typing import Final, TextIO

import structlog
from structlog.types import EventDict, WrappedLogger

REQUEST_FIELDS: Final = frozenset({"family", "client", "subject", "actor", "verdict", "code", "proof", "reason"})
"""What a route may add to the line of its request: ids and codes of ours, never text from outside.

The edge adds method, route (the template), status, ms, request_id and network. The full address and the user agent
are personal data: they are in the events' private rows, which expire; logs are copied and kept.
"""
MAX_VALUE: Final = 256
MAX_FRAMES: Final = 12


def configure_logging(level: str, *, as_json: bool, stream: TextIO | None = None) -> None:
    """Send the log to stdout: JSON lines, or readable ones for a terminal. Called once, by `serve` and the CLI."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    written: structlog.types.Processor = _json_line if as_json else structlog.dev.ConsoleRenderer()
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamp, _clean, written],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stdout),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Libraries()], level=max(threshold, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)


def request_fields(noted: Mapping[str, str | int]) -> dict[str, str | int]:
    """Of what a route noted, what the log may hold."""
    return {name: value for name, value in noted.items() if name in REQUEST_FIELDS}


def failure(error: BaseException) -> dict[str, str | list[str]]:
    """An exception as kinds and places. Its message and its variables may hold secrets, so they stay out."""
    frames = [*traceback.extract_tb(error.__traceback__)][-MAX_FRAMES:]
    return {
        "error": " < ".join(islice(_kinds(error), MAX_FRAMES)),
        "frames": [f"{_tail(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _kinds(error: BaseException) -> Iterator[str]:
    cause: BaseException | None = error
    while cause is not None:
        inner = f"({', '.join(map(_kind, cause.exceptions))})" if isinstance(cause, BaseExceptionGroup) else ""
        yield _kind(cause) + inner
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _kind(error: BaseException) -> str:
    return type(error).__name__


def _tail(filename: str) -> str:
    """Enough to find the file; not where it is installed."""
    return "/".join(PurePath(filename).parts[-2:])


def _clean(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Escape what moves a terminal or breaks a line, whoever put it there (ASVS 16.4.1)."""
    for name, value in line.items():
        if isinstance(value, str) and not (len(value) <= MAX_VALUE and value.isprintable()):
            line[name] = escaped(value)
    return line


def escaped(text: str) -> str:
    """`text` cut to `MAX_VALUE` and with everything unprintable (controls, bidi, U+2028) written as an escape."""
    return "".join(_escapes(text[:MAX_VALUE]))


def _escapes(text: Iterable[str]) -> Iterator[str]:
    return (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _json_line(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    return _ENCODER.encode(line)


def _unknown_kind(value: object) -> str:
    return type(value).__name__


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), default=_unknown_kind)
"""ASCII only; a value that is no JSON is logged as its type, because its `repr` may hold anything."""


class _Libraries(logging.Handler):
    """What libraries log, as where and how bad. Their messages quote what they failed on."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0] if record.exc_info else None
        structlog.get_logger().log(
            record.levelno,
            "library",
            logger=record.name,
            where=f"{_tail(record.pathname)}:{record.lineno}",
            error=kind.__name__ if kind else None,
        )
