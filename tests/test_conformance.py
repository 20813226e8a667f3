"""docs/conformance.md scores each requirement once, names tests that there are, and says what it has to show.

The requirements stand in tests/standards.txt. Whether a test shows its row is for people to read.
"""

import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parent / "docs" / "conformance.md").read_text("utf-8")
TESTS = {name for path in HERE.glob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))}
ROWS = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
SCORES = {"2", "1", "0", "\u2013"}
LISTED = [line for line in (HERE / "standards.txt").read_text("utf-8").splitlines() if line and line[0] != "#"]
SECTION = re.compile(r"(\d+\.\d+) (\d+)")
NUMBERS = re.compile(r"(\d+\.\d+)\.(\d+)(?:\u2013(?:\1\.)?(\d+))?")
"""A requirement of ASVS, or a stretch of them in one section."""


def rows() -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in ROWS if row[0].strip() != "requirement"]


def asvs() -> set[str]:
    """Every requirement of OWASP ASVS 5.0.0."""
    sections = [found.groups() for line in LISTED if (found := SECTION.fullmatch(line))]
    return {f"{section}.{number}" for section, size in sections for number in range(1, int(size) + 1)}


def scored(cell: str) -> Iterator[str]:
    """The requirements of ASVS that a row is about."""
    named = re.match(r"ASVS ([\d.,\u2013 ]+)", cell)
    for section, first, last in NUMBERS.findall(named[1]) if named else ():
        yield from (f"{section}.{number}" for number in range(int(first), int(last or first) + 1))


def holds(cell: str, named: str) -> bool:
    """Whether the cell says this, and not something longer: `RFC 7009 §2` is not in `RFC 7009 §2.1`."""
    return re.search(rf"(?<!\w){re.escape(named)}(?![\w\u2013]|\.\d)", cell) is not None


def test_every_test_that_is_named_exists() -> None:
    assert set() == set(re.findall(r"`(test_\w+)`", PAGE)) - TESTS


def test_every_row_has_a_score_and_something_to_show_for_it() -> None:
    assert [] == [row for row in rows() if len(row) != 3 or row[1] not in SCORES or not row[2]]


def test_what_is_said_to_be_met_is_shown_by_a_test() -> None:
    assert [] == [row[0] for row in rows() if row[1] == "2" and "`test_" not in row[2]]


def test_no_requirement_is_scored_twice() -> None:
    named = [row[0] for row in rows()]

    assert len(named) == len(set(named))


def test_every_requirement_of_asvs_stands_in_one_row() -> None:
    found = [one for row in rows() for one in scored(row[0])]

    assert 345 == len(asvs())
    assert [] == sorted(asvs() - set(found))
    assert [] == sorted(set(found) - asvs())
    assert [] == sorted(one for one in set(found) if found.count(one) > 1)


def test_every_requirement_of_the_other_standards_stands_in_one_row() -> None:
    others = [line for line in LISTED if not SECTION.fullmatch(line)]
    found = {named: [row[0] for row in rows() if holds(row[0], named)] for named in others}

    assert 148 == len(found) == len(others)
    assert {} == {named: cells for named, cells in found.items() if len(cells) != 1}


def test_a_longer_number_is_another_requirement() -> None:
    assert ["1.2.4"] == list(scored("ASVS 1.2.4 SQL with parameters, RFC 1.2.5"))
    assert ["10.4.1", "10.4.2", "10.4.6", "6.5.2", "6.5.3"] == list(scored("ASVS 10.4.1–10.4.2, 10.4.6, 6.5.2–6.5.3 x"))
    assert [True, False, False] == [holds(cell, "RFC 8725 §3.1") for cell in ("RFC 8725 §3.1 x", "RFC 8725 §3.10", "x")]
    assert not holds("RFC 7009 §2.1 the hint", "RFC 7009 §2")
