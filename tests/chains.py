"""Clients of a service in another process, each with a chain of tokens that it goes on using, over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.conftest import PASSWORD
from tests.processes import PATIENCE, Place

CLIENTS = 8


class Holder:
    """A client that rotates its own chain and remembers the last answer that it got."""

    def __init__(self, http: httpx.AsyncClient, answer: dict[str, str]) -> None:
        self.http = http
        self.family = answer["family_id"]
        self.token = answer["refresh_token"]
        self.generation = 1
        self.refused: list[str] = []

    async def rotate(self) -> bool:
        """One refresh; False where there was no answer, or no service."""
        try:
            answer = await self.http.post("/auth/refresh", json={"refresh_token": self.token})
        except httpx.TransportError:
            return False
        if answer.status_code == 200:
            self.token = answer.json()["refresh_token"]
            self.generation += 1
            return True
        if answer.status_code != 503:
            self.refused.append(answer.text)
        return False

    async def go_on(self) -> None:
        while await self.rotate():
            pass


@asynccontextmanager
async def holders(place: Place, count: int = CLIENTS) -> AsyncIterator[list[Holder]]:
    """Signed-in clients, each a family of its own."""
    async with httpx.AsyncClient(base_url=place.url, timeout=PATIENCE, trust_env=False) as http:
        asked = {"username": "admin", "password": PASSWORD, "mode": "body"}
        answers = [await http.post("/auth/login", json=asked) for _ in range(count)]
        yield [Holder(http, answer.json()) for answer in answers]
