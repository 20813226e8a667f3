"""Vendored files are exactly those of the package that is named beside them."""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|", re.MULTILINE)


@pytest.mark.parametrize("folder", ["dashboard/static/vendor", "tests/vendor"])
def test_every_vendored_script_is_the_one_that_is_listed(folder: str) -> None:
    listed = dict(ROW.findall((ROOT / folder / "VENDOR.md").read_text()))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (ROOT / folder).glob("*.js")}

    assert listed == found
    assert found
