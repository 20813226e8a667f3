"""What stands before a large kill: the role, a fresh password, the number typed again. Pure."""

from typing import Final, NamedTuple

from dashboard.door import ADMIN, Staff

FEW: Final = 25
"""Families that a responder ends in one action."""
FRESH: Final = 10 * 60
"""Seconds for which a password counts as just given."""


class Hurdles(NamedTuple):
    """What is still asked of somebody who wants to end so many families."""

    families: int
    large: bool
    role: bool
    """Whether it takes an admin, and this person is none."""
    password: bool
    """Whether the password must be given again first."""

    @property
    def open(self) -> bool:
        """Whether the form can be sent."""
        return not self.role and not self.password


def hurdles(staff: Staff, count: int, now: int) -> Hurdles:
    """Up to `FEW` families nothing stands in the way: at night, minutes count."""
    if count <= FEW:
        return Hurdles(count, large=False, role=False, password=False)
    return Hurdles(count, large=True, role=not staff.may(ADMIN), password=not is_fresh(staff, now))


def is_fresh(staff: Staff, now: int) -> bool:
    """Whether this person gave the password within the last ten minutes. `now` in microseconds."""
    return now // 1_000_000 - staff.family.auth_time <= FRESH


def typed_right(typed: str, count: int) -> bool:
    """Whether the number of families was typed as it stands on the page."""
    return typed.replace(",", "").replace(" ", "").strip() == str(count)
