"""One event to one webhook: what is sent, and what came of it. Keeps nothing; decides nothing about trying again."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from core import message, secevent, signing
from core.keys import Keys, KeyUnavailable
from core.outbound import Answered, Outbound
from core.webhooks import Webhooks
from events import export
from events.client import Client
from events.history import Event
from events.webhook import SET, Webhook

NO_SECRET: Final = "secret_unreadable"  # noqa: S105 - a code
NO_KEY: Final = "no_signing_key"
DELIVERED: Final = Answered(0)


class Post(NamedTuple):
    """A message, ready to be sent."""

    headers: dict[str, str]
    content: bytes

    def __repr__(self) -> str:
        return f"Post({len(self.content)} bytes)"


class Poster:
    """Makes messages and posts them."""

    def __init__(
        self,
        webhooks: Webhooks,
        keys: Keys,
        outbound: Outbound,
        issuer: str,
        client: Callable[[str], Client | None],
    ) -> None:
        self._webhooks = webhooks
        self._keys = keys
        self._outbound = outbound
        self._issuer = issuer
        self._client = client

    async def post(self, state: Webhook, event: Event, origin: str, now: int) -> Answered:
        """Send it once; what is told to nobody counts as delivered. `now` is the ledger's, microseconds."""
        try:
            made = self.made(state, event, origin, now)
        except KeyUnavailable:
            return Answered(0, NO_KEY)
        if made is None:
            return DELIVERED
        if not made.content:
            return Answered(0, NO_SECRET)
        return await self._outbound.post(state.url, made.headers, made.content)

    def made(self, state: Webhook, event: Event, origin: str, now: int) -> Post | None:
        """The message; None where there is none of this event, and an empty one where its secret cannot be read."""
        name = message.id_of(origin, event.position)
        if state.format == SET:
            return self._token(state, event, name, now)
        keys = self._webhooks.secrets_of(state, now)
        row = export.row(event)
        content = message.body(event.fact.TYPE, row["at"], export.as_json(row))
        return Post(message.headers(name, int(time.time()), content, keys), content if keys else b"")

    def token(self, state: Webhook, event: Event, name: str) -> str | None:
        """The security event token of an event; None where there is none. Raises KeyUnavailable."""
        claims = self.claims(state, event, name)
        return None if claims is None else signing.signed(self._keys.signing, secevent.TYPE, claims)

    def claims(self, state: Webhook, event: Event, name: str) -> secevent.Claims | None:
        """What the token of an event says; None where there is none."""
        audience, typed = self.audience(state), event.account.note
        return secevent.claims(
            event.fact, event.stream, event.at, name=name, issuer=self._issuer, audience=audience, typed=typed
        )

    def audience(self, state: Webhook) -> str:
        """Whom its tokens are for: the client by its first audience or its name; an operator's receiver by its host."""
        app = self._client(state.client) if state.client else None
        if app is None:
            parts = urlsplit(state.url)
            return f"{parts.scheme}://{parts.netloc}"
        return next(iter(app.audiences.split()), app.client)

    def _token(self, state: Webhook, event: Event, name: str, now: int) -> Post | None:
        token = self.token(state, event, name)
        if token is None:
            return None
        headers = {"content-type": secevent.MEDIA, "accept": "application/json"}
        if not state.wrapped:
            return Post(headers, token.encode())
        kept = self._webhooks.secrets_of(state, now)
        return Post(headers | {"authorization": kept[0].decode()}, token.encode()) if kept else Post({}, b"")
