"""Who holds a key in the tests of DPoP and private_key_jwt: makes proofs and assertions, right ones and any other."""

import base64
import hashlib
import json
import secrets
import time
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.visitors import OWN, packed

TOKEN: Final = f"{OWN}/oauth/token"
TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
REQUIRED: Final = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
RSA_KEY: Final = rsa.generate_private_key(65537, 2048)
"""Made once: it takes a while."""


class KeyHolder:
    """Somebody with a key pair; signs by another library's primitives than the service verifies with."""

    def __init__(self, algorithm: str = "ES256", key: Any = None) -> None:
        self.algorithm = algorithm
        self.key: Any = key or _new(algorithm)
        self.nonce: str | None = None
        self.now: int | None = None
        """What its clock says, where it stands still."""

    @property
    def jwk(self) -> dict[str, Any]:
        """Public members only."""
        public = self.key.public_key()
        kind = ECAlgorithm if self.algorithm == "ES256" else OKPAlgorithm if "Ed" in self.algorithm else RSAAlgorithm
        full: dict[str, Any] = kind.to_jwk(public, as_dict=True)
        return {name: full[name] for name in REQUIRED[full["kty"]]}

    @property
    def thumbprint(self) -> str:
        text = json.dumps(self.jwk, separators=(",", ":"), sort_keys=True)
        return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()

    def signed(self, header: dict[str, Any] | bytes, claims: dict[str, Any] | bytes) -> str:
        """Any JWT by this key."""
        signed = f"{packed(header)}.{packed(claims)}"
        return f"{signed}.{packed(self._signature(signed.encode()))}"

    def header(self, **changes: Any) -> dict[str, Any]:
        return _changed({"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.jwk}, changes)

    def claims(self, method: str = "POST", url: str = TOKEN, token: str = "", **changes: Any) -> dict[str, Any]:
        said: dict[str, Any] = {
            "jti": secrets.token_urlsafe(12),
            "htm": method,
            "htu": url,
            "iat": self.now or int(time.time()),
        }
        said |= {"nonce": self.nonce} if self.nonce else {}
        said |= {"ath": ath(token)} if token else {}
        return _changed(said, changes)

    def proof(self, method: str = "POST", url: str = TOKEN, token: str = "", **changes: Any) -> str:
        """A proof for this request; None takes a claim out."""
        return self.signed(self.header(), self.claims(method, url, token, **changes))

    def assertion(self, client: str, audience: str = OWN, kid: str | None = None, **changes: Any) -> str:
        """What proves a client (RFC 7523 §3)."""
        now = int(time.time())
        said = {"iss": client, "sub": client, "aud": audience, "jti": secrets.token_urlsafe(12), "exp": now + 60}
        header = {"alg": self.algorithm} | ({"kid": kid} if kid else {})
        return self.signed(header, _changed(said | {"iat": now}, changes))

    def asserted(self, client: str, **changes: Any) -> dict[str, str]:
        """The same as fields of a form."""
        return {"client_assertion_type": TYPE, "client_assertion": self.assertion(client, **changes)}

    def bound(self, access_token: str, method: str = "GET", path: str = "/auth/me", **changes: Any) -> dict[str, str]:
        """The headers of a request with a bound access token."""
        proof = self.proof(method, OWN + path, access_token, **{"nonce": None} | changes)
        return {"Authorization": f"DPoP {access_token}", "DPoP": proof}

    def _signature(self, signed: bytes) -> bytes:
        if self.algorithm == "ES256":
            r, s = decode_dss_signature(self.key.sign(signed, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32) + s.to_bytes(32)
        if "Ed" in self.algorithm:
            found: bytes = self.key.sign(signed)
            return found
        scheme = padding.PKCS1v15() if self.algorithm == "RS256" else padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        made: bytes = self.key.sign(signed, scheme, hashes.SHA256())
        return made


def ath(token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


async def told_nonce(http: httpx.AsyncClient, holder: KeyHolder, answer: httpx.Response | None = None) -> KeyHolder:
    """The holder, who asked for a nonce as any client would: by a proof without one."""
    if answer is None:
        form = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": "slr_"}
        answer = await http.post("/oauth/token", data=form, headers={"DPoP": holder.proof(nonce=None)})
        assert (400, "use_dpop_nonce") == (answer.status_code, answer.json()["error"])
    holder.nonce = answer.headers["dpop-nonce"]
    return holder


async def bound_sign_in(http: httpx.AsyncClient, holder: KeyHolder, password: str, **more: Any) -> dict[str, Any]:
    """Tokens of a family that is bound to the holder's key."""
    if holder.nonce is None:
        await told_nonce(http, holder)
    asked = {"username": "admin", "password": password, "mode": "body"} | more
    answer = await http.post("/auth/login", json=asked, headers={"DPoP": holder.proof(url=f"{OWN}/auth/login")})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def bound_refresh(
    http: httpx.AsyncClient, token: str, proof: str | None, client: str = "web", **more: Any
) -> httpx.Response:
    """A refresh at the token endpoint, with this proof or without any."""
    form = {"grant_type": "refresh_token", "client_id": client, "refresh_token": token} | more
    return await http.post("/oauth/token", data=form, headers={"DPoP": proof} if proof is not None else {})


def _new(algorithm: str) -> Any:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate() if "Ed" in algorithm else RSA_KEY


def _changed(said: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (said | changes).items() if value is not None}
