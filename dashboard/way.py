"""What stands in the URLs of this door: where a browser may be sent, and positions in queries. Reads no request."""

import re
from typing import Final
from urllib.parse import urlencode

from litestar.exceptions import ValidationException

HOME: Final = "/dashboard"
SIGN_IN: Final = "/dashboard/sign-in"
SECOND: Final = "/dashboard/sign-in/second"
MINE: Final = "/dashboard/me"

_VALUE: Final = r"[a-z_]+=(?:[A-Za-z0-9_.:,*+~-]|%[0-9A-F]{2})*"
_PLACE: Final = r"network/[0-9a-f]{1,4}[0-9a-f:.]{1,41}(?:/[0-9]{1,3})?"
_OURS: Final = re.compile(rf"/dashboard(?:/[A-Za-z0-9_-]{{1,80}})*(?:/{_PLACE})?(?:\?{_VALUE}(?:&{_VALUE})*)?")
"""Only what our own links look like. No percent sign, backslash or second slash can stand in the path, so
nothing that a browser could read as another host (RFC 9700 §4.11); percent signs are for the values behind it."""
_NEVER: Final = ("/dashboard/sign-", "/dashboard/static")
MAX_WAY: Final = 900
FARTHEST: Final = 10**15 - 1
"""No position is larger; databases count up to 2**63."""
_WHOLE: Final = re.compile(r"[0-9]{1,15}")


def back(wanted: str) -> str:
    """`wanted` if it is a page of ours, else the first page."""
    fits = len(wanted) <= MAX_WAY and _OURS.fullmatch(wanted) and not wanted.startswith(_NEVER)
    return wanted if fits else HOME


def whole(text: str) -> int | None:
    """A position or version in a query, None where there is none. Raises ValidationException for anything else."""
    if not text:
        return None
    if not _WHOLE.fullmatch(text):
        raise ValidationException
    return int(text)


def to_prove(wanted: str) -> str:
    """The page that asks for the password again, and leads back."""
    return f"/dashboard/re-authenticate?{urlencode({'next': back(wanted)})}"


def to_second(wanted: str) -> str:
    """The second step of signing in, which leads on."""
    goal = back(wanted)
    return SECOND if goal == HOME else f"{SECOND}?{urlencode({'next': goal})}"


def to_sign_in(why: str, wanted: str) -> str:
    """The sign-in page, which says why it is shown and leads back."""
    goal = back(wanted)
    return f"{SIGN_IN}?{urlencode({'why': why} | ({} if goal == HOME else {'next': goal}))}"
