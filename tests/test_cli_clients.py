"""The commands about applications, in real processes beside a service: what they print, and what it means then."""

import json
from collections.abc import Iterator

import pytest

from tests.check import check
from tests.databases import Stores
from tests.processes import Place
from tests.tables import url_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Iterator[Place]:
    """A service that runs; the commands work beside it."""
    made = Place(tmp_path_factory.mktemp("clients"), stores.fresh())
    made.settings["LEDGER_DATABASE_URL"] = url_of(made.store)
    with made.serving():
        yield made
    stores.drop(made.store)


def shown(place: Place, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(place.done("client", "show", name, "--json"))
    return found


def test_a_client_is_shown_in_words_and_for_programs_as_it_is(place: Place) -> None:
    place.done("client", "add", "worded", "--leeway", "0", "--scope", "read")
    told = dict(row.split(maxsplit=1) for row in place.done("client", "show", "worded").splitlines())

    assert {
        "access_ttl": "900, as in the settings",
        "idle_ttl": "604800, as in the settings",
        "leeway": "0",
        "family_limit": "none of its own",
        "first_party": "yes",
        "operator": "no",
        "scopes": "read",
        "origins": "none",
    }.items() <= told.items()
    assert {"access_ttl": 0, "leeway": 0, "first_party": 1}.items() <= shown(place, "worded").items()


def test_a_confidential_client_is_registered_with_a_secret_that_is_shown_once(place: Place) -> None:
    told = place.done(
        "client", "add", "backend", "--confidential", "--scope", "introspect", "--scope", "families:read", "--operator"
    )

    secret = told.rpartition(" ")[2].strip()
    assert told.startswith("Registered backend.\nIts secret, shown this once: slc_")
    assert 4 + 43 == len(secret)
    assert {
        "type": "confidential",
        "scopes": "introspect families:read",
        "operator": 1,
        "secret_before_until": "",
    }.items() <= shown(place, "backend").items()
    assert secret not in place.done("client", "show", "backend") + place.done("events", "--limit", "100", "--json")
    check(place.store, place.folder / "checkpoints", [secret])


def test_a_second_client_of_one_name_and_one_that_cannot_be_are_refused_in_one_sentence(place: Place) -> None:
    again = place.run("client", "add", "web")
    wrong = place.run("client", "add", "bad", "--access-ttl", "100", "--leeway", "11")
    looks = place.run("client", "add", "sub_" + "a" * 26)

    assert (2, "There is a client web already.\n") == (again.status, again.err)
    assert (2, "The leeway is at most a tenth of the access token's lifetime.\n") == (wrong.status, wrong.err)
    assert (2, "A client must not look like an id of this ledger.\n") == (looks.status, looks.err)


def test_a_policy_changes_in_what_was_given_only(place: Place) -> None:
    place.done("client", "add", "mobile", "--access-ttl", "300", "--scope", "read", "--scope", "write", "--leeway", "5")
    place.done("client", "update", "mobile", "--family-limit", "3", "--third-party")
    once = shown(place, "mobile")
    place.done("client", "update", "mobile", "--scope", "none", "--first-party")
    twice = shown(place, "mobile")

    assert {"access_ttl": 300, "leeway": 5, "family_limit": 3, "first_party": 0, "scopes": "read write"}.items() <= (
        once.items()
    )
    assert once | {"scopes": "", "first_party": 1} == twice
    assert "mobile" in place.done("client", "list")


def test_a_secret_is_rotated_and_a_public_client_has_none(place: Place) -> None:
    place.done("client", "add", "batch", "--confidential")
    told = place.done("client", "secret", "batch", "--keep", "60")
    refused = place.run("client", "secret", "web")
    unheard = place.run("client", "secret", "unheard")
    too_long = place.run("client", "secret", "batch", "--keep", "99999999")

    assert told.startswith("Its secret, shown this once: slc_")
    assert "" != shown(place, "batch")["secret_before_until"]
    assert (2, "web is a public client: it has no secret.\n") == (refused.status, refused.err)
    assert (2, "There is no client unheard.\n") == (unheard.status, unheard.err)
    assert 2 == too_long.status


def test_the_dashboards_own_client_stays_what_it_is(place: Place) -> None:
    refused = place.run("client", "update", "dashboard", "--third-party")

    assert (2, "Only lifetimes and limits of the dashboard's own client can change.\n") == (refused.status, refused.err)
    place.done("client", "update", "dashboard", "--idle-ttl", "600")
    place.done("client", "disable", "mobile")
    place.done("client", "enable", "mobile")
