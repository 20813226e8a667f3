"""The checks of a proof (RFC 9449 §4.3) and of the nonce (§8), as pure functions; the RFC's own examples as printed."""

import base64
import hashlib
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from core import dpop, jwk, url
from core.dpop import NONCE_PERIOD, WINDOW, Asked, Flaw, Proof
from tests.keyholders import RSA_KEY, TOKEN, KeyHolder, ath
from tests.visitors import packed, unpacked

NOW = int(time.time())
HOLDER = KeyHolder()
HOLDER.now = NOW
ASKED = Asked("POST", TOKEN, NOW)

FIGURE_2 = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo"
    "RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJq"
    "dGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0Ijox"
    "NTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
"""RFC 9449, figure 2: for the token endpoint."""
FIGURE_12 = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo"
    "RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJq"
    "dGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNv"
    "dXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqz"
    "hrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
"""RFC 9449, figure 12: for a resource, with the hash of its access token."""
TOKEN_OF_FIGURE_12 = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
JKT_OF_THE_RFC = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def checked(text: str, asked: Asked = ASKED) -> Proof | Flaw:
    return dpop.check(text, asked)


def test_a_right_proof_says_whose_key_it_is_of_and_what_must_be_new() -> None:
    found = checked(HOLDER.proof(iat=NOW, jti="one"))

    assert isinstance(found, Proof)
    assert HOLDER.thumbprint == found.jkt
    assert hashlib.sha256(f"dpop\0{HOLDER.thumbprint}\0one".encode()).digest() == found.use.value
    assert found.use.until > (NOW + WINDOW) * 1_000_000


@pytest.mark.parametrize("algorithm", jwk.ALGORITHMS)
def test_every_algorithm_that_the_metadata_names_is_taken(algorithm: str) -> None:
    holder = KeyHolder(algorithm)
    holder.now = NOW
    found = checked(holder.proof())

    assert isinstance(found, Proof)
    assert holder.thumbprint == found.jkt


# The RFC's own examples


def test_the_proof_of_figure_2_is_right_as_printed() -> None:
    found = checked(FIGURE_2, Asked("POST", "https://server.example.com/token", 1_562_262_616))

    assert isinstance(found, Proof)
    assert JKT_OF_THE_RFC == found.jkt


def test_the_proof_of_figure_12_is_right_as_printed_for_its_access_token_only() -> None:
    asked = Asked("GET", "https://resource.example.org/protectedresource", 1_562_262_618, TOKEN_OF_FIGURE_12)

    assert isinstance(checked(FIGURE_12, asked), Proof)
    assert Flaw.TOKEN is checked(FIGURE_12, asked._replace(token=TOKEN_OF_FIGURE_12 + "x"))
    assert "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo" == dpop.token_hash(TOKEN_OF_FIGURE_12)


def test_years_later_the_printed_proof_is_too_old() -> None:
    assert Flaw.TIME is checked(FIGURE_2, Asked("POST", "https://server.example.com/token", NOW))


def test_the_thumbprint_of_rfc_7638_comes_out_as_printed() -> None:
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhM"
        "stn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5"
        "hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    found = jwk.read({"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"})

    assert found is not None
    assert "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" == found.thumbprint


# What refuses a proof


def test_what_the_header_must_be() -> None:
    private = json.loads(ECAlgorithm.to_jwk(HOLDER.key))
    expected: dict[Flaw, list[dict[str, Any]]] = {
        Flaw.TYPE: [{"typ": "JWT"}, {"typ": "at+jwt"}, {"typ": "DPOP+JWT"}, {"typ": 7}],
        Flaw.HEADER: [{"typ": None}, {"jwk": None}, {"alg": None}, {"crit": ["x"]}, {"x5u": "https://x.example"}],
        Flaw.ALGORITHM: [{"alg": "none"}, {"alg": "HS256"}, {"alg": "ES384"}, {"alg": ["ES256"]}, {"alg": "es256"}],
        Flaw.KEY: [
            {"jwk": private},
            {"jwk": HOLDER.jwk | {"d": ""}},
            {"jwk": HOLDER.jwk | {"k": "c2VjcmV0"}},
            {"jwk": {"kty": "oct", "k": "c2VjcmV0"}},
            {"jwk": {name: value for name, value in HOLDER.jwk.items() if name != "y"}},
            {"jwk": HOLDER.jwk | {"crv": "P-384"}},
            {"jwk": HOLDER.jwk | {"x": HOLDER.jwk["y"]}},
            {"jwk": HOLDER.jwk | {"x": HOLDER.jwk["x"] + "="}},
            {"jwk": HOLDER.jwk | {"alg": "ES512"}},
            {"jwk": HOLDER.jwk | {"kty": ["EC"]}},
            {"jwk": [HOLDER.jwk]},
            {"jwk": "https://keys.example"},
        ],
        Flaw.SIGNATURE: [{"jwk": KeyHolder().jwk}, {"alg": "EdDSA"}, {"jwk": KeyHolder("EdDSA").jwk}],
    }
    for flaw, changes in expected.items():
        for change in changes:
            assert flaw is checked(HOLDER.signed(HOLDER.header(**change), HOLDER.claims())), change


def test_keys_that_are_too_weak_too_long_or_of_another_kind_are_none() -> None:
    weak, long_ = rsa.generate_private_key(65537, 1024), RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
    known = [
        RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True),
        long_ | {"n": packed(b"\xff" * 513)},
        long_ | {"n": packed(b"\x00" + b"\xff" * 256)},
        long_ | {"e": "Aw"},
        OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key(), as_dict=True),
        ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256K1()).public_key(), as_dict=True),
        {"kty": "EC", "crv": "P-256", "x": packed(bytes(32)), "y": packed(bytes(32))},
    ]
    assert [None] * len(known) == [jwk.read(one) for one in known]


def test_what_the_claims_must_be() -> None:
    expected: dict[Flaw, list[dict[str, Any]]] = {
        Flaw.CLAIMS: [
            *({name: None} for name in ("jti", "htu", "iat")),
            *({"jti": one} for one in (7, "", "x" * 257)),
            *({"iat": one} for one in (str(NOW), True, -1, 10**12)),
            {"htu": [TOKEN]},
        ],
        Flaw.METHOD: [{"htm": None}, {"htm": "GET"}, {"htm": "post"}],
        Flaw.URL: [
            {"htu": one}
            for one in (
                "https://ledger.test/oauth/revoke",
                "https://ledger.test/oauth/token/",
                "https://ledger.test/oauth/Token",
                "http://ledger.test/oauth/token",
                "https://ledger.test:8443/oauth/token",
                "https://other.test/oauth/token",
                "https://ledger.test@other.test/oauth/token",
                "/oauth/token",
                "https://ledger.test/oauth/to ken",
                "ftp://ledger.test/oauth/token",
                "https://[/oauth/token",
                "",
            )
        ],
        Flaw.TIME: [{"iat": NOW - WINDOW - 1}, {"iat": NOW + WINDOW + 1}, {"iat": 0}],
    }
    for flaw, changes in expected.items():
        for change in changes:
            assert flaw is checked(HOLDER.proof(**change)), change
    assert Flaw.MALFORMED is checked(HOLDER.proof(iat=NOW + 0.5))


@pytest.mark.parametrize(
    "spelled",
    [
        "HTTPS://LEDGER.TEST:443/oauth/token",
        "https://ledger.test/oauth/token?x=1#y",
        "https://ledger.test/oauth/%74oken",
        "https://ledger.test/a/../oauth/./token",
    ],
)
def test_other_spellings_of_the_same_url_are_the_same(spelled: str) -> None:
    assert isinstance(checked(HOLDER.proof(url=spelled)), Proof)


def test_urls_are_normal_in_one_form_only() -> None:
    assert "https://a.example/" == url.normal("https://A.example") == url.normal("https://a.example:443/.")
    assert "https://a.example:80/%2F" == url.normal("https://a.example:80/%2f")
    assert "http://[::1]:8000/x" == url.normal("http://[::1]:8000/y/../x")
    assert url.normal("https://a.example/x") != url.normal("https://a.example/x/")
    assert url.normal("https://a.example/" + "x" * 2048) is None


def corrupted(text: str) -> list[str]:
    head, body, signature = text.split(".")
    claims = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    utf_16 = HOLDER.signed(HOLDER.header(), json.dumps(HOLDER.claims()).encode("utf-16"))
    bom = HOLDER.signed(HOLDER.header(), b"\xef\xbb\xbf" + json.dumps(HOLDER.claims()).encode())
    twice = HOLDER.signed(HOLDER.header(), claims[:-1] + b',"htm":"POST"}')
    heads = HOLDER.signed(json.dumps(HOLDER.header()).encode()[:-1] + b',"typ":"dpop+jwt"}', claims)
    return [
        "",
        "x",
        "a.b",
        f"{head}.{body}",
        f"{text}=",
        f"{text}==",
        f" {text}",
        f"{text}\n",
        f"{text}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-1]}",
        f"{head}.{body}.\ud800",
        f"{head}.{'W10'}.{signature}",
        utf_16,
        bom,
        twice,
        heads,
        HOLDER.signed(HOLDER.header(), HOLDER.claims(filler="x" * 4096)),
        HOLDER.signed(b"[" * 3000, b"{}"),
    ]


def test_what_is_not_one_strict_jwt_is_malformed() -> None:
    assert isinstance(checked(HOLDER.proof()), Proof)
    for text in corrupted(HOLDER.proof()):
        assert Flaw.MALFORMED is checked(text), text[:80]


def test_a_signature_of_something_else_or_in_another_form_is_none() -> None:
    text = HOLDER.proof()
    head, body, _ = text.split(".")
    other = KeyHolder().proof().split(".")[2]
    der = packed(HOLDER.key.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
    changed = packed(unpacked(body) | {"jti": "another"})
    for forged in (f"{head}.{body}.{other}", f"{head}.{changed}.{text.split('.')[2]}", f"{head}.{body}.{der}"):
        assert Flaw.SIGNATURE is checked(forged)
    assert Flaw.SIGNATURE is checked(f"{head}.{body}.{packed(bytes(64))}")


def test_the_hash_of_the_access_token_must_be_there_and_right() -> None:
    asked = ASKED._replace(token="the-token")

    assert isinstance(checked(HOLDER.proof(token="the-token"), asked), Proof)
    assert Flaw.TOKEN is checked(HOLDER.proof(), asked)
    assert Flaw.TOKEN is checked(HOLDER.proof(token="another"), asked)
    assert Flaw.TOKEN is checked(HOLDER.proof(ath=ath("the-token") + "="), asked)
    assert isinstance(checked(HOLDER.proof(token="unasked")), Proof)


# The nonce

KEY, BEFORE = b"k" * 32, b"b" * 32


def nonces(now: float, key: bytes = KEY) -> Asked:
    return ASKED._replace(is_nonce=lambda text: dpop.is_nonce([KEY, BEFORE], text, now))


def test_a_nonce_counts_in_its_period_and_the_next_whichever_key_made_it() -> None:
    made = [dpop.nonce(key, NOW) for key in (KEY, BEFORE)]

    for text in made:
        for later in (-NONCE_PERIOD, 0, NONCE_PERIOD):
            assert isinstance(checked(HOLDER.proof(nonce=text), nonces(NOW + later)), Proof)
        for later in (-2 * NONCE_PERIOD, 2 * NONCE_PERIOD):
            assert Flaw.NONCE is checked(HOLDER.proof(nonce=text), nonces(NOW + later))
    assert dpop.nonce(KEY, NOW) != dpop.nonce(KEY, NOW + NONCE_PERIOD)


@pytest.mark.parametrize("other", [None, "", "x" * 22, "=" * 22, 7, ["x"], dpop.nonce(b"z" * 32, NOW)])
def test_no_nonce_and_somebody_else_s_are_refused_and_say_so(other: Any) -> None:
    assert Flaw.NONCE is checked(HOLDER.proof(nonce=other), nonces(NOW))


def test_a_nonce_is_a_matter_of_who_asks_for_one() -> None:
    assert isinstance(checked(HOLDER.proof(nonce="of another server")), Proof)
