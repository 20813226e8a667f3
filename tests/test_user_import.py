"""Accounts taken over from a file, by the command line beside a service: what is created, skipped and left out."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from tests.databases import Stores
from tests.processes import Place
from tests.tables import url_of

PASSWORD = "as short as it was"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Iterator[Place]:
    """A service that runs; the commands work beside it."""
    made = Place(tmp_path_factory.mktemp("import"), stores.fresh())
    made.settings["LEDGER_DATABASE_URL"] = url_of(made.store)
    with made.serving():
        yield made
    stores.drop(made.store)


def hashed(password: str = PASSWORD) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def scrypted() -> str:
    made = hashlib.scrypt(PASSWORD.encode(), salt=b"salt", n=16, r=8, p=1, dklen=64)
    return f"scrypt:16:8:1$salt${made.hex()}"


def written(place: Place, name: str, text: str) -> str:
    file: Path = place.folder / name
    file.write_text(text, "utf-8")
    return str(file)


def test_users_of_a_csv_sign_in_with_the_passwords_that_they_have(place: Place) -> None:
    file = written(place, "a.csv", f"username,password_hash\nalice,{hashed()}\nBöb,{scrypted()}\ncarol,\n")

    told = place.done("user", "import", file)

    assert "Created 3, skipped 0 that there are already.\n" == told
    assert [200, 200, 401] == [place.sign_in(name, PASSWORD) for name in ("alice", "böb", "carol")]
    assert 401 == place.sign_in("alice", PASSWORD + "!")
    assert 200 == place.sign_in("alice", PASSWORD)


def test_a_second_run_goes_on_where_the_first_one_stopped(place: Place) -> None:
    lines = [f"user{number},{hashed()}" for number in range(3)]
    place.done("user", "import", written(place, "b.csv", "\n".join(["username,password_hash", *lines])))
    more = [*lines, *(f"more{number}," for number in range(450))]

    told = place.done("user", "import", written(place, "b.csv", "\n".join(["username,password_hash", *more])))

    assert "Created 450, skipped 3 that there are already.\n" == told


def test_users_of_ndjson_belong_to_the_application_that_is_named(place: Place) -> None:
    place.done("client", "add", "shop", "--confidential")
    lines = [{"external_id": "1"}, {"external_id": "2", "username": "dave", "password_hash": hashed()}]
    file = written(place, "c.ndjson", "\n".join(map(json.dumps, lines)) + "\n\n")

    first, again = (
        place.done("user", "import", file, "--client", "shop"),
        place.done("user", "import", file, "--client", "shop"),
    )

    assert ["Created 2, skipped 0 that there are already.\n", "Created 0, skipped 2 that there are already.\n"] == [
        first,
        again,
    ]
    assert '"client":"shop"' in place.done("events", "--limit", "10", "--json")


def test_lines_that_are_not_right_are_named_and_the_rest_is_taken(place: Place) -> None:
    text = f"username,password_hash\nerin,{hashed()}\n\u202e,\nfrank,md5:abc\n,\ngrace\nheidi,\n"

    ended = place.run("user", "import", written(place, "d.csv", text))

    assert 1 == ended.status
    assert ["Line 3", "Line 4", "Line 5", "Line 6"] == [one[:6] for one in ended.err.splitlines() if one[:4] == "Line"]
    assert ended.err.endswith("Created 2, skipped 0 that there are already; 4 lines are not right and were left out.\n")
    assert "md5:abc" not in ended.err
    assert 200 == place.sign_in("erin", PASSWORD)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("e.csv", "name,hash\na,b\n", "The first line of a CSV file names its columns"),
        ("f.csv", "", "The first line of a CSV file names its columns"),
        ("g.csv", 'username\n"a"b\n', "Line 2 is not CSV"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_sentence(place: Place, name: str, text: str, told: str) -> None:
    ended = place.run("user", "import", written(place, name, text))

    assert (2, True) == (ended.status, ended.err.startswith(told)), ended


def test_bytes_that_are_no_text_and_json_that_is_something_else_are_wrong_lines(place: Place) -> None:
    file = place.folder / "h.ndjson"
    file.write_bytes(b'{"username":"\xff"}\n[1]\n{"username":"ivan","roles":"admin"}\n{"username":"judy"}\n')

    ended = place.run("user", "import", str(file))

    assert (1, 3) == (ended.status, ended.err.count("it is no JSON object"))
    assert 2 == place.run("user", "import", str(file), "--client", "nobody").status
