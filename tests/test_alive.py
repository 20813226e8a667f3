"""Is a session alive? Whoever answers that gives the same answer, whatever it was that ended it (ASVS 7.4.1)."""

from collections.abc import Awaitable, Callable
from hashlib import sha256

import httpx
import pytest

import app
from core import master_revocation
from core.action import Confirmed
from core.issued import Issued
from core.master_revocation import Revoke
from events.decision import Streams
from events.log import STREAM
from tests.applications import Application, application, issued_to, renewed
from tests.conftest import MASTER_KEY, MakeSettings, running, visiting
from tests.visitors import bearer, let_pass

NEXT = f"2:{sha256(b'the next key of the tests').hexdigest()}"
End = Callable[[app.Service], Awaitable[object]]


async def asked(http: httpx.AsyncClient, backend: Application, tokens: Issued) -> dict[str, bool]:
    """What each door says of the session. The refresh comes last: it uses the token up."""
    headers = bearer(tokens.access_token)
    said = {name: (await http.get(name, headers=headers)).status_code for name in ("/auth/me", "/v1/verify")}
    told = {
        kind: (await http.post("/oauth/introspect", data={"token": token}, auth=backend.basic)).json()["active"]
        for kind, token in (("access", tokens.access_token), ("refresh", tokens.refresh_token))
    }
    alive = {name: status == 200 for name, status in said.items()} | {f"introspect {k}": v for k, v in told.items()}
    return alive | {"refresh": (await renewed(http, backend, tokens.refresh_token)).status_code == 200}


async def shorter(service: app.Service, limit: str) -> None:
    await service.clients.update("backend", "cli", {limit: 60})
    let_pass(service, 120)


async def is_shorter_absolutely(service: app.Service) -> None:
    await shorter(service, "absolute_ttl")


async def is_shorter_idly(service: app.Service) -> None:
    await shorter(service, "idle_ttl")


async def is_of_a_disabled_client(service: app.Service) -> None:
    await service.clients.set_enabled("backend", "cli", enabled=False)
    await service.clients.refresh()


async def is_of_a_disabled_user(service: app.Service) -> None:
    owner = await service.subjects.find("alice")
    assert owner is not None
    await service.subjects.disable(owner, "left", "cli")


@pytest.mark.parametrize("end", [is_shorter_absolutely, is_shorter_idly, is_of_a_disabled_user])
async def test_all_doors_agree_on_a_session_that(service: app.Service, http: httpx.AsyncClient, end: End) -> None:
    backend = await application(service)
    living, ended = await issued_to(service, "backend"), await issued_to(service, "backend")
    assert {True} == set((await asked(http, backend, living)).values())

    await end(service)
    assert dict.fromkeys(await asked(http, backend, ended), False) == await asked(http, backend, ended)


async def test_the_tokens_of_a_disabled_client_count_nowhere(service: app.Service, http: httpx.AsyncClient) -> None:
    await application(service)
    tokens = await issued_to(service, "backend")
    other = await application(service, "other", operator=1, scopes="introspect")
    await is_of_a_disabled_client(service)
    answers = [await http.get(name, headers=bearer(tokens.access_token)) for name in ("/auth/me", "/v1/verify")]
    told = await http.post("/oauth/introspect", data={"token": tokens.access_token}, auth=other.basic)

    assert [401, 401] == [one.status_code for one in answers]
    assert not told.json()["active"]


async def test_from_the_commit_of_the_brake_nothing_under_the_key_counts_though_nobody_carried_it_out_yet(
    make_settings: MakeSettings,
) -> None:
    async with running(make_settings(master_key=MASTER_KEY)) as service:
        backend = await application(service)
        tokens = await issued_to(service, "backend")
    async with running(make_settings(master_key=f"{NEXT},{MASTER_KEY}")) as service, visiting(service) as http:
        after = await issued_to(service, "backend")
        confirmed = Confirmed(service.actions.new_id(), "cli", "compromised", "INC-7", "", 0)
        wanted = Streams(actions=frozenset((confirmed.action,)), logs=frozenset((STREAM,)))
        await service.ledger.submit(wanted, master_revocation.revoke(Revoke(confirmed, 1, 1)))

        assert {False} == set((await asked(http, backend, tokens)).values())
        assert {True} == set((await asked(http, backend, after)).values())
