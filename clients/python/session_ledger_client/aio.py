"""The verifier for event loops. Its follower is a task of its own."""

import asyncio
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


class AsyncVerifier:
    """Verifies access tokens on one event loop; everything else as `Verifier`.

    It begins to follow revocations with the first token, or with `start`. Where key and revocations are known, `verify`
    waits for nothing.
    """

    def __init__(
        self,
        rules: Rules,
        feed: Feed | None = None,
        *,
        url: str = "",
        keys: KeyCache | None = None,
        http: Callable[[], httpx.AsyncClient] = web.async_client,
    ) -> None:
        self._reader = Reader(rules)
        self._feed = feed
        self._addresses = Addresses(rules.issuer, url)
        self._keys = keys or KeyCache()
        self._make = http
        self._http: httpx.AsyncClient | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._following: _Following | None = None

    @property
    def follower(self) -> Follower | None:
        """What is known of revocations in this process; for health checks and metrics."""
        return self._following.follower if self._following else None

    async def verify(self, bearer: str, request: Request | None = None) -> Claims:
        """What the token says. Raises InvalidToken (401) and Unavailable (503).

        A token that is bound to a key counts only with the `request` that it came with.
        """
        parts = token.split(bearer)
        header = self._reader.header(parts.header)
        key = self._keys.look(header.kid) or await self._fetched(header.kid)
        claims = self._reader.claims(parts, header, key)
        self._reader.bound(bearer, claims, request)
        if self._feed is not None:
            follower = (self._following or self.start()).follower
            if not follower.loaded:
                await self._first(self._feed.start_wait)
            follower.check(claims)
        return claims

    def start(self) -> "_Following":
        """Begin to follow revocations, on the event loop that runs. Raises ValueError without a feed."""
        if self._feed is None:
            raise ValueError("this verifier has no feed")
        if self._following is None:
            self._following = _Following(self._feed, self._addresses, self._make)
        return self._following

    async def close(self) -> None:
        """Follow no more and give up connections."""
        if self._following is not None:
            await self._following.close()
        if self._http is not None:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        if self._feed is not None:
            self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _fetched(self, kid: str) -> Key:
        """The key, after one fetch for all who wait for one."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name="ledger-keys")
        await asyncio.shield(self._fetching)
        found = self._keys.look(kid, fetched=True)
        if found is None:
            raise InvalidToken("key")
        return found

    async def _fetch(self) -> None:
        if self._http is None:
            self._http = self._make()
        try:
            answer = await self._http.get(self._addresses.keys)
            if answer.status_code == 200:
                self._keys.took(answer.headers.get("cache-control", ""), answer.content)
                return
        except (httpx.HTTPError, ValueError):
            pass
        finally:
            self._fetching = None
        self._keys.failed()

    async def _first(self, seconds: float) -> None:
        if self._following is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._following.first.wait()
        except TimeoutError:
            return


class _Following:
    """Asks, applies, acknowledges, until it is closed."""

    def __init__(self, feed: Feed, addresses: Addresses, http: Callable[[], httpx.AsyncClient]) -> None:
        self.follower = Follower(feed)
        self.first = asyncio.Event()
        """Set when the first answer came, or could not be had."""
        self._addresses = addresses
        self._auth = ClientCredentials(addresses, feed)
        self._make = http
        self._task = asyncio.create_task(self._run(), name="revocation-feed")

    async def close(self) -> None:
        """End at once. Said again where it got lost: under an answer that came just then, a cancel does at times."""
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1)

    async def _run(self) -> None:
        async with self._make() as http:
            while True:
                pause = await self._ask(http)
                if self.follower.loaded or pause:
                    self.first.set()
                await self._tell(http)
                await asyncio.sleep(pause)

    async def _ask(self, http: httpx.AsyncClient) -> float:
        query, patience = self.follower.asks()
        try:
            answer = await http.get(self._addresses.revocations, params=query, auth=self._auth, timeout=patience)
        except (httpx.HTTPError, ValueError, KeyError, RuntimeError) as error:
            return self.follower.failed(type(error).__name__)
        return self.follower.took(answer.status_code, answer.content)

    async def _tell(self, http: httpx.AsyncClient) -> None:
        said = self.follower.acknowledgement()
        if said is None:
            return
        try:
            answer = await http.post(self._addresses.acknowledge, json=said, auth=self._auth)
        except (httpx.HTTPError, ValueError, KeyError, RuntimeError):
            return  # said again after the next answer
        if answer.status_code == 204:
            self.follower.acknowledged(said)
