"""The verifier for code that blocks: threads, WSGI, scripts. Its follower is a thread of its own."""

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import httpx

from session_ledger_client import token, web
from session_ledger_client.claims import Claims
from session_ledger_client.dpop import Request
from session_ledger_client.errors import InvalidToken
from session_ledger_client.feed import Feed, Follower
from session_ledger_client.keys import Key, KeyCache
from session_ledger_client.rules import Reader, Rules
from session_ledger_client.web import Addresses, ClientCredentials


class Verifier:
    """Verifies access tokens; may be shared by all threads of a process.

    It begins to follow revocations with the first token, in the process that verifies it: a server may fork before.
    `url` is where the ledger is reached, where that is not the issuer; `http` makes the HTTP client, where it needs
    proxies or certificates of its own.
    """

    def __init__(
        self,
        rules: Rules,
        feed: Feed | None = None,
        *,
        url: str = "",
        keys: KeyCache | None = None,
        http: Callable[[], httpx.Client] = web.client,
    ) -> None:
        self._reader = Reader(rules)
        self._feed = feed
        self._addresses = Addresses(rules.issuer, url)
        self._keys = keys or KeyCache()
        self._make = http
        self._http: tuple[int, httpx.Client] | None = None
        self._fetching = threading.Lock()
        self._starting = threading.Lock()
        self._thread: _Following | None = None
        self._closed = False

    @property
    def follower(self) -> Follower | None:
        """What is known of revocations in this process; for health checks and metrics."""
        return self._thread.follower if self._thread else None

    def verify(self, bearer: str, request: Request | None = None) -> Claims:
        """What the token says. Raises InvalidToken (401) and Unavailable (503).

        A token that is bound to a key counts only with the `request` that it came with.
        """
        parts = token.split(bearer)
        header = self._reader.header(parts.header)
        claims = self._reader.claims(parts, header, self._key(header.kid))
        self._reader.bound(bearer, claims, request)
        if self._feed is not None:
            self._following(self._feed).check(claims)
        return claims

    def close(self) -> None:
        """Follow no more and give up connections."""
        self._closed = True
        if self._thread is not None:
            self._thread.stop()
        if self._http is not None:
            self._http[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _key(self, kid: str) -> Key:
        found = self._keys.look(kid)
        if found is not None:
            return found
        fetches = self._keys.fetches
        with self._fetching:  # who waited here finds what the first one fetched
            if self._keys.fetches == fetches:
                self._fetch()
        found = self._keys.look(kid, fetched=True)
        if found is None:
            raise InvalidToken("key")
        return found

    def _fetch(self) -> None:
        try:
            answer = self._client().get(self._addresses.keys)
            if answer.status_code == 200:
                self._keys.took(answer.headers.get("cache-control", ""), answer.content)
                return
        except (httpx.HTTPError, ValueError):
            pass
        self._keys.failed()

    def _client(self) -> httpx.Client:
        """One for each process: connections do not survive a fork."""
        if self._http is None or self._http[0] != os.getpid():
            self._http = os.getpid(), self._make()
        return self._http[1]

    def _following(self, feed: Feed) -> Follower:
        thread = self._thread
        if thread is None or thread.process != os.getpid():
            with self._starting:
                thread = self._thread
                if thread is None or thread.process != os.getpid():
                    thread = self._thread = _Following(feed, self._addresses, self._make)
                    if not self._closed:
                        thread.start()
        if not thread.follower.loaded:
            thread.first.wait(feed.start_wait)
        return thread.follower


class _Following(threading.Thread):
    """Asks, applies, acknowledges, until it is stopped."""

    def __init__(self, feed: Feed, addresses: Addresses, http: Callable[[], httpx.Client]) -> None:
        super().__init__(name="revocation-feed", daemon=True)
        self.process = os.getpid()
        self.follower = Follower(feed)
        self.first = threading.Event()
        """Set when the first answer came, or could not be had."""
        self._addresses = addresses
        self._auth = ClientCredentials(addresses, feed)
        self._make = http
        self._stop = threading.Event()

    def stop(self) -> None:
        """End, at the latest with the answer that is under way."""
        self._stop.set()

    def run(self) -> None:
        with self._make() as http:
            while not self._stop.is_set():
                pause = self._ask(http)
                if self.follower.loaded or pause:
                    self.first.set()
                self._tell(http)
                self._stop.wait(pause)

    def _ask(self, http: httpx.Client) -> float:
        query, patience = self.follower.asks()
        try:
            answer = http.get(self._addresses.revocations, params=query, auth=self._auth, timeout=patience)
        except (httpx.HTTPError, ValueError, KeyError, RuntimeError) as error:
            return self.follower.failed(type(error).__name__)
        return self.follower.took(answer.status_code, answer.content)

    def _tell(self, http: httpx.Client) -> None:
        said = self.follower.acknowledgement()
        if said is None:
            return
        try:
            answer = http.post(self._addresses.acknowledge, json=said, auth=self._auth)
        except (httpx.HTTPError, ValueError, KeyError, RuntimeError):
            return  # said again after the next answer
        if answer.status_code == 204:
            self.follower.acknowledged(said)
