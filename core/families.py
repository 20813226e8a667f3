"""Use cases of families: sign in, refresh, look, sign out. Verifies, submits, signs after the commit; knows no HTTP."""

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from core import access, beginning, context, ending, family, origin, subject, token
from core.access import AccessClaims
from core.beginning import Begin
from core.behind import Behind
from core.context import CountryOf
from core.dpop import Proof as KeyProof
from core.factor import Proof
from core.judgement import Refresh
from core.keys import Keys
from core.limits import Limits
from core.master import MasterKeys
from core.omissions import Omissions
from core.once import once
from core.passwords import Hasher
from core.policy import Policy
from core.presence import Presence
from core.ring import SigningKey
from core.scope import ALL, Asked
from core.token import Token
from core.verdict import HOLDER, Answer, TagsFor, Verdict
from events import family as past
from events import ids
from events.client import stream_of as client_stream
from events.decision import Decide, Decision, Moment, Origin, Streams
from events.families import FamilyReader, Held
from events.ledger import Ledger, Unavailable
from events.private import Context
from events.subject import PREFIX as SUBJECT
from events.subject import Subject
from events.subjects import SubjectReader


@dataclass(frozen=True, slots=True)
class Terms:
    """What this service says of itself in tokens, and the lifetimes that clients inherit."""

    issuer: str
    audience: str
    defaults: Policy


@dataclass(frozen=True, slots=True)
class Visit:
    """What a door knows of a request."""

    presence: Presence
    request: str
    """Our request id."""
    arrived: float
    """`time.monotonic()` at the edge."""

    @property
    def origin(self) -> Origin:
        """As the ledger stores it."""
        return Origin(self.request, Context(self.presence.ip, self.presence.agent))


class SignIn(NamedTuple):
    """Name and password, and how the family is to be carried."""

    name: str
    password: str
    client: str
    carriage: str
    device: str = ""
    replaces: Token | None = None
    """A genuine token of the same client that came with the request; its family ends."""
    key: KeyProof | None = None
    """Of the key that the family is to be bound to."""

    def __repr__(self) -> str:
        return f"SignIn(client={self.client!r}, carriage={self.carriage!r})"


class Issued(NamedTuple):
    """Tokens of a family that lives."""

    answer: Answer
    access_token: str
    refresh_token: str
    csrf_token: str

    def __repr__(self) -> str:
        return f"Issued(family={self.family.id.hex()})"

    @property
    def family(self) -> past.Family:
        assert self.answer.family is not None  # noqa: S101 - whoever signs has a family
        return self.answer.family


class Denied(NamedTuple):
    """No tokens, and why."""

    verdict: Verdict
    retry_after: int = 0
    family: bytes | None = None
    reason: str = ""


class Look(NamedTuple):
    """What using a token would come to; `current` where it could be used."""

    verdict: Verdict
    family: past.Family | None = None
    owner: Subject | None = None


class Present(NamedTuple):
    """Somebody whose access token is good and whose family lives, as committed just now."""

    claims: AccessClaims
    family: past.Family
    subject: Subject


@dataclass(frozen=True, slots=True)
class Tools:
    """What the use cases of families need."""

    ledger: Ledger
    families: FamilyReader
    subjects: SubjectReader
    master: MasterKeys
    keys: Keys
    hasher: Hasher
    limits: Limits
    terms: Terms
    now: Callable[[], int]
    """The ledger's time, microseconds since the epoch: what limits of families are held against."""
    wall: Callable[[], float] = time.time
    signed_in: Callable[[str], None] = lambda _name: None
    """Told of each sign-in by its login name."""
    nobody: Callable[[], None] = lambda: None
    """Told of each sign-in with a name that nobody has."""
    elsewhere: Callable[[int], bool] = lambda _number: False
    """Whether another process may know this master key, which is not here."""
    works: Callable[[str], bool] = lambda _client: True
    """Whether a client is enabled, as last read."""
    country_of: CountryOf = lambda _ip: ""
    """Asked for each refresh, so it must not wait for anything."""


class Families:
    """Everything that applications and people do with their sessions."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._omitted = Omissions()
        self._behind = Behind()

    def read_token(self, text: str) -> Token | None:
        """The refresh token, if it is one that we made. Costs one HMAC, no database.

        Raises Unavailable for one that another process may know: under a master key that has not come here yet.
        """
        return token.read(text, self._mac_key)

    def wall(self) -> float:
        """The clock that access tokens are held against, seconds since the epoch."""
        return self._tools.wall()

    def now(self) -> int:
        """The ledger's clock, that families are held against, microseconds."""
        return self._tools.now()

    def csrf_token(self, stream: bytes) -> str:
        """The CSRF token of a family, under today's master key."""
        return origin.csrf_token(self._tools.master.csrf_key(self._tools.master.current) or b"", stream)

    def csrf_matches(self, stream: bytes, given: str) -> bool:
        """Whether this is the family's CSRF token under any of the master keys."""
        master = self._tools.master
        keys = (master.csrf_key(number) for number in master.numbers)
        return origin.csrf_matches([key for key in keys if key], stream, given)

    async def sign_in(self, command: SignIn, visit: Visit) -> Issued | Denied:
        """Begin a family. Raises Unavailable, and Busy when too many passwords wait to be checked."""
        owner = await self.verified(command, visit)
        return owner if isinstance(owner, Denied) else await self.begin(owner, command, visit)

    async def verified(self, command: SignIn, visit: Visit) -> Subject | Denied:
        """Whose name and password these are. Raises Unavailable and Busy."""
        tools = self._tools
        name = subject.compared(command.name)
        throttled = await tools.limits.login(visit.presence.network, name)
        if throttled is not None:
            return Denied(Verdict.THROTTLED, throttled.retry_after)
        owner = await tools.subjects.named(name)
        if owner is None:
            tools.nobody()
            await tools.hasher.verify_nobody(command.password)
            return Denied(Verdict.INVALID)
        blocked, fits = self._is_blocked(owner, visit), beginning.admits(owner, command.client)
        if not await tools.hasher.verify(owner.password, command.password) or blocked or not fits:
            # A right password that may not be used here is no quicker or slower than a wrong one: no commit either way.
            self._note_failure(owner, command, visit)
            return Denied(Verdict.BLOCKED if blocked else Verdict.INVALID)
        return owner

    async def begin(self, owner: Subject, command: SignIn, visit: Visit, proof: Proof | None = None) -> Issued | Denied:
        """Begin a family for somebody whose password (but for a passkey alone) and factor were looked at."""
        tools = self._tools
        nonce = secrets.token_bytes(token.NONCE_BYTES)
        begin = self.to_begin(owner, command, visit, nonce)._replace(proof=proof)
        signing = tools.keys.signing
        rule = beginning.begin(begin)
        if command.key is not None:
            rule = once(command.key.use, rule, Answer(Verdict.PROOF))
        answer = await tools.ledger.submit(beginning.needs(begin), rule, visit.origin, visit.arrived)
        if answer.verdict is not Verdict.BEGUN:
            return Denied(answer.verdict)
        await tools.limits.logged_in(visit.presence.network, owner.name)
        tools.signed_in(owner.name)
        if command.password and tools.hasher.needs_rehash(owner.password):
            self._behind.begin(self._rehash(owner, command.password))
        return self.issued(answer, nonce, signing)

    async def refresh(
        self,
        presented: Token,
        client: str,
        carriage: str,
        visit: Visit,
        asked: Asked = ALL,
        proof: KeyProof | None = None,
    ) -> Issued | Denied:
        """Use a refresh token. Raises Unavailable; nothing is used up then."""
        throttled = await self._tools.limits.refresh(presented.family, visit.presence.network)
        if throttled is not None:
            return Denied(Verdict.THROTTLED, throttled.retry_after, presented.family)
        command = self._refresh(presented, client, carriage, visit, asked, proof)
        signing = self._tools.keys.signing  # who cannot sign must not use the token up
        ledger = self._tools.ledger
        answer = await ledger.submit(family.named(command), family.refresh(command), visit.origin, visit.arrived)
        self._omitted.count(presented.family, answer)
        if answer.verdict in {Verdict.ROTATED, Verdict.RETRIED}:
            return self.issued(answer, presented.nonce, signing)
        return Denied(answer.verdict, 0, presented.family, answer.reason)

    async def look(self, presented: Token, client: str, carriage: str, visit: Visit) -> Look:
        """Judge a token by the same rule as a refresh, on what is read now; uses nothing up and writes nothing.

        Only `current` may be relied on: this knows nothing of faults of the ledger, which lengthen the leeway.
        """
        tools = self._tools
        states = await tools.families.seen(presented.family, client_stream(client))
        now = tools.now()
        waited = max(0, int((time.monotonic() - visit.arrived) * 1_000_000))
        rule = family.check(self._refresh(presented, client, carriage, visit))
        decision = rule(states, Moment(now, now, now - waited, 0))
        assert isinstance(decision, Decision)  # noqa: S101 - `seen` reads all that the rule names
        answer: Answer = decision.verdict
        return Look(answer.verdict, answer.family, states.subject(answer.family.subject) if answer.family else None)

    async def sign_out(self, presented: Token, visit: Visit) -> Answer:
        """End the family of any genuine token of it, old or new; no alarm. Idempotent."""
        decide = ending.revoke(presented.family, HOLDER, "logout", nonce=presented.nonce_hash)
        return await self._submit_for(presented.family, decide, visit)

    async def sign_out_everywhere(self, presented: Token, visit: Visit) -> Answer:
        """End all families of the holder of a token whose family lives. Idempotent."""
        decide = ending.revoke_all_by(presented.family, presented.nonce_hash, "logout_all")
        return await self._submit_for(presented.family, decide, visit)

    async def revoke(
        self, stream: bytes, actor: str, reason: str, visit: Visit | None = None, *, note: str = "", ticket: str = ""
    ) -> Answer:
        """Staff, a user or the command line ends one family. Idempotent."""
        return await self._submit_for(stream, ending.revoke(stream, actor, reason, note, ticket), visit)

    async def authenticate(self, bearer: str, audience: str = "") -> Present | None:
        """Who presents an access token: signature and claims, then family and subject as committed now.

        It must be for us, unless another `audience` is named.
        """
        tools = self._tools
        terms = tools.terms
        meant = audience or terms.audience
        claims = access.verify(bearer, tools.keys.ring, issuer=terms.issuer, audience=meant, now=tools.wall())
        if not isinstance(claims, AccessClaims):
            return None
        held = await tools.families.get(ids.parse(past.PREFIX, claims.sid))
        if not _good(claims, held) or held is None or held.subject is None or not tools.works(claims.client_id):
            return None
        return Present(claims, held.family, held.subject)

    async def change_password(self, present: Present, current: str, new: str, visit: Visit) -> Issued | Denied:
        """Every family of the user ends, a new one begins. The caller has checked that the new password may be one."""
        tools, owner = self._tools, present.subject
        throttled = await tools.limits.login(visit.presence.network, owner.name)
        if throttled is not None:
            return Denied(Verdict.THROTTLED, throttled.retry_after)
        was = present.family
        command = SignIn(owner.name, current, was.client, was.carriage, was.device)
        if not await tools.hasher.verify(owner.password, current):
            self._note_failure(owner, command, visit)
            return Denied(Verdict.INVALID)
        signing = tools.keys.signing
        hashed = await tools.hasher.hash(new)
        nonce = secrets.token_bytes(token.NONCE_BYTES)
        begin = self.to_begin(owner, command, visit, nonce, was.jkt)._replace(replaces=was.id)
        decide = subject.change_password(begin, hashed)
        answer = await tools.ledger.submit(beginning.needs(begin), decide, visit.origin, visit.arrived)
        if answer.verdict is not Verdict.BEGUN:
            return Denied(answer.verdict)
        await tools.limits.logged_in(visit.presence.network, owner.name)
        return self.issued(answer, nonce, signing)

    async def close(self) -> None:
        """Wait for what runs behind answers that were given: counting of wrong passwords."""
        await self._behind.close()

    def _mac_key(self, number: int) -> bytes | None:
        key = self._tools.master.refresh_key(number)
        if key is None and self._tools.elsewhere(number):
            raise Unavailable
        return key

    async def _submit_for(self, stream: bytes, decide: Decide, visit: Visit | None) -> Answer:
        streams = Streams(families=frozenset((stream,)))
        came = visit.origin if visit else Origin()
        answer: Answer = await self._tools.ledger.submit(streams, decide, came, visit.arrived if visit else None)
        return answer

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

    def _refresh(
        self,
        presented: Token,
        client: str,
        carriage: str,
        visit: Visit,
        asked: Asked = ALL,
        proof: KeyProof | None = None,
    ) -> Refresh:
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
            omitted=self._omitted.of(presented.family),
            proof=proof,
            bound=self.tags(visit.presence, proof.jkt) if proof else None,
        )

    def tags(self, presence: Presence, bound: str = "") -> TagsFor:
        """What rules compare of a request; the key that a family is `bound` to is a part of its device."""
        return context.tags_of(presence, self._tools.master.tag_key, self._tools.country_of, bound)

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
            sid=ids.to_text(past.PREFIX, state.id),
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

    def _is_blocked(self, owner: Subject, visit: Visit) -> bool:
        """Whether many wrong passwords make this network wait; the decision looks again."""
        tools = self._tools
        network = self.tags(visit.presence)(tools.master.current, owner.id).network
        return beginning.is_blocked(owner, network, int(tools.wall() * 1_000_000))

    def _note_failure(self, owner: Subject, command: SignIn, visit: Visit) -> None:
        """Count a wrong password behind the answer, which waits for no commit and so tells nothing by its time."""
        master = self._tools.master
        network = self.tags(visit.presence)(master.current, owner.id).network
        decide = subject.fail(owner.id, command.client, network)
        streams = Streams(subjects=frozenset((owner.id,)))
        self._behind.begin(self._tools.ledger.submit(streams, decide, visit.origin))

    async def _rehash(self, owner: Subject, password: str) -> None:
        hashed = await self._tools.hasher.hash(password)
        decide = subject.rehash(owner.id, hashed, owner.password_version)
        await self._tools.ledger.submit(Streams(subjects=frozenset((owner.id,))), decide)


def _good(claims: AccessClaims, held: Held | None) -> bool:
    if held is None or held.subject is None or not held.living or not held.subject.enabled:
        return False
    return ids.to_text(SUBJECT, held.subject.id) == claims.sub and held.family.client == claims.client_id


def new_jti() -> str:
    """Of an access token. It begins with the time like any id, so that the index over them grows at one end."""
    return urlsafe_b64encode(ids.new_id(time.time_ns() // 1000, secrets.token_bytes(ids.RANDOM_BYTES)))[:22].decode()
