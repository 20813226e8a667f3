"""What is this thing that I was given? Recognises ids, addresses, names and pasted tokens. Keeps none of it."""

import ipaddress
import re
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from core import access, subject
from core.access import AccessClaims, ClientClaims
from core.clients import SECRET_PREFIX, Clients, proves
from core.families import Families
from core.keys import Keys
from core.token import LENGTH
from core.token import PREFIX as REFRESH_TOKEN
from events import action, family, ids, key
from events import subject as subject_past
from events.history import HistoryReader
from events.subjects import SubjectReader

MAX_ENTERED = 8192
ANY_TIME = 10**11
"""Seconds of leeway: an expired access token still says whose it was."""
_EVENT = re.compile(r"#?([0-9]{1,15})")
_REQUEST = re.compile(r"[A-Za-z0-9_-]{16}")
_JTI = re.compile(r"[A-Za-z0-9_-]{22}")
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_IDS = {
    family.PREFIX: "family",
    subject_past.PREFIX: "subject",
    action.PREFIX: "action",
    key.PREFIX: "key",
}


class Found(NamedTuple):
    """One thing that the entered text can mean."""

    kind: str
    """`family`, `event`, `subject`, `action`, `network`, `request`, `client`, `access_token`, `refresh_token`,
    `client_token`, `client_secret`."""
    id: str
    """What names it on its page: an id, a position, an address or network; never a token that was entered."""
    note: str = ""
    """For people: what is known of it beyond its page."""


class Unreadable(NamedTuple):
    """It looks like one of ours and is not."""

    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """Finds by whatever somebody holds. Raises Unavailable."""

    families: Families
    keys: Keys
    subjects: SubjectReader
    history: HistoryReader
    clients: Clients
    issuer: str

    async def find(self, entered: str) -> list[Found] | Unreadable:
        """Everything that the text can mean, the likeliest first; empty where nothing is known of it."""
        text = entered.strip()[:MAX_ENTERED].encode("utf-8", "ignore").decode()
        for attempt in (self._token, self._by_id, self._network, self._event):
            found = attempt(text)
            if found is not None:
                return found if isinstance(found, Unreadable) else [found]
        several: list[Found] = []
        for search in (self._by_name, self._by_client, self._by_request, self._by_jti):
            several += await search(text)
        return several

    def _token(self, text: str) -> Found | Unreadable | None:
        if text.startswith(REFRESH_TOKEN):
            return self._refresh_token(text)
        if text.startswith(SECRET_PREFIX):
            return self._secret(text)
        if not _JWT.fullmatch(text):
            return None
        claims = access.verify_any(text, self.keys.ring, issuer=self.issuer, now=0, leeway=ANY_TIME)
        if not isinstance(claims, (AccessClaims, ClientClaims)):
            return Unreadable("access_token", "It has the form of an access token, but its signature is not ours.")
        note = f"Access token {claims.jti}, valid until {claims.exp} (Unix time)."
        if isinstance(claims, ClientClaims):
            return Found("client_token", claims.client_id, note)
        return Found("access_token", claims.sid, note)

    def _refresh_token(self, text: str) -> Found | Unreadable:
        if len(text) != LENGTH:
            why = f"This is not a whole refresh token: {LENGTH} characters are needed, these are {len(text):,}."
            return Unreadable("refresh_token", why)
        token = self.families.read_token(text)
        if token is None:
            return Unreadable("refresh_token", "It has the form of a refresh token, but was not made here.")
        return Found(
            "refresh_token", ids.to_text(family.PREFIX, token.family), f"Its generation is {token.generation}."
        )

    def _secret(self, text: str) -> Found | Unreadable:
        """Whose secret somebody has found, if it can be used: hashes of older ones are not kept."""
        whose = next((one.client for one in self.clients.all() if proves(one, text)), None)
        if whose is None:
            return Unreadable("client_secret", "It has the form of a client's secret, but it is none that is good now.")
        return Found("client_secret", whose, "It is good now: make another, and keep this one not at all.")

    def _by_id(self, text: str) -> Found | None:
        prefix = text.partition("_")[0]
        stream = ids.from_text(prefix, text) if prefix in _IDS else None
        return None if stream is None else Found(_IDS[prefix], text)

    def _network(self, text: str) -> Found | None:
        if not ("." in text or ":" in text):
            return None
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return None
        whole = network.prefixlen == network.max_prefixlen
        return Found("network", str(network.network_address) if whole else str(network))

    def _event(self, text: str) -> Found | None:
        found = _EVENT.fullmatch(text)
        return None if found is None else Found("event", str(int(found[1])))

    async def _by_name(self, text: str) -> list[Found]:
        owner = await self.subjects.named(subject.compared(text))
        return [] if owner is None else [Found("subject", ids.to_text(subject_past.PREFIX, owner.id))]

    async def _by_client(self, text: str) -> list[Found]:
        return [Found("client", text)] if self.clients.get(text) else []

    async def _by_request(self, text: str) -> list[Found]:
        return await self._by_bytes(text, _REQUEST, "", "request", self.history.positions_of_request)

    async def _by_jti(self, text: str) -> list[Found]:
        return await self._by_bytes(text, _JTI, "==", "event", self.history.positions_of_jti)

    async def _by_bytes(
        self, text: str, form: re.Pattern[str], padding: str, kind: str, search: Callable[[bytes], Awaitable[list[int]]]
    ) -> list[Found]:
        if not form.fullmatch(text):
            return []
        positions = await search(urlsafe_b64decode(text + padding))
        if not positions:
            return []
        return [Found(kind, text if kind == "request" else str(positions[0]))]


def fingerprint(entered: str) -> str:
    """What the log keeps of a look-up: the first 12 hexadecimal digits of SHA-256 of what was entered."""
    return sha256(entered.strip().encode("utf-8", "surrogatepass")).hexdigest()[:12]
