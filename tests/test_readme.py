"""The README's tour, word for word, against a service that was started as the README says: wherever its ledger is."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.postgres_store import PostgresStore
from tests import bouncers
from tests.bouncers import Bouncer
from tests.databases import Server, name_of
from tests.processes import Place

ROOT = Path(__file__).parent.parent
TOUR = re.compile(r"<!-- tour -->(.*)<!-- /tour -->", re.DOTALL)
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def toured(place: Place, script: str, password: str) -> str:
    """What the tour prints. Only the address and the command's place differ from the README."""
    script = script.replace("localhost:8000", f"127.0.0.1:{place.port}")
    script = script.replace(".venv/bin/session-ledger", f"{sys.executable} -m cli")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("LEDGER_")}
    settings = {key: text for key, text in place.settings.items() if key != "LEDGER_ADMIN_PASSWORD"}
    environment = inherited | settings | {"PASSWORD": password, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-euc", script]
    done = subprocess.run(  # noqa: PLW1510 - its complaint is shown below
        command, cwd=place.folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=["SQLite", "PostgreSQL", "PgBouncer"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where nobody has been yet: no file, an empty database, the same behind a pooler in transaction mode."""
    if request.param == "SQLite":
        yield Place(tmp_path)
        return
    server: Server = request.getfixturevalue("server")
    store = server.blank()
    if request.param == "PostgreSQL":
        yield Place(tmp_path, store)
    else:
        bouncers.needed()
        with Bouncer(server.cluster) as bouncer:
            yield Place(tmp_path, PostgresStore(bouncer.url(name_of(store))))
    server.drop(store)


def test_the_tour_is_true_word_for_word(place: Place) -> None:
    found = TOUR.search((ROOT / "README.md").read_text())
    assert found is not None
    given, script = BLOCK.findall(found[1])
    place.done("migrate")

    with place.serving(LEDGER_ADMIN_PASSWORD=None):
        initial = place.data / "admin-password"
        told = toured(place, script, initial.read_text().strip())
        assert not initial.exists()

    assert given.startswith("PASSWORD=")
    assert ["token_reused", "session_revoked"] == re.findall(r'"code":"(\w+)"', told)
    types = re.findall(r"^#\d+ +\S+ +(\S+)", told, re.MULTILINE)
    story = ["token.issued", "token.rotated", "token.rotated", "token.reuse_detected", "family.revoked"]
    assert story == types[types.index("token.issued") :][:5]
    assert "It continues the checkpoint" in told
