"""The Python client's keys: one fetch for all who wait, none for garbage, rotation, and a ledger that is gone."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from session_ledger_client import AsyncVerifier, InvalidToken, Rules, Unavailable, Verifier
from session_ledger_client.keys import KeyCache
from tests.conftest import TestClock
from tests.kit import Served, blocking, waiting

API = "https://api.test"


class Publisher:
    """A web server that publishes keys slowly and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.body = b""
        self.status = 200
        self.url = ""

    def publish(self, *names: str) -> dict[str, Ed25519PrivateKey]:
        made = {name: Ed25519PrivateKey.generate() for name in names}
        told = [
            {**json.loads(jwt.get_algorithm_by_name("EdDSA").to_jwk(key.public_key())), "kid": kid, "alg": "EdDSA"}
            for kid, key in made.items()
        ]
        self.body = json.dumps({"keys": told}).encode()
        return made

    def token(self, kid: str, key: Ed25519PrivateKey) -> str:
        now = int(time.time())
        told = {"iss": self.url, "aud": API, "sub": "sub_1", "client_id": "web", "sid": "fam_1", "jti": "1"}
        return jwt.encode(told | {"iat": now, "exp": now + 900}, key, "EdDSA", {"typ": "at+jwt", "kid": kid})

    @property
    def rules(self) -> Rules:
        return Rules(issuer=self.url, audience=API)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing() as one:
        yield one


@contextmanager
def publishing() -> Iterator[Publisher]:
    told = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked += 1
            time.sleep(0.1)
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(told.body)))
            self.send_header("Cache-Control", "public, max-age=300")
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_all_threads_that_wait_for_a_key_share_one_fetch(publisher: Publisher) -> None:
    (kid, key), *_ = publisher.publish("one").items()
    token = publisher.token(kid, key)

    with Verifier(publisher.rules, http=blocking) as verifier, ThreadPoolExecutor(32) as threads:
        found = list(threads.map(lambda _: verifier.verify(token).subject, range(64)))

    assert ["sub_1"] * 64 == found
    assert 1 == publisher.asked


async def test_all_tasks_that_wait_for_a_key_share_one_fetch(publisher: Publisher) -> None:
    (kid, key), *_ = publisher.publish("one").items()
    token = publisher.token(kid, key)

    async with AsyncVerifier(publisher.rules, http=waiting) as verifier:
        found = await asyncio.gather(*(verifier.verify(token) for _ in range(64)))

    assert {"sub_1"} == {one.subject for one in found}
    assert 1 == publisher.asked


async def test_a_storm_of_unknown_keys_makes_one_request(publisher: Publisher) -> None:
    (kid, key), *_ = publisher.publish("one").items()
    good, storm = publisher.token(kid, key), [publisher.token(f"forged-{number}", key) for number in range(100)]

    async with AsyncVerifier(publisher.rules, http=waiting) as verifier:
        refused = await asyncio.gather(*(verifier.verify(one) for one in storm), return_exceptions=True)
        still = await verifier.verify(good)

    assert {"key"} == {one.reason for one in refused if isinstance(one, InvalidToken)}
    assert [100, "sub_1", 1] == [len(refused), still.subject, publisher.asked]


def test_a_key_that_is_published_later_is_found_after_the_cooldown(publisher: Publisher) -> None:
    publisher.publish("one")
    clock = TestClock()
    keys = KeyCache(cooldown=10, clock=lambda: clock.monotonic_now)
    with Verifier(publisher.rules, keys=keys, http=blocking) as verifier:
        with pytest.raises(InvalidToken):
            verifier.verify(publisher.token("two", Ed25519PrivateKey.generate()))
        key = publisher.publish("two")["two"]
        token = publisher.token("two", key)

        clock.pass_(9)
        with pytest.raises(InvalidToken):
            verifier.verify(token)
        clock.pass_(2)
        found = verifier.verify(token)

    assert ("sub_1", 2) == (found.subject, publisher.asked)


def test_a_key_that_is_not_published_any_more_stops_counting(publisher: Publisher) -> None:
    token = publisher.token("one", publisher.publish("one")["one"])
    clock = TestClock()
    keys = KeyCache(clock=lambda: clock.monotonic_now)
    with Verifier(publisher.rules, keys=keys, http=blocking) as verifier:
        verifier.verify(token)
        publisher.publish("two")

        clock.pass_(299)
        verifier.verify(token)
        clock.pass_(2)
        with pytest.raises(InvalidToken):
            verifier.verify(token)


def test_a_ledger_that_is_gone_costs_one_try_in_a_while_and_the_keys_count_for_an_hour(publisher: Publisher) -> None:
    token = publisher.token("one", publisher.publish("one")["one"])
    clock = TestClock()
    keys = KeyCache(cooldown=10, clock=lambda: clock.monotonic_now)
    with Verifier(publisher.rules, keys=keys, http=blocking) as verifier:
        verifier.verify(token)
        publisher.status = 503

        clock.pass_(301)
        assert ["sub_1"] * 5 == [verifier.verify(token).subject for _ in range(5)]
        assert 2 == publisher.asked
        with pytest.raises(Unavailable):  # it may be a new one
            verifier.verify(publisher.token("two", Ed25519PrivateKey.generate()))
        clock.pass_(3600)
        with pytest.raises(Unavailable):
            verifier.verify(token)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": 7}', b"<html>", b'{"keys": []}' + b" " * 70_000])
def test_an_answer_that_is_no_key_set_changes_nothing(publisher: Publisher, body: bytes) -> None:
    token = publisher.token("one", publisher.publish("one")["one"])
    clock = TestClock()
    with Verifier(publisher.rules, keys=KeyCache(clock=lambda: clock.monotonic_now), http=blocking) as verifier:
        verifier.verify(token)
        publisher.body = body
        clock.pass_(301)

        assert "sub_1" == verifier.verify(token).subject


def test_without_any_answer_a_token_is_neither_good_nor_bad() -> None:
    with publishing() as gone:
        token = gone.token("one", gone.publish("one")["one"])
        rules = gone.rules
    with Verifier(rules, http=blocking) as verifier, pytest.raises(Unavailable) as refused:
        verifier.verify(token)
    assert "keys" == refused.value.reason


def test_pyjwts_own_client_of_key_sets_verifies_our_tokens(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    token = served.sign_in().access_token

    client = jwt.PyJWKClient(f"{served.place.url}/.well-known/jwks.json")
    key = client.get_signing_key_from_jwt(token)
    found = jwt.decode(token, key, ["EdDSA"], audience=served.issuer, issuer=served.issuer)

    assert found["sid"].startswith("fam_")


def test_keys_may_rotate_while_tokens_are_verified(served: Served) -> None:
    clock = TestClock()
    keys = KeyCache(clock=lambda: clock.monotonic_now)
    with served.verifier(keys=keys) as verifier:
        before = served.sign_in().access_token
        first = verifier.verify(before)
        served.place.done("keys", "rotate", "--force")
        after = signed_by_another(served, first.key_id)

        second = verifier.verify(after)

        assert first.key_id != second.key_id
        assert 1 == keys.fetches  # the next key was published before it signed
        assert first == verifier.verify(before)


def signed_by_another(served: Served, key_id: str) -> str:
    """A new token, once the service has followed the rotation."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        token = served.sign_in().access_token
        if jwt.get_unverified_header(token)["kid"] != key_id:
            return token
        time.sleep(0.2)
    raise AssertionError("the key did not change")


def test_the_address_of_the_keys_is_as_rfc_8414_metadata_says(served: Served) -> None:
    told = httpx.get(f"{served.place.url}/.well-known/oauth-authorization-server", trust_env=False).json()

    assert f"{served.issuer}/.well-known/jwks.json" == told["jwks_uri"]
    assert served.rules.issuer == told["issuer"]
