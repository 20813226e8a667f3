"""Clients for Node.js that nobody here wrote, unmodified, before a served service."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jwt.algorithms import ECAlgorithm

from tests.conftest import PASSWORD
from tests.keyholders import KeyHolder
from tests.processes import Place

FOLDER = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if shutil.which("node") is None or not (FOLDER / "node_modules").is_dir():
        missing = "Node.js or what tests/node needs is not installed; make test installs it where there is npm"
        pytest.skip(missing) if os.environ.get("CI", "").lower() in {"", "0", "false"} else pytest.fail(missing)
    made = Place(tmp_path_factory.mktemp("node"))
    made.url = f"http://localhost:{made.port}"
    made.done("migrate")
    with made.serving():
        yield made


def signed_in(place: Place) -> dict[str, str]:
    asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
    found: dict[str, str] = httpx.post(f"{place.url}/auth/login", json=asked, trust_env=False).json()
    return found


def backend(place: Place) -> str:
    """The secret of a confidential client that the running service has heard of."""
    printed = place.done("client", "add", "backend", "--confidential", "--scope", "introspect", "--operator")
    secret: str = re.findall(r"\S{40,}", printed)[-1]
    asked, proof = {"token": "none"}, httpx.BasicAuth("backend", secret)
    for _ in range(200):
        if httpx.post(f"{place.url}/oauth/introspect", data=asked, auth=proof, trust_env=False).status_code == 200:
            return secret
        time.sleep(0.05)
    raise AssertionError("the service does not know the client")


def until_known(place: Place, holder: KeyHolder, client: str) -> None:
    """Wait until the running service has heard of a client that proves itself by this key."""
    for _ in range(200):
        asked = {"token": "none"} | holder.asserted(client, audience=place.url)
        if httpx.post(f"{place.url}/oauth/introspect", data=asked, trust_env=False).status_code == 200:
            return
        time.sleep(0.05)
    raise AssertionError("the service does not know the client")


def ran(script: str, **given: Any) -> dict[str, Any]:
    """What the script tells of what it was given."""
    command = ["node", script]
    done = subprocess.run(  # noqa: PLW1510 - its complaint is shown below
        command, cwd=FOLDER, input=json.dumps(given), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_jose_verifies_access_tokens_by_our_published_keys(place: Place) -> None:
    tokens = signed_in(place)
    told = ran("jose.mjs", issuer=place.url, token=tokens["access_token"])

    assert tokens["family_id"] == told["claims"]["sid"]
    assert "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" == told["forged"]
    assert "ERR_JWT_CLAIM_VALIDATION_FAILED" == told["elsewhere"]
    assert "ERR_JWT_EXPIRED" == told["late"]


def test_oauth4webapi_discovers_refreshes_introspects_revokes_and_gets_its_own_token(place: Place) -> None:
    secret = backend(place)
    tokens = signed_in(place)
    told = ran("oauth4webapi.mjs", issuer=place.url, refreshToken=tokens["refresh_token"], secret=secret)

    assert f"{place.url}/oauth/token" == told["server"]["token_endpoint"]
    assert tokens["family_id"] == told["claims"]["sid"]
    assert (True, told["claims"]["jti"]) == (told["living"]["active"], told["living"]["jti"])
    assert ("bearer", "introspect") == (told["own"]["token_type"], told["own"]["scope"])
    assert {"active": False} == told["ended"]
    assert {"error": "invalid_grant", "status": 400} == told["refused"]


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_oauth4webapi_refreshes_and_uses_a_session_that_is_bound_to_its_key(place: Place, algorithm: str) -> None:
    told = ran("dpop.mjs", issuer=place.url, username="admin", password=PASSWORD, alg=algorithm)

    assert ["dpop", "dpop"] == [told[name]["token_type"].lower() for name in ("first", "second")]
    assert told["first"]["family_id"] == told["used"]["family_id"]
    assert 401 == told["asBearer"]
    assert {"error": "invalid_grant", "status": 400} == told["stolen"]
    assert {"error": "invalid_dpop_proof", "status": 400} == told["keyless"]
    assert told["fourth"]["refresh_token"] != told["second"]["refresh_token"]
    assert 2 == told["nonces"]  # once for its holder, once for the thief, who has a memory of his own


def test_oauth4webapi_proves_a_client_by_its_key(place: Place, tmp_path: Path) -> None:
    holder = KeyHolder()
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [holder.jwk | {"kid": "one"}]}))
    options = ("--confidential", "--scope", "introspect", "--operator", "--keys", str(keys), "--keys-only")
    printed = place.done("client", "add", "signer", *options)
    until_known(place, holder, "signer")

    private = json.loads(ECAlgorithm.to_jwk(holder.key))
    client = {"id": "signer", "key": private, "kid": "one"}
    told = ran("dpop.mjs", issuer=place.url, username="admin", password=PASSWORD, alg="ES256", client=client)

    assert "secret" not in printed
    assert "introspect" == told["own"]["scope"]
    assert (True, "DPoP") == (told["own"]["introspected"]["active"], told["own"]["introspected"]["token_type"])
    assert {"jkt": told["thumbprint"]} == told["own"]["introspected"]["cnf"]


def test_what_is_installed_is_pinned_by_hash_and_by_no_address() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}

    assert {"node_modules/jose", "node_modules/oauth4webapi"} == set(packages)
    assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in packages.values())
