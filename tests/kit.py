"""A served service and what a resource server has of it: client, secret, rules; and killing from another process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from events.store import Store
from session_ledger_client import AsyncVerifier, Feed, Rules, Verifier
from tests.conftest import MASTER_KEY, PASSWORD
from tests.processes import PATIENCE, Place

NAME = "orders-api"


class Session(NamedTuple):
    """Somebody who signed in."""

    access_token: str
    refresh_token: str
    family_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}


class Served:
    """A service on a port, with one confidential client that follows revocations."""

    origin = ""
    """How the public reaches the application that is tested, for tokens that are bound to a key."""

    def __init__(self, folder: Path, store: Store | None = None, **settings: str) -> None:
        self.place = Place(folder, store, LEDGER_MASTER_KEY=MASTER_KEY, **settings)
        self.place.done("migrate")
        self.issuer = f"http://localhost:{self.place.port}"
        self.secret = ""

    @contextmanager
    def serving(self) -> Iterator[None]:
        with self.place.serving():
            if not self.secret:
                asked = ("client", "add", NAME, "--confidential", "--scope", "revocations:read", "--operator")
                self.secret = self.place.done(*asked).split()[-1]
                until_known(self)
            yield

    def sign_in(self) -> Session:
        asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
        answer = httpx.post(f"{self.place.url}/auth/login", json=asked, trust_env=False).json()
        return Session(answer["access_token"], answer["refresh_token"], answer["family_id"])

    def kill(self, session: Session) -> None:
        """By the command line: another process than the one that answers the feed."""
        self.place.done("revoke", session.family_id, "--reason", "stolen_token")

    @property
    def rules(self) -> Rules:
        return Rules(issuer=self.issuer, audience=self.issuer, origin=self.origin)

    def feed(self, on_stale: Any, **more: Any) -> Feed:
        return Feed(client_id=NAME, client_secret=self.secret, on_stale=on_stale, **more)

    def verifier(self, feed: Feed | None = None, **more: Any) -> Verifier:
        return Verifier(self.rules, feed, url=self.place.url, http=blocking, **more)

    def async_verifier(self, feed: Feed | None = None, **more: Any) -> AsyncVerifier:
        return AsyncVerifier(self.rules, feed, url=self.place.url, http=waiting, **more)


def own_token(served: Served) -> httpx.Response:
    """The token endpoint's answer to the client."""
    form = {"grant_type": "client_credentials"}
    return httpx.post(f"{served.place.url}/oauth/token", data=form, auth=(NAME, served.secret), trust_env=False)


def until_known(served: Served) -> None:
    """A client that another process registered is known to the service after a moment."""
    deadline = time.monotonic() + PATIENCE
    while own_token(served).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def blocking() -> httpx.Client:
    """An HTTP client that asks no proxy of the environment."""
    return httpx.Client(trust_env=False, timeout=5)


def waiting() -> httpx.AsyncClient:
    """The same for event loops."""
    return httpx.AsyncClient(trust_env=False, timeout=5)
