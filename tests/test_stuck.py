"""A test that never ends fails, says where it waits, and keeps no other test from running."""

import asyncio
import subprocess
import sys
from io import StringIO
from pathlib import Path

from tests import stuck

ROOT = Path(__file__).parent.parent
HANGS = """
import asyncio
import pytest

@pytest.mark.parametrize("number", range(9))
async def test_one_of_many(number):
    if number == 4:
        await asyncio.Event().wait()
"""


async def test_what_takes_too_long_names_the_place_where_it_waits() -> None:
    said = StringIO()
    waiting = asyncio.create_task(_for_ever(), name="for ever")
    with stuck.told("a test", patience=0.05, out=said):
        await asyncio.sleep(0.3)
    waiting.cancel()

    told = said.getvalue()
    assert told.startswith("a test does not end. Its tasks:\n")
    assert "- for ever\n" in told
    assert f"{__file__}:" in told.partition("- for ever\n")[2].partition("\n- ")[0]


async def test_what_ends_in_time_says_nothing() -> None:
    said = StringIO()
    with stuck.told("a test", patience=0.1, out=said):
        await asyncio.sleep(0)
    await asyncio.sleep(0.3)
    assert "" == said.getvalue()


def test_one_that_hangs_fails_by_name_and_the_others_pass(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGS)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text().replace("= 240", "= 1"))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "2",
        "--dist",
        "worksteal",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert 1 == done.returncode
    assert "1 failed, 8 passed" in done.stdout
    assert "test_one_of_many[4]" in done.stdout
    assert "Timeout (0:00:01)!" in done.stderr


async def _for_ever() -> None:
    await asyncio.Event().wait()
