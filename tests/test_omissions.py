"""What is left out of the log is counted, and the next note of its kind says how much that was."""

import pytest

from core import omissions
from core.omissions import Omissions
from core.verdict import Answer, Verdict

FAMILY, OTHER = b"family", b"other"
WRITTEN = Answer(Verdict.REFUSED, None, "carriage")
LEFT_OUT = Answer(Verdict.REFUSED, None, "carriage", omitted=True)


def counted(*answers: Answer) -> Omissions:
    found = Omissions()
    for one in answers:
        found.count(FAMILY, one)
    return found


def test_refusals_are_counted_until_one_is_written() -> None:
    assert {"carriage": 2} == counted(WRITTEN, LEFT_OUT, LEFT_OUT).of(FAMILY)
    assert {} == counted(LEFT_OUT, LEFT_OUT, WRITTEN).of(FAMILY)


def test_each_reason_and_each_family_has_its_own_count() -> None:
    found = counted(LEFT_OUT, LEFT_OUT._replace(reason="client"), WRITTEN)
    found.count(OTHER, LEFT_OUT)

    assert {"client": 1} == found.of(FAMILY)
    assert {"carriage": 1} == found.of(OTHER)


def test_counting_starts_anew_rather_than_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(omissions, "MOST", 1)
    found = counted(LEFT_OUT)
    found.count(OTHER, LEFT_OUT)

    assert {} == found.of(FAMILY)
    assert {"carriage": 1} == found.of(OTHER)
