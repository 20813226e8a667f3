"""The documents say what the code says: generated pages, the list of dependencies, the version."""

import re
import tomllib
from pathlib import Path

import pytest

from docs import generate

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_what_make_docs_writes_today(name: str) -> None:
    assert generate.PAGES[name]() == (ROOT / "docs" / name).read_text("utf-8")


def test_every_dependency_has_its_reason() -> None:
    groups = PROJECT["dependency-groups"]
    wanted = [*PROJECT["project"]["dependencies"], *(one for group in groups.values() for one in group)]
    names = {re.split(r"[^A-Za-z0-9-]", one, maxsplit=1)[0] for one in wanted if isinstance(one, str)}
    reasons = re.findall(r"(?m)^\| `([a-z0-9-]+)` \| \S", (ROOT / "docs" / "dependencies.md").read_text("utf-8"))
    assert sorted(names) == sorted(reasons)


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"(?m)^## ([0-9.]+)", (ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert PROJECT["project"]["version"] == versions[0]


def test_the_expression_for_secret_scanners_matches_a_refresh_token_and_no_shorter_text() -> None:
    written = re.search(r"`(slr_[^`]+)`", (ROOT / "SECURITY.md").read_text("utf-8"))
    assert written is not None
    token = "slr_" + "aZ0-_" * 18 + "aZ"
    assert (True, False) == (bool(re.fullmatch(written[1], token)), bool(re.fullmatch(written[1], token[:-1])))
