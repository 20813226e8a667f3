"""Looking up what somebody holds, through the whole service: ids, names, addresses, live and used tokens."""

import httpx
import pytest

from app import Service
from core.lookup import Found, Lookup, Unreadable, fingerprint
from core.watching import Watching
from events import ids
from events.decision import Origin
from events.family import DashboardExported, DashboardLookedUp
from tests.applications import application, issued_to, own_token
from tests.conftest import PASSWORD


@pytest.fixture
def lookup(service: Service) -> Lookup:
    settings = service.settings
    return Lookup(
        service.families,
        service.keys,
        service.subject_reader,
        service.history,
        service.clients,
        settings.issuer,
    )


async def signed_in(http: httpx.AsyncClient) -> dict[str, str]:
    asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
    found: dict[str, str] = (await http.post("/auth/login", json=asked)).json()
    return found


async def test_a_refresh_token_leads_to_its_family_even_when_it_was_used(
    lookup: Lookup, http: httpx.AsyncClient
) -> None:
    first = await signed_in(http)
    await http.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})

    found = await lookup.find(f"  {first['refresh_token']}\n")

    assert [Found("refresh_token", first["family_id"], "Its generation is 1.")] == found


async def test_a_forged_token_is_told_from_an_unknown_thing(lookup: Lookup) -> None:
    assert isinstance(await lookup.find("slr_" + "A" * 92), Unreadable)
    assert isinstance(await lookup.find("eyJhbGciOiJub25lIn0.e30."), Unreadable)


@pytest.mark.parametrize("cut", [-1, 40, 4])
async def test_a_part_of_a_refresh_token_is_told_as_one_and_not_repeated(
    lookup: Lookup, http: httpx.AsyncClient, cut: int
) -> None:
    token = (await signed_in(http))["refresh_token"]
    part = token[:cut]
    found = await lookup.find(f" {part}\n")

    why = f"This is not a whole refresh token: {len(token)} characters are needed, these are {len(part)}."
    assert Unreadable("refresh_token", why) == found
    assert isinstance(await lookup.find(token + "A"), Unreadable)


async def test_an_access_token_leads_to_its_family(lookup: Lookup, http: httpx.AsyncClient) -> None:
    first = await signed_in(http)

    found = await lookup.find(first["access_token"])

    assert not isinstance(found, Unreadable)
    assert [("access_token", first["family_id"])] == [(one.kind, one.id) for one in found]


async def test_a_token_for_another_audience_leads_to_its_family_too(lookup: Lookup, service: Service) -> None:
    await application(service, audiences="https://api.example.com")
    issued = await issued_to(service, "backend")

    found = await lookup.find(issued.access_token)

    assert not isinstance(found, Unreadable)
    assert [("access_token", ids.to_text("fam", issued.family.id))] == [(one.kind, one.id) for one in found]


async def test_what_an_application_holds_for_itself_leads_to_it(
    lookup: Lookup, service: Service, http: httpx.AsyncClient
) -> None:
    backend = await application(service)
    token = await own_token(http, backend)

    kinds = {}
    for entered in ("backend", token, backend.secret):
        found = await lookup.find(entered)
        assert not isinstance(found, Unreadable)
        kinds[found[0].kind] = found[0].id
    await service.clients.rotate_secret("backend", "cli", keep=0)

    assert dict.fromkeys(("client", "client_token", "client_secret"), "backend") == kinds
    assert isinstance(await lookup.find(backend.secret), Unreadable)


@pytest.mark.parametrize(
    ("entered", "kind", "named"),
    [
        ("#12", "event", "12"),
        ("12", "event", "12"),
        ("203.0.113.7", "network", "203.0.113.7"),
        ("203.0.113.7/24", "network", "203.0.113.0/24"),
        ("2001:db8::1", "network", "2001:db8::1"),
        ("2001:DB8::/32", "network", "2001:db8::/32"),
        ("fam_" + "a" * 26, "family", "fam_" + "a" * 26),
        ("act_" + "a" * 26, "action", "act_" + "a" * 26),
    ],
)
async def test_what_explains_itself_is_recognised(lookup: Lookup, entered: str, kind: str, named: str) -> None:
    assert [Found(kind, named)] == await lookup.find(entered)


async def test_a_login_name_is_found_however_it_is_spelled(lookup: Lookup, service: Service) -> None:
    owner = await service.subject_reader.named("admin")
    assert owner is not None

    assert [Found("subject", ids.to_text("sub", owner.id))] == await lookup.find("ADMIN")


async def test_request_and_access_token_ids_lead_to_their_events(
    lookup: Lookup, service: Service, http: httpx.AsyncClient
) -> None:
    await signed_in(http)
    last = (await service.history.before(None, 1))[0]

    by_request = await lookup.find(last.fact.request)
    by_jti = await lookup.find(last.fact.jti)  # type: ignore[attr-defined]

    assert [Found("request", last.fact.request)] == by_request
    assert [Found("event", str(last.position))] == by_jti


@pytest.mark.parametrize("entered", ["", "nobody", "fam_" + "7" * 26, "x" * 16, "\x00", "'; --", "\ud800"])
async def test_what_nobody_knows_is_nothing(lookup: Lookup, entered: str) -> None:
    assert [] == await lookup.find(entered)


async def test_looking_is_written_down_without_what_was_entered(service: Service, http: httpx.AsyncClient) -> None:
    first = await signed_in(http)
    held = await service.family_reader.get(ids.parse("fam", first["family_id"]))
    assert held is not None
    watching = Watching(service.ledger)

    await watching.looked_up(held.family, "refresh_token", fingerprint(first["refresh_token"]), Origin())
    await watching.exported(held.family, "user:alice", "csv", 10, Origin())

    newest, before = await service.history.before(None, 2)
    assert isinstance(newest.fact, DashboardExported)
    assert "user:alice" == newest.account.note
    assert isinstance(before.fact, DashboardLookedUp)
    assert first["refresh_token"] not in before.body.decode()
    assert 12 == len(before.fact.fingerprint)
