"""Access tokens: what we mint, and attacks 1 to 14 of the usual list, signed with the right key wherever that helps."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, utils
from jwt.algorithms import get_default_algorithms

from core import access, pair
from core.access import AccessClaims, Refusal
from core.master import MasterKeys
from core.ring import KeyRing
from events import ids
from events.key import ACTIVE, NEXT, RETIRED, REVOKED, Key

MASTER = MasterKeys.parse(hashlib.sha256(b"test").hexdigest())
NOW = 1_800_000_000
ISSUER = "https://auth.example.test"
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": ids.to_text("sub", b"\x00" + b"s" * 15),
    "aud": ISSUER,
    "exp": NOW + 900,
    "iat": NOW,
    "jti": "j" * 22,
    "client_id": "web",
    "sid": ids.to_text("fam", b"\x00" + b"f" * 15),
    "auth_time": NOW - 60,
    "scope": "read write",
    "roles": ["viewer"],
}
PAIRS = {algorithm: pair.generate(algorithm) for algorithm in ("EdDSA", "ES256", "HS256")}
# Made once: an RSA key takes up to seconds.
PAIRS["RS256"] = pair.generate("RS256")


def state(made: pair.Pair, status: str = ACTIVE, retire_at: int = 0) -> Key:
    wrapped = MASTER.wrap(1, made.kid, made.private, bytes(12))
    stream = hashlib.sha256(made.kid.encode()).digest()[:16]
    return Key(stream, 1, status, made.kid, made.algorithm, made.public, wrapped, 1, NOW, retire_at=retire_at)


def ring(algorithm: str = "EdDSA", status: str = ACTIVE, retire_at: int = 0) -> KeyRing:
    return KeyRing.of([state(PAIRS[algorithm], status, retire_at)], MASTER)


RINGS = {algorithm: ring(algorithm) for algorithm in PAIRS}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign(head: Any, body: Any, algorithm: str = "EdDSA") -> str:
    """A token with the right key's signature over whatever header and payload a test wants."""
    segments = [b64(one if isinstance(one, bytes) else json.dumps(one).encode()) for one in (head, body)]
    signing = RINGS[algorithm].signing
    assert signing is not None
    text = ".".join(segments)
    return f"{text}.{b64(signing.sign(text.encode()))}"


def header(algorithm: str = "EdDSA", **changed: Any) -> dict[str, Any]:
    return {"typ": "at+jwt", "alg": algorithm, "kid": PAIRS[algorithm].kid, **changed}


def verdict(token: str, algorithm: str = "EdDSA", now: float = NOW) -> AccessClaims | Refusal:
    return access.verify(token, RINGS[algorithm], issuer=ISSUER, audience=ISSUER, now=now)


def good(algorithm: str = "EdDSA") -> str:
    signing = RINGS[algorithm].signing
    assert signing is not None
    return access.mint(signing, msgspec.convert(CLAIMS, AccessClaims))


def dropped(*names: str) -> dict[str, Any]:
    return {name: value for name, value in CLAIMS.items() if name not in names}


@pytest.mark.parametrize("algorithm", list(PAIRS))
def test_a_minted_token_is_accepted_with_each_algorithm(algorithm: str) -> None:
    assert msgspec.convert(CLAIMS, AccessClaims) == verdict(good(algorithm), algorithm)


def test_a_minted_token_says_exactly_what_rfc_9068_asks_for() -> None:
    head, body, _ = good().split(".")
    assert header() == json.loads(unb64(head))
    assert CLAIMS == json.loads(unb64(body))


def test_empty_scope_and_roles_are_left_out() -> None:
    signing = RINGS["EdDSA"].signing
    assert signing is not None
    bare = msgspec.convert(dropped("scope", "roles"), AccessClaims)
    token = access.mint(signing, bare)
    assert dropped("scope", "roles") == json.loads(unb64(token.split(".")[1]))
    assert bare == verdict(token)


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "", None, ["EdDSA"], 5, "eddsa", {}])
@pytest.mark.parametrize("signature", ["", "kept"])
def test_attack_01_alg_none_is_refused(alg: Any, signature: str) -> None:
    head, body, mac = good().split(".")
    changed = b64(json.dumps(header(alg=alg)).encode())
    token = f"{changed}.{body}.{mac if signature else ''}"
    assert verdict(token) in {Refusal.ALGORITHM, Refusal.MALFORMED}
    assert "EdDSA" in unb64(head).decode()


def test_attack_01_an_absent_alg_is_refused() -> None:
    head = header()
    del head["alg"]
    assert Refusal.HEADER == verdict(sign(head, CLAIMS))


def public_forms(algorithm: str) -> list[bytes]:
    key = pair.load_public(algorithm, PAIRS[algorithm].public)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    members = json.loads(PAIRS[algorithm].public)
    raw = unb64(members["x"]) + unb64(members.get("y", ""))
    return [pem, pem.rstrip(), der, PAIRS[algorithm].public.encode(), raw, b""]


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_attack_02_a_public_key_is_no_mac_key(algorithm: str, alg: str) -> None:
    text = ".".join(b64(json.dumps(one).encode()) for one in (header(algorithm, alg=alg), CLAIMS))
    digest = "sha" + alg[2:]
    tokens = [f"{text}.{b64(hmac.digest(key, text.encode(), digest))}" for key in public_forms(algorithm)]
    assert [Refusal.ALGORITHM] * 6 == [verdict(token, algorithm) for token in tokens]


@pytest.mark.parametrize("alg", ["ES384", "ES256K", "RS256", "PS256", "EdDSA", "HS256"])
def test_attack_03_a_key_has_one_algorithm(alg: str) -> None:
    assert Refusal.ALGORITHM == verdict(sign(header("ES256", alg=alg), CLAIMS, "ES256"), "ES256")


def test_attack_03_a_token_of_another_key_of_the_ring_does_not_pass_under_this_kid() -> None:
    both = KeyRing.of([state(PAIRS["EdDSA"]), state(PAIRS["ES256"], NEXT)], MASTER)
    token = sign(header("EdDSA"), CLAIMS, "ES256")
    assert Refusal.SIGNATURE == access.verify(token, both, issuer=ISSUER, audience=ISSUER, now=NOW)


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/proc/self/environ",
        "' OR '1'='1",
        "a\0b",
        "key;id",
        "",
        "k" * 65,
        "k" * 5000,
        5,
        None,
        True,
        ["a"],
        {"a": 1},
        "unknown",
        pytest.param(PAIRS["EdDSA"].kid + "\n", id="ours-and-a-newline"),
        pytest.param(PAIRS["EdDSA"].kid.lower(), id="ours-in-lower-case"),
    ],
)
def test_attack_04_only_a_kid_of_the_ring_finds_a_key(kid: Any) -> None:
    assert Refusal.KEY == verdict(sign(header(kid=kid), CLAIMS))


def test_attack_04_a_kid_of_100_kilobytes_ends_at_the_limit() -> None:
    assert Refusal.MALFORMED == verdict(sign(header(kid="k" * 100_000), CLAIMS))


def test_attack_04_an_absent_kid_is_refused() -> None:
    head = header()
    del head["kid"]
    assert Refusal.HEADER == verdict(sign(head, CLAIMS))


def test_attack_04_a_retired_kid_is_refused_from_its_end_on() -> None:
    retired = ring(status=RETIRED, retire_at=(NOW + 100) * 1_000_000)

    def at(now: float) -> AccessClaims | Refusal:
        return access.verify(good(), retired, issuer=ISSUER, audience=ISSUER, now=now)

    assert isinstance(at(NOW + 99.9), AccessClaims)
    assert Refusal.KEY == at(NOW + 100)


def test_attack_04_a_revoked_kid_is_refused_at_once() -> None:
    revoked = ring(status=REVOKED, retire_at=(NOW + 100) * 1_000_000)
    assert Refusal.KEY == access.verify(good(), revoked, issuer=ISSUER, audience=ISSUER, now=NOW)


@pytest.mark.parametrize("name", ["jwk", "x5c", "jku", "x5u", "x5t", "x5t#S256"])
def test_attack_05_a_key_in_the_header_is_refused(name: str) -> None:
    attacker = ed25519.Ed25519PrivateKey.generate()
    jwk = get_default_algorithms()["EdDSA"].to_jwk(attacker.public_key(), as_dict=True)
    value = jwk if name == "jwk" else ["MIIB"] if name == "x5c" else "http://127.0.0.1:9/keys"
    text = ".".join(b64(json.dumps(one).encode()) for one in (header() | {name: value}, CLAIMS))
    assert Refusal.HEADER == verdict(f"{text}.{b64(attacker.sign(text.encode()))}")
    assert Refusal.HEADER == verdict(sign(header() | {name: value}, CLAIMS))


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["x"]},
        {"crit": []},
        {"crit": "exp"},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"anything": 1},
    ],
)
def test_attack_06_no_header_member_but_ours_is_accepted(extra: dict[str, Any]) -> None:
    assert Refusal.HEADER == verdict(sign(header() | extra, CLAIMS))


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"exp": NOW - access.LEEWAY - 1, "iat": NOW - 900}, Refusal.EXPIRED),
        ({"exp": NOW - access.LEEWAY, "iat": NOW - 900}, Refusal.EXPIRED),
        ({"nbf": NOW + access.LEEWAY + 1}, Refusal.NOT_YET),
        ({"iat": NOW + access.LEEWAY + 1}, Refusal.NOT_YET),
        ({"exp": NOW + access.MAX_TTL + 1}, Refusal.LIFETIME),
        ({"exp": NOW + 10, "iat": NOW + 11}, Refusal.LIFETIME),
        ({"exp": NOW, "iat": NOW}, Refusal.LIFETIME),
    ],
)
def test_attack_07_time_claims_hold(changed: dict[str, Any], refusal: Refusal) -> None:
    assert refusal == verdict(sign(header(), CLAIMS | changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": NOW - access.LEEWAY + 1, "iat": NOW - 900},
        {"nbf": NOW + access.LEEWAY},
        {"iat": NOW + access.LEEWAY},
        {"exp": NOW + access.MAX_TTL},
        {"auth_time": NOW + 3600},
    ],
)
def test_times_at_the_edge_of_what_is_allowed_are_accepted(changed: dict[str, Any]) -> None:
    assert isinstance(verdict(sign(header(), CLAIMS | changed)), AccessClaims)


def test_attack_07_the_policy_may_allow_less_than_an_hour() -> None:
    token = sign(header(), CLAIMS)
    found = access.verify(token, RINGS["EdDSA"], issuer=ISSUER, audience=ISSUER, now=NOW, max_ttl=899)
    assert Refusal.LIFETIME == found


@pytest.mark.parametrize("name", ["exp", "iat", "auth_time", "nbf"])
@pytest.mark.parametrize(
    "value",
    [
        *('"123"', f'"{NOW + 900}"', f"{NOW}.0", f"{NOW}.5", "true", "null", "-1", "1e400", "1e9", "NaN", "Infinity"),
        *("9" * 5000, "{}", "[]", "253402300800", "1" + "0" * 30),
    ],
)
def test_attack_08_times_are_whole_numbers_and_nothing_else(name: str, value: str) -> None:
    body = json.dumps(dropped(name))[:-1] + f', "{name}": {value}}}'
    assert Refusal.CLAIMS == verdict(sign(header(), body.encode()))


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": 5},
        {"sub": ""},
        {"sub": "alice"},
        {"sub": CLAIMS["sid"]},
        {"sub": CLAIMS["sub"].upper()},
        {"sub": CLAIMS["sub"] + "\n"},
        {"sid": CLAIMS["sub"]},
        {"sid": None},
        {"jti": 5},
        {"jti": "short"},
        {"jti": "j" * 65},
        {"client_id": ""},
        {"client_id": "a b"},
        {"client_id": ["web"]},
        {"scope": ["read"]},
        {"scope": None},
        {"scope": " read"},
        {"scope": 'a"b'},
        {"aud": {"a": 1}},
        {"aud": None},
        {"iss": [ISSUER]},
        {"roles": "admin"},
        {"roles": [1]},
        {"roles": {"admin": True}},
        {"roles": ["a\nb"]},
    ],
)
def test_attack_08_every_claim_has_its_type_and_shape(changed: dict[str, Any]) -> None:
    assert Refusal.CLAIMS == verdict(sign(header(), CLAIMS | changed))


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'"text"', b"", b"{", b"{}"])
def test_attack_08_a_payload_is_an_object(body: bytes) -> None:
    assert verdict(sign(header(), body)) in {Refusal.CLAIMS, Refusal.MALFORMED}


@pytest.mark.parametrize("name", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "sid", "auth_time"])
def test_attack_09_a_missing_claim_is_refused(name: str) -> None:
    assert Refusal.CLAIMS == verdict(sign(header(), dropped(name)))


@pytest.mark.parametrize(
    "issuer",
    [ISSUER + "/", "https://AUTH.example.test", "http://auth.example.test", "https://auth.example.test/t1", "", "é"],
)
def test_attack_10_the_issuer_is_compared_exactly(issuer: str) -> None:
    assert Refusal.ISSUER == verdict(sign(header(), CLAIMS | {"iss": issuer}))


@pytest.mark.parametrize("audience", ["", ISSUER[:-1], ISSUER + "x", ISSUER + "/", "https://other.example.test"])
def test_attack_10_the_audience_is_compared_exactly(audience: str) -> None:
    assert Refusal.AUDIENCE == verdict(sign(header(), CLAIMS | {"aud": audience}))


def test_attack_10_an_audience_list_is_refused_even_with_ours_in_it() -> None:
    tokens = [sign(header(), CLAIMS | {"aud": aud}) for aud in ([ISSUER, "https://other.example.test"], [ISSUER], [])]
    assert [Refusal.CLAIMS] * 3 == [verdict(token) for token in tokens]


@pytest.mark.parametrize(
    "typ",
    [
        *("JWT", "", "jwt", "secevent+jwt", "dpop+jwt", "statuslist+jwt", "refresh", "AT+JWT", "application/AT+jwt"),
        *(None, 5, ["at+jwt"], " at+jwt", "at+jwt;x=1"),
    ],
)
def test_attack_11_another_type_of_token_is_refused(typ: Any) -> None:
    assert Refusal.TYPE == verdict(sign(header(typ=typ), CLAIMS))


def test_attack_11_an_absent_type_is_refused() -> None:
    head = header()
    del head["typ"]
    assert Refusal.HEADER == verdict(sign(head, CLAIMS))


def test_attack_11_a_refresh_token_is_not_an_access_token() -> None:
    assert Refusal.MALFORMED == verdict("slr_" + "A" * 92)


def test_the_long_spelling_of_the_type_is_accepted() -> None:
    assert isinstance(verdict(sign(header(typ="application/at+jwt"), CLAIMS)), AccessClaims)


@pytest.mark.parametrize("name", list(CLAIMS))
def test_attack_12_a_claim_that_is_there_twice_is_refused(name: str) -> None:
    body = json.dumps(CLAIMS)[:-1] + f', "{name}": {json.dumps(CLAIMS[name])}}}'
    assert Refusal.CLAIMS == verdict(sign(header(), body.encode()))


def test_attack_12_the_same_name_written_differently_is_there_twice() -> None:
    body = json.dumps(CLAIMS)[:-1] + f', "\\u0073ub": "{CLAIMS["sub"]}"}}'
    assert Refusal.CLAIMS == verdict(sign(header(), body.encode()))


def test_attack_12_a_member_twice_deeper_down_is_refused_too() -> None:
    body = json.dumps(CLAIMS)[:-1] + ', "x": {"a": 1, "a": 2}}'
    assert Refusal.CLAIMS == verdict(sign(header(), body.encode()))


@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
def test_attack_12_a_header_member_that_is_there_twice_is_refused(name: str) -> None:
    head = json.dumps(header())[:-1] + f', "{name}": "{header()[name]}"}}'
    assert Refusal.HEADER == verdict(sign(head.encode(), CLAIMS))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.rpartition(".")[0],
        lambda t: t.rpartition(".")[0] + ".",
        lambda t: t + "." + t.split(".")[2],
        lambda t: ".".join([*t.split("."), "a", "b"]),
        lambda t: t + "==",
        lambda t: t + "=",
        lambda t: t + " ",
        lambda t: " " + t,
        lambda t: t + "\n",
        lambda t: t + "\t",
        lambda t: t.replace(".", " .", 1),
        lambda t: t.replace(".", "+.", 1),
        lambda t: t.replace(".", "/.", 1),
        lambda t: t.replace(".", "", 1),
        lambda t: "." + t,
        lambda t: t + "\0",
        lambda t: "Bearer " + t,
        lambda t: t.replace(".", "\N{FULLWIDTH FULL STOP}"),
        lambda _t: "",
        lambda _t: "..",
        lambda t: json.dumps(dict(zip(("protected", "payload", "signature"), t.split("."), strict=True))),
    ],
)
def test_attack_13_only_the_one_text_of_a_token_is_accepted(change: Callable[[str], str]) -> None:
    assert Refusal.MALFORMED == verdict(change(good()))


@pytest.mark.parametrize("spaces", [0, 1, 2])
def test_attack_13_bits_left_over_at_the_end_of_a_segment_are_refused(spaces: int) -> None:
    """The last character of a segment whose length is not a multiple of four has bits that say nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = sign((json.dumps(header()) + " " * spaces).encode(), (json.dumps(CLAIMS) + " " * spaces).encode())
    assert isinstance(verdict(token), AccessClaims)
    segments = token.split(".")
    slack = [place for place, text in enumerate(segments) if len(text) % 4]
    for place in slack:
        text = segments[place]
        changed = text[:-1] + alphabet[alphabet.index(text[-1]) + 1]
        assert unb64(text) == unb64(changed)
        assert Refusal.MALFORMED == verdict(".".join([*segments[:place], changed, *segments[place + 1 :]]))
    assert 2 in slack


def test_attack_13_a_changed_byte_anywhere_is_refused() -> None:
    token = good()
    places = range(0, len(token), 7)
    changed = [token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :] for i in places if token[i] != "."]
    assert [] == [one for one in changed if not isinstance(verdict(one), Refusal)]


def test_attack_13_empty_and_der_signatures_of_ecdsa_are_refused() -> None:
    text, _, signature = good("ES256").rpartition(".")
    raw = unb64(signature)
    der = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    tokens = [f"{text}.{b64(one)}" for one in (der, bytes(64), raw[:63], raw + b"\0")]
    assert {Refusal.SIGNATURE} == {verdict(token, "ES256") for token in tokens}


def test_attack_13_the_mirrored_ecdsa_signature_is_the_same_token_to_us() -> None:
    """(r, n - s) is valid as well: that is why nothing is ever denied by a token's text, but by `jti` and `sid`."""
    text, _, signature = good("ES256").rpartition(".")
    raw = unb64(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    mirrored = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    assert verdict(good("ES256"), "ES256") == verdict(f"{text}.{b64(mirrored)}", "ES256")


@pytest.mark.parametrize("size", [8_193, 9_000, 70_000, 1_000_000, 20_000_000])
def test_attack_14_a_long_token_ends_before_it_is_parsed(size: int) -> None:
    token = good() + "A" * size
    started = time.thread_time()
    assert Refusal.MALFORMED == verdict(token)
    assert time.thread_time() - started < 0.05


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("size", [500, 2_000, 100_000])
def test_attack_14_deep_json_is_refused_without_an_error(opening: str, size: int) -> None:
    deep = (opening * size).encode()[:5_000] if size < 100_000 else (opening * size).encode()
    assert verdict(sign(deep, CLAIMS)) in {Refusal.HEADER, Refusal.MALFORMED}
    assert verdict(sign(header(), deep)) in {Refusal.CLAIMS, Refusal.MALFORMED}
    closed = b'{"a":' * 900 + b"1" + b"}" * 900
    assert Refusal.CLAIMS == verdict(sign(header(), closed))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_attack_14_only_utf_8_without_a_mark_is_read(encoding: str) -> None:
    assert Refusal.HEADER == verdict(sign(json.dumps(header()).encode(encoding), CLAIMS))
    assert Refusal.CLAIMS == verdict(sign(header(), json.dumps(CLAIMS).encode(encoding)))


@pytest.mark.parametrize("junk", [b"\xc0\xaf", b"\xed\xa0\x80", b"\xff", b"\x00"])
def test_attack_14_bytes_that_are_no_utf_8_are_refused(junk: bytes) -> None:
    body = json.dumps(CLAIMS).encode().replace(b"read write", junk)
    assert Refusal.CLAIMS == verdict(sign(header(), body))


@pytest.mark.parametrize("text", ["\ud800", "a.b.\ud800", "\N{PILE OF POO}.a.b", "a.b.c\0", "\0" * 100, "é.é.é"])
def test_attack_14_text_that_is_no_token_is_refused_without_an_error(text: str) -> None:
    assert Refusal.MALFORMED == verdict(text)


def test_a_claim_that_we_do_not_know_changes_nothing() -> None:
    assert isinstance(verdict(sign(header(), CLAIMS | {"acr": "1"})), AccessClaims)


def test_a_ring_without_keys_refuses_everything() -> None:
    assert Refusal.KEY == access.verify(good(), KeyRing(), issuer=ISSUER, audience=ISSUER, now=NOW)
