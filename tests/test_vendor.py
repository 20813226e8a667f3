"""Vendored files are exactly those of the package that is named beside them."""

import hashlib
import re
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "dashboard" / "static" / "vendor"
ROW = re.compile(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|", re.MULTILINE)


def test_every_vendored_script_is_the_one_that_is_listed() -> None:
    listed = dict(ROW.findall((FOLDER / "VENDOR.md").read_text()))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.js")}

    assert listed == found
    assert found
