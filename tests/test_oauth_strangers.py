"""OAuth clients that others wrote, unmodified, against a served port: Authlib and requests-oauthlib."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from jwt.algorithms import ECAlgorithm
from oauthlib.oauth2 import BackendApplicationClient, InvalidGrantError, LegacyApplicationClient
from requests_oauthlib import OAuth2Session as RequestsSession

from tests.conftest import PASSWORD
from tests.keyholders import KeyHolder
from tests.processes import Place


class Served(NamedTuple):
    """A service that answers, what it says of itself, and the secret of its client `backend`."""

    place: Place
    metadata: dict[str, Any]
    secret: str

    def __repr__(self) -> str:
        return f"Served({self.place.url})"

    def signed_in(self) -> dict[str, Any]:
        """Tokens of a family of `web`."""
        asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
        found: dict[str, Any] = httpx.post(f"{self.place.url}/auth/login", json=asked, trust_env=False).json()
        return found

    def at(self, name: str) -> str:
        """An endpoint as the metadata name it, at the address that is listened on."""
        path = str(self.metadata[name]).removeprefix(self.metadata["issuer"])
        return self.place.url + path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = Place(tmp_path_factory.mktemp("strangers"))
    place.done("migrate")
    with place.serving():
        scopes = ("--scope", "introspect", "--scope", "events:read")
        told = place.done("client", "add", "backend", "--confidential", *scopes)
        place.done("client", "update", "web", "--scope", "read", "--scope", "write")
        url = f"{place.url}/.well-known/oauth-authorization-server"
        metadata = httpx.get(url, trust_env=False).json()
        asked = {"grant_type": "client_credentials", "client_id": "backend", "client_secret": told.split()[-1]}
        _until_known(f"{place.url}/oauth/token", asked)
        yield Served(place, metadata, told.split()[-1])


def _until_known(url: str, asked: dict[str, str], holder: KeyHolder | None = None, issuer: str = "") -> None:
    """A client that was registered beside the service is known to it within seconds."""
    for _ in range(100):
        proof = holder.asserted("signer", audience=issuer) if holder else {}
        if httpx.post(url, data=asked | proof, trust_env=False).status_code == 200:
            return
        time.sleep(0.1)
    raise AssertionError("the service did not hear of the client")


@pytest.fixture
def over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both libraries refuse to speak without TLS unless they are told that this is a test."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def authlib(served: Served, client: str = "web", secret: str | None = None, **more: Any) -> AuthlibSession:
    method = "client_secret_basic" if secret else "none"
    session = AuthlibSession(client, secret, token_endpoint_auth_method=method, **more)
    session.trust_env = False
    return session


@pytest.mark.usefixtures("over_http")
def test_authlib_refreshes_and_is_told_of_a_reuse(served: Served) -> None:
    first = served.signed_in()
    session = authlib(served)

    second = session.refresh_token(served.at("token_endpoint"), first["refresh_token"])
    third = session.refresh_token(served.at("token_endpoint"), second["refresh_token"], scope="read")

    assert ("Bearer", "read write", "read") == (second["token_type"], second["scope"], third["scope"])
    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    with pytest.raises(OAuthError) as refused:
        session.refresh_token(served.at("token_endpoint"), first["refresh_token"])
    assert "invalid_grant" == refused.value.error


@pytest.mark.usefixtures("over_http")
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 wants Ed25519, which few libraries read so far
def test_authlibs_jose_verifies_our_tokens_with_our_keys(served: Served) -> None:
    first = served.signed_in()
    keys = KeySet.import_key_set(httpx.get(served.at("jwks_uri"), trust_env=False).json())

    token = jwt.decode(first["access_token"], keys, algorithms=["Ed25519", "EdDSA"])
    jwt.JWTClaimsRegistry(iss={"essential": True, "value": served.metadata["issuer"]}).validate(token.claims)

    assert ("at+jwt", "web") == (token.header["typ"], token.claims["client_id"])


@pytest.mark.usefixtures("over_http")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_gets_a_token_for_the_client_itself_and_asks_about_tokens(served: Served, method: str) -> None:
    session = authlib(served, "backend", served.secret)
    session.client_auth(method)
    token = session.fetch_token(served.at("token_endpoint"), grant_type="client_credentials", scope="introspect")
    users = served.signed_in()["access_token"]

    own = session.introspect_token(served.at("introspection_endpoint"), token["access_token"]).json()
    theirs = session.introspect_token(served.at("introspection_endpoint"), users).json()
    nothing = session.introspect_token(served.at("introspection_endpoint"), "garbage").json()

    assert (True, "backend", "introspect") == (own["active"], own["sub"], own["scope"])
    assert (True, "web") == (theirs["active"], theirs["client_id"])
    assert {"active": False} == nothing


class ForIssuer(PrivateKeyJWT):  # type: ignore[misc]
    """As docs/keys.md tells it: our issuer is the audience, and a minute is enough."""

    def sign(self, auth: Any, token_endpoint: str) -> str:
        issuer = token_endpoint.removesuffix("/oauth/token")
        found: str = private_key_jwt_sign(auth.client_secret, auth.client_id, issuer, alg="ES256", expires_in=60)
        return found


@pytest.mark.usefixtures("over_http")
def test_authlib_proves_a_client_by_its_key(served: Served, tmp_path: Path) -> None:
    holder = KeyHolder()
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [holder.jwk]}))
    served.place.done("client", "add", "signer", "--confidential", "--keys", str(keys), "--keys-only")
    _until_known(served.at("token_endpoint"), {"grant_type": "client_credentials"}, holder, served.metadata["issuer"])
    private = ECKey.import_key(json.loads(ECAlgorithm.to_jwk(holder.key)))

    session = AuthlibSession("signer", private, token_endpoint_auth_method=ForIssuer(served.metadata["token_endpoint"]))
    session.trust_env = False
    tokens = [session.fetch_token(served.at("token_endpoint"), grant_type="client_credentials") for _ in range(2)]

    assert ["Bearer", "Bearer"] == [token["token_type"] for token in tokens]


@pytest.mark.usefixtures("over_http")
def test_authlib_revokes(served: Served) -> None:
    first = served.signed_in()
    session, asking = authlib(served), authlib(served, "backend", served.secret)

    answer = session.revoke_token(served.at("revocation_endpoint"), first["refresh_token"], "refresh_token")

    assert (200, "") == (answer.status_code, answer.text)
    said = asking.introspect_token(served.at("introspection_endpoint"), first["access_token"]).json()
    assert {"active": False} == said


@pytest.mark.usefixtures("over_http")
def test_requests_oauthlib_refreshes_by_itself_when_a_token_has_expired(served: Served) -> None:
    first = served.signed_in()
    kept: list[dict[str, Any]] = []
    token = {"access_token": "old", "token_type": "Bearer", "expires_in": -10} | {
        "refresh_token": first["refresh_token"]
    }
    session = RequestsSession(
        client=LegacyApplicationClient("web"),
        token=token,
        auto_refresh_url=served.at("token_endpoint"),
        auto_refresh_kwargs={"client_id": "web"},
        token_updater=kept.append,
    )
    session.trust_env = False

    me = session.get(f"{served.place.url}/auth/me")

    assert (200, "admin") == (me.status_code, me.json()["username"])
    assert [True] == [one["refresh_token"] != first["refresh_token"] for one in kept]


@pytest.mark.usefixtures("over_http")
def test_requests_oauthlib_is_told_of_a_token_that_was_revoked(served: Served) -> None:
    first = served.signed_in()
    session = RequestsSession(client=LegacyApplicationClient("web"))
    session.trust_env = False
    form = {"token": first["access_token"], "client_id": "web"}

    answer = session.post(served.at("revocation_endpoint"), data=form, withhold_token=True)

    assert (200, b"") == (answer.status_code, answer.content)
    with pytest.raises(InvalidGrantError):
        session.refresh_token(served.at("token_endpoint"), first["refresh_token"], client_id="web")


@pytest.mark.usefixtures("over_http")
@pytest.mark.parametrize("in_body", [None, True])
def test_requests_oauthlib_gets_a_token_for_the_client_itself(served: Served, in_body: bool | None) -> None:
    session = RequestsSession(client=BackendApplicationClient("backend"))
    session.trust_env = False

    token = session.fetch_token(
        served.at("token_endpoint"), client_id="backend", client_secret=served.secret, include_client_id=in_body
    )

    assert ("Bearer", {"introspect", "events:read"}) == (token["token_type"], set(token.scopes))
