"""The Python client and tokens that are bound to a key: the proof, its replay, and applications of each framework."""

from typing import Any

import httpx
import pytest

from session_ledger_client import Claims, InvalidToken, Request
from session_ledger_client.bearer import presented, refusal
from session_ledger_client.dpop import MOST, WINDOW, Bindings, normal
from tests.conftest import PASSWORD
from tests.keyholders import KeyHolder, ath
from tests.kit import Served
from tests.test_client_kit_apps import asking
from tests.test_client_kit_tokens import NOW, claims, signed, verifier
from tests.visitors import packed

ORDERS = "https://orders.test"
URL = f"{ORDERS}/orders"


def holder(algorithm: str = "ES256") -> KeyHolder:
    found = KeyHolder(algorithm)
    found.now = NOW + 1
    return found


ALICE = holder()
TOKEN = signed(claims(cnf={"jkt": ALICE.thumbprint}))


def request(*proofs: str, scheme: str = "DPoP", method: str = "GET", path: str = "/orders") -> Request:
    return Request(scheme, method, path, proofs)


def proof(of: KeyHolder = ALICE, token: str = TOKEN, **changes: Any) -> str:
    return of.proof("GET", URL, token, **changes)


def judged(told: Request | None, token: str = TOKEN, origin: str = ORDERS) -> Claims | str:
    try:
        return verifier(origin=origin).verify(token, told)
    except InvalidToken as refused:
        return refused.reason


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "Ed25519", "PS256", "RS256"])
def test_a_bound_token_counts_with_a_proof_of_its_key(algorithm: str) -> None:
    alice = holder(algorithm)
    token = signed(claims(cnf={"jkt": alice.thumbprint}))

    found = judged(request(alice.proof("GET", URL, token)), token)

    assert isinstance(found, Claims)
    assert alice.thumbprint == found.key_thumbprint


def test_a_bound_token_is_no_bearer_s_and_a_bearer_s_is_not_bound() -> None:
    plain = signed(claims())

    assert "binding" == judged(None)
    assert "binding" == judged(request(proof(), scheme="Bearer"))
    assert "binding" == judged(request())
    assert "binding" == judged(request(proof(), proof()))
    assert "binding" == judged(request(proof(holder())))
    assert "binding" == judged(request(proof()), origin="")
    assert "binding" == judged(request(proof(token=plain)), plain)
    assert isinstance(judged(None, plain), Claims)
    assert isinstance(judged(request(scheme="bearer"), plain), Claims)


def test_a_proof_that_is_not_exactly_right_is_refused() -> None:
    head = ALICE.header()
    changed: list[dict[str, Any]] = [
        {"typ": "JWT"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "EdDSA"},
        {"crit": []},
        {"jwk": ALICE.jwk | {"d": "AAAA"}},
        {"jwk": ALICE.jwk | {"alg": "ES384"}},
        {"jwk": ALICE.jwk | {"crv": "P-384"}},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jwk": holder().jwk},
        {"jwk": "x"},
    ]
    wrong = [
        "x",
        proof() + "=",
        proof(ath=None),
        proof(ath=ath("another")),
        proof(htm="POST"),
        proof(htu=f"{ORDERS}/other"),
        proof(htu="https://other.test/orders"),
        proof(htu="http://orders.test/orders"),
        proof(iat=NOW - WINDOW - 1),
        proof(iat=NOW + WINDOW + 10),
        proof(iat=str(NOW)),
        proof(iat=True),
        proof(jti=None),
        proof(jti=""),
        proof(filler="x" * 4096),
        *(ALICE.signed(head | change, ALICE.claims("GET", URL, TOKEN)) for change in changed),
        ALICE.signed(head, b'{"jti":"a","jti":"b"}'),
        ALICE.signed(head, b"\xff\xfe{\x00}\x00"),
    ]

    assert ["proof"] * len(wrong) == [judged(request(one)) for one in wrong]
    assert isinstance(judged(request(proof())), Claims)


def test_a_proof_works_once_and_is_forgotten_when_it_is_too_old() -> None:
    bindings, once = Bindings(ORDERS), proof()
    found = judged(request(proof()))
    assert isinstance(found, Claims)

    bindings.check(TOKEN, found, request(once), NOW)
    with pytest.raises(InvalidToken, match="proof"):
        bindings.check(TOKEN, found, request(once), NOW + 1)
    bindings.check(TOKEN, found, request(proof(iat=NOW + 200)), NOW + 200)

    assert 1 == len(bindings._seen) < MOST


def test_spellings_of_one_url_are_the_same() -> None:
    assert isinstance(judged(request(proof(htu="HTTPS://ORDERS.TEST:443/%6frders?x=1#y"))), Claims)
    assert normal("https://a.test/%2f") == "https://a.test/%2F"
    assert [None] * 4 == [normal(one) for one in ("", "/x", "ftp://a.test/", "https://x@a.test/")]


@pytest.mark.parametrize("cnf", [{}, {"jkt": 7}, {"jkt": "x" * 42}, {"x5t#S256": "x" * 43}, "x", None])
def test_a_binding_that_cannot_be_checked_is_refused(cnf: Any) -> None:
    token = signed({**claims(), "cnf": cnf})

    assert "claims" == judged(request(proof(token=token)), token)


def test_the_challenge_says_which_scheme_is_wanted() -> None:
    binding, bad = (refusal(InvalidToken(why)).headers["WWW-Authenticate"] for why in ("binding", "proof"))

    assert binding.startswith('DPoP error="invalid_token", algs="ES256 ')
    assert bad.startswith('DPoP error="invalid_dpop_proof", algs="ES256 ')
    assert ("dpop", "x") == presented(["DPoP x"])
    assert "x" not in repr(presented(["DPoP x"]))


@pytest.fixture(scope="module")
def bound(served: Served) -> tuple[KeyHolder, str]:
    """A session of the served service that is bound to a key."""
    alice = KeyHolder()
    url, asked = f"{served.issuer}/auth/login", {"username": "admin", "password": PASSWORD, "mode": "body"}
    at = f"{served.place.url}/auth/login"
    first = httpx.post(at, json=asked, headers={"DPoP": alice.proof(url=url)}, trust_env=False)
    assert "use_dpop_nonce" == first.json()["code"], first.text
    alice.nonce = first.headers["dpop-nonce"]
    answer = httpx.post(at, json=asked, headers={"DPoP": alice.proof(url=url)}, trust_env=False)
    assert 200 == answer.status_code, answer.text
    return alice, answer.json()["access_token"]


@pytest.mark.parametrize("framework", ["django", "fastapi", "starlette", "litestar", "asgi"])
async def test_an_application_takes_a_bound_token_with_its_proof_only(
    served: Served, bound: tuple[KeyHolder, str], framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, token = bound
    monkeypatch.setattr(Served, "origin", "http://api.test")
    good = {"Authorization": f"DPoP {token}", "DPoP": alice.proof("GET", "http://api.test/me", token)}
    async with asking(served, framework) as ask:
        answers = [await ask("/me", **good), await ask("/me", **good)]
        elsewhere = await ask("/me", **good | {"DPoP": alice.proof("GET", "http://other.test/me", token)})
        stolen = await ask("/me", Authorization=f"Bearer {token}")

    assert [200, 401, 401, 401] == [one.status_code for one in (*answers, elsewhere, stolen)]
    assert answers[1].headers["www-authenticate"].startswith('DPoP error="invalid_dpop_proof"')
    assert stolen.headers["www-authenticate"].startswith('DPoP error="invalid_token"')


def test_a_proof_holds_nothing_of_the_key_s_private_half() -> None:
    private = packed(ALICE.key.private_numbers().private_value.to_bytes(32))

    assert private not in proof()
