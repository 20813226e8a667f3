"""The Python client against a bare PyJWT decode of the same token, in turn; `bench.asking` runs it. No network."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from bench.figures import Spread, ratios
from bench.process import ROOT

sys.path.insert(0, str(ROOT / "clients" / "python"))  # a distribution of its own, which is not installed here

from session_ledger_client import Feed, Rules, Verifier
from session_ledger_client.feed import FAIL_OPEN, Follower
from session_ledger_client.keys import KeyCache

ISSUER, AUDIENCE = "https://ledger.test", "https://api.test"
KEYS: dict[str, Callable[[], Any]] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
}
REVOKED = 10_000
"""Sessions that the follower knows as revoked."""


class Decodes(NamedTuple):
    """Verifications of the client for each decode of PyJWT, in pairs measured one after the other."""

    ratio: Spread
    bare: float
    """Microseconds of a decode, the least of all pairs."""
    ours: float


def decodes(algorithm: str, rounds: int, each: int) -> Decodes:
    """By the time that this thread took on its core, so what else runs on the machine does not count."""
    private = KEYS[algorithm]()
    token = jwt.encode(_claims(), private, algorithm, {"typ": "at+jwt", "kid": "k" * 43})
    public, verify = private.public_key(), _verifying(algorithm, private)

    def bare() -> None:
        jwt.decode(token, public, [algorithm], audience=AUDIENCE, issuer=ISSUER)

    def ours() -> None:
        verify(token)

    bare()
    ours()
    pairs = [(_seconds(bare, each), _seconds(ours, each)) for _ in range(rounds)]
    bares, all_ours = zip(*pairs, strict=True)
    return Decodes(ratios(bares, all_ours), min(bares) / each * 1e6, min(all_ours) / each * 1e6)


def _claims() -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": ISSUER,
        "sub": "sub_" + "a" * 26,
        "aud": AUDIENCE,
        "exp": now + 3600,
        "iat": now,
        "jti": "j" * 22,
        "client_id": "web",
        "sid": "fam_" + "a" * 26,
        "auth_time": now,
        "scope": "orders:read orders:write",
    }


def _verifying(algorithm: str, private: Any) -> Callable[[str], None]:
    """With its keys and ten thousand revocations at hand, as in service."""
    jwk = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key()))
    keys = KeyCache()
    entry = {**jwk, "kid": "k" * 43, "alg": algorithm, "use": "sig"}
    keys.took("max-age=3600", json.dumps({"keys": [entry]}).encode())
    verifier = Verifier(Rules(issuer=ISSUER, audience=AUDIENCE), keys=keys)
    follower = Follower(Feed(client_id="bench", client_secret="none", on_stale=FAIL_OPEN))
    follower.revocations.sessions.update((f"fam_{number:026}", time.time() + 900) for number in range(REVOKED))
    return lambda token: follower.check(verifier.verify(token))


def _seconds(work: Callable[[], None], times: int) -> float:
    began = time.thread_time()
    for _ in range(times):
        work()
    return time.thread_time() - began
