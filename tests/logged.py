"""The log of the service as a test reads it, instead of the terminal."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from core import journal


@contextmanager
def logged(level: str) -> Iterator[io.StringIO]:
    """What is logged in the block, one JSON object a line; afterwards logging is as it was."""
    stream, root = io.StringIO(), logging.getLogger()
    before, threshold = root.handlers[:], root.level
    root.handlers = []  # or they would be closed
    journal.configure_logging(level, as_json=True, stream=stream)
    try:
        yield stream
    finally:
        root.handlers, root.level = before, threshold
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
