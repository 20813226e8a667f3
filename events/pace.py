"""Ledger time, and since when a process can commit: what leeways are measured by. Reads clocks only when asked."""

from events.commit import Clock
from events.decision import Moment

CLOSE = 360 * 1_000_000
"""Microseconds, no leeway is longer: a fault that begins before all leeways of the last one are over continues it."""
SLOW = 2.0
"""Seconds. Who waited longer for a COMMIT may have been told nothing: leeways count from its end, as after a fault."""
STEP = 0.25
"""Seconds that the wall clock may run ahead of the monotonic one before it counts as set."""


class Pace:
    """The time that a process gives to its batches. Where the database has a clock, that one is the wall clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: tuple[int, float] | None = None
        self._ready: int | None = None
        self._unable = 0  # what went on before it began, a process does not know
        self._ahead = 0
        """Microseconds by which the database's clock is ahead of ours."""

    @property
    def able(self) -> bool:
        """Whether the last thing that was tried was committed."""
        return self._ready is not None

    def monotonic(self) -> float:
        """Seconds, only to be compared with each other."""
        return self._clock.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch, by the clock that batches are given their time by."""
        return self._clock.wall() + self._ahead / 1_000_000

    def now(self) -> int:
        """Ledger time, microseconds since the epoch, for who only looks: what the next batch would be given."""
        wall, last = int(self.wall() * 1_000_000), self._last
        if last is None:
            return wall
        given, then = last
        return max(wall, given + int((self._clock.monotonic() - then) * 1_000_000))

    def moment(self, last_at: int, theirs: int | None, monotonic: float) -> Moment:
        """The time of a batch that follows `last_at`; `theirs` is the database's clock, where it has one.

        Ledger time never goes back and never stands still, whatever the wall clock does. Until something was really
        written, nobody knows whether this process can commit; from the first time on, leeways run again. That must not
        wait for the first event: on a quiet ledger it may be a thief's.
        """
        ours = int(self._clock.wall() * 1_000_000)
        wall = ours if theirs is None or not self._clock.shared else theirs
        self._ahead = wall - ours
        now = max(wall, last_at + 1)
        if self._last is not None:
            given, then = self._last
            passed = int((monotonic - then) * 1_000_000)
            if now - given > passed + passed // 1000 + int(STEP * 1_000_000):
                self.stumble()  # the clock was set, or the machine slept: no leeway may have run out by that
            now = max(now, given + passed)
        return Moment(now, wall, arrived=now, ready=now if self._ready is None else self._ready, unable=self._unable)

    def committed(self, now: int, monotonic: float, *, wrote: bool) -> None:
        """Remember the time that was given, and when this process was last unable to answer."""
        self._last = (now, monotonic)
        if self._ready is None:
            self._ready = now
        took = self._clock.monotonic() - monotonic
        if took > SLOW and wrote:
            self.stumble(now)
            self._ready = now + int(took * 1_000_000)

    def stumble(self, at: int | None = None) -> None:
        """Nobody could commit from `at` on, or from the last time that was given. Close faults count as one."""
        if self._ready is not None and self._last is not None:
            since = self._last[0] if at is None else at
            if since > self._ready + CLOSE:
                self._unable = since
        self._ready = None
