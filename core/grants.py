"""Use cases of OAuth beyond refresh: tokens for clients themselves, and what a token is worth. Knows no HTTP."""

from typing import NamedTuple

from core import access, policy, scope
from core.access import AccessClaims, ClientClaims, Refusal
from core.clients import Clients
from core.families import Families
from core.issued import Absent
from core.issuer import new_jti
from core.keys import Keys
from core.policy import DASHBOARD, SECOND
from core.scope import Asked, Grant
from core.tools import Terms
from core.verdict import HOLDER, Verdict
from core.visit import Visit
from events import ids
from events.client import REQUIRED, Client
from events.families import FamilyReader, Held
from events.family import PREFIX as FAMILY
from events.family import Family
from events.subject import PREFIX as SUBJECT

INTROSPECT = "introspect"


class Backend(NamedTuple):
    """A client that proved itself by an access token of its own, and what that token is good for."""

    client: Client
    scopes: frozenset[str]
    claims: ClientClaims

    @property
    def actor(self) -> str:
        """As events name it."""
        return f"client:{self.client.client}"

    def reaches(self, client: str) -> bool:
        """Whether the families of a client are its own; all are an operator's, but for those of the dashboard."""
        return client != DASHBOARD and (bool(self.client.operator) or client == self.client.client)


class Machine(NamedTuple):
    """An access token that a client holds for itself."""

    access_token: str
    expires_in: int
    scope: str

    def __repr__(self) -> str:
        return f"Machine(scope={self.scope!r})"


class Worth(NamedTuple):
    """What a token that is good now says (RFC 7662 §2.2)."""

    claims: AccessClaims | ClientClaims | None
    held: Held | None = None
    expires_at: int = 0
    """Of a refresh token, in seconds."""


class Grants:
    """What clients get and ask beyond the tokens of their users."""

    def __init__(
        self,
        families: Families,
        clients: Clients,
        keys: Keys,
        reader: FamilyReader,
        terms: Terms,
    ) -> None:
        self.terms = terms
        self._families = families
        self._clients = clients
        self._keys = keys
        self._reader = reader

    def token_for(self, app: Client, asked: Asked, jkt: str = "") -> Machine | Verdict:
        """An access token for the client itself, bound to a key where one was proved; nothing is stored.

        Raises KeyUnavailable.
        """
        if app.dpop == REQUIRED and not jkt:
            return Verdict.PROOF
        grant = scope.of_client(asked, app, self.terms.audience)
        if not isinstance(grant, Grant):
            return grant
        ttl = policy.of(app, self.terms.defaults).access_ttl
        # Tokens up to the second of a revocation are dead; the next one must not be born so.
        issued = max(int(self._families.wall()), app.access_revoked + 1)
        claims = ClientClaims(
            iss=self.terms.issuer,
            sub=app.client,
            aud=grant.audience,
            exp=issued + ttl,
            iat=issued,
            jti=new_jti(),
            client_id=app.client,
            scope=grant.scope,
            cnf=access.confirmed(jkt),
        )
        return Machine(access.mint(self._keys.signing, claims), ttl, grant.scope)

    def backend(self, bearer: str) -> Backend | Absent:
        """Which client presents an access token of its own for our routes, if that is good now."""
        terms = self.terms
        claims = access.verify_client(
            bearer, self._keys.ring, issuer=terms.issuer, audience=terms.audience, now=self._families.wall()
        )
        if not isinstance(claims, ClientClaims):
            return Absent(claims)
        app = self._good(claims)
        if app is None:
            return Absent(Refusal.ENDED, claims)
        return Backend(app, scope.words(claims.scope) & scope.words(app.scopes), claims)

    async def introspect(self, text: str, caller: Client) -> Worth | Refusal | None:
        """What a token is worth to this caller: its own, or one that is for an audience of its. Raises Unavailable.

        `Refusal` where it is no token that was given out here, or not any more.
        """
        refresh = self._families.read_token(text)
        if refresh is not None:
            held = await self._reader.get(refresh.family)
            if held is None or held.family.client != caller.client or not self._families.lives(held):
                return None
            state = held.family
            current = refresh.nonce_hash == state.nonce and refresh.generation == state.generation
            return Worth(None, held, min(state.idle_until, state.ends_at) // SECOND) if current else None
        now = self._families.wall()
        claims = access.verify_any(text, self._keys.ring, issuer=self.terms.issuer, now=now)
        if not isinstance(claims, (AccessClaims, ClientClaims)) or claims.exp <= now:
            # What is told to be good has some time left.
            return claims if isinstance(claims, Refusal) else Refusal.EXPIRED
        if isinstance(claims, ClientClaims):
            return Worth(claims) if self._good(claims) and self._concerns(claims, caller) else None
        if not self._concerns(claims, caller):
            return None
        held = await self._reader.get(ids.parse(FAMILY, claims.sid))
        if held is None or not self._families.lives(held) or not _are_of(claims, held):
            return None
        return Worth(claims, held)

    async def revoke(self, text: str, caller: Client, visit: Visit) -> Verdict | Refusal:
        """End the family of a token of this client. `refused` for another client's, `unknown` where there is no family.

        `Refusal` where it is no token that was given out here, or not any more.
        """
        refresh = self._families.read_token(text)
        if refresh is not None:
            held = await self._reader.get(refresh.family)
            if held is None or held.family.nonce != refresh.nonce_hash:
                return Verdict.UNKNOWN
            if held.family.client != caller.client:
                # The rule of a refresh writes down that a token came from the wrong client, and uses nothing up.
                await self._families.refresh(refresh, caller.client, held.family.carriage, visit)
                return Verdict.REFUSED
            return await self._end(held.family, caller, visit)
        claims = access.verify_any(text, self._keys.ring, issuer=self.terms.issuer, now=self._families.wall())
        if not isinstance(claims, (AccessClaims, ClientClaims)):
            return claims
        if claims.client_id != caller.client:
            if isinstance(claims, AccessClaims):
                await self._families.refuse_foreign(ids.parse(FAMILY, claims.sid), visit)
            return Verdict.REFUSED
        if isinstance(claims, ClientClaims):
            await self._clients.revoke_access(caller.client, f"client:{caller.client}", visit.origin)
            return Verdict.ENDED
        held = await self._reader.get(ids.parse(FAMILY, claims.sid))
        return Verdict.UNKNOWN if held is None else await self._end(held.family, caller, visit)

    async def _end(self, state: Family, caller: Client, visit: Visit) -> Verdict:
        actor = f"client:{caller.client}" if caller.confidential else HOLDER
        return (await self._families.revoke(state.id, actor, "logout", visit)).verdict

    def _good(self, claims: ClientClaims) -> Client | None:
        """The client of a token of its own, if it still works and did not revoke it."""
        app = self._clients.get(claims.client_id)
        good = app is not None and app.enabled and app.confidential and claims.iat > app.access_revoked
        return app if good else None

    def _concerns(self, claims: AccessClaims | ClientClaims, caller: Client) -> bool:
        """Own tokens, and with the scope for it those that are for this caller to accept."""
        if claims.client_id == caller.client:
            return True
        listed = caller.audiences.split() or [self.terms.audience]
        return INTROSPECT in scope.words(caller.scopes) and (bool(caller.operator) or claims.aud in listed)


def _are_of(claims: AccessClaims, held: Held) -> bool:
    subject = held.subject.id if held.subject else b""
    return ids.to_text(SUBJECT, subject) == claims.sub and held.family.client == claims.client_id
