"""What the kit for pages weighs and what it does not touch."""

import gzip
import json
import re
from pathlib import Path

KIT = Path(__file__).parent.parent / "clients" / "browser"
SOURCE = (KIT / "index.js").read_text()


def test_the_kit_weighs_at_most_three_kilobytes() -> None:
    assert len(gzip.compress((KIT / "index.js").read_bytes(), 9, mtime=0)) <= 3000


def test_the_kit_needs_nothing_and_knows_no_storage_and_no_wall_clock() -> None:
    package = json.loads((KIT / "package.json").read_text())

    assert set() == {"dependencies", "devDependencies", "peerDependencies", "scripts"} & set(package)
    assert all((KIT / name).exists() for name in package["files"])
    assert [] == re.findall(r"localStorage|sessionStorage|indexedDB|caches|Date\b|\bimport\b|eval", SOURCE)
