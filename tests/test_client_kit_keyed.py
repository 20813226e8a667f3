"""The Python client proves itself to the feed by a key of its own: no secret exists anywhere."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from session_ledger_client import FAIL_CLOSED, FAIL_OPEN, Claims, Feed, Unavailable
from session_ledger_client.assertion import signer
from tests.keyholders import KeyHolder
from tests.kit import Served, Session, own_token
from tests.processes import PATIENCE
from tests.test_client_kit_feed import refused_after

ALGORITHMS = ("EdDSA", "ES256", "PS256")


def pem_of(key: KeyHolder) -> str:
    text: bytes = key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text.decode()


def feed_of(name: str, holder: KeyHolder) -> Feed:
    return Feed(client_id=name, client_key=pem_of(holder), on_stale=FAIL_CLOSED)


def known(served: Served, folder: Path, name: str, *holders: KeyHolder) -> None:
    """A client that the running service takes, with these keys and no secret."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"keys": [one.jwk for one in holders]}))
    asked = ("--confidential", "--operator", "--scope", "revocations:read", "--keys", str(file), "--keys-only")
    told = served.place.done("client", "add", name, *asked)
    assert "slc_" not in told
    followed(served, name, holders[0])


def followed(served: Served, name: str, holder: KeyHolder) -> None:
    """Wait until a feed of this client was answered: the service learns of new clients within seconds."""
    session = served.sign_in()
    deadline = time.monotonic() + PATIENCE
    with served.verifier(feed_of(name, holder)) as verifier:
        while accepted(verifier.verify, session) != session.family_id:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def accepted(verify: Callable[[str], Claims], session: Session) -> str | None:
    """The session that the token is of, unless nothing is known yet."""
    try:
        return verify(session.access_token).session_id
    except Unavailable:
        return None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_client_without_a_secret_follows_revocations(served: Served, tmp_path: Path, algorithm: str) -> None:
    holder = KeyHolder(algorithm)
    known(served, tmp_path, f"keyed-{algorithm.lower()}", holder)
    session, other = served.sign_in(), served.sign_in()
    with served.verifier(feed_of(f"keyed-{algorithm.lower()}", holder)) as verifier:
        verifier.verify(session.access_token)
        served.kill(session)
        refused_after(lambda: verifier.verify(session.access_token))
        assert other.family_id == verifier.verify(other.access_token).session_id


async def test_the_same_on_an_event_loop_and_another_key_is_no_proof(served: Served, tmp_path: Path) -> None:
    holder = KeyHolder("ES256")
    known(served, tmp_path, "keyed-loop", holder)
    session = served.sign_in()
    async with served.async_verifier(feed_of("keyed-loop", holder)) as verifier:
        assert session.family_id == (await verifier.verify(session.access_token)).session_id
    async with served.async_verifier(feed_of("keyed-loop", KeyHolder("ES256"))) as verifier:
        with pytest.raises(Unavailable, match="revocations"):
            await verifier.verify(session.access_token)


def test_each_assertion_counts_once_and_says_no_more_than_it_must(served: Served, tmp_path: Path) -> None:
    holder = KeyHolder("EdDSA")
    known(served, tmp_path, "keyed-once", holder)
    proof = signer(pem_of(holder)).proof("keyed-once", served.issuer)
    asked = {"grant_type": "client_credentials", "scope": "revocations:read"} | proof
    statuses = [
        httpx.post(f"{served.place.url}/oauth/token", data=asked, trust_env=False).status_code for _ in range(2)
    ]
    assert [200, 401] == statuses
    assert proof["client_assertion"] != signer(pem_of(holder)).proof("keyed-once", served.issuer)["client_assertion"]


def test_a_secret_goes_on_to_count_where_there_is_one(served: Served) -> None:
    assert 200 == own_token(served).status_code
    session = served.sign_in()
    with served.verifier(served.feed(FAIL_CLOSED)) as verifier:
        assert session.family_id == verifier.verify(session.access_token).session_id


def test_one_proof_is_given_and_no_other_kind_of_key() -> None:
    good = pem_of(KeyHolder("EdDSA"))
    locked = KeyHolder("EdDSA").key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    others = [
        "",
        "slc_secret",
        good.replace("PRIVATE", "PUBLIC"),
        locked.decode(),
        *(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
            for key in (
                rsa.generate_private_key(65537, 1024),
                ec.generate_private_key(ec.SECP384R1()),
                dsa.generate_private_key(2048),
            )
        ),
    ]
    for wrong in others:
        with pytest.raises(ValueError, match="client_key"):
            Feed(client_id="a", client_key=wrong, on_stale=FAIL_OPEN)
    with pytest.raises(ValueError, match="one of the two"):
        Feed(client_id="a", client_key=good, client_secret="b", on_stale=FAIL_OPEN)


def test_the_key_is_not_shown() -> None:
    good = pem_of(KeyHolder("EdDSA"))
    feed = Feed(client_id="a", client_key=good, on_stale=FAIL_OPEN)
    inside = good.splitlines()[1]
    assert inside not in repr(feed) + repr(signer(good))
    with pytest.raises(ValueError, match="client_key") as refused:
        Feed(client_id="a", client_key=good[:-40], on_stale=FAIL_OPEN)
    assert inside not in str(refused.value)


def test_nothing_is_accepted_from_a_feed_that_refuses_the_client(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    session = served.sign_in()
    caplog.set_level("WARNING")
    with served.verifier(feed_of("nobody", KeyHolder())) as verifier, pytest.raises(Unavailable, match="revocations"):
        verifier.verify(session.access_token)
    assert "revocation feed: HTTP 401 (failure 1)" in caplog.messages
