"""Makes the commands that begin and use families, and signs what they came to, after the commit. Decides nothing."""

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from types import MappingProxyType

from core import access, context, origin, token
from core.access import AccessClaims
from core.beginning import Begin
from core.dpop import Proof
from core.issued import Issued
from core.judgement import Refresh
from core.presence import Presence
from core.ring import SigningKey
from core.scope import ALL, Asked
from core.token import Token
from core.tools import Tools
from core.verdict import Answer, TagsFor
from core.visit import SignIn, Visit
from events import family, ids
from events.subject import PREFIX as SUBJECT
from events.subject import Subject


class Issuer:
    """Knows the keys: of refresh tokens, of access tokens, of CSRF tokens and of tags."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def tags(self, presence: Presence, bound: str = "") -> TagsFor:
        """What rules compare of a request; the key that a family is `bound` to is a part of its device."""
        return context.tags_of(presence, self._tools.master.tag_key, self._tools.country_of, bound)

    def to_begin(self, owner: Subject, command: SignIn, visit: Visit, nonce: bytes, bound: str = "") -> Begin:
        """The command that begins a family for this owner, `bound` to a key unless the command says to which."""
        tools, jkt = self._tools, command.key.jkt if command.key else bound
        at = int(tools.wall() * 1_000_000)
        return Begin(
            family=ids.new_id(at, secrets.token_bytes(ids.RANDOM_BYTES)),
            subject=owner.id,
            client=command.client,
            carriage=command.carriage,
            nonce=token.hash_nonce(nonce),
            key=tools.master.current,
            jti=new_jti(),
            tags=self.tags(visit.presence, jkt),
            defaults=tools.terms.defaults,
            password_version=owner.password_version,
            audience=tools.terms.audience,
            device=command.device,
            replaces=command.replaces.family if command.replaces else None,
            replaced_nonce=command.replaces.nonce_hash if command.replaces else "",
            jkt=jkt,
        )

    def to_refresh(
        self,
        presented: Token,
        client: str,
        carriage: str,
        visit: Visit,
        asked: Asked = ALL,
        proof: Proof | None = None,
        omitted: Mapping[str, int] = MappingProxyType({}),
    ) -> Refresh:
        """The command that uses a refresh token; `omitted` as in `Refresh`."""
        tools = self._tools
        return Refresh(
            token=presented,
            client=client,
            carriage=carriage,
            tags=self.tags(visit.presence),
            key=tools.master.current,
            jti=new_jti(),
            defaults=tools.terms.defaults,
            asked=asked,
            audience=tools.terms.audience,
            omitted=omitted,
            proof=proof,
            bound=self.tags(visit.presence, proof.jkt) if proof else None,
        )

    def issued(self, answer: Answer, nonce: bytes, signing: SigningKey) -> Issued:
        """Sign, now that it is committed. If we crash here the client retries and gets the same successor."""
        tools, state = self._tools, answer.family
        assert state is not None  # noqa: S101 - the verdicts that come here have one
        mac_key = tools.master.refresh_key(state.key)
        assert mac_key is not None  # noqa: S101 - the state was written under it, or it signs now
        claims = AccessClaims(
            iss=tools.terms.issuer,
            sub=ids.to_text(SUBJECT, state.subject),
            aud=answer.audience or tools.terms.audience,
            exp=answer.expires_at,
            iat=answer.issued_at,
            jti=answer.jti,
            client_id=state.client,
            sid=ids.to_text(family.PREFIX, state.id),
            auth_time=state.auth_time,
            scope=answer.scope,
            roles=tuple(answer.roles.split()),
            acr=state.acr,
            # left out where it is the password that was checked here
            amr=() if state.amr == "pwd" and not state.acr else tuple(state.amr.split()),
            cnf=access.confirmed(answer.jkt),
        )
        successor = Token(state.key, state.id, nonce, state.generation)
        csrf = self.csrf_token(state.id) if state.carriage == "cookie" else ""
        return Issued(answer, access.mint(signing, claims), token.mint(successor, mac_key), csrf)

    def csrf_token(self, stream: bytes) -> str:
        """The CSRF token of a family, under today's master key."""
        return origin.csrf_token(self._tools.master.csrf_key(self._tools.master.current) or b"", stream)

    def csrf_matches(self, stream: bytes, given: str) -> bool:
        """Whether this is the family's CSRF token under any of the master keys."""
        master = self._tools.master
        keys = (master.csrf_key(number) for number in master.numbers)
        return origin.csrf_matches([key for key in keys if key], stream, given)


def new_jti() -> str:
    """Of an access token. It begins with the time like any id, so that the index over them grows at one end."""
    return urlsafe_b64encode(ids.new_id(time.time_ns() // 1000, secrets.token_bytes(ids.RANDOM_BYTES)))[:22].decode()
