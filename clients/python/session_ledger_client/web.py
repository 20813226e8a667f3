"""Where a ledger answers, and the HTTP that both verifiers speak to it. Decides nothing about tokens."""

import time
from collections.abc import Generator
from typing import Final
from urllib.parse import quote, urlsplit

import httpx

from session_ledger_client.assertion import signer
from session_ledger_client.feed import SCOPE, Feed

TIMEOUT: Final = 5.0
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Addresses:
    """The routes of a ledger: by its URL, which is its issuer unless another is given."""

    def __init__(self, issuer: str, url: str = "") -> None:
        url = url or issuer
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOCAL:
            raise ValueError("a ledger is reached by https, except on this machine")
        base = url.rstrip("/")
        self.issuer = issuer
        self.keys = f"{base}/.well-known/jwks.json"
        self.token = f"{base}/oauth/token"
        self.revocations = f"{base}/v1/revocations"
        self.acknowledge = f"{base}/v1/revocations/ack"


class ClientCredentials(httpx.Auth):
    """Adds an access token of the client's own, fetched when it is needed (RFC 6749 §4.4). For one user at a time."""

    requires_response_body = True

    def __init__(self, addresses: Addresses, feed: Feed) -> None:
        self._addresses = addresses
        self._feed = feed
        self._signer = signer(feed.client_key) if feed.client_key else None
        self._token = ""
        self._until = float("-inf")

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """As httpx calls it. Where no token is to be had, the request goes without one and is refused."""
        fetched = time.monotonic() >= self._until
        if fetched:
            yield from self._fetch()
        answer = yield self._signed(request)
        if answer.status_code == 401 and not fetched:
            yield from self._fetch()
            yield self._signed(request)

    def _signed(self, request: httpx.Request) -> httpx.Request:
        request.headers.pop("Authorization", None)
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _fetch(self) -> Generator[httpx.Request, httpx.Response, None]:
        answer = yield self._asked()
        self._token, self._until = "", float("-inf")
        if answer.status_code == 200:
            said = answer.json()
            self._token = str(said["access_token"])
            self._until = time.monotonic() + float(said["expires_in"]) * 0.8

    def _asked(self) -> httpx.Request:
        asked = {"grant_type": "client_credentials", "scope": SCOPE}
        feed, addresses = self._feed, self._addresses
        if self._signer is not None:
            proof = self._signer.proof(feed.client_id, addresses.issuer)
            return httpx.Request("POST", addresses.token, data=asked | proof)
        basic = httpx.BasicAuth(quote(feed.client_id, safe=""), quote(feed.client_secret, safe=""))
        return next(basic.auth_flow(httpx.Request("POST", addresses.token, data=asked)))


def client() -> httpx.Client:
    """The HTTP client unless another is wanted: proxies and certificates as the environment says."""
    return httpx.Client(timeout=TIMEOUT, follow_redirects=False)


def async_client() -> httpx.AsyncClient:
    """The same for event loops."""
    return httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False)
