"""The Python client against tokens that are signed correctly and still must not be accepted. Without a network."""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from session_ledger_client import Claims, InsufficientScope, InvalidToken, Rules, Unavailable, Verifier
from session_ledger_client.feed import Revocations
from session_ledger_client.keys import KeyCache

ISSUER, API = "https://ledger.test", "https://api.test"
NOW = 1_800_000_000
KID = "k" * 43
PRIVATE = ed25519.Ed25519PrivateKey.generate()


def claims(**more: Any) -> dict[str, Any]:
    told = {
        "iss": ISSUER,
        "sub": "sub_" + "a" * 26,
        "aud": API,
        "exp": NOW + 900,
        "iat": NOW,
        "jti": "j" * 22,
        "client_id": "web",
        "sid": "fam_" + "a" * 26,
        "auth_time": NOW,
        "scope": "orders:read",
        "roles": ["staff"],
    }
    return {name: value for name, value in (told | more).items() if value is not None}


def base(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(payload: bytes | dict[str, Any], header: bytes | dict[str, Any] | None = None) -> str:
    """A token that PyJWT takes, over exactly these bytes."""
    head = {"typ": "at+jwt", "alg": "EdDSA", "kid": KID} if header is None else header
    parts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in (head, payload)]
    text = ".".join(base(one) for one in parts)
    return f"{text}.{base(PRIVATE.sign(text.encode()))}"


def published(key: Any, algorithm: str, **more: Any) -> dict[str, Any]:
    found = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    return {**found, "kid": KID, "alg": algorithm, "use": "sig", **more}


def verifier(*keys: dict[str, Any], **rules: Any) -> Verifier:
    cache = KeyCache(cooldown=3600)
    cache.took("max-age=300", json.dumps({"keys": list(keys) or [published(PRIVATE, "EdDSA")]}).encode())
    cache.failed()  # asked just now: nothing is fetched
    return Verifier(Rules(issuer=ISSUER, audience=API, clock=lambda: NOW + 1, **rules), keys=cache)


GOOD = verifier()
"""Of one service, for all examples."""


def reason(token: str, **rules: Any) -> str:
    with pytest.raises(InvalidToken) as refused:
        verifier(**rules).verify(token)
    return refused.value.reason


def test_a_good_token_says_who_it_is() -> None:
    found = verifier().verify(signed(claims()))

    assert found == Claims(
        subject="sub_" + "a" * 26,
        client_id="web",
        session_id="fam_" + "a" * 26,
        token_id="j" * 22,
        issuer=ISSUER,
        audience=API,
        issued_at=NOW,
        expires_at=NOW + 900,
        auth_time=NOW,
        scopes=frozenset({"orders:read"}),
        roles=("staff",),
        key_id=KID,
    )


HEADER = {"typ": "at+jwt", "alg": "EdDSA", "kid": KID}


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({**HEADER, "typ": "JWT"}, "header"),
        ({"alg": "EdDSA", "kid": KID}, "header"),
        ({**HEADER, "jwk": {}}, "header"),
        ({**HEADER, "jku": "https://evil.test"}, "header"),
        ({**HEADER, "crit": []}, "header"),
        ({**HEADER, "zip": "DEF"}, "header"),
        ({**HEADER, "kid": 7}, "header"),
        ({**HEADER, "kid": "../../keys"}, "header"),
        ({**HEADER, "alg": "none"}, "header"),
        ({**HEADER, "alg": "HS256"}, "header"),
        ({**HEADER, "alg": "ES256"}, "header"),
        ({**HEADER, "alg": ["EdDSA"]}, "header"),
        ({**HEADER, "kid": "another"}, "key"),
        (b'{"typ":"at+jwt","alg":"EdDSA","kid":"%b","kid":"%b"}' % (KID.encode(), KID.encode()), "malformed"),
        (json.dumps(HEADER).encode("utf-16"), "malformed"),
        (b"\xef\xbb\xbf" + json.dumps(HEADER).encode(), "malformed"),
        (b"[" * 2500, "malformed"),
        (b"[]", "malformed"),
    ],
)
def test_a_header_that_no_ledger_writes_is_refused(header: Any, why: str) -> None:
    assert why == reason(signed(claims(), header))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"exp": str(NOW + 900)}, "claims"),
        ({"exp": NOW + 900.0}, "malformed"),
        ({"exp": True}, "claims"),
        ({"exp": 10**30}, "claims"),
        ({"exp": NOW - 5}, "expired"),
        ({"exp": NOW + 4000}, "lifetime"),
        ({"exp": NOW, "iat": NOW}, "lifetime"),
        ({"iat": NOW + 60, "exp": NOW + 600}, "not_yet"),
        ({"iat": None}, "claims"),
        ({"nbf": NOW + 60}, "claims"),
        ({"nbf": "0"}, "claims"),
        ({"iss": "https://ledger.test/"}, "issuer"),
        ({"iss": None}, "claims"),
        ({"aud": "https://other.test"}, "audience"),
        ({"aud": [API, "https://other.test"]}, "claims"),
        ({"aud": [API]}, "claims"),
        ({"sub": None}, "claims"),
        ({"sub": 7}, "claims"),
        ({"sub": ""}, "claims"),
        ({"jti": None}, "claims"),
        ({"sid": None}, "claims"),
        ({"sid": 7}, "claims"),
        ({"scope": ["orders:read"]}, "claims"),
        ({"roles": "staff"}, "claims"),
        ({"roles": [1]}, "claims"),
        ({"cnf": {"jkt": "x"}}, "claims"),
    ],
)
def test_claims_that_are_not_exactly_right_are_refused(changed: dict[str, Any], why: str) -> None:
    assert why == reason(signed(claims(**changed)))


def test_a_member_that_comes_twice_is_refused() -> None:
    twice = json.dumps(claims()).replace('"sub"', '"sub": "sub_other", "sub"', 1).encode()

    assert "malformed" == reason(signed(twice))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_claims_in_another_encoding_are_refused(encoding: str) -> None:
    assert "malformed" == reason(signed(json.dumps(claims()).encode(encoding)))


def test_only_the_one_text_of_a_token_is_accepted() -> None:
    good = signed(claims())
    head, payload, signature = good.split(".")
    others = [f"{good}==", f"{good}\n", f" {good}", f"{head}.{payload}", f"{good}.x", "", "..", "\ud800", "x" * 9000]
    swapped = signature[:-1] + ("B" if signature[-1] == "A" else "A")
    unused_bits = f"{head}.{payload}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}"

    assert [*["malformed"] * len(others)] == [reason(text) for text in others]
    assert reason(f"{head}.{payload}.{swapped}") in {"signature", "malformed"}
    assert reason(unused_bits) in {"signature", "malformed"}


def test_a_changed_payload_is_refused() -> None:
    head, _, signature = signed(claims()).split(".")
    forged = base(json.dumps(claims(sub="sub_" + "b" * 26)).encode())

    assert "signature" == reason(f"{head}.{forged}.{signature}")


def test_a_remembered_header_helps_no_forged_token() -> None:
    one = verifier()
    good = signed(claims())
    one.verify(good)
    head, _, signature = good.split(".")

    with pytest.raises(InvalidToken) as refused:
        one.verify(f"{head}.{base(json.dumps(claims(exp=NOW + 901)).encode())}.{signature}")
    assert "signature" == refused.value.reason


def test_a_token_of_a_client_itself_counts_only_where_it_is_wanted() -> None:
    machine = signed(claims(sub="robot", client_id="robot", sid=None, auth_time=None, roles=None))

    assert "claims" == reason(machine)
    assert verifier(clients=True).verify(machine).session_id is None


def test_a_users_token_without_its_session_never_counts() -> None:
    assert "claims" == reason(signed(claims(sid=None)), clients=True)


def test_scopes_are_words_not_parts_of_words() -> None:
    found = verifier().verify(signed(claims(scope="orders:read:all")))

    with pytest.raises(InsufficientScope) as refused:
        found.require("orders:read")
    assert "orders:read" == refused.value.needed


@pytest.mark.parametrize(
    "key",
    [
        published(rsa.generate_private_key(65537, 1024), "RS256"),
        published(PRIVATE, "EdDSA", use="enc"),
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": KID},
        {**published(PRIVATE, "EdDSA"), "d": "AAAA"},
        {**published(PRIVATE, "EdDSA"), "alg": "none"},
        {**published(PRIVATE, "EdDSA"), "alg": "ES256"},
        {"kid": KID},
    ],
    ids=["short RSA", "other use", "secret", "private", "none", "other algorithm", "nothing"],
)
def test_a_key_that_should_not_be_published_verifies_nothing(key: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken) as refused:
        verifier(key).verify(signed(claims()))
    assert "key" == refused.value.reason


@pytest.mark.parametrize(
    ("private", "algorithm"),
    [(ec.generate_private_key(ec.SECP256R1()), "ES256"), (rsa.generate_private_key(65537, 2048), "RS256")],
    ids=["ES256", "RS256"],
)
def test_the_other_algorithms_of_a_ledger_verify(private: Any, algorithm: str) -> None:
    token = jwt.encode(claims(), private, algorithm, {"typ": "at+jwt", "kid": KID})

    assert "web" == verifier(published(private, algorithm)).verify(token).client_id


def test_a_key_set_with_one_name_twice_is_none() -> None:
    other = published(ed25519.Ed25519PrivateKey.generate(), "EdDSA")
    cache = KeyCache()

    with pytest.raises(ValueError, match="one name"):
        cache.took("", json.dumps({"keys": [published(PRIVATE, "EdDSA"), other]}).encode())
    with pytest.raises(Unavailable):
        cache.look(KID, fetched=True)


def test_a_ledger_is_not_asked_over_plain_http() -> None:
    with pytest.raises(ValueError, match="https"):
        Verifier(Rules(issuer="http://ledger.test", audience=API))


def entry(kind: str, until: str = "2027-01-15T09:00:00Z", **name: str) -> dict[str, Any]:
    return {"kind": kind, "at": "2027-01-15T08:00:00Z", "until": until, "reason": "x", **name}


def document(*entries: dict[str, Any], issued_before: str | None = None) -> dict[str, Any]:
    return {"revocations": list(entries), "issued_before": issued_before}


def is_revoked(known: Revocations, found: Claims) -> bool:
    try:
        known.check(found)
    except InvalidToken as refused:
        return refused.reason == "revoked"
    return False


@pytest.mark.parametrize(
    ("told", "revoked"),
    [
        (document(), False),
        (document(entry("session", sid="fam_" + "a" * 26)), True),
        (document(entry("session", sid="fam_" + "b" * 26)), False),
        (document(entry("key", kid=KID)), True),
        (document(entry("client", client_id="web")), False),
        (document(issued_before="2027-01-15T08:00:00Z"), False),
        (document(issued_before="2027-01-15T08:00:01Z"), True),
        (document(entry("something new", name="x")), False),
    ],
)
def test_what_the_feed_says_decides(told: dict[str, Any], revoked: bool) -> None:
    known = Revocations(clock=lambda: NOW)
    known.apply(told)

    assert NOW == 1_800_000_000  # 2027-01-15T08:00:00Z
    assert revoked is is_revoked(known, verifier().verify(signed(claims())))


def test_a_clients_own_tokens_end_with_the_second_that_is_named() -> None:
    known = Revocations(clock=lambda: NOW)
    known.apply(document(entry("client", client_id="robot")))
    one = verifier(clients=True)
    machine = {"sub": "robot", "client_id": "robot", "sid": None, "auth_time": None}

    assert is_revoked(known, one.verify(signed(claims(**machine))))
    assert not is_revoked(known, one.verify(signed(claims(**machine, iat=NOW + 1))))


def test_revocations_are_forgotten_a_minute_after_their_tokens() -> None:
    now = [float(NOW)]
    known = Revocations(clock=lambda: now[0])
    known.apply(document(entry("session", "2027-01-15T08:00:00Z", sid="a"), entry("session", sid="b")))

    now[0] += 59
    known.forget()
    assert {"a", "b"} == set(known.sessions)
    now[0] += 2
    known.forget()
    assert {"b"} == set(known.sessions)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){0,3}"))
def test_any_text_at_all_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(InvalidToken):
        GOOD.verify(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists), st.data())
def test_any_value_in_any_claim_is_refused_or_right(value: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(claims())))
    try:
        found = GOOD.verify(signed(claims() | {name: value}))
    except InvalidToken:
        return
    assert name in {"jti", "client_id", "sub", "sid", "scope", "auth_time", "roles", "iat", "exp"}
    assert found.session_id


def test_ten_thousand_garbage_headers_are_not_remembered() -> None:
    one = verifier()
    began = time.thread_time()
    for number in range(2_000):
        with pytest.raises(InvalidToken):
            one.verify(signed(claims(), {**HEADER, "kid": f"k{number}"}))

    assert 0 == len(one._reader._headers)
    assert time.thread_time() - began < 5
