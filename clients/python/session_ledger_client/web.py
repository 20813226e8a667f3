"""Where a ledger answers, and the HTTP that both verifiers speak to it. Decides nothing about tokens."""

import time
from collections.abc import Generator
from typing import Final
from urllib.parse import quote, urlsplit

import httpx

from session_ledger_client.feed import SCOPE, Feed

TIMEOUT: Final = 5.0
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Addresses:
    """The routes of a ledger, by its URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOCAL:
            raise ValueError("a ledger is reached by https, except on this machine")
        base = url.rstrip("/")
        self.keys = f"{base}/.well-known/jwks.json"
        self.token = f"{base}/oauth/token"
        self.revocations = f"{base}/v1/revocations"
        self.acknowledge = f"{base}/v1/revocations/ack"


class ClientCredentials(httpx.Auth):
    """Adds an access token of the client's own, fetched when it is needed (RFC 6749 §4.4). For one user at a time."""

    requires_response_body = True

    def __init__(self, address: str, feed: Feed) -> None:
        self._address = address
        self._basic = httpx.BasicAuth(quote(feed.client_id, safe=""), quote(feed.client_secret, safe=""))
        self._token = ""
        self._until = float("-inf")

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """As httpx calls it. Where no token is to be had, the request goes without one and is refused."""
        fetched = time.monotonic() >= self._until
        if fetched:
            yield from self._fetch()
        request.headers["Authorization"] = f"Bearer {self._token}"
        answer = yield request
        if answer.status_code == 401 and not fetched:
            yield from self._fetch()
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _fetch(self) -> Generator[httpx.Request, httpx.Response, None]:
        asked = httpx.Request("POST", self._address, data={"grant_type": "client_credentials", "scope": SCOPE})
        answer = yield next(self._basic.auth_flow(asked))
        self._token, self._until = "", float("-inf")
        if answer.status_code == 200:
            said = answer.json()
            self._token = str(said["access_token"])
            self._until = time.monotonic() + float(said["expires_in"]) * 0.8


def client() -> httpx.Client:
    """The HTTP client unless another is wanted: proxies and certificates as the environment says."""
    return httpx.Client(timeout=TIMEOUT, follow_redirects=False)


def async_client() -> httpx.AsyncClient:
    """The same for event loops."""
    return httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False)
