"""docs/conformance.md names tests that there are, and gives each row a score and something to show for it."""

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parent / "docs" / "conformance.md").read_text("utf-8")
TESTS = {name for path in HERE.glob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))}
ROWS = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
SCORES = {"2", "1", "0", "\u2013"}


def rows() -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in ROWS if row[0].strip() != "requirement"]


def test_every_test_that_is_named_exists() -> None:
    assert set() == set(re.findall(r"`(test_\w+)`", PAGE)) - TESTS


def test_every_row_has_a_score_and_something_to_show_for_it() -> None:
    assert [] == [row for row in rows() if len(row) != 3 or row[1] not in SCORES or not row[2]]
    assert len(rows()) > 60


def test_what_is_said_to_be_met_is_shown_by_a_test() -> None:
    assert [] == [row[0] for row in rows() if row[1] == "2" and "`test_" not in row[2]]


def test_no_requirement_is_scored_twice() -> None:
    named = [row[0] for row in rows()]

    assert len(named) == len(set(named))
