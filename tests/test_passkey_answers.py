"""What a passkey's answer proves: each is signed rightly by the right key, and only what it says differs."""

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2 import cbor
from fido2.cose import ES256

from core import passkey
from core.factor import Assertion
from core.passkey import Site
from events.factor import PASSKEY, Factor

SITE = Site("https://ledger.test")
CHALLENGE = b"c" * 32
PRIVATE = ec.derive_private_key(4711, ec.SECP256R1())
PRESENT, VERIFIED = 0x01, 0x04
OWNER = bytes(range(16))


def cose(public: ec.EllipticCurvePublicKey) -> str:
    return text(cbor.encode(dict(ES256.from_cryptography_key(public))))  # type: ignore[no-untyped-call]


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


KEY = Factor(
    "key",
    PASSKEY,
    0,
    credential=text(b"cred"),
    public_key=cose(PRIVATE.public_key()),
)


def answer(flags: int = PRESENT | VERIFIED, host: str = "ledger.test", handle: bytes = OWNER, **said: Any) -> str:
    client = {"type": "webauthn.get", "challenge": text(CHALLENGE), "origin": SITE.origin, "crossOrigin": False} | said
    told = json.dumps(client).encode()
    data = hashlib.sha256(host.encode()).digest() + bytes([flags]) + (7).to_bytes(4)
    signature = PRIVATE.sign(data + hashlib.sha256(told).digest(), ec.ECDSA(SHA256()))
    response = {"clientDataJSON": told, "authenticatorData": data, "signature": signature, "userHandle": handle}
    named = {"id": KEY.credential, "rawId": KEY.credential, "type": "public-key", "clientExtensionResults": {}}
    return json.dumps(named | {"response": {name: text(value) for name, value in response.items()}})


def asserted(given: str, *held: Factor) -> Assertion | None:
    return passkey.asserted(SITE, given, CHALLENGE, held or (KEY,))


def test_an_answer_for_us_says_which_key_how_often_and_whether_it_knows_its_owner() -> None:
    assert Assertion("key", 7, verified=True) == asserted(answer())
    assert Assertion("key", 7, verified=False) == asserted(answer(PRESENT))
    assert OWNER == passkey.owner_of(answer())


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "https://evil.test"},
        {"origin": "https://ledger.test.evil.test"},
        {"origin": "https://app.ledger.test"},
        {"origin": "https://ledger.test:8443"},
        {"origin": "http://ledger.test"},
        {"host": "evil.test"},
        {"challenge": text(b"d" * 32)},
        {"type": "webauthn.create"},
        {"crossOrigin": True},
        {"flags": VERIFIED},
    ],
    ids=str,
)
def test_an_answer_that_was_made_elsewhere_or_for_something_else_is_worth_nothing(wrong: dict[str, Any]) -> None:
    assert asserted(answer(**wrong)) is None


def test_another_key_of_the_same_name_is_not_believed() -> None:
    other = ec.derive_private_key(815, ec.SECP256R1()).public_key()
    foreign = Factor(
        "key",
        PASSKEY,
        0,
        credential=KEY.credential,
        public_key=cose(other),
    )

    assert asserted(answer(), foreign) is None
    assert asserted(answer(), Factor("key", PASSKEY, 0, credential=text(b"else"), public_key=KEY.public_key)) is None
    assert asserted(answer(), Factor("key", PASSKEY, 0)) is None


@pytest.mark.parametrize(
    "given", ["", "{}", "[]", "1", '{"response": 1}', "x" * 20_000, '{"a": NaN}', "\ud800", '{"id": "a", "rawId": "b"}']
)
def test_garbage_is_no_answer_and_raises_nothing(given: str) -> None:
    found = asserted(given), passkey.made(SITE, given, CHALLENGE), passkey.owner_of(given)

    assert (None, None, None) == found


def test_passkeys_are_for_names_not_for_addresses() -> None:
    urls = ["https://ledger.test", "http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000"]

    assert [True, True, False, False] == [Site(url).takes_passkeys for url in urls]
