"""When a delivery is tried again, and when not any more. Pure: chance and time are given."""

from email.utils import parsedate_to_datetime
from typing import Final

TRIES: Final = 12
"""So many in about 27 hours; then it is a dead letter."""
FIRST: Final = 10
"""Seconds until the second try; three times as long until each next one."""
LONGEST: Final = 6 * 3600
JITTER: Final = 0.2
"""A wait is up to so much shorter or longer, so that what failed together does not come back together."""
PAUSE_LONGEST: Final = 3600
"""Seconds: a receiver that fails as a whole is looked at again at least once an hour."""
ASKED_LONGEST: Final = 3600
"""Seconds: a `Retry-After` beyond this is as good as this."""
GIVE_UP: Final = 5 * 86_400
"""Seconds without one success after which a receiver is not tried any more."""


def delay(tries: int, chance: float) -> float:
    """Seconds to wait after so many failed tries (from 1). `chance` is 0 to 1."""
    return min(FIRST * 3.0 ** (tries - 1), LONGEST) * (1 - JITTER + 2 * JITTER * chance)


def pause(failures: int, chance: float) -> float:
    """Seconds to leave a receiver alone that failed so many times in a row, whatever it was sent."""
    return min(delay(min(failures, TRIES), chance), PAUSE_LONGEST)


def asked(header: str, now: float) -> int:
    """Seconds that a `Retry-After` asks for (RFC 9110 §10.2.3), within bounds; 0 where it says nothing of use.

    `now` is in seconds since the epoch.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        wanted = int(text[:9])
    else:
        try:
            wanted = int(parsedate_to_datetime(text).timestamp() - now)
        except (ValueError, TypeError, OverflowError):
            return 0
    return min(max(wanted, 0), ASKED_LONGEST)
