"""docs/performance.md, which several benches write: each its own part, between two marks, and the others stay."""

import re

from bench.process import ROOT

PAGE = ROOT / "docs" / "performance.md"
PARTS = ("sqlite", "asking", "postgres", "size", "pages_postgresql", "pages_sqlite")
"""In the order in which they stand."""


def put(name: str, text: str) -> None:
    """Write this part of the page again."""
    PAGE.write_text(replaced(PAGE.read_text("utf-8") if PAGE.exists() else "", name, text), "utf-8")


def replaced(page: str, name: str, text: str) -> str:
    """The page with this part new, or with it for the first time."""
    found = dict(re.findall(r"<!-- (\w+) -->\n(.*?)<!-- end -->\n", page, re.DOTALL)) | {name: text}
    return "\n".join(f"<!-- {one} -->\n{found[one]}<!-- end -->\n" for one in PARTS if one in found)
