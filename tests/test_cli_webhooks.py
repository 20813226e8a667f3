"""The commands about webhooks, in real processes beside a service that sends."""

import json
from collections.abc import Iterator

import pytest

from tests.check import check
from tests.databases import Stores
from tests.processes import Place
from tests.receivers import Answer, Receiver
from tests.tables import url_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Iterator[Place]:
    """A service that runs; the commands work beside it."""
    made = Place(tmp_path_factory.mktemp("webhooks"), stores.fresh())
    made.settings |= {
        "LEDGER_DATABASE_URL": url_of(made.store),
        "LEDGER_WEBHOOK_HTTP": "on",
        "LEDGER_WEBHOOK_NETWORKS": "127.0.0.0/8",
    }
    with made.serving():
        yield made
    stores.drop(made.store)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def added(place: Place, receiver: Receiver, *more: str) -> tuple[str, str]:
    """Id and secret of a new webhook."""
    told = place.done("webhook", "add", receiver.url, "--filter", "type:client.*", *more)
    first, _, secret = told.partition("\n")
    return first.removeprefix("Registered ").removesuffix("."), secret.rpartition(" ")[2].strip()


def shown(place: Place, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(place.done("webhook", "show", name, "--json"))
    return found


def test_a_webhook_is_added_and_a_ping_tells_what_the_receiver_says(place: Place, receiver: Receiver) -> None:
    name, secret = added(place, receiver)

    told = place.done("webhook", "ping", name)

    assert told.startswith("Delivered as #")
    assert told.endswith(": 204.\n")
    assert "webhook.pinged" == receiver.arrived[-1].verified(secret)["type"]
    assert f"{name}  enabled   0 waiting  0 dead" in place.done("webhook", "list")
    assert {"status": "enabled", "filter": "type:client.*", "url": receiver.url}.items() <= shown(place, name).items()
    everything = place.done("webhook", "show", name) + place.done("events", "--limit", "100", "--json")
    assert secret not in everything
    check(place.store, place.folder / "checkpoints", [secret])


def test_a_receiver_that_refuses_is_told_with_status_1(place: Place, receiver: Receiver) -> None:
    name, _ = added(place, receiver)
    receiver.answers = lambda _: Answer(500)

    ended = place.run("webhook", "ping", name)
    receiver.answers = lambda _: Answer()

    assert (1, "The receiver did not take it: http 500. It is tried again.\n") == (ended.status, ended.err)
    assert "waiting" in place.done("webhook", "show", name)
    assert (0, "", "No event was given up.\n") == place.run("webhook", "dead", name)
    assert (2, "There is no such dead letter.\n") == (
        (refused := place.run("webhook", "replay", name)).status,
        refused.err,
    )
    place.done("webhook", "remove", name)


def test_a_secret_is_rotated_and_a_webhook_switched_off_on_and_away(place: Place, receiver: Receiver) -> None:
    name, old = added(place, receiver)

    new = place.done("webhook", "rotate-secret", name, "--keep", "60").rpartition(" ")[2].strip()
    place.done("webhook", "disable", name)
    off = shown(place, name)
    place.done("webhook", "enable", name)
    place.done("webhook", "ping", name)
    place.done("webhook", "remove", name)

    assert new.startswith("whsec_")
    assert new != old
    assert ("disabled", "staff") == (off["status"], off["reason"])
    assert receiver.arrived[-1].verified(old)
    assert receiver.arrived[-1].verified(new)
    assert name not in place.done("webhook", "list")
    gone = place.run("webhook", "show", name)
    assert (2, f"There is no webhook {name}: session-ledger webhook list names them.\n") == (gone.status, gone.err)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("http://10.0.0.1/",), "This address is not on the internet, and no setting allows it."),
        (("https://user@app.example.com/",), "The URL must have no user, no password and no fragment."),
        (("https://app.example.com/", "--filter", "typ:x"), "At character 1: There is no field `typ` for events."),
        (("https://app.example.com/", "--filter", "at:1h"), "A webhook follows the log from now on"),
        (("https://app.example.com/", "--signal", "session-revoked"), "Of set, kinds are: session-revoked"),
        (("https://app.example.com/", "--client", "nobody"), "There is no client nobody."),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(place: Place, arguments: tuple[str, ...], sentence: str) -> None:
    ended = place.run("webhook", "add", *arguments)

    assert 2 == ended.status
    assert ended.err.startswith(sentence)
    assert 1 == ended.err.count("\n")
