"""docs/backends.md, word for word, against a service: what it shows with curl and with Python, and what it lists."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api import families, subjects
from api.families import NewFamily, Reason
from core.scope import SERVICE
from tests.databases import Stores
from tests.processes import PATIENCE, Place
from tests.tables import url_of

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "backends.md").read_text("utf-8")


def blocks(mark: str, language: str) -> list[str]:
    part = re.search(rf"<!-- {mark} -->(.*)<!-- /{mark} -->", PAGE, re.DOTALL)
    assert part is not None
    return re.findall(rf"```{language}\n(.*?)```", part[1], re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("backends"), stores.fresh())
    made.settings["LEDGER_DATABASE_URL"] = url_of(made.store)
    with made.serving():
        yield made
    stores.drop(made.store)


def ran(place: Place, command: list[str], script: str, **more: str) -> str:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("LEDGER_")}
    environment = inherited | {"PYTHONPATH": str(ROOT)} | place.settings | more
    done = subprocess.run(  # noqa: PLW1510 - its complaint is shown below
        [*command, script], cwd=place.folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def known(place: Place, secret: str) -> None:
    """Wait until the service has heard of the client."""
    deadline = time.monotonic() + PATIENCE
    form = {"grant_type": "client_credentials"}
    while httpx.post(f"{place.url}/oauth/token", data=form, auth=("shop", secret), trust_env=False).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_it_shows_is_true_word_for_word(place: Place) -> None:
    register, script = blocks("curl", "sh")
    (program,) = blocks("python", "python")
    told = ran(place, ["bash", "-euc"], register.replace("session-ledger ", f"{sys.executable} -m cli "))
    secret = told.split()[-1]

    known(place, secret)
    by_hand = ran(place, ["bash", "-euc"], script.replace("http://localhost:8000", place.url), SECRET=secret)
    by_program = ran(place, [sys.executable, "-c"], program, LEDGER_URL=place.url, SHOP_SECRET=secret)

    assert by_hand.startswith("the same tokens\n")
    assert 2 == by_hand.count('"refresh_token"') + by_hand.count('"before":null')
    assert '"amr":["pwd","otp"]' in by_hand
    assert "signed out\n" == by_program
    events = place.done("events", "--limit", "200", "--json")
    assert ["replaced", "user_request", "logout"] == re.findall(r'"family\.revoked".*?"reason":"(\w+)"', events)


def test_it_lists_every_field_reason_scope_and_code() -> None:
    codes = {one.code for one in families.REFUSALS.values()}
    codes |= {one.code for one in (families.NOT_FOUND, families.STAFF, subjects.NAME_TAKEN, subjects.NOT_YOURS)}
    reasons: tuple[str, ...] = Reason.__args__  # type: ignore[attr-defined]
    wanted = {*NewFamily.__struct_fields__, *reasons, *codes}
    wanted |= {one for one in SERVICE if one.startswith(("families", "subjects"))}
    wanted |= set(subjects.NewSubject.__struct_fields__)

    assert [] == sorted(one for one in wanted if f"`{one}`" not in PAGE)
