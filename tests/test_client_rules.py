"""The rules of clients: registered, changed, proved, switched off; what a policy may be; who gets which scope."""

import asyncio
from typing import Any, cast

import pytest

from core import client as rules
from core import scope
from core.application import Flaw, flaw
from core.client import Outcome, Rotate
from core.clients import Clients, proves
from core.policy import SECOND
from core.scope import Asked, Grant
from core.verdict import Verdict
from events import client
from events.client import CONFIDENTIAL, Client, ClientRegistered
from events.ledger import Ledger
from events.private import Account
from tests.given import START, Past, Told, a_client, given

OWN = "https://ledger.test"
API = "https://api.example.com"
BACKEND = client.stream_of("backend")


def a_backend(secret: str = "hash-1", **policy: Any) -> Told:
    """A confidential client was registered."""
    fact = ClientRegistered(actor="cli", client="backend", type=CONFIDENTIAL, **policy)
    return Told(BACKEND, fact, account=Account(secret=secret))


def state_of(past: Past, stream: bytes = BACKEND) -> Client:
    state = past.states().by_stream[stream]
    assert isinstance(state, Client)
    return state


def test_a_client_is_registered_once() -> None:
    fact = ClientRegistered(actor="cli", client="backend", type=CONFIDENTIAL)

    first = given().when(rules.register(fact, "hash-1"))
    again = given(a_backend()).when(rules.register(fact, "hash-2"))

    assert (Outcome.DONE, [fact]) == (first.verdict, first.facts)
    assert Account(secret="hash-1") == first.changes[0].account
    assert (Outcome.UNCHANGED, []) == (again.verdict, again.facts)


def test_a_public_client_has_no_private_row() -> None:
    fact = ClientRegistered(actor="cli", client="web")

    assert given().when(rules.register(fact)).changes[0].account is None


def test_a_change_replaces_what_was_given_and_keeps_the_rest() -> None:
    past = given(a_backend(scopes="introspect", access_ttl=300))

    after = state_of(past.and_then(rules.update("backend", "cli", {"scopes": "introspect read"})))

    assert ("introspect read", 300, CONFIDENTIAL, "hash-1") == (
        after.scopes,
        after.access_ttl,
        after.type,
        after.secret,
    )


def test_a_change_to_what_it_is_already_is_none() -> None:
    unchanged = given(a_backend(scopes="read")).when(rules.update("backend", "cli", {"scopes": "read"}))

    assert (Outcome.UNCHANGED, []) == (unchanged.verdict, unchanged.facts)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": "public"}, "type"),
        ({"access_ttl": 5}, "access_ttl"),
        ({"access_ttl": 3601}, "access_ttl"),
        ({"access_ttl": 100, "leeway": 11}, "leeway"),
        ({"leeway": 361}, "leeway"),
        ({"leeway": -2}, "leeway"),
        ({"idle_ttl": 100, "absolute_ttl": 99}, "idle_ttl"),
        ({"absolute_ttl": 401 * 86_400}, "absolute_ttl"),
        ({"family_limit": 101}, "family_limit"),
        ({"on_device_change": "panic"}, "on_device_change"),
        ({"scopes": 'a "b"'}, "scopes"),
        ({"scopes": "a a"}, "scopes"),
        ({"scopes": " ".join(f"s{n}" for n in range(33))}, "scopes"),
        ({"audiences": "api"}, "audiences"),
        ({"audiences": "https://api.example.com/#part"}, "audiences"),
        ({"origins": "http://app.example.com"}, "origins"),
        ({"origins": "https://app.example.com/"}, "origins"),
        ({"origins": "https://App.example.com"}, "origins"),
        ({"origins": "null"}, "origins"),
        ({"operator": 2}, "operator"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_by_its_field(changes: dict[str, Any], field: str) -> None:
    refused = given(a_backend()).when(rules.update("backend", "cli", changes))

    assert isinstance(refused.verdict, Flaw)
    assert (field, []) == (refused.verdict.field, refused.facts)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a" * 65, "sub_" + "a" * 26, "fam_" + "b" * 26, "über", "a\n"])
def test_a_name_that_cannot_stand_in_tokens_and_cookies_is_refused(name: str) -> None:
    found = flaw(ClientRegistered(actor="cli", client=name))

    assert found is not None
    assert "client" == found.field


@pytest.mark.parametrize("changes", [{"operator": 1}, {"scopes": "events:read"}])
def test_a_public_client_gets_no_power_of_its_own(changes: dict[str, Any]) -> None:
    assert isinstance(given(a_client()).when(rules.update("web", "cli", changes)).verdict, Flaw)


def test_the_dashboards_client_changes_in_its_limits_only() -> None:
    past = given(a_client("dashboard", idle_ttl=900, absolute_ttl=43_200))

    assert Outcome.DONE == past.when(rules.update("dashboard", "cli", {"idle_ttl": 600})).verdict
    for changes in ({"scopes": "read"}, {"first_party": 0}, {"origins": OWN}, {"audiences": API}):
        assert isinstance(past.when(rules.update("dashboard", "cli", changes)).verdict, Flaw), changes


@pytest.mark.parametrize(
    "changes", [{"idle_ttl": 3601}, {"absolute_ttl": 86_401}, {"idle_ttl": 0}, {"absolute_ttl": 0}]
)
def test_who_may_end_anybodys_sessions_signs_in_every_day(changes: dict[str, int]) -> None:
    past = given(a_client("dashboard", idle_ttl=900, absolute_ttl=43_200))
    refused = past.when(rules.update("dashboard", "cli", changes)).verdict

    assert isinstance(refused, Flaw)
    assert [refused.field] == list(changes)
    assert (
        Outcome.DONE == past.when(rules.update("dashboard", "cli", {"idle_ttl": 3600, "absolute_ttl": 86_400})).verdict
    )


def test_at_most_two_secrets_are_good_at_a_time() -> None:
    once = given(a_backend()).and_then(rules.rotate_secret(Rotate("backend", "hash-2", 60, "cli")), 10)
    twice = state_of(once.and_then(rules.rotate_secret(Rotate("backend", "hash-3", 60, "cli")), 20))

    assert ("hash-2", "hash-1", START + 70 * SECOND) == (
        state_of(once).secret,
        state_of(once).secret_before,
        state_of(once).before_until,
    )
    assert ("hash-3", "hash-2", START + 80 * SECOND, START + 20 * SECOND) == (
        twice.secret,
        twice.secret_before,
        twice.before_until,
        twice.secret_at,
    )


def test_a_secret_that_has_leaked_ends_with_its_successor() -> None:
    after = state_of(given(a_backend()).and_then(rules.rotate_secret(Rotate("backend", "hash-2", 0, "cli")), 10))

    assert ("hash-2", "", 0) == (after.secret, after.secret_before, after.before_until)


def test_a_public_client_gets_no_secret_and_none_that_there_is_not() -> None:
    assert Outcome.PUBLIC == given(a_client()).when(rules.rotate_secret(Rotate("web", "h", 0, "cli"))).verdict
    for decide in (
        rules.rotate_secret(Rotate("backend", "h", 0, "cli")),
        rules.update("backend", "cli", {"scopes": "read"}),
        rules.set_enabled("backend", "cli", enabled=False),
        rules.revoke_access("backend", "cli"),
    ):
        assert Outcome.UNKNOWN == given().when(decide).verdict


def test_revoking_what_a_client_holds_reaches_up_to_the_second_of_the_clock_that_signs() -> None:
    past = given(a_backend()).and_then(rules.revoke_access("backend", "client:backend"), 100)

    assert START // SECOND + 100 == state_of(past).access_revoked
    assert Outcome.UNCHANGED == past.when(rules.revoke_access("backend", "cli"), 100.5).verdict
    earlier = past.and_then(rules.revoke_access("backend", "cli"), 200, wall=START)
    assert START // SECOND + 100 == state_of(earlier).access_revoked


def test_switching_off_and_on_is_written_once_each() -> None:
    off = given(a_backend()).and_then(rules.set_enabled("backend", "cli", enabled=False))
    on = off.and_then(rules.set_enabled("backend", "cli", enabled=True))

    assert [False, True] == [state_of(past).enabled for past in (off, on)]
    assert Outcome.UNCHANGED == on.when(rules.set_enabled("backend", "cli", enabled=True)).verdict


async def test_a_reading_that_was_overtaken_does_not_undo_a_newer_one() -> None:
    old, new = state_of(given(a_backend())), state_of(given(a_backend(scopes="read")))
    slow = asyncio.Event()
    readings = [[old], [new]]

    async def read() -> list[Client]:
        found = readings.pop(0)
        if found == [old]:
            await slow.wait()
        return found

    clients = Clients(cast("Ledger", None), read)
    overtaken = asyncio.create_task(clients.refresh())
    await asyncio.sleep(0)
    await clients.refresh()
    slow.set()
    await overtaken

    assert new == clients.get("backend")


def test_who_has_no_secret_is_proved_by_nothing() -> None:
    public, unknown = state_of(given(a_client()), client.stream_of("web")), None

    for given_secret in ("", "-" * 43, "slc_x", "\ud800"):
        assert [False, False] == [proves(one, given_secret) for one in (public, unknown)]


@pytest.mark.parametrize(
    ("asked", "held", "found"),
    [
        (Asked(), "read write", Grant(API, "read write")),
        (Asked(scope="write read"), "read write", Grant(API, "read write")),
        (Asked(scope="read"), "read write", Grant(API, "read")),
        (Asked(scope="read other"), "read write", Verdict.SCOPE),
        (Asked(scope="write"), "read", Verdict.SCOPE),
        (Asked(), "read gone", Grant(API, "read")),
        (Asked(scope="gone"), "read gone", Verdict.SCOPE),
        (Asked(resource="https://files.example.com"), "read", Grant("https://files.example.com", "read")),
        (Asked(resource=OWN), "read", Verdict.TARGET),
    ],
)
def test_a_users_token_gets_what_its_family_and_its_client_both_have(
    asked: Asked, held: str, found: Grant | Verdict
) -> None:
    app = state_of(given(a_backend(scopes="read write", audiences=f"{API} https://files.example.com")))

    assert found == scope.of_family(asked, held, app, OWN)


def test_a_new_family_never_gets_a_scope_of_our_own_routes() -> None:
    app = state_of(given(a_backend(scopes="read families:write introspect write")))

    assert "read write" == scope.for_people(app)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Asked(), Grant(OWN, "introspect read")),
        (Asked(scope="read"), Grant(OWN, "read")),
        (Asked(scope="write"), Verdict.SCOPE),
        (Asked(resource=API), Grant(API, "introspect read")),
        (Asked(resource="https://other.example.com"), Verdict.TARGET),
    ],
)
def test_a_clients_own_token_is_for_our_routes_unless_it_names_another_audience(
    asked: Asked, found: Grant | Verdict
) -> None:
    app = state_of(given(a_backend(scopes="introspect read", audiences=API)))

    assert found == scope.of_client(asked, app, OWN)
