"""What was used once is used for every process of a ledger: served processes, restarts, and commands beside them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from jwt.algorithms import ECAlgorithm

from tests.check import check
from tests.conftest import PASSWORD
from tests.databases import Server
from tests.keyholders import KeyHolder
from tests.processes import Place

FORM = {"grant_type": "client_credentials"}


class Holder:
    """An application that holds a key, and speaks to whichever process is named."""

    def __init__(self, public: str) -> None:
        self.public = public
        self.key = KeyHolder()

    def proof(self, path: str = "/oauth/token") -> str:
        return self.key.proof(url=self.public + path)

    def posts(self, place: Place, path: str, proof: str, **body: Any) -> httpx.Response:
        return httpx.post(place.url + path, headers={"DPoP": proof}, trust_env=False, **body)

    def signs_in(self, place: Place) -> str:
        asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
        first = self.posts(place, "/auth/login", self.proof("/auth/login"), json=asked)
        self.key.nonce = first.headers["dpop-nonce"]
        answer = self.posts(place, "/auth/login", self.proof("/auth/login"), json=asked)
        found: str = answer.json()["refresh_token"]
        return found

    def refreshes(self, place: Place, token: str, proof: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": token}
        return self.posts(place, "/oauth/token", proof, data=form)


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


def test_on_sqlite_a_restart_and_commands_beside_change_nothing(tmp_path: Path, on_sqlite: None) -> None:
    place = Place(tmp_path)
    place.done("migrate")
    alice = Holder(f"http://localhost:{place.port}")
    with place.serving():
        first = alice.signs_in(place)
        proof = alice.proof()
        second = alice.refreshes(place, first, proof).json()["refresh_token"]
        place.done("client", "update", "web", "--family-limit", "50")
        beside = alice.refreshes(place, second, proof)
    place.done("events", "--limit", "5")
    with place.serving():
        after = alice.refreshes(place, second, proof)
        honest = alice.refreshes(place, second, alice.proof())

    assert [(400, "invalid_dpop_proof")] * 2 == [refused(beside), refused(after)]
    assert 200 == honest.status_code
    assert place.run("verify").status == 0
    check(place.store, place.folder / "checkpoints", [proof, first])


def test_a_key_that_the_command_line_registers_proves_the_client(tmp_path: Path, on_sqlite: None) -> None:
    place, holder = Place(tmp_path), KeyHolder()
    keys, private = tmp_path / "keys.json", tmp_path / "private.json"
    keys.write_text(json.dumps({"keys": [holder.jwk]}))
    private.write_text(json.dumps({"keys": [json.loads(ECAlgorithm.to_jwk(holder.key))]}))
    place.done("migrate")
    with place.serving():
        pass  # the first start makes the ledger

    made = place.done("client", "add", "signer", "--confidential", "--keys", str(keys), "--keys-only")
    wrong = [place.run("client", "update", "signer", "--keys", str(one)) for one in (private, tmp_path / "none.json")]
    shown = json.loads(place.done("client", "show", "signer", "--json"))
    public = place.run("client", "update", "web", "--dpop", "required", "--keys", str(keys))
    place.done("client", "update", "web", "--dpop", "required")
    with place.serving():
        issuer = f"http://localhost:{place.port}"
        asked = [FORM | holder.asserted("signer", audience=issuer) for _ in range(2)]
        answers = [httpx.post(f"{place.url}/oauth/token", data=one, trust_env=False) for one in (*asked, asked[0])]
        unbound = place.sign_in("admin", PASSWORD)

    assert "Registered signer.\n" == made
    assert ("", 1, "optional") == (shown.get("secret_at", ""), shown["keys_only"], shown["dpop"])
    assert {"keys": [holder.jwk | {"kid": holder.thumbprint}]} == json.loads(shown["keys"])
    assert [2, 2, 2] == [one.status for one in (*wrong, public)]
    assert wrong[0].err.startswith("A JWK set of 1 to 4 public keys")
    assert [200, 200, 401] == [one.status_code for one in answers]
    assert 400 == unbound


@contextmanager
def two_processes(server: Server, folder: Path) -> Iterator[tuple[Place, Place]]:
    """Two served processes of one ledger, reached by the public under one name."""
    store = server.fresh()
    public = {"LEDGER_PUBLIC_URL": "http://localhost:8000", "LEDGER_CHECKPOINT_DIR": str(folder / "checkpoints")}
    places = [Place(folder / name, store, **public) for name in ("one", "two")]
    for place in places:
        place.folder.mkdir()
    try:
        with places[0].serving(), places[1].serving():
            yield places[0], places[1]
    finally:
        server.drop(store)


def test_on_postgresql_two_processes_share_what_was_used_and_know_each_other_s_nonces(
    server: Server, tmp_path: Path, on_postgresql: None
) -> None:
    with two_processes(server, tmp_path) as (one, two):
        alice = Holder("http://localhost:8000")
        first = alice.signs_in(one)
        proof = alice.proof()
        second = alice.refreshes(one, first, proof).json()["refresh_token"]

        replayed = alice.refreshes(two, second, proof)
        third = alice.refreshes(two, second, alice.proof())

        assert (400, "invalid_dpop_proof") == refused(replayed)
        assert 200 == third.status_code
        assert 200 == alice.refreshes(one, third.json()["refresh_token"], alice.proof()).status_code
