"""Clients that prove themselves by a key (private_key_jwt, RFC 7523): checks, routes, and how keys are managed."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

import app
from core import client_assertion
from core.application import flaw
from core.clients import proves
from events.client import CONFIDENTIAL, PUBLIC, ClientRegistered
from tests.applications import Application, application, issued_to, oauth_error, own_token
from tests.check import check
from tests.conftest import MakeSettings, running, visiting
from tests.keyholders import TYPE, KeyHolder
from tests.visitors import OWN, bearer, packed, unpacked

SHAPES = pytest.mark.usefixtures("on_sqlite")
FORM = {"grant_type": "client_credentials"}
ISSUER = {"audience": OWN}


def jwks(*holders: KeyHolder) -> str:
    """Their public keys, as a client's policy holds them."""
    return client_assertion.stored({"keys": [one.jwk for one in holders]})


async def signer(service: app.Service, holder: KeyHolder, **policy: Any) -> Application:
    """A client that has this key, and a secret unless it is told that only the key counts."""
    return await application(service, "signer", keys=jwks(holder), **policy)


async def asked(http: httpx.AsyncClient, form: dict[str, str], **more: Any) -> httpx.Response:
    return await http.post("/oauth/token", data=FORM | form, **more)


async def test_a_client_proves_itself_by_its_key_at_all_three_routes(
    service: app.Service, http: httpx.AsyncClient
) -> None:
    holder = KeyHolder()
    await signer(service, holder, scopes="introspect", operator=1)
    user = await issued_to(service, "signer")
    form = {"grant_type": "refresh_token", "refresh_token": user.refresh_token}

    own = await asked(http, holder.asserted("signer"))
    refreshed = await http.post("/oauth/token", data=form | holder.asserted("signer") | {"client_id": "signer"})
    token = refreshed.json()["refresh_token"]
    told = await http.post("/oauth/introspect", data={"token": token} | holder.asserted("signer"))
    revoked = await http.post("/oauth/revoke", data={"token": token} | holder.asserted("signer"))

    assert [200] * 4 == [one.status_code for one in (own, refreshed, told, revoked)]
    assert told.json()["active"]
    check(service.store, secrets=[token])


@SHAPES
@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519", "PS256", "RS256"])
async def test_the_other_algorithms_prove_as_well(
    service: app.Service, http: httpx.AsyncClient, algorithm: str
) -> None:
    holder = KeyHolder(algorithm)
    await signer(service, holder)

    assert 200 == (await asked(http, holder.asserted("signer"))).status_code


async def test_an_assertion_works_once_here_and_after_a_restart(make_settings: MakeSettings) -> None:
    holder, settings = KeyHolder(), make_settings()
    async with running(settings) as before, visiting(before) as http:
        await signer(before, holder)
        used = holder.asserted("signer")
        assert [200, 401] == [(await asked(http, used)).status_code for _ in range(2)]
    async with running(settings) as after, visiting(after) as http:
        assert (401, "invalid_client") == oauth_error(await asked(http, used))
        assert 200 == (await asked(http, holder.asserted("signer"))).status_code


@SHAPES
async def test_the_same_identifier_from_two_clients_is_two(service: app.Service, http: httpx.AsyncClient) -> None:
    one, two = KeyHolder(), KeyHolder()
    await application(service, "one", keys=jwks(one))
    await application(service, "two", keys=jwks(two))

    answers = [
        await asked(http, holder.asserted(name, jti="the-same"))
        for holder, name in ((one, "one"), (two, "two"), (one, "one"))
    ]

    assert [200, 200, 401] == [answer.status_code for answer in answers]


def wrong(holder: KeyHolder) -> list[dict[str, str]]:
    now = int(time.time())
    claims: list[dict[str, Any]] = [
        {"aud": f"{OWN}/oauth/token"},
        {"aud": [OWN]},
        {"aud": [OWN, "https://elsewhere.example"]},
        {"aud": "https://elsewhere.example"},
        {"aud": None},
        {"iss": "web"},
        {"iss": None},
        {"sub": None},
        {"exp": None},
        {"exp": now - 10},
        {"exp": now + 3600},
        {"exp": str(now + 60)},
        {"exp": True},
        {"iat": now + 60},
        {"nbf": now + 60},
        {"iat": "now"},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 257},
    ]
    right = holder.assertion("signer")
    head, body, signature = right.split(".")
    texts = [
        "x",
        right + "=",
        f"{head}.{body}.",
        f"{packed({'alg': 'none'})}.{body}.",
        f"{head}.{packed(unpacked(body) | {'jti': 'other'})}.{signature}",
        KeyHolder().assertion("signer"),
        holder.assertion("signer", kid="another"),
        holder.signed({"alg": "ES256", "jwk": holder.jwk}, unpacked(body)),
        holder.signed({"alg": "ES256", "crit": ["exp"]}, unpacked(body)),
        holder.signed({"alg": "ES256", "typ": "at+jwt"}, unpacked(body)),
        holder.signed({"alg": "ES256", "typ": "dpop+jwt"}, unpacked(body)),
        holder.signed({"alg": "HS256"}, unpacked(body)),
        holder.signed({"alg": "ES256"}, json.dumps(unpacked(body))[:-1].encode() + b',"sub":"signer"}'),
        holder.signed({"alg": "ES256"}, json.dumps(unpacked(body)).encode("utf-16")),
        holder.assertion("signer", filler="x" * 4096),
    ]
    forms = [{"client_assertion_type": TYPE, "client_assertion": text} for text in texts]
    forms += [holder.asserted("signer", **one) for one in claims]
    good = holder.asserted("signer")
    return [
        *forms,
        {"client_assertion": good["client_assertion"]},
        {"client_assertion_type": TYPE},
        good | {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
        good | {"client_id": "web"},
        holder.asserted("nobody"),
        holder.asserted("web"),
    ]


@SHAPES
async def test_whatever_is_wrong_with_an_assertion_is_told_in_the_same_words(
    make_settings: MakeSettings,
) -> None:
    async with running(make_settings(rate_limits="off")) as service, visiting(service) as http:
        holder = KeyHolder()
        await signer(service, holder)
        answers = [await asked(http, one) for one in wrong(holder)]

        assert [(401, "invalid_client")] * len(answers) == [oauth_error(one) for one in answers]
        assert 1 == len({one.json()["error_description"] for one in answers})
        assert 200 == (await asked(http, holder.asserted("signer"))).status_code


@SHAPES
async def test_a_key_and_another_proof_at_once_are_refused(service: app.Service, http: httpx.AsyncClient) -> None:
    holder = KeyHolder()
    client = await signer(service, holder)

    basic = await asked(http, holder.asserted("signer"), auth=client.basic)
    post = await asked(http, holder.asserted("signer") | client.posted)

    assert [(400, "invalid_request")] * 2 == [oauth_error(one) for one in (basic, post)]


@SHAPES
async def test_the_client_stays_disabled_whatever_it_proves(service: app.Service, http: httpx.AsyncClient) -> None:
    holder = KeyHolder()
    await signer(service, holder)
    await service.clients.set_enabled("signer", "cli", enabled=False)

    assert (401, "invalid_client") == oauth_error(await asked(http, holder.asserted("signer")))


@SHAPES
async def test_where_only_keys_count_the_secret_does_not(service: app.Service, http: httpx.AsyncClient) -> None:
    holder = KeyHolder()
    client = await signer(service, holder)
    before = await asked(http, client.posted)
    await service.clients.update("signer", "cli", {"keys_only": 1})

    after = await asked(http, client.posted)

    assert (200, 401) == (before.status_code, after.status_code)
    assert 200 == (await asked(http, holder.asserted("signer"))).status_code
    assert proves(service.clients.get("signer"), client.secret)  # it would, if it were asked for


@SHAPES
async def test_keys_are_rotated_with_both_good_for_a_while(service: app.Service, http: httpx.AsyncClient) -> None:
    old, new = KeyHolder(), KeyHolder("EdDSA")
    await signer(service, old, keys_only=1)
    await service.clients.update("signer", "cli", {"keys": jwks(old, new)})
    both = [await asked(http, one.asserted("signer")) for one in (old, new)]
    await service.clients.update("signer", "cli", {"keys": jwks(new)})

    left = [await asked(http, one.asserted("signer")) for one in (old, new)]

    assert [200, 200, 401, 200] == [one.status_code for one in both + left]


# How keys are managed


@SHAPES
async def test_a_program_registers_keys_and_reads_them_back(service: app.Service, http: httpx.AsyncClient) -> None:
    holder = KeyHolder()
    ops = await application(service, "ops", scopes="clients:read clients:write", operator=1)
    headers = bearer(await own_token(http, ops))
    new = {"client_id": "signer", "type": "confidential", "jwks": {"keys": [holder.jwk]}, "keys_only": True}

    made = await http.post("/v1/clients", json=new | {"dpop": "required"}, headers=headers)
    seen = (await http.get("/v1/clients/signer", headers=headers)).json()
    bad = await http.patch("/v1/clients/signer", json={"jwks": {"keys": [holder.jwk | {"d": "AA"}]}}, headers=headers)
    gone = await http.patch("/v1/clients/signer", json={"jwks": None, "keys_only": False}, headers=headers)

    assert (201, None) == (made.status_code, made.json()["client_secret"])
    assert {"keys": [holder.jwk | {"kid": holder.thumbprint}]} == seen["jwks"]
    assert ("required", True) == (seen["dpop"], seen["keys_only"])
    assert 400 == bad.status_code
    assert bad.json()["detail"].startswith("keys: ")
    assert (None, False) == (gone.json()["jwks"], gone.json()["keys_only"])


@SHAPES
def test_what_a_client_s_keys_may_be(tmp_path: Path) -> None:
    one = KeyHolder().jwk
    private = one | {"d": "AAAA"}
    unusable: list[Any] = [
        {"keys": []},
        {"keys": [one] * 5},
        {"keys": [one, one]},
        {"keys": [private]},
        {"keys": [{"kty": "oct", "k": "AAAA"}]},
        {"keys": [one | {"use": "enc"}]},
        {"keys": "x"},
        [one],
        "not json",
        "[" * 10_000,
        one,
    ]

    assert [None] * len(unusable) == [client_assertion.written(given) for given in unusable]
    assert "" == client_assertion.stored("") == client_assertion.stored(None)
    stored = client_assertion.stored(
        json.dumps({"keys": [one | {"use": "sig", "kid": "a", "alg": "ES256", "x5t": "z"}]})
    )
    assert {"keys": [one | {"kid": "a", "alg": "ES256"}]} == json.loads(stored)
    assert stored == client_assertion.written(stored)


@SHAPES
def test_only_a_confidential_client_has_keys_and_only_one_with_keys_does_without_a_secret() -> None:
    keys = jwks(KeyHolder())
    expected: dict[str | None, list[dict[str, Any]]] = {
        None: [{"keys": keys, "type": CONFIDENTIAL}, {"keys": keys, "type": CONFIDENTIAL, "keys_only": 1}],
        "keys": [
            {"keys": keys, "type": PUBLIC},
            {"keys": "{}", "type": CONFIDENTIAL},
            {"keys": "?", "type": CONFIDENTIAL},
        ],
        "keys_only": [{"type": CONFIDENTIAL, "keys_only": 1}, {"type": CONFIDENTIAL, "keys": keys, "keys_only": 2}],
        "dpop": [{"dpop": "sometimes"}],
    }
    for field, policies in expected.items():
        for policy in policies:
            found = flaw(ClientRegistered(actor="cli", client="signer", **policy))
            assert field == (found.field if found else None), policy


@SHAPES
async def test_the_metadata_say_that_keys_prove_clients(http: httpx.AsyncClient) -> None:
    told = (await http.get("/.well-known/oauth-authorization-server")).json()

    for endpoint in ("token", "revocation", "introspection"):
        assert "private_key_jwt" in told[f"{endpoint}_endpoint_auth_methods_supported"]
        assert "ES256" in told[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
        assert "none" not in told[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
