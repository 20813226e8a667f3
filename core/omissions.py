"""Refusals left out of the log, one of their kind having been a moment ago: how many, until the next is written."""

from collections import Counter

from core.verdict import Answer

MOST = 10_000
"""Families that are counted for; beyond it, counting starts anew."""


class Omissions:
    """Counts in memory, by family and reason: a note in the log, not evidence. What a crash loses is lost."""

    def __init__(self) -> None:
        self._counts: dict[bytes, Counter[str]] = {}

    def of(self, family: bytes) -> Counter[str]:
        """What was left out of a family since its last note, by reason."""
        return self._counts.get(family, Counter())

    def count(self, family: bytes, answer: Answer) -> None:
        """One more where this refusal was left out; none any more where it was written."""
        if not answer.omitted:
            self.of(family).pop(answer.reason, None)
            return
        if len(self._counts) >= MOST:
            self._counts.clear()
        self._counts.setdefault(family, Counter())[answer.reason] += 1
